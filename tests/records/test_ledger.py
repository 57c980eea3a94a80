"""One small file a task: who claims it, who writes it, and what of it is read."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlfw.records import ledger as module
from tlfw.records.ledger import ENDED, SILENT_SECONDS, TELL_SECONDS, VARIABLE, Entry, Ledger, read_entry, tell, working

OTHER = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _nothing_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(module, "_told", -TELL_SECONDS)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "sweep")


def read(ledger: Ledger, key: str = "k") -> Entry:
    entry = ledger.entry(key)
    assert entry is not None
    return entry


def test_an_entry_is_read_as_it_was_written(ledger: Ledger) -> None:
    entry = Entry(
        key="k", name="joint-full-s0", until="adapt", overrides=["a=1"], needs=["p"], numerics={"threads": 2},
        state="running", job="7", host="h", pid=3, since=OTHER, began=OTHER, requeues=2, stage="adapt", step=4,
        steps=9, images_per_second=1.5, seconds_left=2.5, kept={"pretrain": -1}, error=None, reused=False,
        result={"target/val/acc": 0.5},
    )  # fmt: skip
    ledger.write(entry)
    assert ledger.entry("k") == entry
    assert [path.name for path in ledger.folder.iterdir()] == ["k.json"]
    assert ledger.entry("other") is None


def test_a_state_has_a_beginning() -> None:
    entry = Entry(key="k", name="n", since=OTHER)
    assert entry.changed(step=3).since == OTHER
    assert entry.changed(state="waiting").since == OTHER
    assert entry.changed(state="running").since > OTHER
    assert entry.changed(state="running", since=OTHER).since == OTHER


def test_which_states_are_an_end() -> None:
    assert set(ENDED) == {"done", "diverged", "failed", "interrupted", "blocked", "pruned"}
    assert Entry(key="k", name="n", state="done").ended
    assert not any(
        Entry(key="k", name="n", state=state).ended for state in ("waiting", "submitted", "running", "requeued")
    )


def test_entries_come_by_name_and_drafts_and_damaged_ones_are_left_out(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.listed() == ([], {})
    for key, name in (("a", "z"), ("b", "y"), ("c", "y")):
        ledger.write(Entry(key=key, name=name))
    text = ledger.path("a").read_text()
    (ledger.folder / ".0123.json").write_text(text)
    (ledger.folder / ".0123.7.job").write_text("{}")
    (ledger.folder / "d.json").write_text(text[: len(text) // 2])
    (ledger.folder / "a.x.job").write_text("{}")
    (ledger.folder / "notes.txt").write_text("a person's")
    for number in (0, 2, 10):
        (ledger.folder / f"a.{number}.job").write_text("{}")
    (ledger.folder / "b.0.job").write_text("")
    assert [entry.key for entry in ledger.entries()] == ["b", "c", "a"]
    assert ledger.listed() == (["a", "b", "c", "d"], {"a": 10, "b": 0})


SOUND: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(Entry(key="k", name="n", since=OTHER))))


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "lost"}, {"since": "yesterday"}, {"since": None}, {"began": "soon"}, {"key": 1}, {"name": None},
        {"overrides": [1]}, {"needs": [None]}, {"until": 1}, {"job": 7}, {"host": 1}, {"stage": 2}, {"error": 3},
        {"pid": "x"}, {"step": "1"}, {"steps": []}, {"images_per_second": float("inf")}, {"seconds_left": float("nan")},
        {"requeues": "2"}, {"kept": ["adapt"]}, {"kept": None}, {"overrides": None},
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_counted_with_is_none(tmp_path: Path, wrong: dict[str, Any]) -> None:
    file = tmp_path / "k.json"
    file.write_text(json.dumps(SOUND))
    assert read_entry(file) is not None
    file.write_text(json.dumps(SOUND | wrong))
    assert read_entry(file) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"k"', "{}", '{"key": "k"}', "\udcff"])
def test_a_damaged_file_is_no_entry(tmp_path: Path, text: str) -> None:
    file = tmp_path / "k.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert read_entry(file) is None
    assert read_entry(tmp_path) is None


def test_an_entry_of_a_newer_tlfw_is_read(tmp_path: Path) -> None:
    file = tmp_path / "k.json"
    file.write_text(json.dumps(SOUND | {"colour": "red"}))
    assert read_entry(file) == dataclasses.replace(Entry(key="k", name="n", since=OTHER), overrides=[], needs=[])


def test_a_submission_is_claimed_once_among_many_threads(ledger: Ledger) -> None:
    start = threading.Barrier(16)

    def claim(_: int) -> bool:
        start.wait()
        return ledger.claim_submission("k", 0, "slurm")

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(claim, range(16))) == [False] * 15 + [True]


def _claims(folder: Path, numbers: int) -> list[int]:
    return [number for number in range(numbers) if Ledger(folder).claim_submission("k", number, "slurm")]


def test_a_submission_is_claimed_once_among_processes(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        found = [pool.submit(_claims, tmp_path, 50) for _ in range(2)]
        assert sorted(number for each in found for number in each.result()) == list(range(50))


def test_a_submission_says_who_made_it_and_what_was_kept_then(ledger: Ledger) -> None:
    ledger.write(Entry(key="k", name="n", kept={"pretrain": -1}))
    assert ledger.submission("k") is None
    assert ledger.claim_submission("k", 0, "slurm")
    claimed = ledger.submission("k")
    assert claimed is not None
    assert (claimed.number, claimed.executor, claimed.job) == (0, "slurm", None)
    assert (claimed.host, claimed.pid, claimed.kept) == (socket.gethostname(), os.getpid(), {"pretrain": -1})
    assert claimed.at.endswith("Z")
    ledger.submitted("k", 0, "42")
    assert ledger.submission("k") == dataclasses.replace(claimed, job="42")
    assert ledger.claim_submission("k", 1, "local")
    latest = ledger.submission("k")
    assert latest is not None
    assert (latest.number, latest.executor, latest.job) == (1, "local", None)
    assert ledger.submission("k", 0) == dataclasses.replace(claimed, job="42")
    assert ledger.claim_submission("without-entry", 0, "slurm")
    assert ledger.submission("without-entry").kept == {}  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"colour": "red"}'])
def test_a_submission_that_is_not_written_yet_has_no_job(ledger: Ledger, text: str) -> None:
    ledger.folder.mkdir(parents=True)
    (ledger.folder / "k.3.job").write_text(text)
    found = ledger.submission("k")
    assert found is not None
    assert (found.number, found.executor, found.job, found.at, found.kept) == (3, "", None, "", {})


def test_how_long_ago_something_was_said(ledger: Ledger) -> None:
    assert ledger.silent_seconds("k") == ledger.submission_seconds("k", 0) == float("inf")
    ledger.write(Entry(key="k", name="n"))
    ledger.claim_submission("k", 0, "slurm")
    assert ledger.silent_seconds("k") < 30
    assert ledger.submission_seconds("k", 0) < 30
    past = time.time() - 100
    os.utime(ledger.path("k"), (past, past))
    os.utime(ledger.folder / "k.0.job", (past, past))
    assert 99 < ledger.silent_seconds("k") < 130
    assert 99 < ledger.submission_seconds("k", 0) < 130
    future = time.time() + 100  # the clock of another machine
    os.utime(ledger.path("k"), (future, future))
    os.utime(ledger.folder / "k.0.job", (future, future))
    assert ledger.silent_seconds("k") == ledger.submission_seconds("k", 0) == 0
    ledger.refused("k", 0)
    assert ledger.submission_seconds("k", 0) > 1e6


def test_whether_somebody_conducts_a_sweep(ledger: Ledger) -> None:
    assert ledger.driven() is None
    with ledger.conducting():
        assert ledger.driven() is True
        (mark,) = ledger.folder.iterdir()
        assert mark.name == f"{socket.gethostname()}.{os.getpid()}.driver"
        past = time.time() - SILENT_SECONDS - 5
        os.utime(mark, (past, past))
        assert ledger.driven() is False
        (ledger.folder / "elsewhere.7.driver").touch()
        assert ledger.driven() is True
        assert ledger.listed() == ([], {})
    (ledger.folder / "elsewhere.7.driver").unlink()
    assert ledger.driven() is False  # it has said that it ended
    with ledger.conducting():
        assert ledger.driven() is True
        assert [path.name for path in ledger.folder.iterdir()] == [mark.name]
    (ledger.folder / "elsewhere.7.driver").touch()
    os.utime(ledger.folder / "elsewhere.7.driver", (0, 0))
    with ledger.conducting():  # marks of ended commands do not gather
        assert [path.name for path in ledger.folder.iterdir()] == [mark.name]


def test_while_a_task_is_made_its_entry_says_so(ledger: Ledger) -> None:
    ledger.write(Entry(key="k", name="n", state="requeued", since=OTHER, error="earlier", began=OTHER))
    with working(ledger, "k", job="42", requeues=1):
        entry = read(ledger)
        assert (entry.state, entry.job, entry.requeues, entry.error) == ("running", "42", 1, None)
        assert (entry.host, entry.pid) == (socket.gethostname(), os.getpid())
        assert entry.since > OTHER
        assert entry.began is not None
        assert entry.began > OTHER
        tell(stage="adapt", step=3)
        tell(keep=("pretrain", -1), step=4)
        tell(keep=("adapt", 4))
    entry = read(ledger)
    assert (entry.stage, entry.step, entry.kept) == ("adapt", 4, {"pretrain": -1, "adapt": 4})
    tell(step=9)
    assert read(ledger).step == 4
    assert VARIABLE not in os.environ


def test_a_task_that_is_made_anew_runs_since_then(ledger: Ledger) -> None:
    ledger.write(Entry(key="k", name="n", state="running", since=OTHER))
    with working(ledger, "k"):
        assert read(ledger).since > OTHER


def test_a_task_inside_another_one(ledger: Ledger) -> None:
    for key in ("k", "inner"):
        ledger.write(Entry(key=key, name=key))

    def fails(key: str, *then: Callable[[], None]) -> None:
        with working(ledger, key):
            for each in then:
                each()
            assert os.environ[VARIABLE] == str(ledger.path(key))
            tell(step=len(then))
            raise KeyError(key)

    def inside() -> None:
        with pytest.raises(KeyError, match="inner"):
            fails("inner")

    with pytest.raises(KeyError, match="k"):
        fails("k", inside)
    assert (read(ledger, "inner").step, read(ledger).step) == (0, 1)
    assert VARIABLE not in os.environ


def test_a_task_without_an_entry_is_made_all_the_same(ledger: Ledger) -> None:
    with working(ledger, "k"):
        assert VARIABLE not in os.environ
        tell(step=1)
    assert not ledger.folder.exists()


def test_an_entry_that_is_removed_meanwhile_stays_away(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    ledger.write(Entry(key="k", name="n"))
    with working(ledger, "k"):
        ledger.path("k").unlink()
        tell(step=1)
        time.sleep(0.03)
        tell(state="done")
    assert list(ledger.folder.iterdir()) == []


def test_a_run_does_not_fail_because_nobody_can_watch_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.write(Entry(key="k", name="n"))

    def refuses(*_: object) -> None:
        raise PermissionError

    with working(ledger, "k"):
        monkeypatch.setattr(module, "replace_text", refuses)
        tell(step=1)
    assert read(ledger).step is None


def test_a_task_that_is_made_is_touched_now_and_then(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    ledger.write(Entry(key="k", name="n"))
    before = threading.active_count()
    with working(ledger, "k"):
        os.utime(ledger.path("k"), (1, 1))
        for _ in range(500):
            if ledger.silent_seconds("k") < 1000:
                break
            time.sleep(0.01)
        assert ledger.silent_seconds("k") < 1000
    assert threading.active_count() == before
    os.utime(ledger.path("k"), (1, 1))
    time.sleep(0.03)
    assert ledger.silent_seconds("k") > 1000


def test_what_is_told_often_is_written_seldom(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.write(Entry(key="k", name="n"))
    moment = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: moment, time=time.time))
    with working(ledger, "k"):
        for now, soon, written in (
            (100.0, True, True), (100.5, True, False), (101.9, True, False), (102.0, True, True), (103.0, False, True),
            (104.0, True, False), (105.0, True, True),
        ):  # fmt: skip
            moment = now
            tell(soon=soon, seconds_left=now)
            assert (read(ledger).seconds_left == now) == written, now
