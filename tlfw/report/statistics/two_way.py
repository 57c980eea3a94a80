"""Least squares of values by cell and repetition, of which some may be missing, and what repetitions do to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """Least squares of values by cell and repetition.

    Attributes:
        mean_C: of each cell, adjusted for repetitions that it lacks; NaN where it has none.
        lacking_C: what that adds to the variance of the mean.
        part: what repetitions contribute to the variance of differences, `[C, C]`; NaN where two cells share fewer than
            two. freedom: its degrees of freedom.
        own: the variance over the shared repetitions of a pair's differences, `[C, C]`.
    """

    mean_C: np.ndarray
    lacking_C: np.ndarray
    part: np.ndarray
    freedom: np.ndarray
    own: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Class:
    """Cells that may lend each other the variance of repetitions.

    Attributes:
        square: of a cell's value with one repetition, about the cell's mean and the class's effect of the repetition.
        freedom: its degrees of freedom, 1 or more.
        effect_R: of repetitions on the class, up to a constant; NaN where no cell has one.
        count_R: cells with each repetition.
    """

    square: float
    freedom: int
    effect_R: np.ndarray
    count_R: np.ndarray


def two_way(y_CR: np.ndarray, classes: Sequence[Hashable]) -> Fit:
    """Fit cells and repetitions to the values `[C, R]`, of which some are NaN."""
    there_CR = ~np.isnan(y_CR)
    n_C = there_CR.sum(1)
    members: dict[Hashable, list[int]] = {}
    for c, name in enumerate(classes):
        if name is not None and n_C[c]:
            members.setdefault(name, []).append(c)
    pooled = {name: found for name, own in members.items() if (found := _class(y_CR[own])) is not None}
    alone = _residual_squares(y_CR)
    square_C = np.array([pooled[name].square if name in pooled else alone[c] for c, name in enumerate(classes)])
    mean_C, pair = _least_squares(y_CR, square_C)
    own, shared = _own(y_CR)
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = (square_C[:, None] + square_C[None]) / shared
        # 1 where nothing is missing.
        gain = np.where(plain > 0, pair / plain, 1.0)
        part, freedom = own / shared * gain, np.maximum(shared - 1.0, 1.0)
    index_C = np.array([list(pooled).index(name) if name in pooled else -1 for name in classes])
    for k, first in enumerate(pooled.values()):
        for m, second in enumerate(pooled.values()):
            place = np.ix_(index_C == k, index_C == m)
            more, nu = _contrast(first, second) if k != m else (0.0, float(first.freedom))
            if np.isnan(more):
                continue
            part[place] = np.fmax(part[place], pair[place] + more)
            freedom[place] = nu
    part[shared < 2] = np.nan
    lacking_C = np.maximum(1 / np.maximum(n_C, 1) - 1 / max(y_CR.shape[1], 1), 0) * square_C.max(initial=0.0)
    return Fit(mean_C=mean_C, lacking_C=lacking_C, part=part, freedom=freedom, own=own)


def _class(y_CR: np.ndarray) -> _Class | None:
    """The class of these cells; None where they say nothing of each other."""
    there_CR = ~np.isnan(y_CR)
    effect_R, residual_CR = _effects(y_CR, np.ones(len(y_CR)))
    count_R = there_CR.sum(0)
    freedom = int(there_CR.sum()) - len(y_CR) - int((count_R > 0).sum()) + len(_components(there_CR))
    if len(y_CR) < 2 or freedom < 1:
        return None
    square = float(np.nansum(residual_CR**2) / freedom)
    return _Class(square=square, freedom=freedom, effect_R=effect_R, count_R=count_R)


def _contrast(first: _Class, second: _Class) -> tuple[float, float]:
    """What repetitions add to differences of two classes as wholes, and the degrees of freedom of all together; NaN
    where the two have fewer than two repetitions in common.
    """
    both = (first.count_R > 0) & (second.count_R > 0)
    count = int(both.sum())
    if count < 2:
        return np.nan, np.nan
    noise = sum(each.square * float((1 / each.count_R[both]).mean()) for each in (first, second))
    more = max(float((first.effect_R - second.effect_R)[both].var(ddof=1)) - noise, 0.0)
    squares = first.square + second.square
    within = first.square**2 / first.freedom + second.square**2 / second.freedom
    freedom = squares**2 / within if within else float(first.freedom + second.freedom)
    if more:
        together = more**2 / (count - 1) + squares**2 / freedom
        freedom = min(freedom, (more + squares) ** 2 / together)
    return more / count, freedom


def _components(there_CR: np.ndarray) -> list[np.ndarray]:
    """Sets of cells, as indices, that repetitions connect; cells without any are in none."""
    cells, repetitions = np.nonzero(there_CR)
    size = sum(there_CR.shape)
    graph = coo_array((np.ones(len(cells)), (cells, len(there_CR) + repetitions)), shape=(size, size))
    labels_C = connected_components(graph, directed=False)[1][: len(there_CR)]
    some_C = there_CR.any(1)
    return [np.flatnonzero((labels_C == label) & some_C) for label in np.unique(labels_C[some_C])]


def _effects(y_CR: np.ndarray, weight_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares: effects of repetitions `[R]`, NaN where nothing has one, and residuals `[C, R]`."""
    there_CR = ~np.isnan(y_CR)
    n_C = np.maximum(there_CR.sum(1), 1)
    about_CR = np.where(there_CR, y_CR - (np.where(there_CR, y_CR, 0).sum(1) / n_C)[:, None], 0)
    effect_R = _precision_inverse(there_CR, weight_C) @ (weight_C @ about_CR)
    own_C = there_CR @ effect_R / n_C
    residual_CR = np.where(there_CR, about_CR - effect_R + own_C[:, None], np.nan)
    return np.where(there_CR.any(0), effect_R, np.nan), residual_CR


def _precision_inverse(there_CR: np.ndarray, weight_C: np.ndarray) -> np.ndarray:
    """The covariance of the effects of repetitions, up to a constant for each component, `[R, R]`."""
    n_C = np.maximum(there_CR.sum(1), 1)
    weighted_CR = there_CR * weight_C[:, None]
    return np.linalg.pinv(np.diag(weighted_CR.sum(0)) - weighted_CR.T @ (there_CR / n_C[:, None]), hermitian=True)


def _residual_squares(y_CR: np.ndarray) -> np.ndarray:
    """What each cell varies about a fit of all, float64 `[C]`: rough, for weights alone."""
    _, residual_CR = _effects(y_CR, np.ones(len(y_CR)))
    n_C = (~np.isnan(y_CR)).sum(1)
    return np.nansum(residual_CR**2, axis=1) / np.maximum(n_C - 1, 1) if y_CR.size else np.zeros(len(y_CR))


def _least_squares(y_CR: np.ndarray, square_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of cells over the repetitions that are connected with theirs, `[C]`, and the variances of their differences
    `[C, C]`, where one value of a cell varies by `square_C`.
    """
    there_CR = ~np.isnan(y_CR)
    n_C = there_CR.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        plain_C = np.where(there_CR, y_CR, 0).sum(1) / n_C
        each_C = square_C / n_C
    pair = each_C[:, None] + each_C[None]
    if there_CR.all() or not there_CR.any():
        return plain_C, pair
    typical = float(np.median(square_C[square_C > 0])) if (square_C > 0).any() else 1.0
    weight_C = np.where(n_C > 0, 1 / np.maximum(square_C, 1e-6 * typical), 0.0)
    effect_R, _ = _effects(y_CR, weight_C)
    share_CR = there_CR / np.maximum(n_C, 1)[:, None]
    mean_C = plain_C - share_CR @ np.nan_to_num(effect_R)
    for own in _components(there_CR):
        mean_C[own] += float(np.nanmean(effect_R[there_CR[own].any(0)]))
    covariance = share_CR @ _precision_inverse(there_CR, weight_C) @ share_CR.T
    diagonal = covariance.diagonal()
    return mean_C, pair + np.maximum(diagonal[:, None] + diagonal[None] - 2 * covariance, 0)


def _own(y_CR: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variance of each pair's differences over the repetitions that both have, and how many these are, `[C, C]`."""
    there = (~np.isnan(y_CR)).astype(float)
    with np.errstate(invalid="ignore"):
        centred = np.nan_to_num(y_CR - (np.nansum(y_CR, axis=0) / np.maximum(there.sum(0), 1)))
    count = there @ there.T
    sums = centred @ there.T - there @ centred.T
    squares = centred**2 @ there.T + there @ (centred**2).T - 2 * centred @ centred.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(squares - sums**2 / count, 0) / np.where(count > 1, count - 1, np.nan), count
