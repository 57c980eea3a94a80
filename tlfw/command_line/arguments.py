"""What a person typed behind `python -m tlfw`, as Hydra takes it, or what is wrong with it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from tlfw import CONF
from tlfw.errors import ConfigError

GROUPS: tuple[str, ...] = tuple(sorted(path.name for path in CONF.iterdir() if path.is_dir()))
"""The config groups."""

PLACES = {"source": "data@source", "target": "data@target"}
"""Where a group's option goes, if that is not called as the group is."""

NULLABLE = ("experiment",)


REPEAT = ("repeat", "repeat.count", "repeat.by")


def spelt(word: str) -> str:
    """`repeat=5` is `repeat.count=5`, also where an experiment's file has a number there; all else stays as it is."""
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+") not in REPEAT or value.startswith("{"):
        return word
    field = key.lstrip("+")
    return f"++{'repeat.count' if field == 'repeat' else field}={value}"


def as_hydra_takes_it(arguments: Sequence[str]) -> list[str]:
    """Flags that Hydra wants first come first, `repeat=5` and a home folder's `~` are spelled out.

    Raises:
        ConfigError: nothing is asked for, or a group is given none or several of its options.
    """
    if not arguments:
        raise ConfigError(
            "experiment",
            "none is chosen.",
            "Try python -m tlfw +experiment=quickstart; --help shows all there is.",
        )
    first = [word for word in arguments if word in ("-m", "--multirun")][:1]
    rest = [_typed(word) for word in arguments if word not in ("-m", "--multirun")]
    return [*first, *rest]


def _typed(word: str) -> str:
    key, equals, value = word.partition("=")
    group = key.lstrip("+")
    if group.split("@")[0] in GROUPS and equals:
        if key == "experiment":
            raise ConfigError(key, "none is chosen before, so there is nothing to replace.", f"Write +{word}.")
        if value in ("null", "") and group.split("@")[0] not in NULLABLE:
            raise ConfigError(group, "it is given none of its options.", f"They are: {_some(options(group))}.")
        if value.startswith("["):
            raise ConfigError(group, f"it is given {value}, but takes one option.", "To try several: -m, and a,b.")
    return f"{key}={os.path.expanduser(value)}" if re.match(r"~(/|$)", value) else spelt(word)


def quoted(word: str) -> str:
    """`field=value` for a shell and for Hydra, so that the value is a text, whatever is in it."""
    key, _, value = word.partition("=")
    # Hydra takes away backslashes before quotes, and what they protect from being an interpolation.
    value = re.sub(r'(\\*)"', r'\1\1\\"', value.replace("${", "\\${"))
    value += "\\" * (len(value) - len(value.rstrip("\\")))
    return shlex.quote(f'{key}="{value}"')


def as_typed(field: str) -> str | None:
    """The last of this process's arguments that gives the field a value; None: none does."""
    found = [word for word in sys.argv[1:] if word.partition("=")[0].lstrip("+") == field and "=" in word]
    return found[-1] if found else None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])} and more (see --help)"


def options(group: str) -> list[str]:
    """The names of a group's options."""
    folder = CONF / group.split("@")[0]
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "base")


def group_choices(arguments: Sequence[str]) -> list[str]:
    """Those of the overrides that choose one option of a group."""
    return [word for word in arguments if re.fullmatch(r"\+?[\w/]+(@[\w.]+)?=[\w.-]+", word) and _is_group(word)]


def _is_group(word: str) -> bool:
    return word.lstrip("+").partition("=")[0].split("@")[0] in GROUPS


def check_stays(hydra: Any) -> None:
    """See that no job leaves the folder that relative paths begin in.

    Args:
        hydra: the config's part `hydra`.

    Raises:
        ConfigError: Hydra is to run jobs in folders of their own.
    """
    if hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir",
            "relative paths, as of the images and of outputs, begin where the command is run, and each job would look "
            "for them in a folder of its own.",
            "Leave it out.",
        )
