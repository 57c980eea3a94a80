"""`python -m tlfw.status`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.status.invented import entry, key, planned, record, sweep
from tlfw.records.ledger import Ledger
from tlfw.status import __main__ as door

Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """-> (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            door.main(list(map(str, arguments)))
        assert isinstance(end.value.code, int)
        return end.value.code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["done", "diverged"], 0),
        (["done", "pruned"], 0),
        (["done", "failed"], 1),
        (["done", "interrupted"], 1),
        (["done", "blocked"], 1),
        (["failed", "running"], 3),
        (["done", "waiting"], 3),
        (["done", "submitted"], 3),
        (["done", "requeued"], 3),
    ],
)
def test_the_exit_code_says_how_far_it_is(tmp_path: Path, told: Told, states: list[str], code: int) -> None:
    folder = sweep(tmp_path, [planned(n) for n in range(len(states))])
    for number, state in enumerate(states):
        entry(folder, number, state, host="elsewhere")
    for way in ((), ("--json",)):
        assert told(folder, *way)[0] == code
    assert json.loads(told(folder, "--json")[1])["exit_code"] == code


def test_what_cannot_be_read_is_not_done(tmp_path: Path, told: Told) -> None:
    folder = sweep(tmp_path, [planned(1)])
    entry(folder, 1, "done")
    Ledger(folder).path(key(1)).write_text("{")
    code, out, _ = told(folder)
    assert code == 1
    assert out.startswith("joint-full-resnet18-s1: unknown\n1 file could not be read: ")


def test_in_a_pipe_each_task_is_one_line(tmp_path: Path, told: Told) -> None:
    folder = sweep(tmp_path, [planned(1), planned(2)])
    entry(folder, 1, "failed", name="n" * 300, error="why\n" + "y" * 300)
    code, out, err = told(folder)
    lines = out.splitlines()
    assert (code, err, len(lines)) == (3, "", 3)
    assert lines[0].startswith("n" * 300 + ": failed 3 min ago: why " + "y" * 300)
    assert lines[1] == "joint-full-resnet18-s2: waiting"
    assert lines[2] == "0 of 2 runs done, 1 failed, 1 waiting"


def test_on_a_terminal_it_is_a_table(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    folder = sweep(tmp_path, [planned(1)])
    entry(folder, 1, "failed", error="[red]why")
    _, out, _ = told(folder)
    assert "│ joint-full-resnet18-s1 │" in out
    assert "failed: joint-full-resnet18-s1: [red]why" in out
    assert out.splitlines()[-1] == "0 of 1 run done, 1 failed"


def test_a_name_is_enough(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(sweep(tmp_path / "outputs", [planned(1)]), 1, "done")
    monkeypatch.chdir(tmp_path)
    assert told("mine")[0] == 0
    assert told("outputs/sweeps/mine/")[0] == 0
    (tmp_path / "mine").mkdir()
    assert told("mine")[0] == 0
    code, out, err = told("yours")
    assert (code, out) == (2, "")
    assert err == "SWEEP: yours is no sweep's folder. Give one of outputs/sweeps, when its plan has been made.\n"


def test_for_programs_it_is_one_object(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter22hunter22")
    folder = sweep(tmp_path, [planned(1, overrides=["tracking.key=hunter22hunter22"])])
    entry(folder, 1, "running", host="node1", step=5, overrides=["\x1b[2J"])
    facts = json.loads(told(folder, "--json")[1])
    assert facts["sweep"] == "mine"
    assert facts["states"] == {"running": 1}
    (row,) = facts["rows"]
    assert (row["key"], row["state"], row["shown"], row["host"], row["step"]) == (
        key(1),
        "running",
        "running",
        "node1",
        5,
    )
    shutil.rmtree(folder / "tasks")
    assert "hunter22" not in told(folder, "--json")[1]


def written(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_nothing_is_written(tmp_path: Path, told: Told) -> None:
    folder = sweep(tmp_path, [planned(1), planned(2)])
    entry(folder, 1, "running", host="elsewhere", quiet=500)
    record(tmp_path, 2, "done")
    before = written(tmp_path)
    told(folder)
    told(folder, "--json")
    assert written(tmp_path) == before


@pytest.mark.parametrize("terminal", [True, False])
def test_watching_ends_with_the_sweep(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    folder = sweep(tmp_path, [planned(1), planned(2)])
    entry(folder, 1, "waiting")
    entry(folder, 2, "done")
    steps = iter(
        [("running", {"host": "elsewhere", "step": 1}), ("running", {"host": "elsewhere", "step": 2}), ("done", {})]
    )

    def pause(_: float) -> None:
        state, facts = next(steps)
        entry(folder, 1, state, **facts)

    monkeypatch.setattr(door.time, "sleep", pause)
    code, out, _ = told(folder, "--watch")
    assert code == 0
    if terminal:
        assert out.splitlines()[-1] == "2 of 2 runs done"
        return
    begins = [line.partition(" for ")[0].partition(" ago")[0] for line in out.splitlines() if " of 2 " not in line]
    name = "joint-full-resnet18-s"
    assert begins == [f"{name}1: waiting", f"{name}2: done 3 min", f"{name}1: running", f"{name}1: done 3 min"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_person_stops_watching_and_nothing_is_said(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    folder = sweep(tmp_path, [planned(1)])

    def pause(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(door.time, "sleep", pause)
    code, _, err = told(folder, "--watch")
    assert (code, err) == (3, "")


def test_cancelling_says_how_many(tmp_path: Path, told: Told) -> None:
    folder = sweep(tmp_path, [planned(1), planned(2)])
    entry(folder, 1, "waiting")
    assert told(folder, "--cancel")[:2] == (0, "0 jobs cancelled, and 1 task that had not begun\n")
    entry(folder, 2, "running", host="elsewhere", name="[b]\x1b")
    code, out, _ = told(folder, "--cancel")
    assert code == 1
    assert out.splitlines()[1] == ("not cancelled: [b]\\x1b: no scheduler made it: stop the command on elsewhere")


def test_it_says_its_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        door.main(["--help"])
    assert "3  it is going on" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        door.main(["mine", "--json", "--watch"])
    assert end.value.code == 2


def test_it_is_a_command(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [planned(n) for n in range(200)])
    for number in range(0, 200, 50):
        entry(folder, number, "done")
    asked = subprocess.run(
        [sys.executable, "-m", "tlfw.status", str(folder)], capture_output=True, text=True, check=False
    )
    assert (asked.returncode, asked.stderr) == (3, "")
    assert len(asked.stdout.splitlines()) == 201
    command = [sys.executable, "-m", "tlfw.status", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as piped:
        assert piped.stdout is not None
        assert piped.stderr is not None
        piped.stdout.close()  # whoever read it is gone
        assert piped.stderr.read() == b""
