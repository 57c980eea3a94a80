"""A scheduler in memory, with a clock that a test moves: queues are tried in it, and nobody waits."""

from __future__ import annotations

import dataclasses
import datetime
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.records.test_record import RECORD
from tlfw.cluster import executor as cluster
from tlfw.cluster.executor import Phase, Seen
from tlfw.errors import LauncherFailed
from tlfw.records.ledger import Entry, Ledger
from tlfw.records.record import Record
from tlfw.sweeps import queue as queues
from tlfw.sweeps.order import Order
from tlfw.sweeps.queue import Queue
from tlfw.sweeps.task_graph import Step, Task

MOST_LOOKS = 4000
"""How often a test may look before it is taken to wait for ever."""


class Waiting(Exception):
    """Raised where a queue would let time pass."""


class Clock:
    """Stands still unless it is moved; begins at this moment."""

    def __init__(self) -> None:
        self.base, self.passed = time.time(), 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def time(self) -> float:
        return self.base + self.passed

    def now(self) -> str:
        return datetime.datetime.fromtimestamp(self.time(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class TimedLedger(Ledger):
    """Its files are as old as the clock says."""

    def __init__(self, sweep: Path, clock: Clock) -> None:
        super().__init__(sweep)
        self.clock = clock

    def write(self, entry: Entry) -> None:
        super().write(entry)
        self.touch(self.path(entry.key))

    def claim_submission(self, key: str, number: int, executor: str) -> bool:
        claimed = super().claim_submission(key, number, executor)
        if claimed:
            self.touch(self._job(key, number))
        return claimed

    def submitted(self, key: str, number: int, job: str) -> None:
        super().submitted(key, number, job)
        self.touch(self._job(key, number))

    def touch(self, path: Path) -> None:
        os.utime(path, (self.clock.time(), self.clock.time()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of a job.

    Attributes:
        seconds: that it works.
        pending: seconds before it begins.
        told: what it says in its entry when it ends; None: nothing.
        late: seconds from its end until others can read that.
        kept: what can be resumed from when it has worked.
        beats: whether its entry is touched while it works.
        phase: what the scheduler says of it afterwards.
        text: the same for people.
    """

    seconds: float = 10.0
    pending: float = 0.0
    told: Mapping[str, Any] | None = dataclasses.field(default_factory=lambda: {"state": "done"})
    late: float = 0.0
    kept: Mapping[str, int] | None = None
    beats: bool = True
    phase: Phase = "ended"
    text: str = "simulated"


def killed(phase: Phase = "ended", **facts: Any) -> Fate:
    """Of a job that ends and says nothing."""
    return Fate(**{"told": None, "phase": phase, **facts})


@dataclasses.dataclass
class Process:
    """A job of the simulated scheduler."""

    key: str
    name: str
    fate: Fate
    asked: float
    began: bool = False
    ended: bool = False
    told: bool = False


class Scheduler:
    """Runs jobs as their fates say, by the clock."""

    kind, here, patience = "simulated", False, 5.0

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.ledger, self.clock = ledger, clock
        self.fates: dict[str, list[Fate]] = {}
        self.processes: dict[str, Process] = {}
        self.blind = False
        self.mute = False
        self.refuses = False
        self.room = 10_000
        self.lost: set[str] = set()

    def submit(self, job: Callable[[], Any], name: str) -> str:
        if self.refuses or sum(not process.ended for process in self.processes.values()) >= self.room:
            raise LauncherFailed("it does not take the job")
        key = job()
        fates = self.fates.get(key) or [Fate()]
        earlier = len(self.of(key))
        number = str(100 + len(self.processes))
        self.processes[number] = Process(key, name, fates[min(earlier, len(fates) - 1)], self.clock.passed)
        return number

    def of(self, key: str) -> list[str]:
        """The jobs that were submitted for a task."""
        return [job for job, process in self.processes.items() if process.key == key]

    @property
    def submitted(self) -> list[str]:
        """The tasks, as often as they were submitted, in that order."""
        return [process.key for process in self.processes.values()]

    def seen(self, jobs: Collection[str]) -> Mapping[str, Seen]:
        if self.mute:
            return {job: Seen("no answer", "it does not answer") for job in jobs}
        known = [job for job in jobs if job in self.processes and job not in self.lost and not self.blind]
        return {job: self._seen(self.processes[job]) for job in known}

    def _seen(self, process: Process) -> Seen:
        return Seen(process.fate.phase, process.fate.text) if process.ended else Seen("alive", "runs")

    def find(self, name: str) -> str | None:
        found = [job for job, p in self.processes.items() if p.name == name and not p.ended and job not in self.lost]
        return found[-1] if found and not self.blind else None

    def cancel(self, jobs: Collection[str]) -> bool:
        raise AssertionError("a queue ends no job")

    def close(self) -> None:
        """All that it did not ask for has ended."""

    def advance(self) -> None:
        """Let happen what has happened by now."""
        for job, each in self.processes.items():
            begin = each.asked + each.fate.pending
            if not each.began and self.clock.passed >= begin:
                each.began = True
                self._tell(each, state="running", job=job, error=None)
            elif each.began and not each.ended and each.fate.beats:
                os.utime(self.ledger.path(each.key), (self.clock.time(), self.clock.time()))
            if not each.ended and self.clock.passed >= begin + each.fate.seconds:
                each.ended = True
                if each.fate.kept is not None:
                    self._tell(each, kept=dict(each.fate.kept))
            if each.ended and not each.told and self.clock.passed >= begin + each.fate.seconds + each.fate.late:
                each.told = True
                if each.fate.told is not None:
                    self._tell(each, **each.fate.told)

    def _tell(self, each: Process, **facts: Any) -> None:
        entry = self.ledger.entry(each.key)
        assert entry is not None, "a job has no entry"
        self.ledger.write(entry.changed(**facts))


class World:
    """A sweep's folder, its scheduler, and drivers."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.ledger = TimedLedger(folder, self.clock)
        self.scheduler = Scheduler(self.ledger, self.clock)
        self.record_late: dict[str, float] = {}
        self.first_asked: dict[str, float] = {}

    def record(self, key: str) -> Record | None:
        """As runs leave them, or so many seconds after it was first asked for."""
        asked = self.first_asked.setdefault(key, self.clock.passed)
        return RECORD if self.clock.passed - asked >= self.record_late.get(key, 0.0) else None

    def queue(self, at_most: int = 10, weight: Callable[[Task], float] = lambda task: 0.0) -> Queue:
        """A driver."""
        return Queue(self.scheduler, self.ledger, lambda order: lambda: order.key, weight, at_most, self.record)

    def enter(self, *orders: Order, state: str = "waiting", **facts: Any) -> None:
        """Let tasks have their entries."""
        for each in orders:
            self.ledger.write(Entry(key=each.key, name=each.name, state=state, since=self.clock.now(), **facts))  # type: ignore[arg-type]

    def move(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.clock.passed += seconds
        self.scheduler.advance()

    def drain(self, *drivers: Queue, most: int = MOST_LOOKS) -> list[dict[str, Any]]:
        """Let drivers look in turn until all their tasks have ended: -> of each driver, task -> how."""
        ended: list[dict[str, Any]] = [{} for _ in drivers]
        for _ in range(most):
            for found, driver in zip(ended, drivers, strict=True):
                if driver.waiting or driver.at_work:
                    for order, result in look(driver):
                        assert order.key not in found, "it ended twice"
                        found[order.key] = outcome(result)
            if not any(driver.waiting or driver.at_work for driver in drivers):
                assert not any(driver.known for driver in drivers), "it would end twice"
                return ended
            self.move()
        raise AssertionError(f"still at work: {[list(driver.at_work) for driver in drivers]}")


def look(driver: Queue) -> Sequence[tuple[Order, Any]]:
    """What has ended by now."""
    try:
        return driver.ended()
    except Waiting:
        return []


def outcome(result: Any) -> Any:
    """What a job returned, or the exception that it raised."""
    try:
        return result.return_value
    except Exception as problem:
        return problem


def order(key: str, candidate: int = 0, step: Step | None = None) -> Order:
    return Order(Task(candidate, step, frozenset()), (f"run={key}",), key, f"run-{key}")


def _waits(seconds: float) -> None:
    assert 0 < seconds <= 1
    raise Waiting


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(cluster, "wait", _waits)
    monkeypatch.setattr(queues, "time", SimpleNamespace(monotonic=made.clock.monotonic))
    monkeypatch.setattr("tlfw.records.ledger.time", SimpleNamespace(time=made.clock.time, monotonic=time.monotonic))
    for place in ("tlfw.records.ledger.now", "tlfw.sweeps.queue.now"):
        monkeypatch.setattr(place, made.clock.now)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # nothing here outlives a loss of power
    return made
