"""Tests and intervals where a variance is a sum of parts, some of which few degrees of freedom speak for.

The mean of a table of repetitions and images has a variance of the form

    V = max(sum of repetition_k * nu_k / chi2(nu_k), floor) + image * mu / chi2(mu)

where `repetition_k` was estimated with nu_k degrees of freedom, and `image` with mu. For a given V the mean is normal.
So the probability of a difference as large as d where there is none is the expectation of 2 Phi(-|d| / sqrt(V)) over
the chi-squared variables. One part alone gives Student's t; several are the Behrens-Fisher problem (Behrens, 1929;
Fisher, 1935). Satterthwaite's t (1946) is too sure of itself here: with two or three repetitions its freedom, which is
estimated too, jumps to hundreds where a part is small by chance.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special

REACH = 8.0
"""The trapezoidal rule goes from -REACH to REACH standard deviations of a normal variable, whose quantiles are made
those of chi-squared; its error falls exponentially with the step."""

STEPS = (0.25, 0.4, 0.8)
"""Of the rule, for one, two or three chi-squared variables."""

NORMAL = 200
"""Degrees of freedom from which on a part counts as known."""

CHUNK = 4_000_000
"""Numbers that are worked on at a time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variance:
    """Estimated variances of means, arrays of one shape `[...]`.

    Attributes:
        repetition: parts that come from repetitions, each with its degrees of freedom.
        floor: the least that these parts come to together.
        image: the part that comes from images, or from clusters of them.
        image_freedom: the degrees of freedom of that part.
    """

    repetition: Sequence[tuple[np.ndarray, np.ndarray]]
    floor: np.ndarray
    image: np.ndarray
    image_freedom: int

    @property
    def total(self) -> np.ndarray:
        """The variances as estimated, float64 `[...]`."""
        return np.maximum(sum((part for part, _ in self.repetition), np.zeros(())), self.floor) + self.image

    def at(self, place: Any) -> Variance:
        """The variances at a place of the arrays: whatever indexes them."""
        return dataclasses.replace(
            self,
            repetition=[(part[place], freedom[place]) for part, freedom in self.repetition],
            floor=self.floor[place],
            image=self.image[place],
        )


def tail(difference: np.ndarray, variance: Variance) -> np.ndarray:
    """The two-sided p value of no difference, float64 `[...]`; NaN where a part is NaN."""
    return 2 * _over_chi_squared(lambda d, error: special.ndtr(-np.abs(d) / error), difference, variance)


def beyond(margin: float, difference: np.ndarray, variance: Variance) -> np.ndarray:
    """The p value of a difference of at least `margin` either way, by two one-sided tests (Schuirmann, 1987)."""
    return _over_chi_squared(lambda d, error: special.ndtr(-(margin - np.abs(d)) / error), difference, variance)


def reach(level: float, variance: Variance) -> np.ndarray:
    """Half the width of an interval that covers with probability 1 - `level`, float64 `[...]`."""
    error = np.sqrt(variance.total)
    low = np.full(error.shape, np.log(-special.ndtri(level / 2) / 2))
    high = np.full(error.shape, np.log(-special.stdtrit(1, level / 2) * 4))
    for _ in range(40):
        middle = (low + high) / 2
        wide = tail(np.exp(middle) * error, variance) < level
        low, high = np.where(wide, low, middle), np.where(wide, middle, high)
    return np.exp(high) * error


def _over_chi_squared(
    tail_of: Callable[[np.ndarray, np.ndarray], np.ndarray], difference: np.ndarray, variance: Variance
) -> np.ndarray:
    """The expectation of `tail_of(difference, standard error)` over the chi-squared variables."""
    shape = np.broadcast_shapes(np.shape(difference), variance.floor.shape)
    d = np.broadcast_to(difference, shape).reshape(-1)
    flat = [np.broadcast_to(part, shape).reshape(-1) for part, _ in variance.repetition]
    floor, image = (np.broadcast_to(each, shape).reshape(-1) for each in (variance.floor, variance.image))
    freedoms = [np.broadcast_to(freedom, shape).reshape(-1) for _, freedom in variance.repetition]
    known = np.isfinite(d + floor + image + sum(flat, np.zeros(())))
    # Rounded down, which is on the safe side, so that few quantiles have to be computed.
    keys = np.stack([np.clip(np.nan_to_num(each), 1, NORMAL).astype(int) for each in freedoms], -1) if flat else None
    out = np.full(d.shape, np.nan)
    own = np.flatnonzero(known)
    for key in np.unique(keys[own], axis=0) if keys is not None and len(own) else [()]:
        rows = own[(keys[own] == key).all(-1)] if keys is not None else own
        scales, weights = _nodes((*map(int, key), min(variance.image_freedom, NORMAL)))
        for chunk in np.array_split(rows, -(-len(rows) * len(weights) // CHUNK) or 1):
            parts = sum((part[chunk, None] * scale for part, scale in zip(flat, scales, strict=False)), np.zeros(()))
            v = np.maximum(parts, floor[chunk, None]) + image[chunk, None] * scales[-1]
            with np.errstate(divide="ignore", invalid="ignore"):
                values = tail_of(d[chunk, None], np.sqrt(v))
            # No variance and no difference: as likely as not.
            out[chunk] = np.where(np.isnan(values), 0.5, values) @ weights
    return out.reshape(shape)


@functools.lru_cache(maxsize=4096)
def _nodes(freedoms: tuple[int, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """Values of nu / chi2 at the nodes of the rule, for each freedom `[nodes]`, and the nodes' weights `[nodes]`."""
    several = sum(freedom < NORMAL for freedom in freedoms)
    step = STEPS[min(max(several, 1), len(STEPS)) - 1]
    t = np.arange(-REACH, REACH + step / 2, step)
    w = step * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    scales: list[np.ndarray] = []
    weights = np.ones(1)
    for freedom in freedoms:
        if freedom >= NORMAL:
            own, more = np.ones(1), np.ones(1)
        else:
            below, above = special.ndtr(t), special.ndtr(-t)
            chi = np.where(t < 0, 2 * special.gammaincinv(freedom / 2, below), special.chdtri(freedom, above))
            own, more = freedom / chi, w
        scales = [np.repeat(each, len(own)) for each in scales] + [np.tile(own, len(weights))]
        weights = np.repeat(weights, len(more)) * np.tile(more, len(weights))
    return scales, weights
