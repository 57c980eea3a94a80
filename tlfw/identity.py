"""Names for things, made from what they are.

A result is stored under the digest of everything that produced it. Digests are taken of
validated objects, never of YAML text, so that a comment, an order of keys or a way of
writing a number does not make a new result.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def canonical(value: Any) -> Any:
    """`value` as plain JSON types, equal for equal meanings.

    An object may say itself what it is by a method `identity()`; otherwise dataclasses,
    partials, functions, classes, mappings, sequences and scalars are understood.

    Raises:
        TypeError: for anything else. An object whose identity is a guess must not name a result.
    """
    if hasattr(value, "identity") and not isinstance(value, type):
        return canonical(value.identity())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value} names nothing")
        return int(value) if value.is_integer() else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"is": _name(type(value)), **fields}
    if isinstance(value, functools.partial):
        return {
            "call": _name(value.func),
            "args": canonical(value.args),
            "with": canonical(value.keywords),
        }
    if isinstance(value, Mapping):
        return {_text(k): canonical(v) for k, v in sorted(value.items(), key=lambda kv: _text(kv[0]))}
    if isinstance(value, list | tuple):
        return [canonical(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((canonical(v) for v in value), key=json.dumps)
    if callable(value) and hasattr(value, "__qualname__"):
        return _name(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} has no identity: give it a method identity()")


def digest(value: Any) -> str:
    """A hexadecimal SHA-256 name (32 characters) for `value`."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def seed_from(*parts: Any) -> int:
    """A seed in [0, 2**63) that is a function of `parts` and looks unrelated to its neighbours'."""
    return int(digest(parts)[:16], 16) >> 1


def _name(thing: Any) -> str:
    return " ".join(filter(None, (f"{thing.__module__}.{thing.__qualname__}", _source(thing.__module__))))


@functools.cache
def _source(module: str) -> str:
    """A digest of a module's file, as it was loaded, if it is nobody's release: its code changes under the same name.

    Empty for the standard library, for what is installed, and for tlfw, whose revisions are numbered.
    """
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or module.partition(".")[0] in (*sys.stdlib_module_names, "tlfw"):
        return ""
    if any(Path(file).is_relative_to(sysconfig.get_path(place)) for place in ("purelib", "platlib")):
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of a mapping must be text to have an identity, not {key!r}")
    return key
