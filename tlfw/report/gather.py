"""Which runs a report is of: found by sweep or by folder, read, and known to be comparable."""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tlfw.errors import ConfigError
from tlfw.record import FILE, Record

PLAN = "plan.json"
PREDICTIONS = "predictions.npz"
NEEDED = ("index", "label", "prediction", "confidence", "classes")


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its record, and the folder where that lies."""

    record: Record
    folder: Path

    def predictions(self) -> Mapping[str, np.ndarray]:
        """What the run said of the test images, all of `NEEDED`: see `tlfw.evaluate`. Read anew each time.

        Raises:
            ConfigError: they are missing, damaged, or not of as many images as the record says.
        """
        path = self.folder / PREDICTIONS
        found = self._arrays(NEEDED)
        counted = self.record.images["target"]["test"]
        wrong = [name for name in NEEDED if name not in found]
        wrong += [name for name in NEEDED[:-1] if name in found and found[name].shape != (counted,)]
        if wrong:
            raise ConfigError(
                str(path),
                f"{wrong[0]} is not there for each of the {counted} test images of its record.",
                "Remove the run's folder; the command that made it makes it again.",
            )
        return found

    def names(self) -> Sequence[str]:
        """How a person finds each test image."""
        return list(map(str, self._arrays(["name"])["name"]))

    def _arrays(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        path = self.folder / PREDICTIONS
        try:
            # NumPy leaves a file that is no archive open, if it opened it.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in names if name in arrays.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
            raise ConfigError(
                str(path), f"it cannot be read ({problem}).", "Remove it; the command that made the run makes it again."
            ) from problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gathered:
    """What was found.

    Attributes:
        runs: the finished ones, in a fixed order.
        sweeps: the names of the sweeps that were asked for.
        asked: how many runs there should be, where sweeps say so, else how many were found.
        missing: how those ended that are not done, and how often: `failed`, `not yet made`, …
        notes: what a reader has to know of the above.
    """

    runs: tuple[Run, ...]
    sweeps: tuple[str, ...]
    asked: int
    missing: Mapping[str, int]
    notes: tuple[str, ...]


def gather(places: Sequence[Path]) -> Gathered:
    """Read the runs of sweeps' folders, of runs' folders, and of folders of runs; each run once.

    Raises:
        ConfigError: there is no finished run, or they were not tested on the same images.
    """
    found: dict[Path, None] = {}
    wanted: dict[str, None] = {}
    sweeps: list[str] = []
    notes: list[str] = []
    for place in places:
        if (place / PLAN).is_file():
            sweeps.append(place.resolve().name)
            runs, ids, note = _planned(place)
            notes += [note] if note else []
            wanted |= dict.fromkeys(ids)
            found |= dict.fromkeys(path for id in ids for path in sorted(runs.glob(f"*-{id[:12]}/{FILE}")))
        elif place.name == FILE or (place / FILE).is_file():
            found[place if place.is_file() else place / FILE] = None
        elif place.is_dir():
            found |= dict.fromkeys(sorted([*place.glob(f"*/{FILE}"), *place.glob(f"runs/*/{FILE}")]))
        else:
            raise ConfigError("FOLDER", f"there is no folder {place}.", "Give a sweep's folder, or runs' folders.")
    records: dict[str, tuple[Record, Path]] = {}
    unreadable: list[str] = []
    for path in found:
        try:
            record = Record.read(path)
            if record.status == "done" and (wrong := _lacks(record)):
                raise ValueError(f"{path} has no {wrong}")
        except (OSError, ValueError) as problem:
            unreadable.append(str(problem))
            continue
        if record.run_id not in records or records[record.run_id][0].status != "done":
            records[record.run_id] = record, path.parent
    if unreadable:
        notes.append(f"{len(unreadable)} records are left out, for example: {unreadable[0]}.")
    done = [Run(record, folder) for record, folder in records.values() if record.status == "done"]
    missing: Counter[str] = Counter(record.status for record, _ in records.values() if record.status != "done")
    asked = len(wanted.keys() | records.keys())
    if later := asked - len(records) - (0 if wanted else len(unreadable)):
        missing["not there yet"] = max(later, 0)
    done.sort(key=lambda run: (run.folder.name, str(run.folder)))
    if not done:
        said = ", ".join(f"{count} {status}" for status, count in missing.items()) or "no record at all"
        raise ConfigError(
            ", ".join(map(str, places)),
            f"no finished run is there ({said}).",
            "Give a sweep's folder (outputs/sweeps/NAME) or runs' folders (outputs/runs/NAME-KEY), "
            "when a run has ended." + (f" ({unreadable[0]})" if unreadable else ""),
        )
    _check_same_test(done)
    notes += _numerics(done)
    return Gathered(
        runs=tuple(done),
        sweeps=tuple(dict.fromkeys(sweeps)),
        asked=max(asked, len(done)),
        missing={status: count for status, count in missing.items() if count},
        notes=tuple(notes),
    )


STAGE_NUMBERS = ("seconds", "images_seen", "train_flops", "direct_flops", "steps")


def _lacks(record: Record) -> str:
    """What a finished run's record ought to have, and this one, which someone has edited, has not; empty: nothing."""

    def is_number(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

    needed: dict[str, Callable[[], bool]] = {
        "seed": lambda: type(record.seed) is int,
        "setting": lambda: type(record.setting) is str,
        "paradigm": lambda: all(type(record.paradigm[name]) is str for name in ("data_mix", "freeze_policy")),
        "settings": lambda: isinstance(record.settings, dict),
        "images": lambda: all(type(record.images["target"][part]) is int for part in ("train", "val", "test")),
        "content": lambda: all(type(record.content["target"][part]) is str for part in ("train", "val", "test")),
        "metrics": lambda: (
            0 <= record.metrics["target/val/acc"] <= 1  # type: ignore[operator]
            and all(value is None or is_number(value) for value in record.metrics.values())
        ),
        "stages": lambda: (
            bool(record.stages)
            and all(
                type(stage["key"]) is str
                and type(stage["name"]) is str
                and all(is_number(stage[name]) for name in STAGE_NUMBERS)
                and all(is_number(count) for count in stage["per_batch"].values())
                for stage in record.stages
            )
        ),
        "cost": lambda: is_number(record.cost["seconds"]),
    }
    for field, holds in needed.items():
        try:
            if not holds():
                return f"usable {field}"
        except (KeyError, TypeError, AttributeError):
            return f"usable {field}"
    return ""


def _planned(folder: Path) -> tuple[Path, list[str], str | None]:
    """Where the runs of a sweep are, their ids, and what is to be said of them."""
    try:
        plan = json.loads((folder / PLAN).read_text())
        return (folder / plan["records"]).resolve(), [run["run_id"] for run in plan["runs"]], plan.get("note")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ConfigError(
            str(folder / PLAN), f"it cannot be read ({problem!r}).", "The sweep's command with dry_run makes it again."
        ) from problem


def _check_same_test(runs: Iterable[Run]) -> None:
    """Numbers on other test images say nothing about these."""
    by_test: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for run in runs:
        by_test[run.record.target, run.record.content["target"]["test"]].append(run.folder.name)
    if len(by_test) == 1:
        return
    sets = [
        f"{target} ({content[:8]}): {', '.join(names[:2])}" + f" and {len(names) - 2} more" * (len(names) > 2)
        for (target, content), names in by_test.items()
    ]
    raise ConfigError(
        "FOLDER",
        f"the runs were tested on {len(by_test)} different sets of images, which cannot be compared: "
        f"{'; '.join(sets)}.",
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
