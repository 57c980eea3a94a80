"""OmegaConf 2.3: nodes as they were written. Its public accessors resolve interpolations and forget where from."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import omegaconf.base
from omegaconf import OmegaConf


def child(node: Any, name: str) -> Any:
    """The node of that name, or of that place in a list, as it was written.

    Raises:
        LookupError: there is none.
    """
    if not OmegaConf.is_config(node):
        raise LookupError(name)
    content = node._content
    key = int(name) if isinstance(content, list) and name.isdigit() else name
    try:
        return content[key]
    except TypeError as problem:
        raise LookupError(name) from problem


@contextlib.contextmanager
def parsing_once() -> Iterator[None]:
    """Inside, each text of an interpolation is parsed once, which takes longer than to look up what it stands for."""
    own = omegaconf.base.parse
    omegaconf.base.parse = functools.cache(own)
    try:
        yield
    finally:
        omegaconf.base.parse = own


def written(node: Any) -> str:
    """A node's own text: `${seed}` for an interpolation."""
    return str(node._value())
