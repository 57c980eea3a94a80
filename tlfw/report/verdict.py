"""Which way of transferring is better, and which trained model to use: two questions, each with an answer of its own.

All that says `best`, `worse` or `cannot be told apart` asks `best` and `worse` here, and these ask one estimate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tlfw.records.metric import Metric
from tlfw.report.cells import Cell
from tlfw.report.runs import Run
from tlfw.report.statistics.estimate import Estimate, Mean
from tlfw.report.sweep_plan import FEWEST_REPETITIONS

PLANNED_LEVEL, OTHER_LEVEL = 0.04, 0.01
"""Of a test at the number of repetitions that was planned, and at any other of at least three. Who adds repetitions
until something is significant looks more than once: so all looks together keep an error of about 5 %."""

FEWEST_ERRORS = 5
"""Expected errors (and hits) of an accuracy, below which its interval carries no claim."""

Kind = Literal["best", "equal", "group", "undecided", "unanswered", "abstained", "nothing", "alone"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Floor:
    """What a metric is without any learning: of guessing uniformly among the classes, and of always naming the most
    frequent class of the test.
    """

    chance: float
    majority: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shipped:
    """The trained model that validation names.

    Attributes:
        cell: its position in the task.
        validation: the metric on its validation images.
        tied: how many models validate equally well, itself included; of them it has the lowest validation loss.
        tested: the metric on test images, with an interval over these alone.
    """

    cell: int
    run: Run
    validation: float
    tied: int
    tested: Mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """The cells that were given the same number of labelled images, best first by the metric's mean.

    Attributes:
        labelled: images a class, validation included; None: all there are.
        estimate: of these cells, in this order.
        shortage: what test images lack for any claim; empty: nothing.
        level: of each test; None: the question which way is better is not answered.
        adjusted: p values of all pairs `[C, C]`, corrected for all pairs of candidates in the report (Holm, 1979); NaN
            where there is none. A pair with a control on random features stands for itself.
        kind: `best`: the first is better than each other. `equal`: the first and its group differ by less than the
            margin. `group`: some others are worse than the first. `undecided`: none is. `unanswered`: too few
            repetitions. `abstained`: too few test images. `nothing`: no cell is known to have learnt. `alone`: there is
            no other cell.
        group: the first, and those that are not worse: positions.
        scope: what claims hold for, in words.
        shipped: the answer to the other question; None: there is none.
        sentence: which way is better, for people. advice: what would decide more; empty where nothing is open.
        remarks: what else has to be known of the verdict.
    """

    labelled: int | None
    metric: Metric
    cells: tuple[Cell, ...]
    estimate: Estimate
    floor: Floor
    shortage: str
    level: float | None
    adjusted: np.ndarray
    kind: Kind
    group: tuple[int, ...]
    scope: str
    shipped: Shipped | None
    sentence: str = ""
    advice: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def means(self) -> tuple[Mean, ...]:
        """Of each cell."""
        return self.estimate.means

    @property
    def best(self) -> int | None:
        """The position of the best cell, which is the first; None: none is known to be."""
        return 0 if self.kind == "best" else None

    def worse(self, i: int, j: int) -> bool:
        """Whether cell i is known to be worse than cell j."""
        return worse(self.estimate, self.adjusted, self.metric, self.level, i, j)

    def apart(self, i: int, j: int) -> bool:
        """Whether two cells are known to differ."""
        return self.worse(i, j) or self.worse(j, i)

    def learnt(self, i: int) -> bool:
        """Whether a cell is known to be above the floor: its interval is."""
        return above(self.metric, self.means[i], self.floor)


def gain(estimate: Estimate, metric: Metric) -> np.ndarray:
    """By how much the row's cell is better than the column's, `[C, C]`, in the metric's own units."""
    return estimate.difference if metric.higher_is_better else -estimate.difference


def best(estimate: Estimate, metric: Metric, level: float | None, claims: np.ndarray) -> int | None:
    """The cell that is better than each other one; None: none is known to be.

    Family: the comparisons of that cell with each other. All of them have to hold, so none needs a correction (an
    intersection-union test; Berger, 1982; Hung and Fithian, Rank verification for exponential families, 2019).

    Args:
        level: of each test; None: nothing is claimed.
        claims: of which pairs something may be said, bool `[C, C]`.
    """
    if level is None or len(claims) < 2:
        return None
    ahead, p = gain(estimate, metric), estimate.p
    for i in range(len(claims)):
        others = np.arange(len(claims)) != i
        with np.errstate(invalid="ignore"):
            if (claims[i] & (ahead[i] > 0) & (p[i] < level))[others].all():
                return i
    return None


def worse(estimate: Estimate, adjusted: np.ndarray, metric: Metric, level: float | None, i: int, j: int) -> bool:
    """Whether cell i is known to be worse than cell j.

    Family: all pairs of candidates in the report.
    """
    return level is not None and bool(gain(estimate, metric)[i, j] < 0 and adjusted[i, j] < level)


def above(metric: Metric, mean: Mean, floor: Floor) -> bool:
    """Whether a whole interval is better than chance, and than the most frequent class."""
    end = mean.low if metric.higher_is_better else mean.high
    return all(metric.better(end, each) for each in (floor.chance, floor.majority))


def level_of(estimate: Estimate, planned: int | None, whole: bool) -> float | None:
    """The level of the tests; None: with fewer than three repetitions ways cannot be told apart.

    It follows from the plan and from what there is alone.

    Args:
        planned: the repetitions that were first asked for.
        whole: whether no run is still to come.
    """
    count = len(estimate.repetitions)
    if count < FEWEST_REPETITIONS:
        return None
    return PLANNED_LEVEL if whole and count == planned else OTHER_LEVEL


def claims_of(estimate: Estimate, metric: Metric, enough: bool) -> np.ndarray:
    """Of which pairs something may be said, bool `[C, C]`: where two share three repetitions, and their intervals can
    carry it.

    Args:
        enough: whether there are test images enough.
    """
    claims = (estimate.shared >= FEWEST_REPETITIONS) & enough
    if metric.name == "accuracy":
        value_C = np.array([mean.value for mean in estimate.means])
        errors_C = estimate.images * np.minimum(value_C, 1 - value_C)
        claims &= np.maximum(errors_C[:, None], errors_C[None]) >= FEWEST_ERRORS
    return claims


def holm(p: np.ndarray) -> np.ndarray:
    """The p values corrected for as many comparisons as there are, float64 `[M]` (Holm, 1979); NaN is none."""
    out = np.full(p.shape, np.nan)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return out


def corrected(
    estimates: Sequence[Estimate], claims: Sequence[np.ndarray], cells: Sequence[Sequence[Cell]]
) -> list[np.ndarray]:
    """The p values of all pairs of several tasks, `[C, C]` each, corrected for those of candidates together."""
    pairs = [np.triu_indices(len(own), 1) for own in cells]
    p = [
        np.where(claim, estimate.p, np.nan)[pair]
        for estimate, claim, pair in zip(estimates, claims, pairs, strict=True)
    ]
    real = [np.array([not cell.random_features for cell in own]) for own in cells]
    contest = np.concatenate([np.zeros(0, bool), *(own[i] & own[j] for own, (i, j) in zip(real, pairs, strict=True))])
    together = np.concatenate([np.zeros(0), *p])
    together[contest] = holm(together[contest])
    found, first = [], 0
    for own, pair in zip(cells, pairs, strict=True):
        matrix = np.full((len(own), len(own)), np.nan)
        matrix[pair] = matrix.T[pair] = together[first : first + len(pair[0])]
        first += len(pair[0])
        found.append(matrix)
    return found


def judge(task: Task, claims: np.ndarray, margin: float | None) -> Task:
    """The task with its verdict: kind and group.

    Args:
        claims: of which pairs something may be said, bool `[C, C]`.
        margin: the smallest difference that matters, in the metric's own units; None: none was given.
    """
    cells, estimate, level = task.cells, task.estimate, task.level
    group = tuple(i for i in range(len(cells)) if not task.worse(i, 0))
    kind: Kind
    if len(cells) == 1:
        kind = "alone"
    elif not any(task.learnt(i) for i in range(len(cells))):
        kind = "nothing"
    elif level is None:
        kind = "unanswered"
    elif not claims.any():
        kind = "abstained"
    elif best(estimate, task.metric, level, claims) == 0 and not cells[0].diverged:
        kind = "best"
    elif margin is not None and len(group) > 1 and equal(estimate, level, claims, margin, group):
        kind = "equal"
    else:
        kind = "undecided" if len(group) == len(cells) else "group"
    return dataclasses.replace(task, kind=kind, group=(0,) if kind == "best" else group)


def leads(task: Task) -> tuple[int, ...]:
    """Positions of what stands out: the best and its equals, where anything is known to be worse."""
    return task.group if task.kind in ("best", "group", "equal") else ()


def equal(estimate: Estimate, level: float, claims: np.ndarray, margin: float, group: Sequence[int]) -> bool:
    """Whether each of a group differs from its first by less than a margin.

    Family: the comparisons with the first, which all have to hold, so none needs a correction.
    """
    first, *others = group
    return all(bool(claims[first, i]) and estimate.equivalence(margin, first, i) < level for i in others)
