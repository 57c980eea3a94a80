"""Reads how far a sweep is: what was asked for, what is known of each task, and which records are there."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfw.errors import ConfigError
from tlfw.processes import lives
from tlfw.records import plan_file
from tlfw.records.ledger import ENDED, SILENT_SECONDS, Entry, Ledger
from tlfw.records.record import FILE, FINISHED, Record
from tlfw.status.row import RESULTS, STILL, Row, moment

RECORDS = "../../runs"
"""Where a sweep's records are if its plan does not say it."""

KEY_LENGTH = 12
"""As much of a run's id as its folder's name ends with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Planned:
    """A run of the plan: its names, the last command that asked for it, and keys of the stages that it needs."""

    key: str
    name: str
    overrides: tuple[str, ...]
    asked: int
    needs: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a reader needs of `plan.json`, which is long: the last command, its runs, those set aside, the records."""

    newest: int
    runs: Mapping[str, _Planned]
    aside: frozenset[str]
    records: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overview:
    """A sweep at one moment.

    Attributes:
        name: the sweep's.
        at: when it was looked at, in seconds since 1970.
        rows: its tasks: what several runs need, and then the runs in the order in which they were asked for.
        notes: what a reader has to know of them: sentences.
        driven: whether a command conducts it; None: that is not known.
    """

    name: str
    at: float
    rows: Sequence[Row]
    notes: Sequence[str]
    driven: bool | None

    @property
    def going(self) -> bool:
        """Whether anything still becomes of it without a person."""
        return any(row.going for row in self.rows)


def rows(sweep: Path) -> list[Row]:
    """The tasks of a sweep, as they are now.

    Raises:
        ConfigError: nothing there is a sweep.
    """
    return list(SweepReader(sweep).read().rows)


class SweepReader:
    """Reads a sweep, also again and again: what is large and has not changed since is read once.

    Args:
        folder: the sweep's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.ledger = folder, Ledger(folder)
        self._kept: dict[Path, tuple[Any, Any]] = {}
        self._unreadable: list[str] = []

    def read(self) -> Overview:
        """What is known of it now.

        Raises:
            ConfigError: nothing there is a sweep.
        """
        self._unreadable = []
        kept = self.ledger.folder.is_dir()
        plan = self._plan()
        if not kept and plan is None and not self._unreadable:
            raise ConfigError(
                "SWEEP",
                f"{self.folder} is no sweep's folder.",
                "Give one of outputs/sweeps, when its plan has been made.",
            )
        keys, latest = self.ledger.listed()
        entries = {key: self.ledger.entry(key) for key in keys}
        self._unreadable += [str(self.ledger.path(key)) for key, entry in entries.items() if entry is None]
        driven = self.ledger.driven()
        folders = self._folders(plan)
        found: dict[str, Row] = {}
        left = 0
        for key, run in plan.runs.items() if plan else ():
            entry = entries.get(key)
            row = self._row(entry, latest, driven) if entry else _only_planned(run, driven)
            if row.state not in RESULTS:
                row = self._recorded(row, entry, folders.get(key[:KEY_LENGTH], ()))
            if key in entries and entry is None and row.state not in FINISHED:
                row = dataclasses.replace(row, state="unknown", going=False)
            if plan and kept and key not in entries and row.state == "waiting" and run.asked < plan.newest:
                row, left = dataclasses.replace(row, going=False), left + 1
            found[key] = row
        shared = self._others(plan, entries, latest, driven, found)
        at = time.time()
        rows_ = _told_apart([*shared, *found.values()])
        return Overview(
            name=self.folder.resolve().name,
            at=at,
            rows=rows_,
            notes=self._notes(rows_, kept, driven, left),
            driven=driven,
        )

    def _plan(self) -> _Plan | None:
        path = self.folder / plan_file.FILE
        try:
            return self._once(path, lambda _: _plan_of(plan_file.read(self.folder)))
        except FileNotFoundError:
            return None
        except (ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError):
            self._unreadable.append(str(path))
            return None

    def _once(self, path: Path, read: Any) -> Any:
        """What `read` makes of a file, read again only when that is another one."""
        stat = path.stat()
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if path not in self._kept or self._kept[path][0] != mark:
            self._kept[path] = mark, read(path)
        return self._kept[path][1]

    def _folders(self, plan: _Plan | None) -> dict[str, list[Path]]:
        """The end of a run's id -> folders of runs that are called so. All are listed once."""
        found: defaultdict[str, list[Path]] = defaultdict(list)
        runs = self.folder / (plan.records if plan else RECORDS)
        try:
            for name in sorted(os.listdir(runs)):
                found[name.rpartition("-")[2]].append(runs / name)
        except OSError:  # no run has begun
            pass
        return found

    def _row(self, entry: Entry, latest: Mapping[str, int], driven: bool | None) -> Row:
        submission = None
        if entry.key in latest and (entry.state in STILL or entry.job is None):
            submission = self.ledger.submission(entry.key, latest[entry.key])
        here = entry.state == "running" and entry.host == socket.gethostname() and entry.pid is not None
        dead = here and not lives(entry.pid or 0, moment(entry.began) or 0.0)
        if dead:  # or it has ended since its entry was read
            again = self.ledger.entry(entry.key)
            if again is not None and again != entry:
                return self._row(again, latest, driven)
        quiet = self.ledger.silent_seconds(entry.key) if entry.state == "running" else 0.0
        job = submission.job if submission and submission.job is not None else None
        return Row(
            key=entry.key,
            name=entry.name,
            until=entry.until,
            overrides=tuple(entry.overrides),
            state=entry.state,
            going=entry.state in STILL and not (driven is not True and dead) and not _left(entry.state, driven),
            job=entry.job if job is None or (entry.state == "running" and entry.job) else str(job),
            executor=str(submission.executor) if submission and submission.executor else None,
            host=None if entry.state in ("waiting", "submitted") else entry.host,
            since=moment(entry.since),
            began=moment(entry.began),
            stage=entry.stage,
            step=entry.step,
            steps=entry.steps,
            images_per_second=entry.images_per_second,
            seconds_left=entry.seconds_left if entry.state == "running" else None,
            requeues=entry.requeues,
            silent=quiet if SILENT_SECONDS < quiet < float("inf") else None,
            dead=dead,
            reused=entry.reused,
            error=entry.error if entry.state in ENDED and entry.state != "done" else None,  # or of an earlier try
        )

    def _recorded(self, row: Row, entry: Entry | None, folders: Sequence[Path]) -> Row:
        """The row as the run's record says, where that is newer than its entry.

        A record is older where a run is made again. A result that a task left before it was ended stays one.
        """
        for folder in folders:
            try:
                record = self._once(folder / FILE, Record.read)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError):
                self._unreadable.append(str(folder / FILE))
                continue
            if record.run_id != row.key or row.state in FINISHED:
                continue
            if entry is not None and entry.state in STILL and record.status == "interrupted":
                continue  # of a job that was interrupted, and begins again
            ended = moment(record.ended)
            if entry is not None:
                begun = row.began if entry.ended and record.status in FINISHED else None
                if ended is None or ended < (begun or row.since or 0.0):
                    continue
            row = dataclasses.replace(
                row,
                state=record.status,
                going=False,
                since=ended,
                seconds_left=None,
                silent=None,
                dead=False,
                error=record.error,
            )
        return row

    def _others(
        self,
        plan: _Plan | None,
        entries: Mapping[str, Entry | None],
        latest: Mapping[str, int],
        driven: bool | None,
        runs: Mapping[str, Row],
    ) -> list[Row]:
        """Tasks that are no planned runs. One that ended without a result is left out where no run lacks it now."""
        users: defaultdict[str, set[str]] = defaultdict(set)
        for run in plan.runs.values() if plan else ():
            for need in run.needs:
                users[need].add(run.key)
        for key, entry in entries.items():
            for need in entry.needs if entry else ():
                users[need].add(key)
        aside = plan.aside if plan else frozenset()
        found = []
        for key, entry in entries.items():
            if entry is None or key in runs:
                continue
            row = self._row(entry, latest, driven)
            lacking = any(user not in runs or runs[user].state not in RESULTS for user in users[key])
            if row.state in RESULTS or row.going or (key not in aside if row.until is None else lacking):
                found.append(row)
        return sorted(found, key=lambda row: (row.until is None, row.name, row.key))

    def _notes(self, rows: Sequence[Row], kept: bool, driven: bool | None, left: int) -> list[str]:
        notes = []
        if not kept:
            notes.append(
                "This sweep has no folder of tasks: it has not begun, or is of a tlfw that kept none. "
                "Of its runs only the records are known."
            )
        if driven is False and (waiting := sum(_left(row.state, driven) for row in rows)):
            notes.append(f"No command conducts this sweep now: {waiting} tasks wait for the same command.")
        if left:
            notes.append(f"{left} runs that only earlier commands asked for were not begun.")
        if self._unreadable:
            count = len(self._unreadable)
            notes.append(f"{count} {'file' if count == 1 else 'files'} could not be read: {self._unreadable[0]}.")
        return notes


def _left(state: str, driven: bool | None) -> bool:
    """Whether a task waits for a command that has ended."""
    return state == "waiting" and driven is False


def _plan_of(plan: Mapping[str, Any] | None) -> _Plan | None:
    """What is needed of a plan; a run that was asked for under several names has the first."""
    if plan is None:
        return None
    runs: dict[str, _Planned] = {}
    for run in plan["runs"]:
        key, asked = str(run["run_id"]), max(run["asked"], default=0)
        if key in runs:
            runs[key] = dataclasses.replace(runs[key], asked=max(runs[key].asked, asked))
            continue
        words = [str(run[group]) for group in plan_file.NAMES if run.get(group)]
        seed = (run.get("settings") or {}).get("seed")
        # As its folder is called, where the names are known.
        name = "-".join([*words, *([] if seed is None else [f"s{seed}"])]).replace("/", ".")
        runs[key] = _Planned(
            key=key,
            name=name if words else key[:KEY_LENGTH],
            overrides=tuple(map(str, run.get("overrides") or ())),
            asked=asked,
            needs=frozenset(str(need) for step in run.get("steps") or () for _, need in step["keys"]),
        )
    return _Plan(
        newest=len(plan["asked"]) - 1,
        runs=runs,
        aside=frozenset(str(run["run_id"]) for run in plan.get("set_aside") or ()),
        records=str(plan.get("records") or RECORDS),
    )


def _only_planned(run: _Planned, driven: bool | None) -> Row:
    return Row(key=run.key, name=run.name, overrides=run.overrides, going=not _left("waiting", driven))


def _told_apart(found: Sequence[Row]) -> list[Row]:
    """The same rows; where several have one name, it says which overrides are not of all of them."""
    alike: defaultdict[str, list[Row]] = defaultdict(list)
    for row in found:
        alike[row.name].append(row)
    names: dict[str, str] = {}
    for name, same in alike.items():
        common = set.intersection(*(set(row.overrides) for row in same))
        own = [" ".join(word for word in row.overrides if word not in common) for row in same]
        count = Counter(own)
        for row, words in zip(same, own, strict=True) if len(same) > 1 else ():
            mark = words if words and count[words] == 1 else " ".join(filter(None, (words, row.key[:KEY_LENGTH])))
            names[row.key] = f"{name} ({mark})"
    return [dataclasses.replace(row, name=names.get(row.key, row.name)) for row in found]
