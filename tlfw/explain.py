"""From an exception to the one message that a person reads."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from typing import Any

from hydra.errors import ConfigCompositionException, HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ValidationError

from tlfw.errors import ConfigError, LauncherFailed, TrainingFailed, nearest
from tlfw.store import disk_full
from tlfw.typed import PLACES, options

UNWRITABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENOENT,
)


def explain(
    problem: BaseException, known: Callable[[], Sequence[str]] = list, config: DictConfig | None = None
) -> str | None:
    """What was wrong, where, and what would be right; None for what only a traceback explains.

    Args:
        known: gives the full names of all fields, to find the nearest of a misspelt one.
        config: what was composed, if it was: a field that takes its value from another is called by that one's name.
    """
    if isinstance(problem, InstantiationException):
        place = _full_key(problem)
        cause = problem.__cause__
        if isinstance(cause, ConfigError):
            return _sentence(cause.at(place), config)
        if isinstance(cause, ValidationError):
            return _of_fields(place, cause, config)
        return f"{_where_given(place, config) or 'config'}: {str(problem).splitlines()[0]} {cause or ''}".strip()
    if isinstance(problem, ConfigError):
        return _sentence(problem, config)
    if isinstance(problem, TrainingFailed | LauncherFailed):
        return str(problem)
    if isinstance(problem, MissingMandatoryValue):
        return f"{problem.full_key}: it is not given. Give it a value."
    if isinstance(problem, MissingConfigException):
        return _unknown_option(problem)
    if isinstance(problem, HydraException | OmegaConfBaseException | ConfigCompositionException):
        return _unknown_field(problem, known)
    if disk_full(problem):
        file = getattr(problem, "filename", None)
        return f"outputs: the disk{f' of {file}' if file else ''} is full. Free some, or give a folder elsewhere."
    if isinstance(problem, OSError) and problem.errno in UNWRITABLE:
        return f"outputs: cannot write {problem.filename} ({problem.strerror}). Give a folder that can be written."
    return None


def _sentence(problem: ConfigError, config: DictConfig | None) -> str:
    return str(ConfigError(_where_given(problem.field, config), problem.problem, problem.remedy))


def _where_given(field: str, config: DictConfig | None) -> str:
    """The field that `field` has its value from: `${adapt.batch_size}` in its place means `adapt.batch_size`."""
    node: Any = config
    parts = field.split(".")
    for i, part in enumerate(parts):
        if not OmegaConf.is_config(node):
            return field
        content = node._content  # the nodes as they were written
        key = int(part) if isinstance(content, list) and part.isdigit() else part
        try:
            node = content[key]
        except (KeyError, IndexError, TypeError):
            return field
        if origin := re.fullmatch(r"\$\{([\w.@]+)\}", str(node._value())):
            return _where_given(".".join([origin.group(1), *parts[i + 1 :]]), config)
    return field


def _full_key(problem: InstantiationException) -> str:
    found = re.search(r"^full_key: (.+)$", str(problem), re.MULTILINE)
    return found.group(1) if found else ""


def _of_fields(place: str, problem: ValidationError, config: DictConfig | None) -> str:
    """One line a field; what each member of a union wanted stands on the same line."""
    lines: dict[tuple[str, str], list[str]] = {}
    for error in problem.errors():
        field, said, rest = _of_field(place, error, config)
        wanted = lines.setdefault((field, rest), [])
        wanted.append(said.removeprefix("Input should be ") if wanted else said)
    return "\n".join(f"{field}: {' or '.join(wanted)}. {rest}" for (field, rest), wanted in lines.items())


def _of_field(place: str, error: Any, config: DictConfig | None) -> tuple[str, str, str]:
    """Of one of pydantic's errors (the field, what is wrong, what it is or what would be right)."""
    # Members of a union add their type to the place; a field's name never looks like one.
    path = [
        str(part)
        for part in error["loc"]
        if not re.match(r"(constrained-|literal|int$|float$|str$|function)", str(part))
    ]
    field = _where_given(".".join(part for part in (place, *path) if part), config)
    if error["type"] == "unexpected_keyword_argument":
        return field, "there is no such field", "Leave it out."
    if error["type"] in ("missing", "missing_argument"):
        return field, "it is not given", "Give it a value."
    if error["type"] in ("dataclass_type", "dataclass_exact_type", "is_instance_of") and isinstance(
        error["input"], str
    ):
        group = PLACES.get(field, field)
        return field, f"{error['input']!r} is only a name", f"To choose it from its group: {group}={error['input']}."
    return field, error["msg"], error.get("ctx", {}).get("remedy") or f"It is {error['input']!r}."


def _unknown_option(problem: MissingConfigException) -> str:
    if problem.missing_cfg_file is None:
        return str(problem)
    asked = problem.missing_cfg_file.removesuffix(".yaml")
    group, _, option = asked.rpartition("/")
    if problem.options is None:
        return f"{group or asked}: there is no config group {group or asked!r}. Look at --help for those there are."
    near = " or ".join(nearest(option, problem.options))
    choice = f"Did you mean {near}?" if near else "The options are: " + ", ".join(sorted(problem.options)) + "."
    return f"{group}: there is no option {option!r}. {choice}"


def _unknown_field(problem: BaseException, known: Callable[[], Sequence[str]]) -> str:
    inner = problem.__cause__ or problem
    text = "\n".join(
        line for line in str(problem).splitlines() if not line.strip().startswith(("object_type", "full_key"))
    )
    if cause := str(inner).splitlines()[:1]:
        text = text if cause[0] in text else f"{text}\n{cause[0]}"
    full = getattr(inner, "full_key", None) or ""
    match = re.search(
        r"Could not (?:override|append to config\.?.*?|delete from config\.?.*?) '?\+?([\w.@/]+)", str(problem)
    )
    field = match.group(1) if match else full
    if typed := re.search(r"Error parsing override '([^'=]+)'\nmissing EQUAL", str(problem)):
        experiments = options("experiment")
        near = typed[1] if typed[1] in experiments else "quickstart"
        return f"{typed[1]}: it is no field=value. To choose an experiment: +experiment={near}."
    if not field or ("not in struct" not in str(inner) and "Could not override" not in str(problem)):
        return text
    if budget := re.fullmatch(r"(.+\.budget)\.(amount|unit|of)", field):
        return f"{field}: there is no such field. Write {budget[1]}=20epochs, 450steps or 32000images."
    near = nearest(field, known(), limit=2)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "Use --cfg job to see all fields."
    return f"{field}: there is no such field. {remedy}"
