"""What each cell costs, whose budgets are equal, and which accuracy no cheaper cell reaches."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlfw.report.cells import Cell
from tlfw.report.number_format import short
from tlfw.report.runs import Run

MEASURES = {
    "epochs": "epochs of the target",
    "steps": "optimizer steps",
    "images": "images seen",
    "direct_flops": "FLOPs",
}
"""In which a budget can be equal, and what people call it. Images are counted each time they are seen."""

MATCHED = 0.05
"""Budgets that differ by no more than this share are called equal."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one run of a cell, in the mean over its repetitions.

    Attributes:
        epochs: over the target's training images; steps: of the optimizer; images: seen, each time; flops: of training,
            forward and backward, multiply and add counted apart. All as if the run had been alone.
        direct_flops: those that it would take if no features were stored: what a budget in FLOPs is counted in.
        seconds: of training, validation, features and test, as if the run had been alone.
        shared_images, shared_flops, shared_seconds: where each stage counts for its part of the runs of this report
            that have it, so that the sum over all runs is what all of them took together, but for stored features: they
            count whole in each stage that is made from them.
    """

    epochs: float
    steps: float
    images: float
    flops: float
    direct_flops: float
    seconds: float
    shared_images: float
    shared_flops: float
    shared_seconds: float


def costs(cells: Sequence[Cell], runs: Sequence[Run]) -> list[Cost]:
    """The cost of each cell.

    Args:
        runs: all that share stages, also those that were not chosen.
    """
    # A run that was asked for under two names was made once.
    once = {run.folder: run.record for run in runs}
    users = Counter(stage["key"] for record in once.values() for stage in record.stages)
    return [
        Cost(
            **{
                field.name: float(np.mean([_of(run, users)[field.name] for run in cell.runs.values()]))
                for field in dataclasses.fields(Cost)
            }
        )
        for cell in cells
    ]


def _of(run: Run, users: Mapping[str, int]) -> dict[str, float]:
    record = run.record
    target = record.images["target"]["train"]
    evaluation = record.cost["seconds"] - sum(stage["seconds"] for stage in record.stages)

    def total(name: str, shared: bool = False) -> float:
        return sum(stage[name] / (users[stage["key"]] if shared else 1) for stage in record.stages)

    return {
        "epochs": sum(stage["steps"] * stage["per_batch"].get("target", 0) for stage in record.stages) / target,
        "steps": total("steps"),
        "images": total("images_seen"),
        "flops": total("train_flops"),
        "direct_flops": total("direct_flops"),
        "seconds": record.cost["seconds"],
        "shared_images": total("images_seen", shared=True),
        "shared_flops": total("train_flops", shared=True),
        "shared_seconds": total("seconds", shared=True) + evaluation,
    }


def pareto(prices: Sequence[float], merits: Sequence[float]) -> list[int]:
    """Positions of the Pareto-optimal: those that none of the same or a lower price beats, cheapest first.

    Args:
        merits: the higher the better.
    """
    order = sorted(range(len(prices)), key=lambda i: (prices[i], -merits[i]))
    kept: list[int] = []
    for i in order:
        if not kept or merits[i] > merits[kept[-1]]:
            kept.append(i)
    return kept


def matched(amounts: Sequence[float]) -> list[list[int]]:
    """Positions in groups within which no two differ by more than `MATCHED` of the larger; the largest group first."""
    groups: list[list[int]] = []
    for i in sorted(range(len(amounts)), key=lambda i: amounts[i]):
        if groups and amounts[i] - amounts[groups[-1][0]] <= MATCHED * amounts[i]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return sorted(groups, key=len, reverse=True)


def unequal(cells: Sequence[Cell], prices: Sequence[Cost]) -> dict[str, str]:
    """How cells were given more than others: in what -> a sentence; nothing where all are equal."""
    said = {}
    tried = [cell.tried for cell in cells]
    if len(set(tried)) > 1:
        most, least = (_named(cells, tried, value) for value in (max(tried), min(tried)))
        said["settings"] = (
            f"Not all cells were tuned alike: {most} was chosen from {max(tried)} settings, {least} from {min(tried)}."
        )
    for measure in ("images", "direct_flops"):
        amounts = [getattr(price, measure) for price in prices]
        if len(cells) > 1 and max(amounts) - min(amounts) > MATCHED * max(amounts):
            said[measure] = (
                f"Training budgets differ in {MEASURES[measure]}: from {short(min(amounts))} "
                f"({_named(cells, amounts, min(amounts))}) to {short(max(amounts))} "
                f"({_named(cells, amounts, max(amounts))})."
            )
    return said


def _named(cells: Sequence[Cell], values: Sequence[Any], value: Any) -> str:
    return min(cell.name for cell, own in zip(cells, values, strict=True) if own == value)
