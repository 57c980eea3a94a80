"""Everything that a report says, before it is drawn or written."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlfw.errors import ConfigError
from tlfw.records.metric import METRICS, TARGET_VAL, Metric, Predictions
from tlfw.report.cells import Cell, cells_of
from tlfw.report.costs import Cost, costs, pareto, unequal
from tlfw.report.gather import AS_ASKED, Gathered, Wanted, gather
from tlfw.report.mistakes import HardImage, Mistakes, confusion, hardest, mistakes
from tlfw.report.near_copies import NearCopy, near_copies
from tlfw.report.notes import notes, unequal_budgets
from tlfw.report.runs import GROUP, Run
from tlfw.report.sentences import advice, remarks, scope, sentence
from tlfw.report.statistics.estimate import Estimate, estimate
from tlfw.report.statistics.score_tables import Repetition
from tlfw.report.verdict import Floor, Shipped, Task, claims_of, corrected, judge, level_of

SAMENESS = ("index", "label", "classes")
"""What the predictions of all runs that were tested on the same images have in common."""


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
        near_copies: test images that look nearly like one that was learnt from, or could have been; the likest first.
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
    near_copies: tuple[NearCopy, ...]
    unequal: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def metric(self) -> Metric:
        """What is judged by."""
        return self.gathered.metric

    @property
    def comparisons(self) -> int:
        """How many pairs of cells were compared, without those of controls on random features."""
        found = 0
        for task in self.tasks:
            own = [i for i, cell in enumerate(task.cells) if not cell.random_features]
            found += int((~np.isnan(task.adjusted[np.ix_(own, own)][np.triu_indices(len(own), 1)])).sum())
        return found


Tested = Mapping[Repetition, Mapping[str, np.ndarray]]
"""Of one cell: repetition -> predictions."""


def find_out(places: Sequence[Path], wanted: Wanted = AS_ASKED) -> Findings:
    """Gather the runs of `places`, choose the settings of each cell on validation data, read the test predictions of
    the chosen runs alone, and compare.

    Raises:
        ConfigError: there is nothing to report, or it cannot be compared.
    """
    gathered = gather(places, wanted)
    metric = gathered.metric
    cells, chosen = cells_of(gathered.runs, metric, compare=gathered.compare, diverged=gathered.diverged)
    shared: dict[tuple[int | None, str], Any] = {}
    tested: dict[int, Tested] = {}
    scores: dict[int, dict[Repetition, np.ndarray]] = {}
    looked: dict[int, Mistakes] = {}
    by_labels: defaultdict[int | None, list[int]] = defaultdict(list)
    for c, cell in enumerate(cells):
        predictions = {r: dict(_same(run, r.fold, shared)) for r, run in cell.runs.items()}
        looked[c] = mistakes(list(predictions.values()))
        scores[c] = {r: metric.influence(_predictions(each)) for r, each in predictions.items()}
        for each in predictions.values():  # what is not needed of many runs is not kept
            del each["confidence"], each["log_prob"]
            each["prediction"] = each["prediction"].astype(np.int32)
        tested[c] = predictions
        by_labels[cell.labelled].append(c)
    order = sorted(by_labels, key=lambda count: np.inf if count is None else count)
    data = _TestData.of(shared, metric)
    tasks, places_of = _tasks([[(cells[c], scores[c]) for c in by_labels[count]] for count in order], gathered, data)
    members = [[by_labels[count][i] for i in own] for count, own in zip(order, places_of, strict=True)]
    prices = dict(enumerate(costs(cells, gathered.runs)))
    predicted = [[list(tested[c].values()) for c in own] for own in members]
    near, not_read = near_copies(gathered.runs)
    names = {run.record.fold: run.names() for run in reversed(gathered.runs)}
    return Findings(
        title=" + ".join(gathered.sweeps) or "runs",
        target=gathered.runs[0].record.target,
        test_images=len(data.label),
        classes=data.classes,
        gathered=gathered,
        tasks=tuple(tasks),
        costs=tuple(tuple(prices[c] for c in own) for own in members),
        mistakes=tuple(tuple(looked[c] for c in own) for own in members),
        confusions=tuple(
            {i: confusion(cells_[i]) for i in (0, rival(task)) if i is not None}
            for task, cells_ in zip(tasks, predicted, strict=True)
        ),
        hard=tuple(_hardest([tested[c] for c in own], names) for own in members),
        near_copies=near,
        unequal=unequal_budgets(
            tasks, [unequal(task.cells, [prices[c] for c in own]) for task, own in zip(tasks, members, strict=True)]
        ),
        notes=(
            *gathered.notes,
            *chosen,
            *not_read,
            *notes(gathered, cells, tasks, data.label),
        ),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _TestData:
    """The test images, those of all folds after each other.

    Attributes:
        label: int64 `[N]`; classes: their names.
        clusters: the cluster of each image, int `[N]`; None: there are none, or there are folds.
        shortage: what they lack for intervals to carry claims; empty: nothing.
    """

    label: np.ndarray
    classes: tuple[str, ...]
    clusters: np.ndarray | None
    floor: Floor
    shortage: str

    @classmethod
    def of(cls, shared: Mapping[tuple[int | None, str], Any], metric: Metric) -> _TestData:
        folds = list(dict.fromkeys(fold for fold, _ in shared))
        label = np.concatenate([shared[fold, "label"] for fold in folds])
        classes = tuple(map(str, shared[folds[0], "classes"]))
        groups = shared.get((folds[0], GROUP)) if len(folds) == 1 else None
        clusters = None if groups is None else np.unique(groups, return_inverse=True)[1]
        shortage = metric.shortage(label, classes)
        if clusters is not None and clusters.max() == 0:
            shortage = "several groups of test images, and there is one"
        floor = Floor(chance=metric.chance(label, len(classes)), majority=metric.majority(label, len(classes)))
        return cls(label=label, classes=classes, clusters=clusters, floor=floor, shortage=shortage)


def _predictions(arrays: Mapping[str, np.ndarray]) -> Predictions:
    return Predictions(
        label=arrays["label"],
        prediction=arrays["prediction"],
        log_prob=arrays["log_prob"],
        classes=len(arrays["classes"]),
    )


def _tasks(
    groups: Sequence[Sequence[tuple[Cell, dict[Repetition, np.ndarray]]]], gathered: Gathered, data: _TestData
) -> tuple[list[Task], list[list[int]]]:
    """The tasks, judged, and of each the positions of its cells in its group, best first."""
    metric = gathered.metric
    orders, cells, estimates, drawn = [], [], [], []
    for group in groups:
        share = _drawn([cell for cell, _ in group])
        found = estimate(
            [scores for _, scores in group],
            [cell.kin for cell, _ in group],
            clusters_N=data.clusters,
            drawn=share,
            folds=_folds([cell for cell, _ in group]),
            bounds=(metric.low, metric.high),
        )
        order = _order(found, [cell for cell, _ in group], metric)
        orders.append(order)
        cells.append([group[i][0] for i in order])
        estimates.append(found.ordered(order))
        drawn.append(share)
    claims = [claims_of(each, metric, not data.shortage) for each in estimates]
    tasks = []
    adjusted = corrected(estimates, claims, cells)
    for k, (group, order) in enumerate(zip(groups, orders, strict=True)):
        task = Task(
            labelled=cells[k][0].labelled,
            metric=metric,
            cells=tuple(cells[k]),
            estimate=estimates[k],
            floor=data.floor,
            shortage=data.shortage,
            level=level_of(estimates[k], gathered.planned, gathered.whole),
            adjusted=adjusted[k],
            kind="undecided",
            group=(),
            scope=scope(cells[k], estimates[k], drawn[k]),
            shipped=_shipped([group[i] for i in order], metric, data),
        )
        judged = judge(task, claims[k], gathered.margin)
        tasks.append(
            dataclasses.replace(
                judged,
                sentence=sentence(judged, gathered.margin),
                advice=advice(judged),
                remarks=remarks(judged),
            )
        )
    return tasks, orders


def _order(found: Estimate, cells: Sequence[Cell], metric: Metric) -> list[int]:
    """Positions of cells, best first; of equals the first by name."""
    sign = -1 if metric.higher_is_better else 1
    return sorted(range(len(cells)), key=lambda i: (sign * found.means[i].value, cells[i].name))


def _drawn(cells: Sequence[Cell]) -> float | None:
    """The share of the pool that repetitions drew; None: they all learnt from the same images. Where no record says how
    large the pool was, all of it.
    """
    contents = [{run.record.content["target"]["train"] for run in cell.runs.values()} for cell in cells]
    if max(map(len, contents)) < 2 or _folds(cells) is not None:
        return None
    shares = [run.record.drawn for cell in cells for run in cell.runs.values()]
    return max(1.0 if share is None else share for share in shares)


def _folds(cells: Sequence[Cell]) -> int | None:
    """Into how many folds the images were divided; None: they were not."""
    runs = [run for cell in cells for run in cell.runs.values()]
    if all(run.record.fold is None for run in runs):
        return None
    return max(int(run.settings.get("folds") or 2) for run in runs)


def _shipped(
    members: Sequence[tuple[Cell, Mapping[Repetition, np.ndarray]]], metric: Metric, data: _TestData
) -> Shipped | None:
    """The trained model that validates best, and how good it is on test images; none of folds, of which each lacks a
    part of the images.
    """
    if _folds([cell for cell, _ in members]) is not None:
        return None
    name, loss = metric.at(TARGET_VAL), METRICS["log_loss"].at(TARGET_VAL)
    trained = [(i, r, run) for i, (cell, _) in enumerate(members) for r, run in cell.runs.items()]
    sign = -1 if metric.higher_is_better else 1

    def worth(each: tuple[int, Repetition, Run]) -> float:
        return float(each[2].record.metrics[name])  # type: ignore[arg-type]

    top = min(sign * worth(each) for each in trained)
    tied = [each for each in trained if np.isclose(sign * worth(each), top, rtol=0, atol=1e-9)]
    chosen = min(tied, key=lambda each: (each[2].record.metrics.get(loss) or 0.0, each[2].folder.name))
    alone = estimate(
        [{chosen[1]: members[chosen[0]][1][chosen[1]]}],
        [None],
        clusters_N=data.clusters,
        bounds=(metric.low, metric.high),
    )
    return Shipped(cell=chosen[0], run=chosen[2], validation=worth(chosen), tied=len(tied), tested=alone.means[0])


def rival(task: Task) -> int | None:
    """Whom the first cell of a task is looked at beside: the best control, else the second; None: there is no other."""
    controls = [i for i, cell in enumerate(task.cells) if i and cell.control]
    return next(iter(controls), 1 if len(task.cells) > 1 else None)


def front(task: Task, prices: Sequence[Cost], measure: str) -> list[int]:
    """Positions of the Pareto-optimal cells, cheapest first. Random-feature controls are excluded unless there are no
    others.

    Args:
        measure: a field of `Cost`.
    """
    every = range(len(task.cells))
    candidates = [i for i in every if not task.cells[i].random_features] or every
    sign = 1 if task.metric.higher_is_better else -1
    kept = pareto([getattr(prices[i], measure) for i in candidates], [sign * task.means[i].value for i in candidates])
    return [candidates[i] for i in kept]


def _same(run: Run, fold: int | None, shared: dict[tuple[int | None, str], Any]) -> dict[str, np.ndarray]:
    """A run's predictions, of the same images as all others' of its fold; what is equal is kept once.

    Raises:
        ConfigError: they are of other images than the record says.
    """
    found = dict(run.predictions())
    for name in (*SAMENESS, GROUP):
        if name not in found:
            continue
        shared.setdefault((fold, name), found[name])
        if not np.array_equal(shared[fold, name], found[name]):
            raise ConfigError(
                str(run.folder),
                f"its predictions have another {name} than those of the other runs, though its record says that it was "
                "tested on the same images.",
                "Remove the run's folder; the command that made it makes it again.",
            )
        found[name] = shared[fold, name]
    return found


def _hardest(tested: Sequence[Tested], names: Mapping[int | None, Sequence[str]]) -> tuple[int, list[HardImage]]:
    """The images that every cell gets wrong, fold by fold."""
    count, some = 0, list[HardImage]()
    for fold in dict.fromkeys(r.fold for cell in tested for r in cell):
        own = [each for cell in tested for r, each in cell.items() if r.fold == fold]
        more, found = hardest(own, names[fold])
        count, some = count + more, some + found
    return count, some
