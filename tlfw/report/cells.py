"""Runs become cells, and the settings of each are chosen on validation data. No test number is read here."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlfw.identity import digest
from tlfw.metric import METRICS
from tlfw.record import FILE
from tlfw.report.gather import Run
from tlfw.settings import UNKEYED, flat

SELECTED_BY = METRICS["accuracy"].at("target/val")

REPLICATE = ("seed", "source.split_seed", "target.split_seed")
"""What differs between repetitions of one and the same thing."""

Replicate = tuple[Any, ...]

Place = tuple[str, str, str, str | None, int | None]
"""What a cell is known by: data mix, freeze policy, backbone, source, labelled images a class."""

NOT_NAMED = (*UNKEYED, *REPLICATE, "target.train_per_class", "threads", "checkpoint_seconds", "match_budget")
"""Fields in which settings are not said to differ."""


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
    grouped: defaultdict[Place, defaultdict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        grouped[_place(run)][run.record.setting].append(run)
    left_out: Counter[str] = Counter()
    found: dict[Place, dict[str, dict[Replicate, Run]]] = {
        place: {setting: _repetitions(same, left_out) for setting, same in tried.items()}
        for place, tried in grouped.items()
    }
    names = _names(list(found))
    cells = [_cell(place, names[place], tried) for place, tried in found.items()]
    return cells, [f"{count} {LEFT_OUT[why]}" for why, count in left_out.items()]


LEFT_OUT = {
    "again": "runs repeat another with the same settings and seed, on another device or with other threads, and are "
    "left out.",
    "images": "runs learnt from other images than later ones with the same settings, and are left out.",
    "split": "runs repeat a seed with another split_seed, and are left out: one seed's runs do not vary as several "
    "seeds do. Tie split_seed to seed, or report each split apart.",
}


def _repetitions(runs: Sequence[Run], left_out: Counter[str]) -> dict[Replicate, Run]:
    """Those of one setting that repeat each other, by what differs, in a fixed order."""
    latest: dict[Replicate, str] = {}
    for run in sorted(runs, key=lambda run: (run.folder / FILE).stat().st_mtime):
        latest[_replicate(run)[1:]] = _learnt_from(run)
    found: dict[Replicate, Run] = {}
    for run in sorted(runs, key=lambda run: (str(_replicate(run)), run.folder.name)):
        replicate = _replicate(run)
        if _learnt_from(run) != latest[replicate[1:]]:
            left_out["images"] += 1
        elif replicate in found:
            left_out["again"] += 1
        elif replicate[0] in {seed for seed, *_ in found}:
            left_out["split"] += 1
        else:
            found[replicate] = run
    return found


def _replicate(run: Run) -> Replicate:
    settings = flat(run.record.settings)
    return tuple(settings.get(name) for name in REPLICATE)


def _learnt_from(run: Run) -> str:
    """A name for the images of a run but those of the test."""
    parts = {name: [parts.get("train"), parts.get("val")] for name, parts in sorted(run.record.content.items())}
    return json.dumps(parts)


def _names(places: Sequence[Place]) -> dict[Place, str]:
    """What tells cells apart: as little as does."""
    backbones = {place[2] for place in places}
    names = {place: f"{place[0]} / {place[1]}" + f", {place[2]}" * (len(backbones) > 1) for place in places}
    several = Counter((name, place[4]) for place, name in names.items())
    return {
        place: f"{name}, {f'from {place[3]}' if place[3] else 'without source'}"
        if several[name, place[4]] > 1
        else name
        for place, name in names.items()
    }


def _cell(place: Place, name: str, tried: Mapping[str, Mapping[Replicate, Run]]) -> Cell:
    most = max(map(len, tried.values()))
    complete = {setting: runs for setting, runs in tried.items() if len(runs) == most}
    settings = _differing({setting: next(iter(runs.values())) for setting, runs in tried.items()})
    chosen = min(complete, key=lambda each: (-_val_accuracy(complete[each]), json.dumps(settings[each], default=str)))
    runs = complete[chosen]
    data_mix, freeze_policy, backbone, source, labelled = place
    return Cell(
        name=name,
        data_mix=data_mix,
        freeze_policy=freeze_policy,
        backbone=backbone,
        source=source,
        labelled=labelled,
        runs=runs,
        settings=settings[chosen],
        tried=len(complete),
        incomplete=len(tried) - len(complete),
        val_accuracy=_val_accuracy(runs),
        random_features="random_features" in next(iter(runs.values())).record.labels,
    )


def _place(run: Run) -> Place:
    record = run.record
    weights = record.settings.get("backbone", {}).get("weights")
    return (
        record.paradigm["data_mix"],
        record.paradigm["freeze_policy"],
        record.backbone + (f" ({weights})" if weights else ""),
        record.source,
        record.settings.get("target", {}).get("train_per_class"),
    )


def _val_accuracy(runs: Mapping[Replicate, Run]) -> float:
    return float(np.mean([run.record.metrics[SELECTED_BY] for run in runs.values()]))


def _differing(tried: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    """Of each setting the fields in which they differ; of several that go together, the shortest name.

    Fields that decide no number may differ too, and are not named; a run has those of whoever made it first.
    """
    flats = {setting: flat(run.record.settings) for setting, run in tried.items()}
    for setting, run in tried.items():
        for stage in run.record.stages:
            flats[setting][f"stages.{stage['name']}.steps"] = stage["steps"]
    found: dict[str, str] = {}
    names = {name for each in flats.values() for name in each if not name.startswith(NOT_NAMED)}
    for name in sorted(names, key=lambda name: (name.startswith("stages."), name.count("."), name)):
        values = [str(each.get(name)) for each in flats.values()]
        if len(set(values)) > 1:
            found.setdefault(digest(values), name)
    return {setting: {name: each.get(name) for name in found.values()} for setting, each in flats.items()}
