"""From an exception to the one message that a person reads."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import io
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import (
    GrammarParseError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from pydantic import ValidationError

from tlfw.command_line.arguments import PLACES, as_typed, options, quoted
from tlfw.errors import ConfigError, LauncherFailed, TrainingFailed, nearest
from tlfw.internals.omegaconf import child, written
from tlfw.store import disk_full

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
    if isinstance(problem, yaml.MarkedYAMLError):
        return _of_yaml(problem)
    if isinstance(problem, UnicodeDecodeError) and (file := _file_read(problem)):
        return f"{file}: it is not in UTF-8 ({problem.reason}). Save it so."
    if isinstance(problem, RecursionError) and "hydra" in "".join(traceback.format_tb(problem.__traceback__, 1000)):
        return "defaults: the defaults of a config file name the file itself, or one that names it. Leave that out."
    if isinstance(problem, ValueError) and str(problem).startswith("Invalid defaults list"):
        return f"defaults: {problem}. Write it as in conf/experiment/."
    if isinstance(problem, OverrideParseException):
        return _of_override(problem)
    if isinstance(problem, InstantiationException):
        place = _full_key(problem)
        if target := re.match(r"Error locating target '([^']+)'", str(problem)):
            return _unimportable(_where_given(place, config) or "config", target[1])
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
        try:
            node = child(node, part)
        except LookupError:
            return field
        if origin := re.fullmatch(r"\$\{([\w.@]+)\}", written(node)):
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
        if field == "experiment":  # where Hydra puts the fields of a file that does not say where they belong
            why = "the file of +experiment does not begin with the line that puts its fields into their places"
            return field, why, "Write `# @package _global_` first, with nothing before it."
        return field, "there is no such field", "Leave it out."
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float | list | dict):
        word = as_typed(field) or f"{field}={error['input']}"
        return field, f"it is {error['input']!r}, and no text", f"Quoted it is one: {quoted(word)}."
    if error["type"] in ("missing", "missing_argument"):
        return field, "it is not given", "Give it a value."
    if error["type"] in ("dataclass_type", "dataclass_exact_type", "is_instance_of") and isinstance(
        error["input"], str
    ):
        group = PLACES.get(field, field)
        return field, f"{error['input']!r} is only a name", f"To choose it from its group: {group}={error['input']}."
    return field, error["msg"], error.get("ctx", {}).get("remedy") or f"It is {error['input']!r}."


def _of_yaml(problem: yaml.MarkedYAMLError) -> str:
    mark = problem.problem_mark or problem.context_mark
    place = f"{mark.name}: line {mark.line + 1}, column {mark.column + 1}: " if mark else "config: "
    said = " ".join(filter(None, (problem.problem, problem.context and f"({problem.context})")))
    remedy = "Mend it there."
    if found := re.search(r"found character '(.+)' that cannot start any token", problem.problem or ""):
        remedy = "Indent with blanks." if found[1] == "\\t" else f"Put text that begins with {found[1]} into quotes."
    elif "mapping values" in (problem.problem or ""):
        remedy = "Put text that has a colon into quotes."
    return f"{place}it is no YAML: {said}. {remedy}"


def _file_read(problem: BaseException) -> str | None:
    """The name of the file that was being read when it happened."""
    for frame, _ in reversed(list(traceback.walk_tb(problem.__traceback__))):
        for value in frame.f_locals.values():
            if isinstance(value, io.TextIOBase) and isinstance(name := getattr(value, "name", None), str):
                return name
    return None


def _of_override(problem: OverrideParseException) -> str:
    word = str(problem.override)
    field, equals, value = word.partition("=")
    if not equals:
        return _unknown_field(problem, list)
    if value.startswith(("[", "{")):
        remedy = f"A list is [a,b] and a mapping {{a: 1}}; a text is quoted: {quoted(word)}."
    else:
        remedy = f"Quote it for Hydra and for the shell: {quoted(word)}."
    return f"{field.lstrip('+~')}: Hydra does not take {value} as it stands. {remedy}"


def _unimportable(place: str, target: str) -> str:
    """Why a class or function of a config cannot be had."""
    parts = target.split(".")
    module = None
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as problem:
            if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
                return f"{place}: {name}{_at(name)} imports {problem.name}, which is not installed here. Install it."
            break
        except SyntaxError as problem:
            return f"{place}: {problem.filename}: line {problem.lineno}: {problem.msg}. Mend it there."
        except Exception as problem:
            trace = traceback.extract_tb(problem.__traceback__)[-1]
            said = f"{type(problem).__name__}: {problem}"
            return f"{place}: {name} cannot be imported: {said} ({trace.filename}, line {trace.lineno}). Mend it there."
    if module is None:
        return (
            f"{place}: there is no module {parts[0]} (of {target}) in {_looked_in()}. Run the command in the folder "
            f"that holds {parts[0]}, or name that folder in PYTHONPATH."
        )
    thing: Any = module
    for part in parts[module.__name__.count(".") + 1 :]:
        if not hasattr(thing, part):
            near = nearest(part, [each for each in vars(thing) if not each.startswith("_")], 1)
            hint = f"Did you mean {near[0]}?" if near else "Write the name of a class or function there."
            return f"{place}: there is no {target}: {module.__name__}{_at(module.__name__)} has no {part}. {hint}"
        thing = getattr(thing, part)
    return f"{place}: {target} cannot be used. Give the full name of a class or function."


def _at(name: str) -> str:
    spec = importlib.util.find_spec(name)
    return f" ({spec.origin})" if spec and spec.origin else ""


def _looked_in() -> str:
    """The folders in which a person's own modules are looked for."""
    installed = [sysconfig.get_path(each) for each in ("stdlib", "platstdlib", "purelib", "platlib")]
    found = dict.fromkeys(os.path.abspath(place) for place in sys.path if not place.endswith(".zip"))
    own = [place for place in found if not any(place.startswith(each) for each in installed)]
    return ", ".join(own) or "any folder"


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
    if missing := re.match(r"Interpolation key '(.+)' not found", str(inner)):
        near = nearest(missing[1], known(), limit=2)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Use --cfg job to see all fields."
        return (
            f"{full or missing[1]}: there is no field {missing[1]}, from which ${{{missing[1]}}} takes a value. {hint}"
        )
    if not field or ("not in struct" not in str(inner) and "Could not override" not in str(problem)):
        return text
    if full and not match and isinstance(inner, InterpolationResolutionError | GrammarParseError):
        return f"{full}: {text}"
    if budget := re.fullmatch(r"(.+\.budget)\.(amount|unit|of)", field):
        return f"{field}: there is no such field. Write {budget[1]}=20epochs, 450steps or 32000images."
    near = nearest(field, known(), limit=2)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "Use --cfg job to see all fields."
    return f"{field}: there is no such field. {remedy}"
