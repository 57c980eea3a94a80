"""Names for things, made from what they are.

A result is stored under the digest of everything that produced it. Digests are taken of
validated objects, never of YAML text, so that a comment, an order of keys or a way of
writing a number does not make a new result.

A class or function of tlfw has the name that it declares with `named`, wherever its code lies; one of anybody else has
the name that it is imported by, with a name for its code (`tlfw.identity.code`).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import math
import operator
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from tlfw.identity.code import code_of

P = ParamSpec("P")
T = TypeVar("T")

_DECLARED: dict[str, Any] = {}
"""Public name -> the class or function that declares it."""


class Nameless(TypeError):
    """Nothing says what an object is, so that its name would be a guess.

    Args:
        problem: why, with what it is.
        remedy: what would have a name.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem, self.remedy = problem, remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


PLAIN = "Use numbers, texts, true, false and null."

AT_THE_TOP = (
    "Use a function or class that stands at the top of a module, with _partial_: true where it is given something, or "
    "a frozen dataclass with a method __call__."
)

PLAIN_MAPPINGS = (dict, OrderedDict, types.MappingProxyType)


def named(name: str) -> Callable[[T], T]:
    """Declare what a class or function of tlfw is called in keys and files, whichever module it is in."""

    def declare(thing: T) -> T:
        assert _DECLARED.get(name, thing) is thing, f"two things are called {name}"
        thing.__public_name__ = name
        _DECLARED[name] = thing
        return thing

    return declare


def public_name(thing: Any) -> str:
    """What a class or function is called in keys and files.

    Raises:
        Nameless: it is made while the program runs, so that its name does not say what it is.
    """
    declared = getattr(thing, "__dict__", {}).get("__public_name__")
    if declared is not None and _DECLARED.get(declared) is thing:
        return str(declared)
    name = f"{thing.__module__}.{thing.__qualname__}"
    try:
        there = operator.attrgetter(thing.__qualname__)(sys.modules[thing.__module__])
    except (KeyError, AttributeError):
        there = None
    if getattr(there, "__func__", there) is not thing:  # of a class method, the function
        raise Nameless(f"{name} is made while the program runs and may hold what its name does not say.", AT_THE_TOP)
    if name.startswith("tlfw."):
        raise Nameless(f"{name} is part of tlfw and declares no public name.", "Use one that does.")
    return name


def canonical(value: Any) -> Any:
    """`value` as plain JSON types, equal for equal meanings.

    An object may say itself what it is by a method `identity()`, beside what its class is; otherwise dataclasses,
    partials, functions, classes, methods, mappings, sequences, enumerations and scalars are understood.

    Raises:
        Nameless: for anything else. An object whose identity is a guess must not name a result.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind in (list, tuple):
        return [canonical(v) for v in value]
    if kind is float:
        if not math.isfinite(value):
            raise Nameless(f"{value} names nothing.", PLAIN)
        return int(value) if value.is_integer() else value
    if hasattr(value, "identity") and not isinstance(value, type):
        return {"is": _name(kind), "identity": canonical(value.identity())}
    if isinstance(value, enum.Enum):
        return {"is": _name(kind), "name": value.name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"is": _name(kind), **_fields(value)}
    if isinstance(value, functools.partial) and (kind is functools.partial or _top(kind) == "hydra"):
        return {
            "call": canonical(value.func),
            "args": canonical(value.args),
            "with": canonical(value.keywords),
        }
    if isinstance(value, Mapping):
        if getattr(value, "default_factory", None) is not None:
            raise Nameless(f"a {kind.__name__} makes values that it does not hold.", "Use a dict.")
        plain = {_text(k): canonical(v) for k, v in sorted(value.items(), key=lambda kv: _text(kv[0]))}
        return plain if kind in PLAIN_MAPPINGS or _is_config(kind) else _of_class(value, plain)
    if isinstance(value, list | tuple) or _is_config(kind):
        items = [canonical(v) for v in value]
        return items if _is_config(kind) else _of_class(value, items)
    if isinstance(value, set | frozenset):
        members = sorted((canonical(v) for v in value), key=json.dumps)
        return members if kind in (set, frozenset) else _of_class(value, members)
    if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
        return canonical(value.item())
    if isinstance(value, int | float | str):
        plain_kind = next(each for each in (int, float, str) if isinstance(value, each))
        return _of_class(value, canonical(plain_kind(value)))
    if isinstance(value, types.MethodType):
        return {"method": canonical(value.__func__), "of": canonical(value.__self__)}
    if isinstance(value, types.BuiltinMethodType) and not isinstance(value.__self__, types.ModuleType | None):
        return {"method": value.__name__, "of": canonical(value.__self__)}
    if callable(value) and hasattr(value, "__qualname__"):
        return _name(value)
    raise Nameless(
        f"{value!r} of type {kind.__name__} does not say what it is.", f"Give it a method identity(). {PLAIN}"
    )


def digest(value: Any) -> str:
    """A hexadecimal SHA-256 name (32 characters) for `value`."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def seed_from(*parts: Any) -> int:
    """A seed in [0, 2**63) that is a function of `parts` and looks unrelated to its neighbours'."""
    return int(digest(parts)[:16], 16) >> 1


def remembered(make: Callable[P, T]) -> Callable[P, T]:
    """A function whose results are kept by the meaning of what it was given, which need not be hashable."""
    found: dict[str, T] = {}

    @functools.wraps(make)
    def get(*args: P.args, **kwargs: P.kwargs) -> T:
        key = digest([args, kwargs])
        if key not in found:
            found[key] = make(*args, **kwargs)
        return found[key]

    return get


def is_of_tlfw(kind: type) -> bool:
    """Whether a class is tlfw's own, whose changes are numbered."""
    return _top(kind) == "tlfw"


def _top(kind: type) -> str:
    """The package that a class is of."""
    return kind.__module__.partition(".")[0]


def _name(thing: Any) -> str:
    """The public name of a class or function, with a name for its code where that has no number."""
    name = public_name(thing)
    modules = {thing.__module__}
    if isinstance(thing, type):
        modules |= {each.__module__ for each in (*thing.__mro__, type(thing))}
    return " ".join(filter(None, (name, code_of(sorted(modules)))))


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass's fields.

    Raises:
        Nameless: it holds something besides.
    """
    kind = type(value)
    names = [field.name for field in dataclasses.fields(value)]
    held = {*getattr(value, "__dict__", {})}
    for each in kind.__mro__:
        slots = each.__dict__.get("__slots__", ())
        held |= {slots} if isinstance(slots, str) else set(slots)
    kept = {name for name in held if isinstance(getattr(kind, name, None), functools.cached_property)}
    if hidden := sorted(held - {*names} - kept - {"__dict__", "__weakref__"}):
        raise Nameless(f"a {kind.__name__} holds {hidden[0]}, which is no field.", "Make it one.")
    return {name: canonical(getattr(value, name)) for name in names}


def _of_class(value: Any, plain: Any) -> Any:
    """A value of a class that is derived from a plain one.

    Raises:
        Nameless: it holds something besides.
    """
    if hidden := sorted(getattr(value, "__dict__", {})):
        raise Nameless(f"a {type(value).__name__} holds {hidden[0]}, which its value does not say.", AT_THE_TOP)
    return {"is": _name(type(value)), "value": plain}


def _is_config(kind: type) -> bool:
    """Whether it is OmegaConf's way to hold a list or a mapping."""
    return _top(kind) == "omegaconf"


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise Nameless(f"{key!r} is a key of a mapping, which has to be a text.", "Write it as one.")
    return key
