"""One model of a task: cells x repetitions x images. Ranking, intervals and tests all come from it.

The score of a cell with a repetition on an image is a sum: the cell's mean, an effect of the repetition on all cells,
one of the repetition on this cell, one of the image, one of the image on this cell, and a rest.

- **Means** are least squares with fixed effects of repetitions, each cell weighted by how much its repetitions vary. A
  repetition that one cell alone has says nothing of the others and is left out. Where none is missing, means are plain.
- **A difference** varies by repetitions and by images. What repetitions do is estimated over all cells of a class, and
  never taken as less than what is seen of this pair. Classes are declared (what trains), not found in the data: a
  linear probe hardly varies where fine-tuning does. Two classes may also answer a repetition differently as a whole;
  that contrast has one degree of freedom fewer than there are repetitions.
- **One mean** borrows from no other cell: a draw of labelled images moves them all together.
- **Clusters** of images, such as those of one subject, take the place of images: sums of residuals are what varies.
- **Folds**: the mean over K folds varies by (1/K + 1/(K - 1)) times their variance, since training sets overlap
  (Nadeau and Bengio, Inference for the generalization error, 2003). No estimate of it is unbiased (Bengio and
  Grandvalet, 2004).

The two-way table is that of Searle, Casella and McCulloch, Variance Components, 1992, chapter 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property

import numpy as np
from scipy.special import ndtri

from tlfw.report.statistics.behrens_fisher import NORMAL, Variance, beyond, reach, tail
from tlfw.report.statistics.score_tables import Pairs, Repetition, Scores, by_cluster, pairs_of, squares
from tlfw.report.statistics.two_way import Fit, two_way

INTERVAL = 0.05
"""An interval covers with probability 1 - INTERVAL."""

POWER = 0.8

LARGEST_DRAW = 0.5
"""The share of a pool up to which draws from it speak for new draws."""

SMALLEST_FOLD_P = 0.001
"""Of folds no p value is known more finely."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mean:
    """The value of a cell, in the units of the metric.

    Attributes:
        value: over the repetitions that the task stands on, adjusted for those that this cell lacks.
        low, high: a 95 % interval; where no cell has more than one repetition it is of these trained models, and covers
            test images only.
        values: of its repetitions. sd: their standard deviation; None with one.
        repetitions: that the value stands on.
        shares: of the variance of the value, what comes from `repetitions` (or `seeds` and `draws`, where these are
            crossed), from `images`, and from the `rest`; empty with one repetition.
    """

    value: float
    low: float
    high: float
    values: tuple[float, ...]
    sd: float | None
    repetitions: int
    shares: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the scores of a task's cells say.

    Attributes:
        means: of each cell.
        difference: of all pairs `[C, C]`, row minus column; NaN where two cells share no repetition.
        shared: the repetitions that two cells share, int64 `[C, C]`.
        variance: of the differences; NaN where it is not known, as with one repetition.
        identical: where no score differs, bool `[C, C]`.
        images: that were tested on, over all folds; units: images, or clusters of them.
        repetitions: all that the comparison stands on.
        unused: runs that no comparison stands on, since no other cell has their repetition.
        crossed: whether seeds and draws are crossed.
        folds: whether repetitions are folds.
    """

    means: tuple[Mean, ...]
    difference: np.ndarray
    shared: np.ndarray
    variance: Variance
    identical: np.ndarray
    images: int
    units: int
    repetitions: tuple[Repetition, ...]
    unused: int
    crossed: bool
    folds: bool

    @cached_property
    def p(self) -> np.ndarray:
        """Of the two-sided test that two cells are equal, float64 `[C, C]`; NaN where that is not known."""
        p = tail(self.difference, self.variance)
        p = np.where(self.identical & np.isfinite(p), 1.0, p)
        return np.maximum(p, SMALLEST_FOLD_P) if self.folds else p

    def ordered(self, order: Sequence[int]) -> Estimate:
        """The same with its cells in another order."""
        place = np.ix_(order, order)
        return dataclasses.replace(
            self,
            means=tuple(self.means[i] for i in order),
            difference=self.difference[place],
            shared=self.shared[place],
            variance=self.variance.at(place),
            identical=self.identical[place],
        )

    def reach(self, i: int | np.ndarray, j: int | np.ndarray) -> np.ndarray:
        """Half the width of the 95 % interval of the difference i - j; NaN where it is not known."""
        found = reach(INTERVAL, self.variance.at((i, j)))
        return np.where(self.identical[i, j] & np.isfinite(found), 0.0, found)

    def equivalence(self, margin: float, i: int, j: int) -> float:
        """The p value of a difference that is `margin` or more, either way (two one-sided tests)."""
        if self.identical[i, j]:
            return 0.0
        p = float(beyond(margin, self.difference[i, j], self.variance.at((i, j))))
        return max(p, SMALLEST_FOLD_P) if self.folds else p

    def gap(self, i: int, j: int, level: float, *, repetitions: int | None = None, units: float = 1.0) -> float:
        """The difference that would be found in four of five times; NaN where nothing is known of it.

        Args:
            level: of the test.
            repetitions: with so many; None: as many as the two share.
            units: with so many times as many test images.
        """
        shared = max(int(self.shared[i, j]), 1)
        count = repetitions or shared
        own, more = self.variance.at((i, j)), shared / count
        freedom = (count - 1) / max(shared - 1, 1)
        rest = own.floor * more / units
        then = Variance(
            repetition=[(np.maximum(part - own.floor, 0) * more + rest, nu * freedom) for part, nu in own.repetition],
            floor=rest,
            image=own.image / units,
            image_freedom=own.image_freedom,
        )
        return float(reach(level, then) + ndtri(POWER) * np.sqrt(then.total))


def estimate(
    cells: Sequence[Scores],
    classes: Sequence[Hashable],
    *,
    clusters_N: np.ndarray | None = None,
    drawn: float | None = None,
    folds: int | None = None,
    bounds: tuple[float | None, float | None] = (0.0, 1.0),
) -> Estimate:
    """Estimate means, their differences, and how sure both are.

    Args:
        cells: their scores; those of one repetition are of the same images.
        classes: of each cell, what it shares with those that may lend it the variance of repetitions; None: nothing.
        clusters_N: the cluster of each image, int `[N]`; None: each image is one.
        drawn: the share of a pool that each repetition drew; None: nothing was drawn.
        folds: into how many the images were divided; None: all repetitions were tested on the same images.
        bounds: between which a mean lies.
    """
    named = list(dict.fromkeys(repetition for cell in cells for repetition in cell))
    there_CR = np.array([[repetition in cell for repetition in named] for cell in cells])
    used_R = there_CR.sum(0) > 1
    used = tuple(repetition for repetition, kept in zip(named, used_R, strict=True) if kept)
    kept = [{r: cell[r] for r in used if r in cell} or dict(cell) for cell in cells]
    sizes = [[len(values) for values in cell.values()] for cell in kept]
    images = max(map(max if folds is None else sum, sizes), default=0)
    if clusters_N is not None and folds is None:
        kept = [{r: by_cluster(values, clusters_N) for r, values in cell.items()} for cell in kept]
    units = max((len(values) for cell in kept for values in cell.values()), default=1)
    y_CR = np.array([[cell[r].mean() if r in cell else np.nan for r in used] for cell in kept]).reshape(len(cells), -1)
    design = _Design(
        crossed=folds is None and _crossed(used or tuple(named)),
        undrawn=1 - drawn if drawn is not None and drawn <= LARGEST_DRAW else 1.0,
        folds=folds,
        units=units,
        bounds=bounds,
    )
    model = two_way(y_CR, classes)
    # What is adjusted for missing repetitions may come to lie a little outside.
    model = dataclasses.replace(model, mean_C=np.clip(model.mean_C, *bounds))
    pairs = pairs_of(kept, used, images=folds is None)
    return Estimate(
        means=_means(kept, model, design),
        difference=np.where(pairs.shared > 0, model.mean_C[:, None] - model.mean_C[None], np.nan),
        shared=pairs.shared,
        variance=_of_differences(y_CR, used, classes, model, pairs, design),
        identical=pairs.identical,
        images=images,
        units=units,
        repetitions=used,
        unused=int(there_CR[:, ~used_R].sum()) if used else 0,
        crossed=design.crossed,
        folds=folds is not None,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Design:
    """How repetitions were made: `undrawn` is the share of the pool that each left."""

    crossed: bool
    undrawn: float
    folds: int | None
    units: int
    bounds: tuple[float | None, float | None]


def _crossed(repetitions: Sequence[Repetition]) -> bool:
    """Whether seeds and draws both vary, and not one with the other."""
    seeds, draws = ({getattr(r, name) for r in repetitions} for name in ("seed", "draw"))
    return len(seeds) > 1 and len(draws) > 1 and not len(seeds) == len(draws) == len(repetitions)


def _of_differences(
    y_CR: np.ndarray,
    used: Sequence[Repetition],
    classes: Sequence[Hashable],
    model: Fit,
    pairs: Pairs,
    design: _Design,
) -> Variance:
    parts = [(model.part, model.freedom)]
    if design.crossed:
        margins = [two_way(_margin(y_CR, used, name), classes) for name in ("seed", "draw")]
        parts = [(each.part, each.freedom) for each in margins]
    if design.folds is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            overlap = model.own * (1 / pairs.shared + 1 / (design.folds - 1))
        parts = [(overlap, np.maximum(pairs.shared - 1.0, 1.0))]
    # No mean of images is known more finely than by one image.
    least = np.where(pairs.identical | (design.folds is not None), 0.0, design.units**-2.0)
    return Variance(
        repetition=[(part / design.undrawn, freedom) for part, freedom in parts],
        floor=np.maximum(np.nan_to_num(pairs.rest), least),
        image=pairs.image,
        image_freedom=NORMAL if design.folds is not None else max(design.units - 1, 1),
    )


def _margin(y_CR: np.ndarray, used: Sequence[Repetition], name: str) -> np.ndarray:
    """Means of the values over all repetitions of equal seed, or of equal draw, `[C, seeds]`."""
    values = [getattr(repetition, name) for repetition in used]
    found = []
    for value in dict.fromkeys(values):
        own = y_CR[:, [each == value for each in values]]
        some = ~np.isnan(own)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(np.where(some, own, 0).sum(1) / some.sum(1))
    return np.stack(found, axis=1)


def _means(cells: Sequence[Scores], model: Fit, design: _Design) -> tuple[Mean, ...]:
    """The value of each cell and its interval, from that cell alone, if it has two repetitions.

    The interval is Wilson's, at the number of independent images that would vary as much (Korn and Graubard, 1998): it
    stays within [0, 1], and is honest near both ends. Where a mean has other bounds it is symmetric.
    """
    values = [np.array([each.mean() for each in cell.values()]) for cell in cells]
    parts = [_of_mean(cell, own, more, design) for cell, own, more in zip(cells, values, model.lacking_C, strict=True)]
    if several := [(float(own.var(ddof=1)) / design.undrawn, len(own) - 1.0) for own in values if len(own) > 1]:
        # A cell that has one repetition where others have more varies as much as the most variable of them.
        parts = [(repetition or [max(several)], floor, image) for repetition, floor, image in parts]
    count = max(len(repetition) for repetition, _, _ in parts)
    padded = [[*repetition, *[(0.0, 1.0)] * (count - len(repetition))] for repetition, _, _ in parts]
    variance = Variance(
        repetition=[tuple(np.array([own[k] for own in padded]).T) for k in range(count)],
        floor=np.array([floor for _, floor, _ in parts]),
        image=np.array([image for _, _, image in parts]),
        image_freedom=NORMAL if design.folds is not None and count else max(design.units - 1, 1),
    )
    half_C, total_C = reach(INTERVAL, variance), variance.total
    found = []
    for c, own in enumerate(values):
        value = float(model.mean_C[c] if np.isfinite(model.mean_C[c]) else own.mean())
        low, high = _interval(value, float(half_C[c]), design)
        shares = {}
        if len(own) > 1 and total_C[c] > 0:
            image, rest = float(variance.image[c] / total_C[c]), float(variance.floor[c] / total_C[c])
            repeated = sum(part for part, _ in parts[c][0])
            named = ("seeds", "draws") if len(parts[c][0]) > 1 else ("repetitions",)
            of = max(1 - image - rest, 0.0) / repeated if repeated else 0.0
            shares = {name: part * of for name, (part, _) in zip(named, parts[c][0], strict=True)}
            shares |= {"images": image, "rest": rest}
        found.append(
            Mean(
                value=value,
                low=low,
                high=high,
                values=tuple(own.tolist()),
                sd=float(own.std(ddof=1)) if len(own) > 1 else None,
                repetitions=len(own),
                shares=shares,
            )
        )
    return tuple(found)


def _of_mean(
    cell: Scores, values_R: np.ndarray, lacking: float, design: _Design
) -> tuple[list[tuple[float, float]], float, float]:
    """Of the variance of one cell's mean: what repetitions contribute, each part with its degrees of freedom; the least
    that these come to; and what images contribute.
    """
    count = len(values_R)
    image, rest = 0.0, 0.0
    if design.folds is None or count == 1:
        table_1SN = np.stack(list(cell.values())).astype(float)[None]
        _, images, rests = squares(table_1SN, np.zeros_like(table_1SN))
        image, rest = float(images[0, 0]), float(np.nan_to_num(rests[0, 0]))
    if count == 1:
        return [], 0.0, image
    margins = [values_R]
    if design.crossed:
        margins = [_margin(values_R[None], list(cell), name)[0] for name in ("seed", "draw")]
    overlap = 0.0 if design.folds is None else 1 / (design.folds - 1)
    parts = [
        (float(own.var(ddof=1)) * (1 / len(own) + overlap) / design.undrawn + lacking, len(own) - 1.0)
        for own in margins
        if len(own) > 1
    ]
    return parts, rest, image


def _interval(value: float, half: float, design: _Design) -> tuple[float, float]:
    low, high = design.bounds
    if (low, high) == (0.0, 1.0):
        # What is always right, or always wrong, is known as well as by as many images.
        inner = 0 < value < 1 and half > 0
        effective = value * (1 - value) * (ndtri(1 - INTERVAL / 2) / half) ** 2 if inner else design.units
        found = wilson(value, effective)
        return min(found[0], value), max(found[1], value)
    return max(value - half, -np.inf if low is None else low), min(value + half, np.inf if high is None else high)


def wilson(share: float, units: float) -> tuple[float, float]:
    """The score interval of a share of so many, which need not be a whole number (Wilson, 1927)."""
    z = float(-ndtri(INTERVAL / 2))
    scale = 1 + z**2 / units
    centre = (share + z**2 / (2 * units)) / scale
    half = z * float(np.sqrt(share * (1 - share) / units + z**2 / (4 * units**2))) / scale
    return max(centre - half, 0.0), min(centre + half, 1.0)
