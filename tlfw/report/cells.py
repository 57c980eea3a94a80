"""Runs become cells, and the settings of each are chosen on validation data. No test number is read here.

Which runs are equal but for repetition says `Run.setting`, a hash that `tlfw.runs.keys` made.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from tlfw.identity.names import digest
from tlfw.records.metric import METRICS, SOURCE_VAL, TARGET_VAL, Metric
from tlfw.report.runs import Run
from tlfw.report.statistics.score_tables import Repetition

SOURCE_KEPT = METRICS["accuracy"].at(SOURCE_VAL)
"""Of a record: how well the source is known."""

COMPARED = ("data mix", "freeze policy", "backbone and its weights", "source", "labelled images")
"""What always makes cells of their own."""


EACH_ITS_OWN = "a file for each seed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """What a cell is known by: `compared` are the values of the fields that a person compares."""

    data_mix: str
    freeze_policy: str
    backbone: str
    weights: str | None
    source: str | None
    labelled: int | None
    compared: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One way of transferring, with the settings that validated best, over its repetitions.

    Attributes:
        name: what tells it from the other cells of the report.
        weights: that all repetitions begin with, as they were given; None: there are none, or each has its own.
        labelled: labelled target images a class, validation included; None: all there are.
        compared: the fields that a person compares -> this cell's values.
        runs: of the chosen settings, by repetition, which are in a fixed order.
        settings: of its hyper-parameters that were varied, those chosen.
        tried: from how many settings they were chosen; tied: how many of these validate equally well, itself included.
        incomplete: how many more were not considered, for they have fewer repetitions.
        diverged: repetitions of the chosen settings whose loss became NaN or infinite.
        validation: the mean over the runs of the metric on validation images.
        trains: what the last stage trains, `head`, `blocks` or `all`; None: unknown.
        random_features: whether nothing below the trained layers ever learnt.
        control: whether nothing was transferred: no source, and no weights of before.
    """

    name: str
    data_mix: str
    freeze_policy: str
    backbone: str
    weights: str | None
    source: str | None
    labelled: int | None
    compared: Mapping[str, str]
    runs: Mapping[Repetition, Run]
    settings: Mapping[str, Any]
    tried: int
    tied: int
    incomplete: int
    diverged: int
    validation: float
    trains: str | None
    random_features: bool
    control: bool

    @property
    def kin(self) -> Hashable:
        """Cells that are equal in it lend each other the variance of repetitions; None: this one is alone. It is known
        before any number is: what trains, and random features are a kind of their own each.
        """
        return None if self.random_features else self.trains

    def mean(self, name: str) -> float | None:
        """Of a record's metric over the runs; None where it does not apply."""
        values = [run.record.metrics.get(name) for run in self.runs.values()]
        return float(np.mean([v for v in values if v is not None])) if None not in values else None

    def before_last_stage(self, name: str) -> float | None:
        """Of a record's metric as it was last measured before the last stage, the mean over the runs; None where one of
        them had not measured it by then.
        """
        found = []
        for run in self.runs.values():
            earlier = [stage.get("metrics", {}).get(name) for stage in run.record.stages[:-1]]
            known = [value for value in earlier if value is not None]
            if not known:
                return None
            found.append(known[-1])
        return sum(found) / len(found)


def cells_of(
    runs: Sequence[Run], metric: Metric, *, compare: Sequence[str] = (), diverged: Sequence[Run] = ()
) -> tuple[list[Cell], list[str]]:
    """Group runs, and choose the settings of each group by the metric's mean on validation data over its repetitions.

    Settings with fewer repetitions than others of their cell are not considered. Of equals the first by name is shown.

    Args:
        compare: fields whose values make cells of their own.
        diverged: runs that ended so, of any cell.

    Returns:
        The cells, and what a reader has to know of how they were chosen.
    """
    grouped: defaultdict[Place, defaultdict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        grouped[_place(run, compare)][run.setting].append(run)
    notes = _weights_by_seed(grouped)
    left_out: Counter[str] = Counter()
    found: dict[Place, dict[str, dict[Repetition, Run]]] = {
        place: {setting: _repetitions(same, left_out) for setting, same in tried.items()}
        for place, tried in grouped.items()
    }
    lost = Counter((_place(run, compare), run.setting) for run in diverged)
    names = _names(list(found))
    cells = [_cell(place, names[place], tried, lost, metric) for place, tried in found.items()]
    notes += [f"{count} {LEFT_OUT[why]}" for why, count in left_out.items()]
    if gone := sorted({_name(place) for place, _ in lost if place not in found}):
        notes.append(f"{', '.join(gone)} diverged in every repetition, and {'is' if len(gone) == 1 else 'are'} last.")
    return cells, notes


LEFT_OUT = {
    "again": "runs repeat another with the same settings and seed, on another device or with other threads, and are "
    "left out.",
    "images": "runs learnt from other images than later ones with the same settings, and are left out.",
}


def repetition(run: Run) -> Repetition:
    """Which repetition a run is."""
    settings = run.settings
    draw = tuple(settings.get(name) for name in ("source.split_seed", "target.split_seed"))
    return Repetition(seed=run.record.seed, draw=draw, fold=run.record.fold)


def _repetitions(runs: Sequence[Run], left_out: Counter[str]) -> dict[Repetition, Run]:
    """Those of one setting that repeat each other, in a fixed order."""
    latest: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for run in runs:
        own = repetition(run)
        latest[own.draw, own.fold] = max(latest.get((own.draw, own.fold), ((-1, ""),)), (run.age, _learnt_from(run)))
    found: dict[Repetition, Run] = {}
    for run in sorted(runs, key=lambda run: (run.record.seed, str(repetition(run)), [-run.asked], run.folder.name)):
        own = repetition(run)
        if _learnt_from(run) != latest[own.draw, own.fold][1]:
            left_out["images"] += 1
        elif own in found:
            left_out["again"] += 1
        else:
            found[own] = run
    return found


def _learnt_from(run: Run) -> str:
    """A name for the images of a run but those of the test."""
    parts = {name: [parts.get("train"), parts.get("val")] for name, parts in sorted(run.record.content.items())}
    return json.dumps(parts)


def _weights_by_seed(grouped: defaultdict[Place, defaultdict[str, list[Run]]]) -> list[str]:
    """Weights that differ with the seed, each for one, are repetitions of one cell and not cells of one repetition:
    put them together, and say so.
    """
    alike: defaultdict[tuple[Place, str], list[Place]] = defaultdict(list)
    for place, tried in grouped.items():
        if place.weights is not None:
            for setting in tried:
                alike[dataclasses.replace(place, weights=None), setting].append(place)
    notes = []
    for (rest, setting), places in alike.items():
        seeds = {place: {run.record.seed for run in grouped[place][setting]} for place in places}
        single = [place for place in places if len(seeds[place]) == 1]
        if len(single) < 2 or len(set.union(*(seeds[place] for place in single))) < len(single):
            continue
        together = dataclasses.replace(rest, weights=EACH_ITS_OWN)
        for place in single:
            grouped[together][setting] += grouped[place].pop(setting)
            if not grouped[place]:
                del grouped[place]
        notes.append(f"{_name(together)}: {len(single)} given weights, one for each seed, count as repetitions.")
    return notes


def _names(places: Sequence[Place]) -> dict[Place, str]:
    """What tells cells apart: as little as does."""
    several = len({(place.backbone, place.weights) for place in places}) > 1
    names = {place: _name(place, backbone=several) for place in places}
    equal = Counter((name, place.labelled) for place, name in names.items())
    return {
        place: f"{name}, {f'from {place.source}' if place.source else 'without source'}"
        if equal[name, place.labelled] > 1
        else name
        for place, name in names.items()
    }


def _name(place: Place, *, backbone: bool = False) -> str:
    parts = [f"{place.data_mix} / {place.freeze_policy}"]
    if backbone:
        parts.append(place.backbone + (f" ({place.weights})" if place.weights else ""))
    return ", ".join([*parts, *(f"{_short(field)} = {value}" for field, value in place.compared)])


def _short(field: str) -> str:
    """`n` for `freeze_policy.n`."""
    return field.rpartition(".")[2]


def _cell(
    place: Place,
    name: str,
    tried: Mapping[str, Mapping[Repetition, Run]],
    lost: Mapping[tuple[Place, str], int],
    metric: Metric,
) -> Cell:
    most = max(map(len, tried.values()))
    complete = {setting: runs for setting, runs in tried.items() if len(runs) == most}
    settings = _differing({setting: next(iter(runs.values())) for setting, runs in tried.items()})
    worth = {setting: _validation(runs, metric) for setting, runs in complete.items()}
    sign = 1 if metric.higher_is_better else -1
    chosen = min(complete, key=lambda each: (-sign * worth[each], json.dumps(settings[each], default=str)))
    runs = complete[chosen]
    first = next(iter(runs.values()))
    return Cell(
        name=name,
        data_mix=place.data_mix,
        freeze_policy=place.freeze_policy,
        backbone=place.backbone + (f" ({place.weights})" if place.weights else ""),
        weights=None if place.weights == EACH_ITS_OWN else place.weights,
        source=place.source,
        labelled=place.labelled,
        compared=dict(place.compared),
        runs=runs,
        settings=settings[chosen],
        tried=len(complete),
        tied=sum(bool(np.isclose(each, worth[chosen], rtol=0, atol=1e-9)) for each in worth.values()),
        incomplete=len(tried) - len(complete),
        diverged=lost.get((place, chosen), 0),
        validation=worth[chosen],
        trains=_trains(first),
        random_features="random_features" in first.record.labels,
        control=place.source is None and place.weights is None,
    )


def _trains(run: Run) -> str | None:
    """What the last stage trains; records of before say it by how many blocks their policy named."""
    if run.record.trains is not None:
        return run.record.trains
    count = run.settings.get("freeze_policy.n")
    return {0: "head", "all": "all", None: None}.get(count, "blocks")


def _place(run: Run, compare: Sequence[str]) -> Place:
    settings = run.settings
    weights = settings.get("backbone.weights")
    return Place(
        data_mix=run.data_mix,
        freeze_policy=run.freeze_policy,
        backbone=run.record.backbone,
        weights=None if weights is None else str(weights),
        source=run.record.source,
        labelled=settings.get("target.train_per_class"),
        compared=tuple((field, str(settings.get(field))) for field in compare),
    )


def _validation(runs: Mapping[Repetition, Run], metric: Metric) -> float:
    return float(np.mean([run.record.metrics[metric.at(TARGET_VAL)] for run in runs.values()]))


def _differing(tried: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    """Of each setting the fields in which they differ; of several that go together, the shortest name.

    Fields that decide no number may differ too, and are not named; a run has those of whoever made it first.
    """
    flats = {setting: dict(run.settings) for setting, run in tried.items()}
    for setting, run in tried.items():
        for stage in run.record.stages:
            flats[setting][f"stages.{stage['name']}.steps"] = stage["steps"]
    found: dict[str, str] = {}
    names = {name for run in tried.values() for name in run.named}
    names |= {name for each in flats.values() for name in each if name.startswith("stages.")}
    for name in sorted(names, key=lambda name: (name.startswith("stages."), name.count("."), name)):
        values = [str(each.get(name)) for each in flats.values()]
        if len(set(values)) > 1:
            found.setdefault(digest(values), name)
    return {setting: {name: each.get(name) for name in found.values()} for setting, each in flats.items()}
