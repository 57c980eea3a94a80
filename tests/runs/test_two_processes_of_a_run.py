"""Two processes of one run: one trains and tests, both end well, and what is done stays.

Also where locks of the operating system are refused or lock nothing, where one is killed, and where one is stopped for
so long that the other takes it for dead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.runs.test_run import JOB, numbers
from tests.tiny import experiment
from tlfw.errors import TrainingFailed
from tlfw.records import claim as claims
from tlfw.records.record import Record
from tlfw.runs import attempt, job
from tlfw.runs import fold as stages
from tlfw.runs import run as fold
from tlfw.signals import Interrupted, asked

STALE = 1.5


def _refused(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


FLOCKS: dict[str, Callable[..., None]] = {
    "as it is": fcntl.flock,
    "refused": _refused,
    "locks nothing": lambda *_: None,
}


def _log(place: Path, word: str) -> None:
    with (place / "log").open("a") as file:
        file.write(f"{word}\n")


def _make(place: Path, name: str, flock: str, waits: str, force: bool) -> None:
    """A whole run in a process of its own, which notes what it trains and that it tests.

    Args:
        waits: the stage before whose training it waits to be told to go on; empty: none.
    """
    torch.set_num_threads(1)
    fcntl.flock = FLOCKS[flock]
    claims.BEAT_SECONDS, claims.STALE_SECONDS = 0.1, STALE
    train, train_probes, examine, claimed = stages.train, stages.train_probes, attempt.examine, job.claimed

    def begins(title):
        _log(place, title)
        if title == waits:
            (place / "waits").touch()
            while not (place / "go").exists() and asked() is None:
                time.sleep(0.02)

    def noted(freezing, mixture, lesson, **settings):
        begins(lesson.title)
        return train(freezing, mixture, lesson, **settings)

    def noted_heads(probes, *given):
        (probe,) = probes.values()
        begins(probe.lesson.title)
        return train_probes(probes, *given)

    def tested(*arguments, **settings):
        _log(place, "test")
        return examine(*arguments, **settings)

    def asking(*arguments, **settings):
        (place / f"{name} asks").touch()
        return claimed(*arguments, **settings)

    stages.train, stages.train_probes, attempt.examine, job.claimed = noted, noted_heads, tested, asking
    record, there = fold.run(experiment(place, force=force), JOB)
    (place / name).write_text(f"{record.status} {there}")


Start = Callable[..., BaseProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a run in a process of its own: (its name, flock, the stage before which it waits, force)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.runs.test_two_processes_of_a_run"])
    begun: list[BaseProcess] = []

    def make(name: str, flock: str = "as it is", waits: str = "", force: bool = False) -> BaseProcess:
        begun.append(context.Process(target=_make, args=(tmp_path, name, flock, waits, force)))
        begun[-1].start()
        return begun[-1]

    yield make
    for process in begun:
        with contextlib.suppress(ValueError):
            process.kill()
            process.join()


def until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(process: BaseProcess, code: int = 0) -> None:
    process.join(60)
    assert process.exitcode == code


def logged(place: Path) -> list[str]:
    return (place / "log").read_text().split()


def left(place: Path) -> Record:
    """The record of the only run; nothing else is there that is hidden."""
    (path,) = place.glob("outputs/runs/*/record.json")
    assert not list(place.glob("outputs/runs/.*"))
    assert not list(place.glob("outputs/store/stages/.*"))
    return Record.read(path)


@pytest.mark.parametrize("flock", FLOCKS)
def test_one_trains_and_both_end_well(tmp_path: Path, start: Start, flock: str) -> None:
    both = {name: start(name, flock) for name in ("one", "other")}
    for process in both.values():
        ended(process)
    assert sorted((tmp_path / name).read_text() for name in both) == ["done False", "done True"]
    assert logged(tmp_path) == ["pretrain", "adapt", "test"]
    assert left(tmp_path).status == "done"


def test_two_that_are_forced_train_once(tmp_path: Path, start: Start) -> None:
    fold.run(experiment(tmp_path), JOB)
    one = start("one", waits="adapt", force=True)
    until((tmp_path / "waits").exists)
    other = start("other", force=True)
    until((tmp_path / "other asks").exists)
    (tmp_path / "go").touch()
    ended(one)
    ended(other)
    assert sorted((tmp_path / name).read_text() for name in ("one", "other")) == ["done False", "done True"]
    assert logged(tmp_path) == ["adapt", "test"]
    assert left(tmp_path).attempt == 1


def test_who_waits_goes_on_when_the_other_is_killed(tmp_path: Path, start: Start) -> None:
    first = start("first", waits="adapt")
    until((tmp_path / "waits").exists)
    waiting = [start("one"), start("other")]
    until(lambda: all((tmp_path / f"{name} asks").exists() for name in ("one", "other")))
    first.kill()
    for process in waiting:
        ended(process)
    assert sorted((tmp_path / name).read_text() for name in ("one", "other")) == ["done False", "done True"]
    assert logged(tmp_path) == ["pretrain", "adapt", "adapt", "test"]
    assert left(tmp_path).status == "done"


def test_a_signal_to_who_waits_leaves_the_other_alone(tmp_path: Path, start: Start) -> None:
    first = start("first", waits="adapt")
    until((tmp_path / "waits").exists)
    second = start("second")
    until((tmp_path / "second asks").exists)
    time.sleep(0.2)
    os.kill(second.pid or 0, signal.SIGTERM)
    second.join(20)
    assert second.exitcode not in (0, None)
    (tmp_path / "go").touch()
    ended(first)
    assert logged(tmp_path) == ["pretrain", "adapt", "test"]
    assert left(tmp_path).status == "done"


@pytest.mark.parametrize("back", ["while the other trains", "when all is done"])
def test_who_was_stopped_for_long_ends_well(tmp_path: Path, start: Start, back: str) -> None:
    """Its checkpoints are another's by then: it takes that one's stage, and that one's record."""
    whole, _ = fold.run(experiment(tmp_path / "whole"), JOB)
    first = start("first", waits="adapt")
    until((tmp_path / "waits").exists)
    os.kill(first.pid or 0, signal.SIGSTOP)
    (tmp_path / "waits").unlink()
    second = start("second", waits="adapt" if back == "while the other trains" else "")
    if back == "while the other trains":
        until((tmp_path / "waits").exists)
    else:
        ended(second)
    (tmp_path / "go").touch()
    os.kill(first.pid or 0, signal.SIGCONT)
    ended(first)
    ended(second)
    assert (tmp_path / "second").read_text() == "done False"
    assert (tmp_path / "first").read_text() == "done True"
    assert logged(tmp_path) == ["pretrain", "adapt", "adapt", "test"]
    record = left(tmp_path)
    assert numbers(record) == numbers(whole)
    assert all(stage["curve"] for stage in record.stages)


@pytest.fixture
def no_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every claim is given, and is believed to stand: as where processes were taken for dead, and do not know it."""
    given = SimpleNamespace(stands=lambda: True)
    monkeypatch.setattr("tlfw.runs.job.claimed", lambda *_, **__: contextlib.nullcontext(given))


@pytest.mark.parametrize("end", ["done", "failed", "interrupted", "blocked", "forced"])
def test_what_is_done_is_not_replaced_by_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_claims: None, end: str
) -> None:
    examine, finished = attempt.examine, []

    def late(*arguments, **settings):
        """Meanwhile another process makes the whole run."""
        monkeypatch.setattr(attempt, "examine", examine)
        finished.append(fold.run(experiment(tmp_path), JOB)[0])
        for path in tmp_path.glob("outputs/runs/*/*"):
            finished.append((path, path.stat().st_ino, path.read_bytes()))
        if end in ("failed", "forced"):
            raise RuntimeError("power cut")
        if end == "interrupted":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
        return examine(*arguments, **settings)

    monkeypatch.setattr(attempt, "examine", late)
    made = experiment(tmp_path, force=end == "forced")
    if end == "done":
        assert fold.run(made, JOB) == (Record.read(next(tmp_path.glob("outputs/runs/*/record.json"))), True)
    elif end == "blocked":
        find = fold.find_record
        fold.run(made, JOB)
        monkeypatch.setattr(fold, "find_record", lambda *given: monkeypatch.setattr(fold, "find_record", find))
        fold.leave_unmade(made, JOB, "blocked", "what it needs failed")
    else:
        with pytest.raises(Interrupted if end == "interrupted" else RuntimeError):
            fold.run(made, JOB)
    record, *files = finished
    assert record.status == "done"
    assert len(files) == 4
    for path, number, content in files:
        assert (path.stat().st_ino, path.read_bytes()) == (number, content), path


def test_checkpoints_that_are_taken_away_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other process has made the stage either."""
    made, train = experiment(tmp_path), stages.train

    def robbed(*arguments, scratch: Path, **settings):
        shutil.rmtree(scratch)
        return train(*arguments, scratch=scratch, **settings)

    with monkeypatch.context() as now:
        now.setattr(stages, "train", robbed)
        with pytest.raises(TrainingFailed, match=r"stages/.*what was unfinished was taken away"):
            fold.run(made, JOB)
    assert fold.run(made, JOB)[0].status == "done"
