"""Tables for programs: a row a run, and a row a class of a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlfw.escape import csv_text
from tlfw.report.findings import Findings
from tlfw.report.mistakes import called
from tlfw.report.runs import Run

BEGINNING = (
    "run_id", "status", "sweep", "data_mix", "freeze_policy", "backbone", "weights", "source", "target", "labelled",
    "seed", "draw", "fold", "chosen",
)  # fmt: skip
"""Columns that every table of runs has, first."""


def runs_csv(findings: Findings) -> str:
    """A row a run that is done or diverged, numbers in full, what does not apply empty.

    Every field that was swept has a column of its name; then come all metrics, the costs, the environment
    and the folder. `chosen` is whether a cell of the report stands on it. pandas.read_csv reads it as it is.
    """
    gathered = findings.gathered
    chosen = {
        (run.folder, run.data_mix, run.freeze_policy)
        for task in findings.tasks
        for cell in task.cells
        for run in cell.runs.values()
    }
    runs = [*gathered.runs, *gathered.diverged]
    swept = _swept(runs)
    metrics = sorted({name for run in runs for name in run.record.metrics})
    costs = sorted({name for run in runs for name in run.record.cost})
    rows: list[dict[str, Any]] = []
    for run in runs:
        record = run.record
        rows.append(
            {
                "run_id": record.run_id,
                "status": record.status,
                "sweep": record.sweep,
                "data_mix": run.data_mix,
                "freeze_policy": run.freeze_policy,
                "backbone": record.backbone,
                "weights": run.settings.get("backbone.weights"),
                "source": record.source,
                "target": record.target,
                "labelled": run.settings.get("target.train_per_class"),
                "seed": record.seed,
                "draw": run.settings.get("target.split_seed"),
                "fold": record.fold,
                "chosen": (run.folder, run.data_mix, run.freeze_policy) in chosen,
                **{name: run.settings.get(name) for name in swept},
                **{name: record.metrics.get(name) for name in metrics},
                **{f"cost/{name}": record.cost.get(name) for name in costs},
                "images_seen": sum(stage["images_seen"] for stage in record.stages),
                "steps": sum(stage["steps"] for stage in record.stages),
                "device": record.environment.get("device"),
                "ended": record.ended,
                "folder": run.folder.name,
            }
        )
    return _text(rows)


OPTIONS = ("data_mix", "freeze_policy", "backbone")
"""Groups whose option's name is a column."""


def _swept(runs: Sequence[Run]) -> list[str]:
    """Fields that decide numbers and differ between runs, besides those that have columns of their own. What follows
    from the names of the options is left out, for these have columns.
    """
    names = sorted({name for run in runs for name in run.named})
    own = ("backbone.name", "backbone.weights", "backbone._target_", "target.train_per_class")

    def differs(name: str) -> bool:
        follows = name.startswith(tuple(f"{group}." for group in OPTIONS))
        values: dict[tuple[str, ...], set[str]] = {}
        for run in runs:
            place = (run.data_mix, run.freeze_policy, run.record.backbone) if follows else ()
            values.setdefault(place, set()).add(str(run.settings.get(name)))
        return any(len(each) > 1 for each in values.values())

    return [name for name in names if name not in own and differs(name)]


def classes_csv(findings: Findings) -> str:
    """A row a class of a cell, over all repetitions together: how many test images it has, the share of them that is
    named right (recall), and the largest confusion.
    """
    rows = []
    for t, task in enumerate(findings.tasks):
        for i, cell in enumerate(task.cells):
            looked = findings.mistakes[t][i]
            taken = {one: (other, share) for one, other, share in reversed(looked.confused)}
            for k, name in enumerate(findings.classes):
                other, share = taken.get(k, (None, None))
                rows.append(
                    {
                        "labelled": "all" if task.labelled is None else task.labelled,
                        "cell": cell.name,
                        "class": name,
                        "predictions": int(looked.count_K[k]),
                        "recall": float(looked.accuracy_K[k]),
                        "precision": float(looked.precision_K[k]),
                        "f1": float(looked.f1_K[k]),
                        "most_often_called": None if other is None else called(findings.classes, other),
                        "share_called_so": share,
                    }
                )
    return _text(rows)


def _text(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys((*BEGINNING * ("run_id" in rows[0]), *rows[0])))
    return csv_text([names, *([_plain(row.get(name)) for name in names] for row in rows)])


def _plain(value: Any) -> Any:
    """What does not apply, or is no number, is empty."""
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return None
    return value
