"""What is said of pairs and groups of cells: the numbers of a difference, of equal budgets, and a cell's standing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tlfw.report.costs import MEASURES, Cost, matched
from tlfw.report.verdict import Task

SHOWN_BY_KIND = {
    "best": "best",
    "equal": "equally good",
    "group": "best group",
    "undecided": "undecided",
    "unanswered": "not answered",
    "abstained": "not answered",
    "nothing": "not answered",
    "alone": "the only one",
}
"""What is said of a cell that cannot be told from the first, itself included, in a task of each kind."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of two cells of a task, by position: one minus other, in the metric's units.

    Attributes:
        low, high: a 95 % interval of the difference, for each alone; None where the two share fewer than two
            repetitions.
        p: of the test that there is no difference; adjusted: corrected for all pairs of the report. None where nothing
            is claimed.
        repetitions: that both have.
        apart: whether the two are known to differ.
    """

    one: int
    other: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    repetitions: int
    apart: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """Cells of a task that were given as much, by position, most accurate first.

    Attributes:
        measure: a name of `costs.MEASURES`.
        least, most: what they were given.
        best: those that cannot be told from the first of them, itself included.
    """

    measure: str
    least: float
    most: float
    cells: tuple[int, ...]
    best: tuple[int, ...]


def comparison(task: Task, one: int, other: int) -> Comparison:
    """Two cells of a task."""
    return compared(task, [(one, other)])[0]


def comparisons(task: Task) -> list[Comparison]:
    """All pairs, the better cell of each first."""
    count = len(task.cells)
    return compared(task, [(i, j) for i in range(count) for j in range(i + 1, count)])


def compared(task: Task, pairs: Sequence[tuple[int, int]]) -> list[Comparison]:
    """Pairs of cells of a task, their intervals computed together."""
    if not pairs:
        return []
    one, other = map(np.array, zip(*pairs, strict=True))
    reach = task.estimate.reach(one, other)
    return [
        Comparison(
            one=i,
            other=j,
            difference=known(middle := task.estimate.difference[i, j]),
            low=known(middle - half),
            high=known(middle + half),
            p=known(task.estimate.p[i, j]) if np.isfinite(task.adjusted[i, j]) else None,
            adjusted=known(task.adjusted[i, j]),
            repetitions=int(task.estimate.shared[i, j]),
            apart=task.apart(i, j),
        )
        for (i, j), half in zip(pairs, reach, strict=True)
    ]


def known(value: float) -> float | None:
    """None for what is not a number."""
    return float(value) if math.isfinite(value) else None


def standing(task: Task, i: int) -> str:
    """What is known of one cell, in a word or two."""
    if i in task.group:
        return SHOWN_BY_KIND[task.kind]
    return "worse" if task.worse(i, 0) else "not best"


def budgets(task: Task, prices: Sequence[Cost]) -> list[Budget]:
    """For each measure the groups of two or more cells that were given as much, and which of them are best."""
    found = []
    for measure in MEASURES:
        amounts = [getattr(price, measure) for price in prices]
        for group in matched(amounts):
            if len(group) > 1:
                ordered = sorted(group)
                best = tuple(i for i in ordered if not task.worse(i, ordered[0]))
                given = [amounts[i] for i in ordered]
                found.append(
                    Budget(measure=measure, least=min(given), most=max(given), cells=tuple(ordered), best=best)
                )
    return found
