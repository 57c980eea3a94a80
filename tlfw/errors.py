"""What tlfw says when something a person gave it cannot work."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

from tlfw.escape import printable


class ConfigError(Exception):
    """A setting, or what it points to, cannot work.

    Not a ValueError: pydantic would wrap that into an error of its own.

    Args:
        field: the setting's name, as far as the raiser knows it. A noun knows only its own
            field (`root`); the door puts the place in front of it (`target.root`).
        problem: what is wrong, with the offending value or file.
        remedy: what would be right.
    """

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(field, problem, remedy)
        self.field, self.problem, self.remedy = field, problem, remedy

    def at(self, prefix: str) -> ConfigError:
        """The same complaint with `prefix.` in front of its field."""
        return ConfigError(".".join(p for p in (prefix, self.field) if p), self.problem, self.remedy)

    def __str__(self) -> str:
        # Other libraries' sentences, which are quoted here, have full stops and exclamation marks of their own.
        text = re.sub(r"[.!]+\.(?= )", ".", f"{self.field}: {self.problem} {self.remedy}")
        return printable(text, keep="\n\t")  # names of files, which may hold anything, are quoted here


@contextlib.contextmanager
def at(prefix: str) -> Iterator[None]:
    """Put `prefix` in front of the field of every complaint from inside."""
    try:
        yield
    except ConfigError as problem:
        raise problem.at(prefix) from problem.__cause__


class TrainingFailed(RuntimeError):
    """A stage began and could not end well."""


class Diverged(TrainingFailed):
    """A loss became NaN or infinite: a result, which another try would repeat."""

    @classmethod
    def became(cls, what: str, value: float, step: int) -> Diverged:
        """Which loss it was, what it became, and when."""
        return cls(f"the {what} became {value} at step {step}: try a lower learning rate")


class Pruned(TrainingFailed):
    """A trial of a search that is not worth going on with."""


class LauncherFailed(RuntimeError):
    """A launcher ended without the results of its jobs; the text is for people."""


class Refused(Exception):
    """A sweep that cannot work as a whole; the text has all errors together. Nothing was trained."""


class SomeFailed(Exception):
    """A sweep that ended, but not every run of it well; the table says which."""


def nearest(word: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The `limit` names of `known` that look most like `word`, best first; all of a short list."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=limit, cutoff=0.5)
    return close or (names if len(names) <= 12 else [])


def first_three(names: Sequence[str]) -> str:
    """Up to three of `names`, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
