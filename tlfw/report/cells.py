"""Runs become cells, and the settings of each are chosen on validation data. No test number is read here."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tlfw.identity import digest
from tlfw.report.gather import Run
from tlfw.settings import UNKEYED, flat

SELECTED_BY = "target/val/acc"

REPLICATE = ("seed", "source.split_seed", "target.split_seed")
"""What differs between repetitions of one and the same thing."""

Replicate = tuple[Any, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One way of transferring, with the settings that validated best, over its repetitions.

    Attributes:
        name: what tells it from the other cells of the report.
        labelled: labelled target images a class, validation included; None: all there are.
        runs: of the chosen settings, by repetition, which are in a fixed order.
        settings: of its hyper-parameters that were varied, those chosen.
        tried: from how many settings they were chosen.
        incomplete: how many more were not considered, for they have fewer repetitions.
        val_accuracy: the mean over the runs, [0, 1].
        random_features: whether nothing below the trained layers ever learnt.
    """

    name: str
    data_mix: str
    freeze_policy: str
    backbone: str
    source: str | None
    labelled: int | None
    runs: Mapping[Replicate, Run]
    settings: Mapping[str, Any]
    tried: int
    incomplete: int
    val_accuracy: float
    random_features: bool

    def mean(self, metric: str) -> float | None:
        """Of a record's metric over the runs; None where it does not apply."""
        values = [run.record.metrics.get(metric) for run in self.runs.values()]
        return float(np.mean([v for v in values if v is not None])) if None not in values else None


def cells_of(runs: Sequence[Run]) -> tuple[list[Cell], list[str]]:
    """Group runs, and choose the settings of each group by mean validation accuracy over its repetitions.

    Settings with fewer repetitions than others of their cell are not considered. Of equals the first by name wins.

    Returns:
        The cells, and what a reader has to know of how they were chosen.
    """
    grouped: defaultdict[tuple[Any, ...], defaultdict[str, dict[Replicate, Run]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    twice = 0
    for run in runs:
        settings = flat(run.record.settings)
        same = grouped[_place(run)][_hyper_parameters(run)]
        replicate = tuple(settings.get(name) for name in REPLICATE)
        twice += replicate in same
        same[replicate] = run
    notes = []
    if twice:
        notes.append(
            f"{twice} runs repeat another with the same settings and seed (on another device, or with other threads); "
            "of each such pair one is reported."
        )
    varying = [len({place[i] for place in grouped}) > 1 for i in range(5)]
    cells = []
    for place, tried in grouped.items():
        most = max(map(len, tried.values()))
        complete = {key: found for key, found in tried.items() if len(found) == most}
        chosen = min(complete, key=lambda key: (-_val_accuracy(complete[key]), key))
        found = dict(sorted(complete[chosen].items(), key=lambda item: str(item[0])))
        data_mix, freeze_policy, backbone, source, labelled = place
        name = f"{data_mix} / {freeze_policy}"
        name += f", {backbone}" if varying[2] else ""
        if varying[3] and len({each[3] for each in grouped if each[3] is not None}) > 1 and source is not None:
            name += f", from {source}"
        cells.append(
            Cell(
                name=name,
                data_mix=data_mix,
                freeze_policy=freeze_policy,
                backbone=backbone,
                source=source,
                labelled=labelled,
                runs=found,
                settings=_differing(json.loads(chosen), [json.loads(key) for key in tried]),
                tried=len(complete),
                incomplete=len(tried) - len(complete),
                val_accuracy=_val_accuracy(found),
                random_features="random_features" in next(iter(found.values())).record.labels,
            )
        )
    return cells, notes


def _place(run: Run) -> tuple[Any, ...]:
    """What a cell is known by."""
    record = run.record
    weights = record.settings.get("backbone", {}).get("weights")
    return (
        record.paradigm["data_mix"],
        record.paradigm["freeze_policy"],
        record.backbone + (f" ({weights})" if weights else ""),
        record.source,
        record.settings.get("target", {}).get("train_per_class"),
    )


def _hyper_parameters(run: Run) -> str:
    """All other settings that decide a number, as JSON."""
    settings = flat(run.record.settings)
    kept = {
        name: value
        for name, value in sorted(settings.items())
        if not name.startswith(UNKEYED) and name not in (*REPLICATE, "target.train_per_class", "match_budget")
    }
    # match_budget shows in these alone: a run whose own budget was the matched one is the same run in both sweeps.
    last = run.record.stages[-1]
    kept[f"stages.{last['name']}.steps"] = last["steps"]
    return json.dumps(kept, sort_keys=True, default=str)


def _val_accuracy(runs: Mapping[Replicate, Run]) -> float:
    return float(np.mean([run.record.metrics[SELECTED_BY] for run in runs.values()]))


def _differing(chosen: Mapping[str, Any], tried: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings in which those that were tried differ; of several that go together, the shortest name."""
    all_tried = list(tried)
    found: dict[str, str] = {}
    for name in sorted(chosen, key=lambda name: (name.count("."), name)):
        values = digest([str(each.get(name)) for each in all_tried])
        if len({str(each.get(name)) for each in all_tried}) > 1:
            found.setdefault(values, name)
    return {name: chosen[name] for name in found.values()}
