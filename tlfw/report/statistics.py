"""How sure an accuracy is, and a difference of two, over both seeds and test images.

Every repetition (seed) of a cell is tested on the same images, so seeds and images are crossed: the value of one seed
on one image is `mean + seed + image + rest`, and a mean over S seeds and N images varies by

    var(seed) / S + var(image) / N + var(rest) / (S N).

The parts are estimated from the mean squares of the two-way table without replication, and the mean has a t
distribution with Satterthwaite's degrees of freedom (Searle, Casella and McCulloch, Variance Components, 1992, ch. 4;
Satterthwaite, 1946). A hierarchical bootstrap over seeds and images estimates the same, but is wrong where seeds are
few: resampling S seeds understates their variance by (S - 1) / S and knows no t distribution, and resampling both ways
triples the rest (Owen, The pigeonhole bootstrap, 2007). The tests of this file measure both.

Two or three seeds hardly say how much seeds matter, and many cells together do. So a mean square of seeds, of a cell or
of a pair, is moderated by those of the report's other cells with as many labelled images (Smyth, Linear models and
empirical Bayes methods for assessing differential expression, 2004): it is averaged with their typical one, which
counts for as many degrees of freedom as the cells are alike. What varies more than others keeps its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

LEVEL = 0.05
"""Of an interval (1 - LEVEL), and of all comparisons of a report together."""

POWER = 0.8

FEWEST = 3
"""Cells with several seeds each that can lend each other anything."""

MOST_SEEDS, MOST_TIMES = 1000, 1000
"""More than anyone would make: so many seeds, or times as many test images."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """A mean over seeds and images, all in [0, 1].

    Attributes:
        low, high: a 95 % interval. With one seed it covers test images only.
        seed_sd: the standard deviation of the seeds' accuracies; None where there is one seed.
    """

    mean: float
    low: float
    high: float
    seed_sd: float | None
    seeds: int
    images: int


def accuracies_of(cells: Sequence[np.ndarray]) -> list[Accuracy]:
    """The accuracies of cells that may lend each other what their seeds say, as their `differences` do.

    Args:
        cells: of each, whether each seed is right on each image, bool `[seeds, images]`.
    """
    tables = [_tables(correct_SN[None], np.zeros_like(correct_SN[None])) for correct_SN in cells]
    several = [i for i, correct_SN in enumerate(cells) if len(correct_SN) > 1]
    squares = np.array([float(tables[i].seed_square[0, 0]) for i in several])
    freedoms = np.array([len(cells[i]) - 1.0 for i in several])
    lent = Prior(0.0, 0.0)
    if len(several) >= FEWEST:
        lent = prior_of(squares, freedoms)
        lent = Prior(min(lent.freedom, _most_lent(freedoms)), lent.square)
    return [_accuracy(correct_SN, table, lent) for correct_SN, table in zip(cells, tables, strict=True)]


def accuracy(correct_SN: np.ndarray) -> Accuracy:
    """The accuracy of a cell that stands alone."""
    return accuracies_of([correct_SN])[0]


def _accuracy(correct_SN: np.ndarray, table: Table, lent: Prior) -> Accuracy:
    """The interval is Wilson's, at the number of independent images that would vary as much, with t in place of z (Korn
    and Graubard, 1998): it stays within [0, 1], and is honest near both ends.
    """
    seeds, images = correct_SN.shape
    mean = float(correct_SN.mean())
    seed_square = _with(lent, table.seed_square, seeds - 1)
    found = _of_mean(seed_square, table.image_square, table.rest_square, seeds, images, seeds - 1 + lent.freedom)
    variance, freedom = (float(each[0, 0]) for each in found)
    effective = mean * (1 - mean) / variance if variance > 0 and 0 < mean < 1 else float(images)
    effective *= (stats.norm.ppf(1 - LEVEL / 2) / stats.t.ppf(1 - LEVEL / 2, freedom)) ** 2
    low, high = proportion_confint(mean * effective, effective, alpha=LEVEL, method="wilson")
    return Accuracy(
        mean=mean,
        low=min(float(low), mean),  # rounding may put it on the other side by a bit
        high=max(float(high), mean),
        seed_sd=float(correct_SN.mean(axis=1).std(ddof=1)) if seeds > 1 else None,
        seeds=seeds,
        images=images,
    )


@dataclasses.dataclass(frozen=True)
class Table:
    """For pairs of cells `[A, B]`: differences of their values, seed by seed and image by image.

    Attributes:
        mean: of a - b.
        seed_square, image_square, rest_square: mean squares; where there is one seed, NaN but for that of images.
        ahead, behind: images on which a is right and b wrong, and the reverse, over all seeds.
    """

    mean: np.ndarray
    seed_square: np.ndarray
    image_square: np.ndarray
    rest_square: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray


def _tables(a_ASN: np.ndarray, b_BSN: np.ndarray) -> Table:
    """Two-way analyses of variance of all differences a - b at once, from sums of products, which are whole numbers."""
    _, seeds, images = a_ASN.shape
    a, b = (each.astype(np.float64) for each in (a_ASN, b_BSN))

    def squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Sum of (x - y) ** 2 over the last axis, for all pairs."""
        return (x**2).sum(-1)[:, None] + (y**2).sum(-1)[None] - 2 * x @ y.T

    total = a.sum((1, 2))[:, None] - b.sum((1, 2))[None]
    product = a.reshape(len(a), -1) @ b.reshape(len(b), -1).T
    ahead, behind = a.sum((1, 2))[:, None] - product, b.sum((1, 2))[None] - product
    correction = total**2 / (seeds * images)
    by_images = squares(a.sum(1), b.sum(1)) / seeds - correction
    by_seeds = squares(a.sum(2), b.sum(2)) / images - correction
    rest = ahead + behind - correction - by_images - by_seeds
    nothing = np.full_like(total, np.nan)
    return Table(
        mean=total / (seeds * images),
        seed_square=by_seeds / (seeds - 1) if seeds > 1 else nothing,
        image_square=by_images / max(images - 1, 1),
        rest_square=rest / max((seeds - 1) * (images - 1), 1) if seeds > 1 else nothing,
        ahead=ahead,
        behind=behind,
    )


def _of_mean(
    seed_square: np.ndarray,
    image_square: np.ndarray,
    rest_square: np.ndarray,
    seeds: np.ndarray | int,
    images: int,
    seed_freedom: np.ndarray | float,
) -> tuple[np.ndarray, np.ndarray]:
    """The variance of a mean over seeds and images, and its degrees of freedom; over images where there is one seed."""
    by_images, rests = max(images - 1, 1), np.maximum((np.asarray(seeds) - 1) * (images - 1), 1)
    together = np.fmax(seed_square + image_square - rest_square, image_square)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = seed_square**2 / seed_freedom + image_square**2 / by_images + rest_square**2 / rests
        freedom = np.where(spread > 0, np.maximum(together**2 / spread, 1), by_images)
    return together / (seeds * images), freedom


@dataclasses.dataclass(frozen=True)
class Prior:
    """What the seeds' mean squares of many cells are like: those of an inverse chi-squared distribution.

    Attributes:
        freedom: its degrees of freedom: many where the cells are alike, 0 where they say nothing of each other.
        square: its scale.
    """

    freedom: float
    square: float


def prior_of(squares_M: np.ndarray, freedom_M: np.ndarray) -> Prior:
    """How alike mean squares are, from the spread of their logarithms (Smyth, 2004, section 6.2)."""
    if len(squares_M) < 2 or not squares_M.any():
        return Prior(0.0, 0.0)
    squares_M = np.maximum(squares_M, 1e-5 * np.median(squares_M[squares_M > 0]))
    half_M = freedom_M / 2
    logs_M = np.log(squares_M) - special.digamma(half_M) + np.log(half_M)
    extra = float(logs_M.var(ddof=1) - special.polygamma(1, half_M).mean())
    if extra <= 1e-6:
        return Prior(np.inf, float(np.exp(logs_M.mean())))
    half = optimize.brentq(lambda x: float(special.polygamma(1, x)) - extra, 1e-6, 1e8)
    return Prior(2 * half, float(np.exp(logs_M.mean() + special.digamma(half) - np.log(half))))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Differences:
    """All cells of a task against each other: `[C, C]`, row minus column. The diagonal says nothing.

    Attributes:
        seeds: how many each pair shares; where it is 0 the two cannot be compared and their numbers are NaN.
        images: that all were tested on.
        low, high: a 95 % interval of the difference, for each alone.
        p: of the two-sided test that there is none: McNemar's exact one where one seed is shared (on images alone),
            else of t over seeds and images.
        by_seed, by_image, rest: the variance components; by_seed and rest are NaN where one seed is shared.
        borrowed: the degrees of freedom that a pair's seeds have from the other cells, beside its own.
        ahead, behind: images on which the row's cell alone is right, and the column's alone, over all shared seeds.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    seeds: np.ndarray
    images: int
    by_seed: np.ndarray
    by_image: np.ndarray
    rest: np.ndarray
    borrowed: float
    ahead: np.ndarray
    behind: np.ndarray

    @property
    def identical(self) -> np.ndarray:
        """Where no image was told apart by any seed."""
        return (self.seeds > 0) & (self.ahead + self.behind == 0)


def differences(cells: Sequence[dict[object, np.ndarray]]) -> Differences:
    """Compare cells pairwise, each on the seeds that both have.

    Two or three seeds hardly say how much seeds matter, and many cells together do: a pair's mean square of seeds is
    moderated by those of all pairs (Smyth, Linear models and empirical Bayes methods, 2004). How far is decided by how
    alike the cells are, each for itself; and a pair that varies more than others keeps its own.

    Args:
        cells: of each cell, seed -> whether it is right on each image, bool `[N]`.
    """
    table, seeds = _all_pairs(cells)
    images = max((len(values) for cell in cells for values in cell.values()), default=1)
    seed_square, borrowed = _moderated(table.seed_square, seeds, cells)
    seed_freedom = np.maximum(seeds - 1, 0) + borrowed
    variance, freedom = _of_mean(seed_square, table.image_square, table.rest_square, seeds, images, seed_freedom)
    discordant = table.ahead + table.behind
    # No mean of images is known more finely than by one image.
    error = np.sqrt(np.maximum(variance, np.where(discordant > 0, images**-2.0, 0)))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stats.t.sf(np.abs(table.mean) / error, freedom)
        reach = stats.t.ppf(1 - LEVEL / 2, freedom) * error
        by_image = np.where(seeds > 1, (table.image_square - table.rest_square) / seeds, table.image_square)
    exact = np.minimum(2 * stats.binom.cdf(np.minimum(table.ahead, table.behind), discordant, 0.5), 1)
    p = np.where(seeds == 1, exact, p)  # McNemar, 1947; exact: statsmodels' mcnemar, for all pairs at once
    p = np.where((seeds > 0) & (discordant == 0), 1.0, p)
    return Differences(
        mean=table.mean,
        low=table.mean - reach,
        high=table.mean + reach,
        p=p,
        seeds=seeds,
        images=images,
        by_seed=np.maximum(seed_square - table.rest_square, 0) / images,
        by_image=np.maximum(by_image, 0),
        rest=table.rest_square,
        borrowed=borrowed,
        ahead=table.ahead,
        behind=table.behind,
    )


def _all_pairs(cells: Sequence[dict[object, np.ndarray]]) -> tuple[Table, np.ndarray]:
    """The table of all pairs `[C, C]`, and how many seeds each shares."""
    count = len(cells)
    found = {field.name: np.full((count, count), np.nan) for field in dataclasses.fields(Table)}
    seeds = np.zeros((count, count), dtype=np.int64)
    alike: dict[tuple[object, ...], list[int]] = {}
    for i, cell in enumerate(cells):
        alike.setdefault(tuple(cell), []).append(i)
    for own, rows in alike.items():
        for other, columns in alike.items():
            if not (shared := [seed for seed in own if seed in other]):
                continue
            a_ASN, b_BSN = (np.stack([[cells[i][s] for s in shared] for i in each]) for each in (rows, columns))
            table = _tables(a_ASN, b_BSN)
            place = np.ix_(rows, columns)
            seeds[place] = len(shared)
            for name, values in found.items():
                values[place] = getattr(table, name)
    return Table(**found), seeds


def _moderated(
    square: np.ndarray, seeds: np.ndarray, cells: Sequence[dict[object, np.ndarray]]
) -> tuple[np.ndarray, float]:
    """The pairs' mean squares of seeds as they are taken, `[C, C]`, and the degrees of freedom that others lend."""
    own = np.maximum(seeds - 1, 0).astype(float)
    means = [np.array([values.mean() for values in cell.values()]) for cell in cells if len(cell) > 1]
    freedoms = np.array([len(each) - 1.0 for each in means])
    pairs = np.triu(own > 0, 1)
    if len(means) < FEWEST or not pairs.any():
        return square, 0.0
    alike = prior_of(np.array([each.var(ddof=1) for each in means]), freedoms).freedom
    lent = Prior(min(alike, _most_lent(freedoms)), prior_of(square[pairs], own[pairs]).square)
    return _with(lent, square, own), lent.freedom


def _most_lent(freedoms_M: np.ndarray) -> float:
    """No more than the other cells of a pair have."""
    return float(freedoms_M.sum() - 2 * freedoms_M.mean())


def _with(lent: Prior, square: np.ndarray, own: np.ndarray | float) -> np.ndarray:
    """Mean squares with what others lend, but never less than their own."""
    with np.errstate(invalid="ignore"):
        return np.fmax(square, (lent.freedom * lent.square + own * square) / np.maximum(lent.freedom + own, 1e-9))


def adjusted(p: np.ndarray) -> np.ndarray:
    """p values for as many comparisons as there are (Holm, 1979); NaN is none."""
    out = np.full(p.shape, np.nan)
    there = ~np.isnan(p)
    if there.any():
        out[there] = multipletests(p[there], alpha=LEVEL, method="holm")[1]
    return out


def seeds_to_decide(found: Differences, i: int, j: int, comparisons: int) -> int | None:
    """Seeds with which a difference as large as the one seen would be found in four of five times; None: no number.

    Args:
        comparisons: that are made together; the level is divided by them, as in Holm's first step.
    """
    if np.isnan(found.by_seed[i, j]):
        return None
    seeds = np.arange(found.seeds[i, j] + 1, MOST_SEEDS + 1)
    return _first(seeds, _decides(found, i, j, seeds, np.full(len(seeds), found.images), comparisons))


def images_to_decide(found: Differences, i: int, j: int, comparisons: int) -> int | None:
    """The same in test images, with the seeds that there are."""
    if found.seeds[i, j] == 0:
        return None
    images = np.round(found.images * np.geomspace(1.1, MOST_TIMES, 100))
    return _first(images, _decides(found, i, j, np.full(len(images), found.seeds[i, j]), images, comparisons))


def _first(amounts: np.ndarray, enough: np.ndarray) -> int | None:
    return int(amounts[enough.argmax()]) if enough.any() else None


def _decides(
    found: Differences, i: int, j: int, seeds_M: np.ndarray, images_M: np.ndarray, comparisons: int
) -> np.ndarray:
    """Whether so many seeds and images would be enough, bool `[M]`."""
    by_seed, by_image, rest = (np.nan_to_num(each[i, j]) for each in (found.by_seed, found.by_image, found.rest))
    count_M = seeds_M * images_M
    seed_square_M, image_square_M = (rest + images_M * by_seed) / count_M, (rest + seeds_M * by_image) / count_M
    variance_M = by_seed / seeds_M + by_image / images_M + rest / count_M
    spread_M = seed_square_M**2 / np.maximum(seeds_M - 1 + found.borrowed, 1) + image_square_M**2 / np.maximum(
        images_M - 1, 1
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom_M = np.where(spread_M > 0, np.maximum(variance_M**2 / spread_M, 1), images_M)
    reach_M = stats.t.ppf(1 - LEVEL / 2 / comparisons, freedom_M) + stats.t.ppf(POWER, freedom_M)
    return (found.mean[i, j] != 0) & (abs(found.mean[i, j]) >= reach_M * np.sqrt(variance_M))
