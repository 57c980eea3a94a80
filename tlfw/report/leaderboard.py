"""A row a cell, and what is said of pairs and groups of cells: the numbers that tables, page and terminal show."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlfw.metric import METRICS
from tlfw.report.cells import Cell
from tlfw.report.costs import MEASURES, Cost, matched
from tlfw.report.findings import Findings
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
class Row:
    """One cell. Shares are in [0, 1], means over its repetitions; what does not apply is None.

    Attributes:
        rank: by the metric's mean on the test, among cells with as many labelled images.
        compared: the fields that a person compares, with this cell's values.
        settings: of its hyper-parameters that were varied, those chosen; tried: from how many settings; tied: how many
            of these validate equally well.
        diverged: repetitions that did.
        metric: what is judged by; value: its mean on the test; chance, majority: what guessing uniformly, and always
            naming the most frequent class, give.
        low, high: of a 95 % interval of the value; with one repetition it covers test images only.
        sd: the standard deviation of the repetitions' values.
        from_repetitions, from_images, from_rest: shares of the variance of the value; of repetitions, from_seeds and
            from_draws where seeds and draws are crossed.
        validation: the metric's mean on validation images.
        log_loss: nats. ece: the expected calibration error, over all repetitions together.
        source_kept: validation accuracy on the source after all.
        images, flops, seconds: as if the run had been alone; direct_flops: without stored features; shared_*: its part
            of what all runs took together.
        verdict: what is known of it, in a word or two.
        p_to_first: of the difference to the first, corrected for all pairs of the report.
        difference: to the first, in the metric's units, with a 95 % interval.
        random_features: nothing below its trained layers ever learnt. control: nothing was transferred.
    """

    rank: int
    labelled: int | None
    cell: str
    data_mix: str
    freeze_policy: str
    backbone: str
    source: str | None
    compared: Mapping[str, str]
    settings: Mapping[str, Any]
    tried: int
    tied: int
    repetitions: int
    diverged: int
    metric: str
    value: float
    low: float
    high: float
    sd: float | None
    from_repetitions: float | None
    from_seeds: float | None
    from_draws: float | None
    from_images: float | None
    from_rest: float | None
    chance: float
    majority: float
    validation: float
    accuracy: float | None
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
    verdict: str
    p_to_first: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    random_features: bool
    control: bool


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


def rows(findings: Findings) -> list[list[Row]]:
    """By task and position in it, as everything in `findings`."""
    return [
        [_row(findings, t, position) for position in range(len(task.cells))] for t, task in enumerate(findings.tasks)
    ]


def _row(findings: Findings, t: int, i: int) -> Row:
    task = findings.tasks[t]
    cell, mean, cost = task.cells[i], task.means[i], findings.costs[t][i]
    first = comparison(task, i, 0) if i else None
    shares = mean.shares
    crossed = shares["seeds"] + shares["draws"] if "seeds" in shares else None
    return Row(
        rank=i + 1,
        labelled=task.labelled,
        cell=cell.name,
        data_mix=cell.data_mix,
        freeze_policy=cell.freeze_policy,
        backbone=cell.backbone,
        source=cell.source,
        compared=cell.compared,
        settings=cell.settings,
        tried=cell.tried,
        tied=cell.tied,
        repetitions=mean.repetitions,
        diverged=cell.diverged,
        metric=task.metric.name,
        value=mean.value,
        low=mean.low,
        high=mean.high,
        sd=mean.sd,
        from_repetitions=shares.get("repetitions", crossed),
        from_seeds=shares.get("seeds"),
        from_draws=shares.get("draws"),
        from_images=shares.get("images"),
        from_rest=shares.get("rest"),
        chance=task.floor.chance,
        majority=task.floor.majority,
        validation=cell.validation,
        accuracy=_tested(cell, "accuracy"),
        balanced_accuracy=_tested(cell, "balanced_accuracy"),
        macro_f1=_tested(cell, "macro_f1"),
        log_loss=_tested(cell, "log_loss"),
        ece=findings.mistakes[t][i].ece,
        source_kept=cell.mean(METRICS["accuracy"].at("source/val")),
        **{field.name: getattr(cost, field.name) for field in dataclasses.fields(Cost)},
        verdict=standing(task, i),
        p_to_first=first.adjusted if first else None,
        difference=first.difference if first else None,
        difference_low=first.low if first else None,
        difference_high=first.high if first else None,
        random_features=cell.random_features,
        control=cell.control,
    )


def _tested(cell: Cell, metric: str) -> float | None:
    return cell.mean(METRICS[metric].at("target/test"))


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


def source_before(cell: Cell) -> float | None:
    """Validation accuracy on the source before the last stage, in the mean over the runs; None where nothing was
    learnt of it before that."""
    found = []
    for run in cell.runs.values():
        earlier = [
            stage.get("metrics", {}).get(METRICS["accuracy"].at("source/val")) for stage in run.record.stages[:-1]
        ]
        seen = [value for value in earlier if value is not None]
        if not seen:
            return None
        found.append(seen[-1])
    return sum(found) / len(found)
