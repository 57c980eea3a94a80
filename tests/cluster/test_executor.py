"""What is asked of Slurm for a job, and jobs that are processes of this machine."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.commands import Commands, commands
from tlfw.cluster import executor as module
from tlfw.cluster.executor import EXECUTORS, LOGS, Local, Seen, Slurm
from tlfw.cluster.resources import Resources
from tlfw.errors import ConfigError, LauncherFailed

__all__ = ["commands"]


def asked_of_slurm(commands: Commands, folder: Path, **given: Any) -> str:
    """The script that sbatch is given."""
    commands.says("srun")
    sbatch = commands.folder / "sbatch"
    sbatch.write_text(f'#!/bin/sh\n/bin/cat "$1" > {folder}/script\necho Submitted batch job 42\n')
    sbatch.chmod(0o755)
    assert Slurm(folder, Resources(**given)).submit(print, "joint-full-s0") == "42"
    return (folder / "script").read_text()


def options(script: str) -> dict[str, str]:
    lines = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", script, re.MULTILINE)
    return {name: value.strip("'") for name, value in lines}


def test_what_slurm_is_asked_for(commands: Commands, tmp_path: Path) -> None:
    script = asked_of_slurm(
        commands, tmp_path, cpus=4, gpus=2, memory="500MB", time="1:30:00", signal_seconds=90, partition="gpu",
        account="lab", qos="low", constraint="a100", setup=["module load cuda", "source env"],
        options={"exclude": "node7", "exclusive": True, "comment": None},
    )  # fmt: skip
    found = options(script)
    assert found.pop("output").startswith(str(tmp_path / LOGS / "%j"))
    assert found == {
        "job-name": "joint-full-s0", "partition": "gpu", "account": "lab", "qos": "low", "constraint": "a100",
        "time": "90", "nodes": "1", "ntasks-per-node": "1", "cpus-per-task": "4", "gpus-per-node": "2",
        "mem": "500MB", "signal": "USR2@90", "requeue": "", "open-mode": "append", "wckey": "submitit",
        "exclude": "node7", "exclusive": "",
    }  # fmt: skip
    before, _, command = script.partition("srun")
    assert "module load cuda\nsource env\n" in before
    assert "--cpus-per-task=4" in command
    assert (tmp_path / LOGS / "42" / "42_submitted.pkl").exists()


def test_what_is_not_given_slurm_is_not_asked_for(commands: Commands, tmp_path: Path) -> None:
    found = options(asked_of_slurm(commands, tmp_path))
    assert {"partition", "account", "qos", "constraint", "mem", "gpus-per-node", "error"}.isdisjoint(found)
    assert (found["time"], found["signal"], found["cpus-per-task"], found["requeue"]) == ("240", "USR2@120", "2", "")


def test_a_job_that_slurm_may_not_begin_again(commands: Commands, tmp_path: Path) -> None:
    found = options(asked_of_slurm(commands, tmp_path, options={"requeue": False, "no-requeue": True}))
    assert "requeue" not in found
    assert found["no-requeue"] == ""


@pytest.mark.parametrize("answer", ["echo 'sbatch: error: invalid partition: gpus' >&2\nexit 1", "echo what?"])
def test_what_slurm_refuses_is_one_line(commands: Commands, tmp_path: Path, answer: str) -> None:
    commands.says("srun")
    sbatch = commands.folder / "sbatch"
    sbatch.write_text(f"#!/bin/sh\n{answer}\n")
    sbatch.chmod(0o755)
    with pytest.raises(LauncherFailed) as problem:
        Slurm(tmp_path, Resources(partition="gpus")).submit(print, "run-a")
    said = str(problem.value)
    assert said.startswith("Slurm does not take the job run-a: ")
    assert "\n" not in said
    assert "invalid partition: gpus" in said or "what?" in said
    assert len(said) < 500


def test_without_slurm_it_is_said_what_to_do(commands: Commands, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^hydra/launcher: slurm needs .*srun is not found.*slurm_local"):
        Slurm(tmp_path, Resources())
    Local(tmp_path, Resources())


@pytest.mark.parametrize("name", ["slurm", "slurm_local"])
def test_without_submitit_it_is_said_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"^hydra/launcher: slurm and slurm_local need submitit.*extra `slurm`"):
        EXECUTORS[name](tmp_path, Resources())


def test_what_slurm_says_of_jobs(commands: Commands, tmp_path: Path) -> None:
    commands.says("srun")
    commands.says("squeue", "7|RUNNING|None\n")
    commands.says("sacct", "8|CANCELLED by 0|0:0\n9|PREEMPTED|0:0\n")
    commands.says("scancel")
    executor = Slurm(tmp_path, Resources())
    assert executor.seen(["7", "8", "9", "10"]) == {
        "7": Seen("alive", "Slurm: RUNNING"),
        "8": Seen("cancelled", "Slurm: CANCELLED by 0, exit code 0"),
        "9": Seen("preempted", "Slurm: PREEMPTED, exit code 0"),
    }
    commands.says("squeue", "12\n")
    assert executor.find("run-a") == "12"
    assert executor.cancel(["7"])
    assert commands.calls("scancel") == ["7"]
    assert (executor.kind, executor.here) == ("slurm", False)


def test_this_machine_is_one_node(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.nodes: this machine is one node"):
        Local(tmp_path, Resources(nodes=2))


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C would end this process; where it was begun in the background it would not, nor what it begins."""
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.fixture
def local(tmp_path: Path, _ctrl_c: None) -> Iterator[Callable[..., tuple[Local, str]]]:
    """Submit a line of Python: -> the executor, and the job's id. What is left of jobs ends with the test."""
    begun: list[tuple[Local, str]] = []

    def submit(code: str, **given: Any) -> tuple[Local, str]:
        executor = Local(tmp_path, Resources(**given))
        begun.append((executor, executor.submit(_Code(code), "run-a")))
        return begun[-1]

    yield submit
    for executor, job in begun:
        executor.cancel([job])
        until(lambda executor=executor, job=job: executor.seen([job])[job].phase == "ended")
        executor.own[job]._process.wait()


class _Code:
    """A job. It is pickled, and names nothing of this file, which the job could not import."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code, {})

    def __call__(self) -> None:
        raise AssertionError("it is not to be run here")


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it is waited for in vain"
        time.sleep(0.02)


SLEEPS = "import pathlib, time, os; pathlib.Path({mark!r}).write_text(str(os.getpid())); time.sleep(90)"


def test_a_job_of_this_machine_runs_and_ends(local: Callable[..., tuple[Local, str]], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    executor, job = local(f"import pathlib, os; pathlib.Path({str(mark)!r}).write_text(os.environ['FROM_SETUP'])",
                          setup=["export FROM_SETUP='a b'", "true"])  # fmt: skip
    until(lambda: executor.seen([job])[job].phase == "ended")
    assert mark.read_text() == "a b"
    assert executor.seen([job]) == {job: Seen("ended", f"its process {job} has ended")}
    assert Local(tmp_path, Resources()).seen([job]) == executor.seen([job])  # another driver sees the same
    assert (tmp_path / LOGS / job).is_dir()
    assert executor.find("run-a") is None


@pytest.mark.parametrize("setup", [[], ["export X=1"]])
def test_ctrl_c_ends_no_job_and_cancelling_does(
    local: Callable[..., tuple[Local, str]], tmp_path: Path, setup: list[str]
) -> None:
    mark = tmp_path / "mark"
    executor, job = local(SLEEPS.format(mark=str(mark)), setup=setup)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    until(lambda: mark.exists() and mark.read_text() != "")
    worker = int(mark.read_text())
    assert executor.seen([job]) == {job: Seen("alive", "runs")}
    for pid in (int(job), worker):  # as a terminal tells all that it started
        os.kill(pid, signal.SIGINT)
    time.sleep(0.1)
    other = Local(tmp_path, Resources())
    assert other.seen([job]) == {job: Seen("alive", "runs")}
    assert module.alive(worker)
    assert other.cancel([job])
    until(lambda: executor.seen([job])[job].phase == "ended" and not module.alive(worker))
    until(lambda: other.seen([job])[job].phase == "ended")
    assert other.cancel([job])


def test_a_process_that_has_got_the_number_of_a_job_is_not_taken_for_it(tmp_path: Path) -> None:
    """Numbers of processes are used again, and another machine has its own."""
    executor = Local(tmp_path, Resources())
    job = str(os.getpid())
    assert executor.seen([job]) == {job: Seen("ended", f"its process {job} has ended")}
    assert executor.cancel([job])  # or this test would not end
