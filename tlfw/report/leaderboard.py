"""A row a cell, and what is said of pairs and groups of cells: the numbers that tables, page and terminal show."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tlfw.report.cells import Cell
from tlfw.report.costs import MEASURES, Cost, matched
from tlfw.report.findings import Findings
from tlfw.report.statistics import LEVEL
from tlfw.report.verdict import Task

SHOWN_BY_KIND = {"winner": "best", "group": "best group", "undecided": "undecided", "alone": "the only one"}
"""What is said of a cell that cannot be told from the first, itself included, in a task of each kind."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One cell. Shares are in [0, 1], means over its seeds; what does not apply is None.

    Attributes:
        rank: by test accuracy, among cells with as many labelled images.
        settings: of its hyper-parameters that were varied, those chosen; tried: from how many settings.
        low, high: of a 95 % interval of the test accuracy; with one seed it covers test images only.
        seed_sd: the standard deviation of the seeds' test accuracies.
        log_loss: nats. ece: the expected calibration error, over all seeds together.
        source_kept: validation accuracy on the source after all.
        images, flops, seconds: as if the run had been alone; direct_flops: without stored features; shared_*: its part
            of what all runs took together.
        in_best_group: it cannot be told from the first.
        p_against_best: of the difference to the first, corrected for all comparisons of the report.
        difference: to the first (negative: worse), with a 95 % interval.
        random_features: nothing below its trained layers ever learnt.
    """

    rank: int
    labelled: int | None
    cell: str
    data_mix: str
    freeze_policy: str
    backbone: str
    source: str | None
    settings: Mapping[str, Any]
    tried: int
    seeds: int
    test_accuracy: float
    low: float
    high: float
    seed_sd: float | None
    val_accuracy: float
    balanced_accuracy: float | None
    macro_f1: float | None
    log_loss: float | None
    ece: float
    source_kept: float | None
    epochs: float
    steps: float
    images: float
    flops: float
    direct_flops: float
    seconds: float
    shared_images: float
    shared_flops: float
    shared_seconds: float
    in_best_group: bool
    p_against_best: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    random_features: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of two cells of a task, by position: one minus other.

    Attributes:
        low, high: a 95 % interval of the difference, for each alone; None where the two share no seed.
        p: of the test that there is no difference; adjusted: corrected for all comparisons of the report.
        seeds: that both have.
        ahead, behind: how often, over seeds and images, only the one is right, and only the other.
    """

    one: int
    other: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    seeds: int
    ahead: int | None
    behind: int | None


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


def rows(findings: Findings) -> list[list[Row]]:
    """By task and position in it, as everything in `findings`."""
    return [
        [_row(findings, t, position) for position in range(len(task.cells))] for t, task in enumerate(findings.tasks)
    ]


def _row(findings: Findings, t: int, i: int) -> Row:
    task = findings.tasks[t]
    cell, accuracy, cost = task.cells[i], task.accuracies[i], findings.costs[t][i]
    best = comparison(task, i, 0) if i else None
    return Row(
        rank=i + 1,
        labelled=task.labelled,
        cell=cell.name,
        data_mix=cell.data_mix,
        freeze_policy=cell.freeze_policy,
        backbone=cell.backbone,
        source=cell.source,
        settings=cell.settings,
        tried=cell.tried,
        seeds=accuracy.seeds,
        test_accuracy=accuracy.mean,
        low=accuracy.low,
        high=accuracy.high,
        seed_sd=accuracy.seed_sd,
        val_accuracy=cell.val_accuracy,
        balanced_accuracy=cell.mean("target/test/balanced_acc"),
        macro_f1=cell.mean("target/test/macro_f1"),
        log_loss=cell.mean("target/test/loss"),
        ece=findings.mistakes[t][i].ece,
        source_kept=cell.mean("source/val/acc"),
        **{field.name: getattr(cost, field.name) for field in dataclasses.fields(Cost)},
        in_best_group=i in task.group,
        p_against_best=best.adjusted if best else None,
        difference=best.difference if best else None,
        difference_low=best.low if best else None,
        difference_high=best.high if best else None,
        random_features=cell.random_features,
    )


def comparison(task: Task, one: int, other: int) -> Comparison:
    """Two cells, from the task's matrices."""
    found, place = task.differences, (one, other)
    ahead, behind = (known(each[place]) for each in (found.ahead, found.behind))
    return Comparison(
        one=one,
        other=other,
        difference=known(found.mean[place]),
        low=known(found.low[place]),
        high=known(found.high[place]),
        p=known(found.p[place]),
        adjusted=known(task.adjusted[place]),
        seeds=int(found.seeds[place]),
        ahead=None if ahead is None else round(ahead),
        behind=None if behind is None else round(behind),
    )


def comparisons(task: Task) -> list[Comparison]:
    """All pairs, the more accurate cell of each first."""
    count = len(task.cells)
    return [comparison(task, i, j) for i in range(count) for j in range(i + 1, count)]


def known(value: float) -> float | None:
    """None for what is not a number."""
    return float(value) if math.isfinite(value) else None


def standing(task: Task, i: int) -> str:
    """What the verdict is of one cell, in two words."""
    if i in task.group:
        return SHOWN_BY_KIND[task.kind]
    return "worse" if task.adjusted[0, i] < LEVEL else SHOWN_BY_KIND["undecided"]


def leads(task: Task) -> tuple[int, ...]:
    """Positions of what stands out: the best and its equals, where anything is worse than they are."""
    return task.group if task.kind in ("winner", "group") else ()


def budgets(task: Task, prices: Sequence[Cost]) -> list[Budget]:
    """For each measure the groups of two or more cells that were given as much, and which of them are best."""
    found = []
    for measure in MEASURES:
        amounts = [getattr(price, measure) for price in prices]
        for group in matched(amounts):
            if len(group) > 1:
                ordered = sorted(group)
                first = ordered[0]
                best = tuple(i for i in ordered if i == first or not task.adjusted[first, i] < LEVEL)
                given = [amounts[i] for i in ordered]
                found.append(
                    Budget(measure=measure, least=min(given), most=max(given), cells=tuple(ordered), best=best)
                )
    return found


def source_before(cell: Cell) -> float | None:
    """Validation accuracy on the source before the last stage, in the mean over the runs; None where nothing was
    learnt of it before that."""
    found = []
    for run in cell.runs.values():
        earlier = [stage.get("metrics", {}).get("source/val/acc") for stage in run.record.stages[:-1]]
        seen = [value for value in earlier if value is not None]
        if not seen:
            return None
        found.append(seen[-1])
    return sum(found) / len(found)
