"""Everything that a report says, before it is drawn or written."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlfw.errors import ConfigError
from tlfw.report.cells import Cell, cells_of
from tlfw.report.costs import Cost, costs, pareto, unequal
from tlfw.report.digits import labelled
from tlfw.report.gather import Gathered, Run, gather
from tlfw.report.mistakes import HardImage, Mistakes, confusion, hardest, mistakes
from tlfw.report.verdict import Task, judge

MOST_CHOSEN = 12
"""Cells whose chosen settings are said among the notes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What the runs say.

    Attributes:
        title: the sweeps' names.
        target: the data set that was tested on; test_images: how many of it; classes: their names.
        gathered: which runs this is of.
        tasks: the cells by labelled images a class, fewest first. Everything below is by task and position in it.
        costs: of each cell.
        mistakes: of each cell.
        confusions: of the first cell and of its `rival`, by position: see `mistakes.confusion`.
        hard: by task, how many images all cells get wrong, and some of them.
        unequal: sentences on budgets that differ, to be said before all else.
        notes: what else a reader has to know.
    """

    title: str
    target: str
    test_images: int
    classes: tuple[str, ...]
    gathered: Gathered
    tasks: tuple[Task, ...]
    costs: tuple[tuple[Cost, ...], ...]
    mistakes: tuple[tuple[Mistakes, ...], ...]
    confusions: tuple[Mapping[int, np.ndarray], ...]
    hard: tuple[tuple[int, list[HardImage]], ...]
    unequal: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def comparisons(self) -> int:
        """How many pairs of cells were compared, without those of controls on random features."""
        found = 0
        for task in self.tasks:
            own = [i for i, cell in enumerate(task.cells) if not cell.random_features]
            found += int((~np.isnan(task.adjusted[np.ix_(own, own)][np.triu_indices(len(own), 1)])).sum())
        return found


def find_out(places: Sequence[Path]) -> Findings:
    """Gather the runs of `places`, choose the settings of each cell on validation data, read the test predictions of
    the chosen runs alone, and compare.

    Raises:
        ConfigError: there is nothing to report, or it cannot be compared.
    """
    gathered = gather(places)
    cells, notes = cells_of(gathered.runs)
    said: dict[str, Any] = {}
    read: dict[int, dict[Any, dict[str, np.ndarray]]] = {}
    by_labels: defaultdict[int | None, list[tuple[Cell, dict[object, np.ndarray]]]] = defaultdict(list)
    looked: dict[int, Mistakes] = {}
    for cell in cells:
        predictions = {replicate: dict(_same(run, said)) for replicate, run in cell.runs.items()}
        looked[id(cell)] = mistakes(list(predictions.values()))
        correct: dict[object, np.ndarray] = {r: each["prediction"] == each["label"] for r, each in predictions.items()}
        by_labels[cell.labelled].append((cell, correct))
        for each in predictions.values():  # what is not needed of many runs is not kept
            del each["confidence"]
            each["prediction"] = each["prediction"].astype(np.int32)
        read[id(cell)] = predictions
    order = sorted(by_labels, key=lambda labelled: np.inf if labelled is None else labelled)
    tasks = judge([(labelled, by_labels[labelled]) for labelled in order])
    prices = {id(cell): price for cell, price in zip(cells, costs(cells, gathered.runs), strict=True)}
    first = next(iter(next(iter(read.values())).values()))
    names = gathered.runs[0].names()
    predicted = [[list(read[id(cell)].values()) for cell in task.cells] for task in tasks]
    return Findings(
        title=" + ".join(gathered.sweeps) or "runs",
        target=gathered.runs[0].record.target,
        test_images=len(first["label"]),
        classes=tuple(map(str, first["classes"])),
        gathered=gathered,
        tasks=tuple(tasks),
        costs=tuple(tuple(prices[id(cell)] for cell in task.cells) for task in tasks),
        mistakes=tuple(tuple(looked[id(cell)] for cell in task.cells) for task in tasks),
        confusions=tuple(
            {i: confusion(cells_[i]) for i in (0, rival(task)) if i is not None}
            for task, cells_ in zip(tasks, predicted, strict=True)
        ),
        hard=tuple(hardest([each for found in cells_ for each in found], names) for cells_ in predicted),
        unequal=_unequal(tasks, [unequal(task.cells, [prices[id(cell)] for cell in task.cells]) for task in tasks]),
        notes=(*gathered.notes, *notes, *_missing(gathered), *_left_out(cells), *_chosen(tasks)),
    )


def rival(task: Task) -> int | None:
    """Whom the first cell of a task is looked at beside: the best control, else the second; None: there is no other."""
    controls = [i for i, cell in enumerate(task.cells) if i and cell.data_mix == "target_only"]
    return next(iter(controls), 1 if len(task.cells) > 1 else None)


def front(task: Task, prices: Sequence[Cost], measure: str) -> list[int]:
    """Positions of the cells that none at most as dear beats, cheapest first; controls on random features are none,
    unless there is nothing else.

    Args:
        measure: a field of `Cost`.
    """
    every = range(len(task.cells))
    candidates = [i for i in every if not task.cells[i].random_features] or every
    kept = pareto([getattr(prices[i], measure) for i in candidates], [task.accuracies[i].mean for i in candidates])
    return [candidates[i] for i in kept]


def _unequal(tasks: Sequence[Task], found: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Each thing once, of the first task where it is so; and where else it is so with other numbers."""
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


def _same(run: Run, said: dict[str, Any]) -> dict[str, np.ndarray]:
    """A run's predictions, of the same images as all others'; what is equal is kept once.

    Raises:
        ConfigError: they are of other images than the record says.
    """
    found = dict(run.predictions())
    for name in ("index", "label", "classes"):
        said.setdefault(name, found[name])
        if not np.array_equal(said[name], found[name]):
            raise ConfigError(
                str(run.folder),
                f"its predictions have another {name} than those of the other runs, though its record says that it was "
                "tested on the same images.",
                "Remove the run's folder; the command that made it makes it again.",
            )
        found[name] = said[name]
    return found


def _missing(gathered: Gathered) -> list[str]:
    if not gathered.missing:
        return []
    parts = ", ".join(f"{count} {status}" for status, count in gathered.missing.items())
    are = "is" if len(gathered.runs) == 1 else "are"
    return [f"{len(gathered.runs)} of {gathered.asked} runs {are} done ({parts}): what follows may change."]


def _chosen(tasks: Sequence[Task]) -> list[str]:
    """Which settings were chosen, where there was a choice."""
    said = []
    for task in tasks:
        where = f"With {labelled(task.labelled)}: " if len(tasks) > 1 else ""
        for cell in (cell for cell in task.cells if cell.tried > 1):
            settings = ", ".join(f"{name} = {value}" for name, value in cell.settings.items())
            said.append(f"{where}{cell.name} has the best of {cell.tried} settings on validation data: {settings}.")
    rest = [f"The settings chosen for {len(said) - MOST_CHOSEN} more are in leaderboard.csv."]
    return said[:MOST_CHOSEN] + rest * (len(said) > MOST_CHOSEN)


def _left_out(cells: Sequence[Cell]) -> list[str]:
    count = sum(cell.incomplete for cell in cells)
    return (
        [f"{count} settings were not considered, for they have fewer seeds than others of their cell."] if count else []
    )
