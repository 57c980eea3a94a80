"""Equal pictures: on both sides of a split they make a model look better than it is; under two labels, one is wrong.

Within what is cut here, copies are one unit and stay on one side. Between parts that were given, a setting decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Copies = Literal["refuse", "leave_out", "accept"]
"""What is done with an image that judges a model and is, in a part that was given, also one that it learns from."""


def numbered(names: Sequence[str]) -> np.ndarray:
    """Equal numbers for equal names: int64 `[N]`, counted from 0."""
    known: dict[str, int] = {}
    return np.asarray([known.setdefault(each, len(known)) for each in names], dtype=np.int64)


def contradictory(labels_N: np.ndarray, content_N: np.ndarray) -> np.ndarray:
    """Which images are there under another label too: bool `[N]`.

    Args:
        content_N: int64, equal for copies (`numbered`).
    """
    size = int(content_N.max(initial=-1)) + 1
    lowest, highest = np.full(size, np.iinfo(np.int64).max), np.full(size, -1)
    np.minimum.at(lowest, content_N, labels_N)
    np.maximum.at(highest, content_N, labels_N)
    return (lowest != highest)[content_N]


def bound(content_N: np.ndarray, groups_N: np.ndarray) -> np.ndarray:
    """What has to stay together where both copies and groups do: equal numbers, int64 `[N]`, counted from 0.

    Two groups that share a copy are one.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    contents = int(content_N.max(initial=-1)) + 1
    nodes = contents + int(groups_N.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(content_N)), (content_N, contents + groups_N)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1][content_N].astype(np.int64)
