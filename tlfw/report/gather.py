"""Which runs a report is of: found by sweep or by folder, read, and known to be comparable."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfw.errors import ConfigError, nearest
from tlfw.records import plan_file
from tlfw.records.comparison import share
from tlfw.records.metric import TARGET_VAL, Metric, metric_of
from tlfw.records.record import FILE, Record
from tlfw.report.runs import Run, unusable
from tlfw.report.sweep_plan import SweepPlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gathered:
    """What was found.

    Attributes:
        runs: the finished ones, in a fixed order.
        diverged: those whose loss became NaN or infinite: a result too.
        sweeps: the names of the sweeps that were asked for.
        asked: how many runs there should be, where sweeps say so, else how many were found.
        missing: how those ended that are neither, and how often: `failed`, `not there yet`, …
        planned: the repetitions that a sweep first asked for, of three or more; None: no sweep says, or several differ.
        whole: whether no run is still to come.
        metric: what the report judges by; margin: the smallest difference that matters, if one was given.
        compare: fields whose values make cells of their own.
        notes: what a reader has to know of the above.
    """

    runs: tuple[Run, ...]
    diverged: tuple[Run, ...]
    sweeps: tuple[str, ...]
    asked: int
    missing: Mapping[str, int]
    planned: int | None
    whole: bool
    metric: Metric
    margin: float | None
    compare: tuple[str, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person asks of a report; None: as the sweeps were asked, else as the runs were."""

    metric: str | None = None
    margin: float | str | None = None
    compare: tuple[str, ...] | None = None


AS_ASKED = Wanted()

RESULTS = ("done", "diverged")

TO_COME = ("interrupted", "not there yet")
"""What becomes a result yet, if the sweep is run again."""


def gather(places: Sequence[Path], wanted: Wanted = AS_ASKED) -> Gathered:
    """Read the runs of sweeps' folders, of runs' folders, and of folders of runs; each once under each name.

    Raises:
        ConfigError: there is no finished run, they were not tested on the same images, or what is wanted is unknown.
    """
    plans: list[SweepPlan] = []
    found: dict[Path, None] = {}
    for place in places:
        if (place / plan_file.FILE).is_file():
            plans.append(SweepPlan.read(place))
        elif place.name == FILE or (place / FILE).is_file():
            found[place if place.is_file() else place / FILE] = None
        elif place.is_dir():
            found |= dict.fromkeys(sorted([*place.glob(f"*/{FILE}"), *place.glob(f"runs/*/{FILE}")]))
        else:
            raise ConfigError("FOLDER", f"there is no folder {place}.", "Give a sweep's folder, or runs' folders.")
    asked_for = {entry.run_id for plan in plans for entry in plan.entries}
    for plan in plans:
        found |= dict.fromkeys(
            path for entry in plan.entries for path in sorted(plan.records.glob(f"*-{entry.run_id[:12]}/{FILE}"))
        )
    records: dict[str, tuple[Record, Path]] = {}
    unreadable: list[str] = []
    for path in found:
        try:
            record = Record.read(path)
            if record.status == "done" and (wrong := unusable(record)):
                raise ValueError(f"{path} has no {wrong}")
        except (OSError, ValueError) as problem:
            unreadable.append(str(problem))
            continue
        if record.run_id not in records or records[record.run_id][0].status not in RESULTS:
            records[record.run_id] = record, path.parent
    notes = [plan.note for plan in plans if plan.note]
    if unreadable:
        notes.append(f"{len(unreadable)} records are left out, for example: {unreadable[0]}.")
    missing: Counter[str] = Counter(record.status for record, _ in records.values() if record.status not in RESULTS)
    asked = len(asked_for | records.keys())
    if later := asked - len(records) - (0 if asked_for else len(unreadable)):
        missing["not there yet"] = max(later, 0)
    runs = _named(records, plans)
    done = [run for run in runs if run.record.status == "done"]
    if not done:
        said = ", ".join(f"{count} {status}" for status, count in (missing + Counter(diverged=len(runs))).items())
        raise ConfigError(
            ", ".join(map(str, places)),
            f"no finished run is there ({said or 'no record at all'}).",
            "Give a sweep's folder (outputs/sweeps/NAME) or runs' folders (outputs/runs/NAME-KEY), "
            "when a run has ended." + (f" ({unreadable[0]})" if unreadable else ""),
        )
    done, changed = _tested_alike(done)
    metric, margin, compare = _judged_by(done, plans, wanted)
    planned = {plan.planned for plan in plans}
    return Gathered(
        runs=tuple(done),
        diverged=tuple(run for run in runs if run.record.status == "diverged"),
        sweeps=tuple(dict.fromkeys(plan.name for plan in plans)),
        asked=max(asked, len({run.folder for run in done})),
        missing={status: count for status, count in missing.items() if count},
        planned=planned.pop() if len(planned) == 1 else None,
        whole=not any(missing[status] for status in TO_COME),
        metric=metric,
        margin=margin,
        compare=compare,
        notes=(*notes, *changed, *_numerics(done)),
    )


def _named(records: Mapping[str, tuple[Record, Path]], plans: Sequence[SweepPlan]) -> list[Run]:
    """The runs that are results, under each of the names that a sweep asked for them with; else under their own."""
    found: dict[tuple[str, ...], Run] = {}
    for plan in plans:
        for entry in plan.entries:
            if entry.run_id in records:
                run = Run.of(*records[entry.run_id])
                run = dataclasses.replace(
                    run,
                    data_mix=entry.data_mix or run.data_mix,
                    freeze_policy=entry.freeze_policy or run.freeze_policy,
                    settings={**run.settings, **entry.settings},
                    setting=entry.setting or run.setting,
                    asked=entry.asked,
                    latest=entry.asked == plan.latest,
                )
                found[entry.run_id, run.data_mix, run.freeze_policy] = run
    named = {key[0] for key in found}
    found |= {(id,): Run.of(*each) for id, each in records.items() if id not in named}
    results = [run for run in found.values() if run.record.status in RESULTS]
    return sorted(results, key=lambda run: (run.folder.name, str(run.folder), run.data_mix, run.freeze_policy))


def _judged_by(
    runs: Sequence[Run], plans: Sequence[SweepPlan], wanted: Wanted
) -> tuple[Metric, float | None, tuple[str, ...]]:
    """The metric, the margin and the compared fields: as wanted, else of the latest commands, else of the runs.

    Raises:
        ConfigError: they differ, or are unknown.
    """

    def one(name: str, given: Any, fallback: Any) -> Any:
        if given is not None:
            return given
        said = [getattr(plan, name) for plan in plans] or [run.settings.get(name) for run in runs]
        values = {json.dumps(value): value for value in said}
        if len(values) > 1:
            raise ConfigError(
                f"--{name}",
                f"the runs were asked for with several ({', '.join(values)}).",
                "Say which one is to judge.",
            )
        (value,) = values.values()
        return fallback if value is None else value

    metric = metric_of(one("metric", wanted.metric, "accuracy"))
    if lacking := [run for run in runs if metric.at(TARGET_VAL) not in run.record.metrics]:
        raise ConfigError(
            "metric",
            f"{len(lacking)} runs have no {metric.title} of their validation images, for example "
            f"{lacking[0].folder.name}.",
            "Make them again with force=true, or judge by accuracy.",
        )
    margin = share(one("margin", wanted.margin, None))
    if wanted.compare is not None:
        compare = list(wanted.compare)
    elif plans:
        compare = [field for plan in plans for field in plan.compare]
    else:
        compare = [field for run in runs for field in run.settings.get("compare") or ()]
    known = {name for run in runs for name in run.settings}
    if unknown := [field for field in compare if field not in known]:
        near = " or ".join(nearest(unknown[0], known))
        raise ConfigError("compare", f"no run has a field {unknown[0]!r}.", f"Did you mean {near}?")
    return metric, margin, tuple(dict.fromkeys(compare))


def _tested_alike(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs that were tested on the images that the latest of a sweep were, and a note on the others.

    Raises:
        ConfigError: there are several sets, and none is the latest. Numbers on other images say nothing about these.
    """
    by_test: defaultdict[tuple[str, int | None, str], list[Run]] = defaultdict(list)
    for run in runs:
        by_test[run.record.target, run.record.fold, run.record.content["target"]["test"]].append(run)
    folds = {fold for _, fold, _ in by_test}
    kept = {key: own for key, own in by_test.items() if any(run.latest for run in own)}
    if len({target for target, _, _ in kept}) == 1 and len(kept) == len(folds):
        chosen = [run for run in runs if any(run in own for own in kept.values())]
        left = len({run.folder for run in runs}) - len({run.folder for run in chosen})
        said = (
            [f"{left} runs were tested on other images than the latest of their sweep, and are left out."]
            if left
            else []
        )
        return chosen, said
    sets = [
        f"{target}{'' if fold is None else f', fold {fold}'} ({content[:8]}): "
        f"{', '.join(run.folder.name for run in own[:2])}" + f" and {len(own) - 2} more" * (len(own) > 2)
        for (target, fold, content), own in kept.items()
    ]
    raise ConfigError(
        "FOLDER",
        f"the runs were tested on {len(kept)} different sets of images, which cannot be compared: {'; '.join(sets)}.",
        "Report those of each set apart: give their sweeps' folders (outputs/sweeps/NAME), or the runs' own.",
    )


def _numerics(runs: Iterable[Run]) -> list[str]:
    """A note where runs were computed in several ways."""
    tags: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        for name, value in run.record.environment.get("numerics", {}).items():
            tags[name][str(value)] += 1
    several = {name: values for name, values in tags.items() if len(values) > 1}
    return [
        f"Runs differ in {name}: " + ", ".join(f"{value} ({count} runs)" for value, count in values.items()) + "."
        for name, values in several.items()
    ]
