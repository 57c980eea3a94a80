"""What is known of the tasks of a sweep while they are made: one small file a task.

Drivers, jobs and `tlfw.status` read these files, and nothing else that they know of each other.

`SWEEP/tasks/KEY.json` is a task's entry. The driver writes it until a job begins, and the job from then on.
`SWEEP/tasks/KEY.N.job` is its N-th submission to a scheduler. It is made with O_EXCL before the scheduler is asked, so
that of two drivers one submits; the job's id is written into it afterwards.
`SWEEP/tasks/HOST.PID.driver` is of a command that conducts the sweep: touched while that lives, made old at its end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from tlfw.records.record import now, replace_text

FOLDER = "tasks"
VARIABLE = "TLFW_TASK"
"""The environment variable that says where the entry of the task is that this process makes."""

BEAT_SECONDS = 10.0
"""How often a job says that it lives."""

SILENT_SECONDS = 60.0
"""A job that has said nothing for so long is taken for dead, unless its scheduler says that it runs."""

DRIVER = ".driver"
"""The ending of the files of those that conduct the sweep."""

TELL_SECONDS = 2.0
"""How often a job writes how far it is."""

State = Literal[
    "waiting", "submitted", "running", "requeued", "done", "diverged", "failed", "interrupted", "blocked", "pruned"
]
ENDED: tuple[State, ...] = ("done", "diverged", "failed", "interrupted", "blocked", "pruned")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A task: a run, or a stage or features that several runs need.

    Attributes:
        key: the run's id, or the key of what is made.
        name: for people, and the job's in the scheduler's queue.
        until: how far a run is brought, as the field `until`; None: to its end.
        overrides: of the job that makes it.
        needs: keys of the tasks that have to be done first.
        numerics: what its key holds of the machine that computes it.
        state: what is known of it.
        job: the id that a scheduler gave the job, or None where no scheduler did.
        host, pid: of the process that makes it, or made it.
        since: when it came into this state, in UTC.
        began: when the job that makes it began, in UTC.
        requeues: how often the scheduler began the job again.
        stage, step, steps: how far it is.
        images_per_second, seconds_left: how fast the stage is, and how long it still takes.
        kept: what can be resumed from: stage -> step of its checkpoint, or -1 where it is in the store.
        error: why it ended as it did.
        reused: whether a run was there before and nothing was done.
        result: what validation said after the last stage, for a search.
    """

    key: str
    name: str
    until: str | None = None
    overrides: Sequence[str] = ()
    needs: Sequence[str] = ()
    numerics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    state: State = "waiting"
    job: str | None = None
    host: str | None = None
    pid: int | None = None
    since: str = dataclasses.field(default_factory=now)
    began: str | None = None
    requeues: int = 0
    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    kept: Mapping[str, int] = dataclasses.field(default_factory=dict)
    error: str | None = None
    reused: bool = False
    result: Mapping[str, float] | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def changed(self, **facts: Any) -> Entry:
        """The entry with other facts; `since` is now where the state is another one."""
        if facts.get("state", self.state) != self.state:
            facts.setdefault("since", now())
        return dataclasses.replace(self, **facts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submission:
    """One submission of a task to a scheduler.

    Attributes:
        number: from 0 on.
        executor: `slurm` or `local`.
        job: the id that the scheduler gave; None: the driver has not written it yet, or died before it could.
        host, pid: of the driver that submitted it.
        at: when, in UTC.
        kept: what the task could be resumed from then.
    """

    number: int
    executor: str
    job: str | None
    host: str
    pid: int
    at: str
    kept: Mapping[str, int]


class Ledger:
    """The entries of a sweep's tasks.

    Args:
        sweep: the sweep's folder.
    """

    def __init__(self, sweep: Path) -> None:
        self.folder = sweep / FOLDER

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def entry(self, key: str) -> Entry | None:
        """A task's entry; None: it has none that can be read."""
        return read_entry(self.path(key))

    def entries(self) -> list[Entry]:
        """All that can be read, in the order of their names."""
        found = [entry for key in self.listed()[0] if (entry := self.entry(key))]
        return sorted(found, key=lambda entry: (entry.name, entry.key))

    def listed(self) -> tuple[list[str], dict[str, int]]:
        """The keys of all entries, and key -> the number of its latest submission. The folder is listed once."""
        keys: list[str] = []
        latest: dict[str, int] = {}
        with contextlib.suppress(OSError), os.scandir(self.folder) as files:
            for file in files:
                if file.name.startswith("."):  # a draft of what takes its place in a moment
                    continue
                name, _, kind = file.name.rpartition(".")
                key, _, number = name.rpartition(".")
                if kind == "json":
                    keys.append(name)
                elif kind == "job" and number.isdecimal():
                    latest[key] = max(int(number), latest.get(key, 0))
        return sorted(keys), latest

    def write(self, entry: Entry) -> None:
        """Put an entry into its file, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(self.path(entry.key), json.dumps(dataclasses.asdict(entry), indent=1))

    def silent_seconds(self, key: str) -> float:
        """How long the job that makes a task has said nothing."""
        try:
            return max(0.0, time.time() - self.path(key).stat().st_mtime)
        except OSError:
            return float("inf")

    def submission(self, key: str, number: int | None = None) -> Submission | None:
        """A task's latest submission, or the one of this number; None: it was never submitted."""
        if number is None and (number := self.listed()[1].get(key)) is None:
            return None
        blank: dict[str, Any] = {"executor": "", "job": None, "host": "", "pid": 0, "at": "", "kept": {}}
        try:
            facts = json.loads(self._job(key, number).read_text())
            return Submission(number=number, **{**blank, **facts})
        except (OSError, ValueError, TypeError):  # made, and not written yet
            return Submission(number=number, **blank)

    @contextlib.contextmanager
    def conducting(self) -> Iterator[None]:
        """Inside, this process conducts the sweep: what waits will begin."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mark = self.folder / f"{socket.gethostname()}.{os.getpid()}{DRIVER}"
        for other in self.folder.glob(f"*{DRIVER}"):
            with contextlib.suppress(OSError):  # another command has just done so
                if time.time() - other.stat().st_mtime > SILENT_SECONDS:
                    other.unlink()
        mark.touch()
        try:
            with _beating(mark):
                yield
        finally:
            with contextlib.suppress(OSError):  # the folder may be gone
                os.utime(mark, (0, 0))  # it has ended, as all see at once

    def driven(self) -> bool | None:
        """Whether a command conducts the sweep; None: it is not known, for none says that it does or did."""
        beats = []
        for mark in self.folder.glob(f"*{DRIVER}"):
            with contextlib.suppress(OSError):  # it has ended since
                beats.append(mark.stat().st_mtime)
        return time.time() - max(beats) < SILENT_SECONDS if beats else None

    def claim_submission(self, key: str, number: int, executor: str) -> bool:
        """Whether the task's N-th submission is this process's to make: no other driver has claimed it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(self._job(key, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        entry = self.entry(key)
        facts = {
            "executor": executor,
            "job": None,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "at": now(),
            "kept": dict(entry.kept) if entry else {},
        }
        with os.fdopen(handle, "w") as file:
            json.dump(facts, file)
        return True

    def submission_seconds(self, key: str, number: int) -> float:
        """How long ago a submission was claimed or its job written down."""
        try:
            return max(0.0, time.time() - self._job(key, number).stat().st_mtime)
        except OSError:
            return float("inf")

    def submitted(self, key: str, number: int, job: str) -> None:
        """Write down the id that the scheduler gave a submission."""
        path = self._job(key, number)
        replace_text(path, json.dumps(json.loads(path.read_text()) | {"job": job}))

    def refused(self, key: str, number: int) -> None:
        """No id will be written into a submission: nobody waits for it, as if it had been made long ago."""
        os.utime(self._job(key, number), (0, 0))

    def _job(self, key: str, number: int) -> Path:
        return self.folder / f"{key}.{number}.job"


def read_entry(path: Path) -> Entry | None:
    """The entry in a file; None: it cannot be read."""
    try:
        facts = json.loads(path.read_text())
        known = {field.name for field in dataclasses.fields(Entry)}
        entry = Entry(**{name: value for name, value in facts.items() if name in known})
        return entry if _sound(entry) else None
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return None


def _sound(entry: Entry) -> bool:
    """Whether an entry has what its attributes say, so that whoever reads it can count with it.

    Raises:
        ValueError: a time is none.
    """
    for time_ in filter(None, (entry.since, entry.began)):
        datetime.datetime.fromisoformat(time_)
    texts = (entry.until, entry.job, entry.host, entry.stage, entry.error)
    numbers = (entry.pid, entry.step, entry.steps, entry.images_per_second, entry.seconds_left)
    return (
        entry.state in get_args(State)
        and all(isinstance(text, str) for text in (entry.key, entry.name, entry.since, *entry.overrides, *entry.needs))
        and all(text is None or isinstance(text, str) for text in texts)
        and all(each is None or (isinstance(each, int | float) and math.isfinite(each)) for each in numbers)
        and isinstance(entry.requeues, int)
        and isinstance(entry.kept, dict)
    )


@contextlib.contextmanager
def working(ledger: Ledger, key: str, **facts: Any) -> Iterator[None]:
    """Inside, this process makes a task: its entry says so, is touched now and then, and takes what is told.

    Args:
        facts: of the job, as attributes of `Entry`.
    """
    entry = ledger.entry(key)
    if entry is None:  # the folder is another one's, or was removed meanwhile
        yield
        return
    here = {"host": socket.gethostname(), "pid": os.getpid(), "began": now(), "error": None}
    ledger.write(entry.changed(state="running", since=now(), **here, **facts))
    kept, os.environ[VARIABLE] = os.environ.get(VARIABLE), str(ledger.path(key))
    try:
        with _beating(ledger.path(key)):
            yield
    finally:
        os.environ.pop(VARIABLE)
        if kept is not None:
            os.environ[VARIABLE] = kept


@contextlib.contextmanager
def _beating(path: Path) -> Iterator[None]:
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


_told = 0.0


def tell(*, keep: tuple[str, int] | None = None, soon: bool = False, **facts: Any) -> None:
    """Write into the entry of the task that this process makes how far it is; nothing where there is none.

    Args:
        keep: a stage, and the step from which it can be resumed now, or -1: it is in the store.
        soon: not now if something was told a moment ago.
        facts: attributes of `Entry`.
    """
    global _told
    where = os.environ.get(VARIABLE)
    if where is None or (soon and time.monotonic() - _told < TELL_SECONDS):
        return
    _told = time.monotonic()
    path = Path(where)
    entry = read_entry(path)
    if entry is None:
        return
    kept = dict(entry.kept)
    if keep:
        kept[keep[0]] = keep[1]
    with contextlib.suppress(OSError):  # a run does not fail because nobody can watch it
        replace_text(path, json.dumps(dataclasses.asdict(entry.changed(kept=kept, **facts)), indent=1))
