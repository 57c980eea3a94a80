"""What is cancelled, and what cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.status.invented import ended_process, entry, key, planned, submission, sweep
from tlfw.records.ledger import Ledger
from tlfw.status.cancelling import Cancelled, cancel
from tlfw.status.sweep_reader import rows


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    made = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield made
    made.kill()
    made.wait()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `scancel` that writes down what it was asked, and refuses 13."""
    tools = tmp_path / "bin"
    tools.mkdir()
    script = (
        f'#!/bin/sh\necho "$@" >> {tools}/asked\n'
        'case " $* " in *" 13 "*) echo "scancel: error: Kill job error on job id 13: Access/permission denied" >&2; '
        "exit 1;; esac\n"
    )
    (tools / "scancel").write_text(script)
    (tools / "scancel").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    return tools / "asked"


def done(folder: Path) -> Cancelled:
    return cancel(folder, rows(folder))


def states(folder: Path) -> dict[str, str]:
    return {entry.key: entry.state for entry in Ledger(folder).entries()}


def test_what_waits_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    folder = sweep(tmp_path, [planned(n) for n in range(4)])
    entry(folder, 0, "waiting")
    entry(folder, 1, "done")
    entry(folder, 2, "failed", error="e")
    assert done(folder) == Cancelled(jobs=0, waiting=1, left={})
    assert states(folder) == {key(0): "interrupted", key(1): "done", key(2): "failed"}
    said = Ledger(folder).entry(key(0))
    assert said is not None
    assert said.error is not None
    assert said.error.startswith("cancelled by ada at 20")


def test_jobs_of_slurm_are_cancelled_each_once(tmp_path: Path, slurm: Path) -> None:
    folder = sweep(tmp_path, [planned(n) for n in range(5)])
    for number, (state, job) in enumerate(
        [("submitted", "11_0"), ("running", "12"), ("running", "12"), ("submitted", "13"), ("submitted", "--me")]
    ):
        entry(folder, number, state, host="node1")
        submission(folder, number, "slurm", job)
    found = done(folder)
    assert found.jobs == 2
    assert found.left == {
        "joint-full-resnet18-s3": "scancel: error: Kill job error on job id 13: Access/permission denied",
        "joint-full-resnet18-s4": "'--me' is no job of Slurm",
    }
    assert slurm.read_text().splitlines() == ["11_0 12 13", "11_0", "12", "13"]
    assert states(folder) == {
        key(0): "interrupted", key(1): "running", key(2): "running", key(3): "submitted", key(4): "submitted",
    }  # fmt: skip


def test_a_job_that_was_silent_will_not_say_that_it_ended(tmp_path: Path, slurm: Path) -> None:
    """Slurm's `scancel` says nothing of a job that it does not know."""
    folder = sweep(tmp_path, [planned(1), planned(2)])
    for number, quiet in ((1, 0.0), (2, 500.0)):
        entry(folder, number, "running", host="node1", quiet=quiet)
        submission(folder, number, "slurm", f"{number}")
    assert done(folder) == Cancelled(jobs=2, waiting=0, left={})
    assert states(folder) == {key(1): "running", key(2): "interrupted"}


def test_without_scancel_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = sweep(tmp_path, [planned(1)])
    entry(folder, 1, "submitted")
    submission(folder, 1, "slurm", "11")
    assert done(folder) == Cancelled(
        jobs=0, waiting=0, left={"joint-full-resnet18-s1": "there is no scancel on this machine"}
    )
    assert states(folder) == {key(1): "submitted"}


def test_processes_of_this_machine_are_told_to_end(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    folder = sweep(tmp_path, [planned(n) for n in range(4)])
    entry(folder, 0, "running", host="elsewhere")
    submission(folder, 0, "local", str(process.pid))
    entry(folder, 1, "running", host="elsewhere")
    submission(folder, 1, "local", str(ended_process()))
    entry(folder, 2, "running", host="elsewhere")
    submission(folder, 2, "local", str(os.getpid()), host="elsewhere")
    entry(folder, 3, "running", host="elsewhere")
    submission(folder, 3, "local", str(os.getpid()), at="2020-01-01T00:00:00Z")  # the number is another's since
    found = done(folder)
    assert process.wait(60) == -15
    assert (found.jobs, found.left) == (1, {"joint-full-resnet18-s2": "it runs on elsewhere: cancel it there"})
    assert states(folder) == {key(0): "running", key(1): "interrupted", key(2): "running", key(3): "interrupted"}


@pytest.mark.parametrize("job", ["0", "-1", "1", "x", ""])
def test_a_damaged_id_ends_nothing(tmp_path: Path, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    folder = sweep(tmp_path, [planned(1)])
    entry(folder, 1, "submitted")
    submission(folder, 1, "local", job)
    monkeypatch.setattr(os, "kill", lambda *what: killed.append(what))
    done(folder)
    assert killed == []


def test_what_no_scheduler_has_is_named(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [planned(n) for n in range(3)])
    entry(folder, 0, "running", host="elsewhere", pid=5)
    entry(folder, 1, "submitted")
    entry(folder, 2, "running", host="elsewhere", job="1")
    submission(folder, 2, "ray", "1")
    assert done(folder) == Cancelled(
        jobs=0,
        waiting=0,
        left={
            "joint-full-resnet18-s0": "no scheduler made it: stop the command on elsewhere",
            "joint-full-resnet18-s1": "the id of its job is not known",
            "joint-full-resnet18-s2": "ray is no scheduler that can be asked here",
        },
    )
