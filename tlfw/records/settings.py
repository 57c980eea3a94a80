"""A run's whole config as plain types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]
"""Flat: a field's full name -> value; lists stay whole."""

REPETITION = ("seed", "target.split_seed", "fold")
"""Fields in which repetitions of one and the same thing differ."""


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """A config as plain types -> a field's full name -> value; lists stay whole."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    return {
        name: value for key, child in node.items() for name, value in flat(child, f"{prefix}.{key}".lstrip(".")).items()
    }
