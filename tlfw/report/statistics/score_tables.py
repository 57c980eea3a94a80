"""What images contribute to the variance of a difference: two-way tables of scores, repetition by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repetition:
    """What differs between repetitions of one and the same thing.

    Attributes:
        draw: what decides which images are labelled.
        fold: which fold is tested on; None: there are none.
    """

    seed: int
    draw: tuple[Any, ...] = ()
    fold: int | None = None


Scores = Mapping[Repetition, np.ndarray]
"""Of one cell: repetition -> float `[N]`, an entry an image; the mean is the value of the metric."""


def by_cluster(values_N: np.ndarray, clusters_N: np.ndarray) -> np.ndarray:
    """A value a cluster, `[G]`, with the same mean: the overall one, and the cluster's sum of residuals."""
    _, index_N = np.unique(clusters_N, return_inverse=True)
    mean = values_N.mean()
    sums_G = np.bincount(index_N, weights=values_N - mean)
    return mean + sums_G * len(sums_G) / len(values_N)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Of all pairs `[C, C]`: the repetitions that they share, whether all their scores are equal, and of the variance
    of their difference the parts of images and of the rest; NaN where they are not known.
    """

    shared: np.ndarray
    identical: np.ndarray
    image: np.ndarray
    rest: np.ndarray


def pairs_of(cells: Sequence[Scores], used: Sequence[Repetition], *, images: bool) -> Pairs:
    """Compare tables of scores, `[repetitions, images]` each, in blocks of cells that have the same repetitions.

    Args:
        images: whether all repetitions are of the same images.
    """
    count = len(cells)
    shared = np.zeros((count, count), dtype=np.int64)
    identical = np.zeros((count, count), dtype=bool)
    image, rest = (np.full((count, count), np.nan) for _ in range(2))
    alike: dict[tuple[Repetition, ...], list[int]] = {}
    for i, cell in enumerate(cells):
        alike.setdefault(tuple(r for r in used if r in cell), []).append(i)
    for own, rows in alike.items():
        for other, columns in alike.items():
            if not (both := [r for r in own if r in other]):
                continue
            place = np.ix_(rows, columns)
            shared[place] = len(both)
            if images:
                a_ASN, b_BSN = (
                    np.stack([np.stack([cells[i][r] for r in both]).astype(float) for i in each])
                    for each in (rows, columns)
                )
                identical[place], image[place], rest[place] = squares(a_ASN, b_BSN)
            else:
                identical[place] = [
                    [all((cells[i][r] == cells[j][r]).all() for r in both) for j in columns] for i in rows
                ]
    if not images:
        image, rest = np.zeros_like(image), np.zeros_like(rest)
    return Pairs(shared=shared, identical=identical, image=image, rest=rest)


def squares(a_ASN: np.ndarray, b_BSN: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two-way analyses of variance of all differences a - b at once, from sums of products: whether they are all 0, and
    what images and the rest contribute to the variance of their mean, `[A, B]`.
    """
    _, seeds, images = a_ASN.shape

    def between(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Sums of (x - y) ** 2 over the last axis, for all pairs."""
        return (x**2).sum(-1)[:, None] + (y**2).sum(-1)[None] - 2 * x @ y.T

    # About the middle, so that little is lost where sums are taken from each other.
    middle = float(a_ASN.mean() + b_BSN.mean()) / 2
    a, b = a_ASN - middle, b_BSN - middle
    total = a.sum((1, 2))[:, None] - b.sum((1, 2))[None]
    correction = total**2 / (seeds * images)
    every = between(a.reshape(len(a), -1), b.reshape(len(b), -1))
    size = (a**2).sum((1, 2))[:, None] + (b**2).sum((1, 2))[None]
    by_image = np.maximum(between(a.sum(1), b.sum(1)) / seeds - correction, 0)
    by_seed = np.maximum(between(a.sum(2), b.sum(2)) / images - correction, 0)
    rest = np.maximum(every - correction - by_image - by_seed, 0)
    image_square = by_image / max(images - 1, 1)
    identical = every <= 1e-12 * size
    if seeds == 1:
        return identical, image_square / images, np.full_like(total, np.nan)
    rest_square = rest / max((seeds - 1) * (images - 1), 1)
    return (
        identical,
        np.maximum(image_square - rest_square, 0) / (seeds * images),
        rest_square / (seeds * images),
    )
