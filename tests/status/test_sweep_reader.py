"""What is known of a sweep's tasks."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.status.invented import ago, ended_process, entry, key, planned, record, submission, sweep
from tlfw.errors import ConfigError
from tlfw.records.ledger import Ledger
from tlfw.status.row import Row
from tlfw.status.sweep_reader import SweepReader, rows

HOST = socket.gethostname()


def by_key(folder: Path) -> dict[str, Row]:
    return {row.key: row for row in rows(folder)}


@pytest.mark.parametrize(
    ("state", "going"),
    [("waiting", True), ("submitted", True), ("running", True), ("requeued", True), ("done", False),
     ("diverged", False), ("failed", False), ("interrupted", False), ("blocked", False), ("pruned", False)],
)  # fmt: skip
def test_each_state_is_read(tmp_path: Path, state: str, going: bool) -> None:
    folder = sweep(tmp_path, [planned(1)])
    entry(folder, 1, state, host="elsewhere", pid=7, error="why")
    (row,) = rows(folder)
    assert (row.state, row.word, row.going) == (state, state, going)
    assert row.name == "joint-full-resnet18-s1"
    assert row.error == (None if going or state == "done" else "why")


def test_runs_without_an_entry_are_as_their_records_say(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [planned(n) for n in range(4)])
    entry(folder, 3, "waiting")
    record(tmp_path, 0, "done", ago(9000))
    record(tmp_path, 1, "failed", ago(9000), error="no memory")
    found = by_key(folder)
    assert [found[key(n)].state for n in range(4)] == ["done", "failed", "waiting", "waiting"]
    assert found[key(1)].error == "no memory"
    assert found[key(0)].name == "joint-full-resnet18-s0"


@pytest.mark.parametrize(
    ("state", "facts", "status", "ended", "shown"),
    [
        ("running", {}, "done", 100, "done"),  # the job died between the record and its entry
        ("running", {}, "done", 9000, "running"),  # it is made again
        ("running", {}, "failed", 100, "failed"),
        ("waiting", {}, "interrupted", 9000, "waiting"),  # of an earlier command
        ("requeued", {}, "interrupted", 100, "requeued"),  # a job that saved before its time was up
        ("running", {}, "interrupted", 100, "running"),
        ("interrupted", {"began": 500}, "done", 300, "done"),  # a result is not replaced by less
        ("interrupted", {"began": 500}, "done", 600, "interrupted"),
        ("failed", {"began": 500}, "interrupted", 300, "failed"),
        ("failed", {}, "done", 100, "done"),  # made alone since
        ("done", {}, "failed", 100, "done"),
    ],
)
def test_the_newer_of_entry_and_record_counts(
    tmp_path: Path, state: str, facts: dict[str, float], status: str, ended: float, shown: str
) -> None:
    folder = sweep(tmp_path, [planned(1)])
    entry(folder, 1, state, host="elsewhere", **{name: ago(value) for name, value in facts.items()})
    record(tmp_path, 1, status, ago(ended))
    (row,) = rows(folder)
    assert row.state == shown


def test_a_task_has_the_job_of_its_latest_submission(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [planned(1), planned(2), planned(3)])
    entry(folder, 1, "submitted", job="10")
    submission(folder, 1, "slurm", "10")
    submission(folder, 1, "slurm", "11")
    entry(folder, 2, "running", job="21_1", host="node1")
    submission(folder, 2, "slurm", "20")
    entry(folder, 3, "done", host="node2")
    submission(folder, 3, "slurm", "30")
    found = by_key(folder)
    assert [found[key(n)].job for n in (1, 2, 3)] == ["11", "21_1", "30"]
    assert [found[key(n)].host for n in (1, 2, 3)] == [None, "node1", "node2"]
    (folder / "tasks" / f"{key(1)}.2.job").write_text("")  # claimed, and the scheduler has not answered
    assert by_key(folder)[key(1)].job == "10"


def test_what_has_said_nothing_is_silent_and_dead_where_its_process_is_gone(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [planned(n) for n in range(5)])
    entry(folder, 0, "running", host="elsewhere", pid=1234, quiet=200)
    entry(folder, 1, "running", host=HOST, pid=ended_process(), began=ago(60))
    entry(folder, 2, "running", host=HOST, pid=os.getpid(), began=ago(0), quiet=200)
    entry(folder, 3, "running", host=HOST, pid=os.getpid(), began=ago(9000))  # which has got that number since
    entry(folder, 4, "waiting", quiet=9000)
    found = by_key(folder)
    assert [found[key(n)].word for n in range(5)] == ["silent", "dead", "silent", "dead", "waiting"]
    assert found[key(0)].silent == pytest.approx(200, abs=60)
    assert found[key(0)].going
    assert not found[key(1)].going
    with Ledger(folder).conducting():  # which will see to it
        assert by_key(folder)[key(1)].going


def test_what_waits_is_lost_where_its_command_has_died(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [planned(1), planned(2)])
    entry(folder, 1, "waiting")
    assert SweepReader(folder).read().going  # nobody has said that he conducts it
    with Ledger(folder).conducting():
        assert SweepReader(folder).read().driven
        (mark,) = (folder / "tasks").glob("*.driver")
        os.utime(mark, (0, 0))
        overview = SweepReader(folder).read()
    assert not overview.going
    assert overview.notes == ["No command conducts this sweep now: 2 tasks wait for the same command."]
    assert SweepReader(folder).read().driven is False  # at once: it said that it ended
    assert not SweepReader(folder).read().going


def test_shared_stages_come_first_and_only_while_a_run_lacks_them(tmp_path: Path) -> None:
    steps = [{"until": "pretrain", "keys": [["stages", key(9)]], "images": 1}]
    folder = sweep(tmp_path, [planned(1, steps=steps), planned(2)])
    entry(folder, 1, "blocked", needs=[key(9)], error="pretrain failed")
    entry(folder, 9, "failed", name="pretrain", until="pretrain", error="no memory")
    entry(folder, 8, "failed", name="of former code", until="pretrain")
    entry(folder, 7, "done", name="another", until="pretrain")
    entry(folder, 6, "running", name="still running", until="pretrain", host="elsewhere")
    names = [row.name for row in rows(folder)]
    assert names == ["another", "pretrain", "still running", "joint-full-resnet18-s1", "joint-full-resnet18-s2"]
    entry(folder, 1, "done")
    assert "pretrain" not in [row.name for row in rows(folder)]


def test_what_a_later_command_no_longer_asks_for(tmp_path: Path) -> None:
    """A run that was set aside goes when it has ended; one that never began is no reason to wait."""
    set_aside = [planned(5), planned(6)]
    folder = sweep(tmp_path, [planned(1), planned(2, asked=[1])], commands=2, set_aside=set_aside)
    entry(folder, 2, "done")
    entry(folder, 5, "failed")
    entry(folder, 6, "running", host="elsewhere")
    entry(folder, 7, "pruned", name="a search's")
    overview = SweepReader(folder).read()
    assert {row.key: (row.state, row.going) for row in overview.rows} == {
        key(1): ("waiting", False), key(2): ("done", False), key(6): ("running", True), key(7): ("pruned", False),
    }  # fmt: skip
    assert overview.notes == ["1 runs that only earlier commands asked for were not begun."]


def test_a_run_is_shown_once_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    runs = [planned(n, settings={}, overrides=["a=1", f"b={n // 2}"]) for n in (1, 2, 3)]
    folder = sweep(tmp_path, [*runs, planned(1, freeze_policy="mine/probe")])
    names = [row.name for row in rows(folder)]
    assert names == [
        "joint-full-resnet18 (b=0)", f"joint-full-resnet18 (b=1 {key(2)[:12]})",
        f"joint-full-resnet18 (b=1 {key(3)[:12]})",
    ]  # fmt: skip


def test_a_sweep_of_before_the_ledger(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [planned(1), planned(2)])
    record(tmp_path, 1, "done")
    overview = SweepReader(folder).read()
    assert [row.state for row in overview.rows] == ["done", "waiting"]
    assert len(overview.notes) == 1
    assert "no folder of tasks" in overview.notes[0]


def test_a_plan_of_schema_1(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [])
    (folder / "plan.json").write_text(json.dumps({"runs": [{"run_id": key(1)}], "records": "../../runs"}))
    assert [row.name for row in rows(folder)] == [key(1)[:12]]


DAMAGED = ["", "{", "[]", "null", "3", '"x"', "{}", '{"key": 1}', "\x00\xff"]


@pytest.mark.parametrize("text", DAMAGED)
def test_what_is_damaged_is_counted(tmp_path: Path, text: str) -> None:
    folder = sweep(tmp_path, [planned(1), planned(2), planned(3)])
    entry(folder, 1, "running", host="elsewhere")
    for number, ledger in ((1, Ledger(folder)), (2, Ledger(folder))):
        ledger.path(key(number)).write_text(text, encoding="latin-1")
    record(tmp_path, 2, "done", ago(9))
    (record(tmp_path, 3, "done") / "record.json").write_text(text, encoding="latin-1")
    (folder / "tasks" / f"{key(3)}.0.job").write_text(text, encoding="latin-1")
    (folder / "tasks" / f"{key(3)}.x.job").write_text("")
    (folder / "tasks" / ".0123.json").write_text("")  # a draft
    overview = SweepReader(folder).read()
    assert [row.state for row in overview.rows] == ["unknown", "done", "waiting"]
    (note,) = overview.notes
    assert note.startswith("3 files could not be read: ")
    (folder / "plan.json").write_text(text, encoding="latin-1")
    overview = SweepReader(folder).read()
    assert overview.notes[0].startswith("3 files could not be read: ")
    assert overview.rows == []


@pytest.mark.parametrize(
    "facts",
    [{"state": "odd"}, {"state": None}, {"since": "soon"}, {"since": 5}, {"began": "then"}, {"steps": "many"},
     {"seconds_left": float("nan")}, {"step": 10**400}, {"name": None}, {"overrides": 5}, {"overrides": [1]},
     {"needs": None}, {"kept": []}, {"job": 5}, {"requeues": None}, {"error": {}}, {"host": []}],
)  # fmt: skip
def test_an_entry_that_says_what_it_cannot_is_damaged(tmp_path: Path, facts: dict[str, object]) -> None:
    folder = sweep(tmp_path, [planned(1)])
    entry(folder, 1, "running")
    path = Ledger(folder).path(key(1))
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    assert [row.state for row in rows(folder)] == ["unknown"]


@pytest.mark.parametrize("steps", [5, [5], [{}], [{"keys": 5}], [{"keys": [[1]]}]])
def test_a_plan_that_says_what_it_cannot_is_damaged(tmp_path: Path, steps: object) -> None:
    folder = sweep(tmp_path, [planned(1, steps=steps)])
    entry(folder, 1, "done")
    overview = SweepReader(folder).read()
    assert [row.state for row in overview.rows] == ["done"]
    assert overview.notes[0].startswith("1 file could not be read")


def test_a_submission_that_says_what_it_cannot(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [planned(1)])
    entry(folder, 1, "submitted")
    submission(folder, 1, "slurm", "1", odd=5)
    assert rows(folder)[0].job is None
    (folder / "tasks" / f"{key(1)}.0.job").write_text(json.dumps({"job": [5], "executor": {}, "host": 3}))
    assert rows(folder)[0].state == "submitted"


def test_nothing_else_is_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SWEEP: .* is no sweep's folder\. Give one of outputs/sweeps"):
        rows(tmp_path)
    with pytest.raises(ConfigError, match="SWEEP"):
        rows(tmp_path / "missing")


def test_a_search_has_tasks_before_it_has_a_plan(tmp_path: Path) -> None:
    entry(tmp_path / "mine", 1, "running", host="elsewhere")
    assert [row.state for row in rows(tmp_path / "mine")] == ["running"]


def test_reading_again_reads_what_changed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sweep(tmp_path, [planned(1), planned(2)])
    record(tmp_path, 1, "interrupted", ago(9000))
    reader = SweepReader(folder)
    assert [row.state for row in reader.read().rows] == ["interrupted", "waiting"]
    for what in ("tlfw.status.sweep_reader.Record.read", "tlfw.status.sweep_reader.plan_file.read"):
        monkeypatch.setattr(what, lambda *_: pytest.fail("it has not changed"))
    entry(folder, 2, "running", host="elsewhere")
    assert [row.state for row in reader.read().rows] == ["interrupted", "running"]
    monkeypatch.undo()
    record(tmp_path, 1, "done", ago(1))
    assert [row.state for row in reader.read().rows] == ["done", "running"]
