"""What Slurm's commands say of jobs, and what is made of it where they say nothing."""

from __future__ import annotations

import getpass

import pytest

from tests.cluster.commands import Commands, commands
from tlfw.cluster import slurm
from tlfw.cluster.executor import _phase
from tlfw.cluster.slurm import Said, cancel, find, requeue, states

__all__ = ["commands"]

UNKNOWN = "--jobs="


def test_of_no_jobs_nobody_is_asked(commands: Commands) -> None:
    commands.says("squeue")
    assert states([]) == {}
    assert commands.calls("squeue") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("7|RUNNING|None", Said("RUNNING", "RUNNING")),
        ("7|PENDING|Priority", Said("PENDING", "PENDING, Priority")),
        ("7|PENDING|BeginTime", Said("PENDING", "PENDING, BeginTime")),
        ("7|REQUEUED|", Said("REQUEUED", "REQUEUED")),
        ("7|COMPLETING|None", Said("COMPLETING", "COMPLETING")),
        ("7|REQUEUE_HOLD|job requeued in held state", Said("REQUEUE_HOLD", "REQUEUE_HOLD, job requeued in held state")),
    ],
)
def test_a_job_that_is_in_the_queue(commands: Commands, line: str, said: Said) -> None:
    commands.says("squeue", f"{line}\n71|FAILED|None\n")
    commands.says("sacct", "7|FAILED|1:0\n")
    assert states(["7"]) == {"7": said}
    assert _phase(said.state) == "alive"
    assert commands.calls("sacct") == []
    (call,) = commands.calls("squeue")
    assert "--jobs=7" in call.split()
    assert "--states=all" in call.split()


@pytest.mark.parametrize(
    ("line", "said", "phase"),
    [
        ("COMPLETED|0:0", Said("COMPLETED", "COMPLETED"), "ended"),
        ("FAILED|1:0", Said("FAILED", "FAILED, exit code 1"), "ended"),
        ("FAILED|0:9", Said("FAILED", "FAILED, signal 9"), "ended"),
        ("OUT_OF_MEMORY|0:125", Said("OUT_OF_MEMORY", "OUT_OF_MEMORY, signal 125"), "ended"),
        ("CANCELLED by 0|0:15", Said("CANCELLED", "CANCELLED by 0, signal 15"), "cancelled"),
        ("TIMEOUT|0:0", Said("TIMEOUT", "TIMEOUT, exit code 0"), "timed out"),
        ("DEADLINE|0:0", Said("DEADLINE", "DEADLINE, exit code 0"), "timed out"),
        ("NODE_FAIL|1:0", Said("NODE_FAIL", "NODE_FAIL, exit code 1"), "preempted"),
        ("PREEMPTED|0:15", Said("PREEMPTED", "PREEMPTED, signal 15"), "preempted"),
        ("BOOT_FAIL|0:0", Said("BOOT_FAIL", "BOOT_FAIL, exit code 0"), "preempted"),
        ("RUNNING|0:0", Said("RUNNING", "RUNNING, exit code 0"), "alive"),
    ],
)
def test_a_job_that_has_ended(commands: Commands, line: str, said: Said, phase: str) -> None:
    """Of which the queue may still say so, in fewer words."""
    for queue in ("", f"7|{said.state}|None\n" * (phase != "alive")):
        commands.says("squeue", queue)
        commands.says("sacct", f"7|{line}\n")
        assert states(["7"]) == {"7": said}
        assert _phase(said.state) == phase
    assert "--jobs=7" in commands.calls("sacct")[0].split()


def test_a_job_that_the_queue_has_forgotten_does_not_hide_the_others(commands: Commands) -> None:
    """squeue then fails for the whole list."""
    queue = "8|RUNNING|None\n9|PENDING|Resources\n99|RUNNING|None\n"
    commands.says("squeue", "", 1, to=UNKNOWN, otherwise=queue)
    commands.says("sacct", "7|FAILED|2:0\n")
    assert states(["7", "8", "9"]) == {
        "7": Said("FAILED", "FAILED, exit code 2"),
        "8": Said("RUNNING", "RUNNING"),
        "9": Said("PENDING", "PENDING, Resources"),
    }
    first, second = commands.calls("squeue")
    assert "--jobs=7,8,9" in first.split()
    assert f"--user={getpass.getuser()}" in second.split()
    assert "--jobs=7" in commands.calls("sacct")[0].split()


def test_where_accounting_is_missing_the_queue_says_how_a_job_ended(commands: Commands) -> None:
    commands.says("squeue", "7|TIMEOUT|TimeLimit\n8|RUNNING|None\n9|COMPLETED|None\n")
    commands.says("sacct", "Slurm accounting storage is disabled\n", 1)
    assert states(["7", "8", "9", "10"]) == {
        "7": Said("TIMEOUT", "TIMEOUT, TimeLimit"),
        "8": Said("RUNNING", "RUNNING"),
        "9": Said("COMPLETED", "COMPLETED"),
    }


def test_what_accounting_says_beside_its_lines_is_no_job(commands: Commands) -> None:
    commands.says("squeue")
    commands.says("sacct", "a warning\n\n7|\n7|FAILED\n7||0:0\n8|FAILED|1:0\n7|FAILED|1:0\n7|FAILED\n")
    assert states(["7"]) == {"7": Said("FAILED", "FAILED, exit code 1")}


def test_where_slurm_has_no_commands_it_does_not_answer(commands: Commands) -> None:
    assert states(["7"]) is None
    assert find("run-a") is None
    assert not requeue("7")
    assert not cancel(["7"])
    assert cancel([])


def test_a_slurm_that_takes_too_long_does_not_answer(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    script = commands.folder / "squeue"
    script.write_text("#!/bin/sh\nexec /bin/sleep 5\n")
    script.chmod(0o755)
    monkeypatch.setattr(slurm, "ASK_SECONDS", 0.05)
    assert states(["7"]) is None
    assert find("run-a") is None


def test_a_job_is_found_by_its_name_and_the_latest_of_several(commands: Commands) -> None:
    commands.says("squeue", "9\n10\n8\n")
    assert find("run-a") == "10"
    (call,) = commands.calls("squeue")
    assert {"--name=run-a", f"--user={getpass.getuser()}"} <= set(call.split())
    commands.says("squeue", "12_3\n")
    assert find("run-a") == "12_3"
    commands.says("squeue", "")
    assert find("run-a") is None
    commands.says("squeue", "7\n", 1)
    assert find("run-a") is None


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_is_begun_again_or_taken_away_where_slurm_does_so(commands: Commands, code: int) -> None:
    commands.says("scontrol", code=code)
    commands.says("scancel", code=code)
    assert requeue("7") == cancel(["8", "7"]) == (code == 0)
    assert commands.calls("scontrol") == ["requeue 7"]
    assert commands.calls("scancel") == ["7 8"]
    assert cancel([])
    assert len(commands.calls("scancel")) == 1
