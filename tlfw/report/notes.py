"""What a reader of the report has to know besides its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tlfw.records.metric import Metric
from tlfw.report.cells import COMPARED, Cell
from tlfw.report.gather import Gathered
from tlfw.report.number_format import labelled
from tlfw.report.verdict import Task

MOST_CHOSEN = 12
"""Cells whose chosen settings are said."""

UNEQUAL_CLASSES = 3
"""Times as many test images as another class has: then accuracy is ruled by the large ones."""


def notes(gathered: Gathered, cells: Sequence[Cell], tasks: Sequence[Task], label_N: np.ndarray) -> list[str]:
    """One sentence each: on runs that are missing, on classes, on what runs said, on settings.

    Args:
        cells: all, of whichever task.
        label_N: of the test images, int `[N]`.
    """
    return [
        *_missing(gathered),
        *_left_out(cells),
        *_classes(label_N, gathered.metric),
        *_remarks(gathered),
        *_hardware(cells),
        *_compared(tasks, gathered),
        *_chosen(tasks),
    ]


def unequal_budgets(tasks: Sequence[Task], found: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """What budgets differ in: each thing once, of the first task where it is so; and where else with other numbers."""
    said = []
    for measure in dict.fromkeys(measure for each in found for measure in each):
        first, *others = [(task, each[measure]) for task, each in zip(tasks, found, strict=True) if measure in each]
        if any(sentence != first[1] for _, sentence in others) or len(others) + 1 < len(tasks):
            where = labelled(first[0].labelled)
            also = "; ".join(labelled(task.labelled) for task, _ in others)
            said.append(f"With {where}: {first[1]}{f' Similarly with {also}.' if also else ''}")
        else:
            said.append(first[1])
    return tuple(said)


def _missing(gathered: Gathered) -> list[str]:
    found = []
    if gathered.missing:
        parts = ", ".join(f"{count} {status}" for status, count in gathered.missing.items())
        done = len({run.folder for run in gathered.runs})
        are = "is" if done == 1 else "are"
        change = ": what follows may change" if not gathered.whole else ""
        found.append(f"{done} of {gathered.asked} runs {are} done ({parts}){change}.")
    return found


def _classes(label_N: np.ndarray, metric: Metric) -> list[str]:
    """Where classes are so unequal that accuracy is ruled by the large ones."""
    _, count_C = np.unique(label_N, return_counts=True)
    if metric.name != "accuracy" or count_C.max() <= UNEQUAL_CLASSES * count_C.min():
        return []
    return [
        f"Test classes are unequal ({count_C.min():,} to {count_C.max():,} images): accuracy counts the large ones "
        "most. metric=balanced_accuracy counts each class the same."
    ]


def _remarks(gathered: Gathered) -> list[str]:
    """What the runs said at their start, each once; what only some of them said names how many."""
    counted: dict[str, set[Path]] = {}
    for run in gathered.runs:
        for remark in run.record.remarks:
            counted.setdefault(remark, set()).add(run.folder)
    every = len({run.folder for run in gathered.runs})
    return [
        remark + (f" ({len(own)} of {every} runs)" if len(own) < every else "") + "." * (not remark.endswith("."))
        for remark, own in counted.items()
    ]


def _hardware(cells: Sequence[Cell]) -> list[str]:
    """Where one stage of a cell's runs was computed on several processors, which round otherwise."""
    mixed: dict[str, set[str]] = {}
    for cell in cells:
        by_stage: dict[str, set[str]] = {}
        for run in cell.runs.values():
            for stage in run.record.stages:
                by_stage.setdefault(stage["name"], set()).update(stage.get("hardware", []))
        if several := [processors for processors in by_stage.values() if len(processors) > 1]:
            mixed[cell.name] = set().union(*several)
    if not mixed:
        return []
    processors = " and ".join(sorted(set().union(*mixed.values())))
    return [
        f"{len(mixed)} of {len(cells)} cells mix hardware ({processors}), which rounds differently: a part of the "
        "spread over repetitions may come of that. exact=true keeps it apart."
    ]


def _compared(tasks: Sequence[Task], gathered: Gathered) -> list[str]:
    """What makes cells, and what was tuned within them."""
    tuned = list(
        dict.fromkeys(name for task in tasks for cell in task.cells if cell.tried > 1 for name in cell.settings)
    )
    if not tuned and not gathered.compare:
        return []
    within = f"; tuned on validation data within each: {', '.join(tuned)}" if tuned else ""
    return [f"Compared: {', '.join([*COMPARED, *gathered.compare])}{within}."]


def _chosen(tasks: Sequence[Task]) -> list[str]:
    """Which settings were chosen, where there was a choice."""
    said = []
    for task in tasks:
        where = f"With {labelled(task.labelled)}: " if len(tasks) > 1 else ""
        for cell in (cell for cell in task.cells if cell.tried > 1):
            settings = ", ".join(f"{name} = {value}" for name, value in cell.settings.items())
            if cell.tied > 1:
                said.append(
                    f"{where}{cell.tied} of {cell.tried} settings of {cell.name} tie on validation data; shown is "
                    f"{settings}."
                )
            else:
                said.append(f"{where}{cell.name} has the best of {cell.tried} settings on validation data: {settings}.")
    rest = [f"The settings chosen for {len(said) - MOST_CHOSEN} more are in leaderboard.csv."]
    return said[:MOST_CHOSEN] + rest * (len(said) > MOST_CHOSEN)


def _left_out(cells: Sequence[Cell]) -> list[str]:
    count = sum(cell.incomplete for cell in cells)
    return (
        [f"{count} settings were not considered, for they have fewer repetitions than others of their cell."]
        if count
        else []
    )
