"""What a job does when it is told to end: save, and begin again where that is of use."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tlfw.cluster import job as module
from tlfw.cluster import slurm
from tlfw.cluster.job import AGAIN, WARNING, Job, job_id
from tlfw.processes import slurm_restarts
from tlfw.records.ledger import Entry, Ledger
from tlfw.signals import Interrupted

VARIABLES = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_RESTART_COUNT", "SUBMITIT_LOCAL_JOB_ID")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No scheduler began this process, Hydra keeps what it knows, and signals are handled as before."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module.Singleton, "set_state", lambda state: None)
    monkeypatch.setattr(module, "setup_globals", lambda: None)
    handled = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR2, signal.SIGCONT)}
    yield
    for each, handler in handled.items():
        signal.signal(each, handler)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    made.write(Entry(key="k", name="run-k", state="running", kept={"pretrain": -1}))
    return made


class Slurm:
    """Stands in for Slurm."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.slept: list[float] = []
        self.agrees = True
        monkeypatch.setattr(slurm, "requeue", self.requeue)
        monkeypatch.setattr("time.sleep", self.slept.append)
        monkeypatch.setenv("SLURM_JOB_ID", "42")

    def requeue(self, job: str) -> bool:
        self.asked.append(job)
        return self.agrees


def runs(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> Job:
    """A job whose run is this work."""
    monkeypatch.setattr(module, "run_job", lambda **_: work())
    config: Any = OmegaConf.create({"hydra": {"job": {"id": "0", "num": 3}}})
    context: Any = None
    return Job(context, print, config, {}, ledger.folder.parent, "k", "90 min (hydra.launcher.time)")  # type: ignore[arg-type]


def told(ledger: Ledger, signum: int, **facts: Any) -> Callable[[], None]:
    """A run that keeps something, is told to end, and says that it was interrupted."""

    def work() -> None:
        entry = ledger.entry("k")
        assert entry is not None
        ledger.write(entry.changed(**facts))
        try:
            os.kill(os.getpid(), signum)
            raise AssertionError("the signal did not come")
        except Interrupted:
            entry = ledger.entry("k")
            assert entry is not None
            if not entry.ended:
                ledger.write(entry.changed(state="interrupted", error="interrupted by a signal"))
            raise

    return work


def ends(job: Job) -> int:
    """-> its exit code."""
    with pytest.raises(SystemExit) as end:
        job()
    assert isinstance(end.value.code, int)
    return end.value.code


def state(ledger: Ledger) -> tuple[str, str | None]:
    entry = ledger.entry("k")
    assert entry is not None
    return entry.state, entry.error


def test_a_job_that_is_told_nothing_ends_when_its_run_does(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    job = runs(ledger, monkeypatch, lambda: None)
    monkeypatch.setattr(module, "run_job", lambda **given: seen.append(given))
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    job()
    (given,) = seen
    assert given["config"].hydra.job.id == "42"
    assert given["task_function"] is print
    assert (given["job_dir_key"], given["job_subdir_key"]) == ("hydra.sweep.dir", "hydra.sweep.subdir")
    assert state(ledger) == ("running", None)


@pytest.mark.parametrize("inherited", [signal.SIG_IGN, lambda *_: None])
def test_the_warning_is_heeded_whoever_handled_it_before(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, inherited: Any
) -> None:
    """submitit handles it, and SIGTERM and SIGCONT, in every job."""
    for each in (signal.SIGTERM, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(each, inherited)
    assert ends(runs(ledger, monkeypatch, told(ledger, WARNING, kept={"adapt": 1}))) == AGAIN
    assert signal.getsignal(signal.SIGCONT) is signal.SIG_DFL


def test_after_the_warning_a_job_that_kept_something_begins_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Slurm(monkeypatch)
    runs(ledger, monkeypatch, told(ledger, WARNING, kept={"pretrain": -1, "adapt": 40}))()
    assert state(ledger) == ("requeued", None)
    assert queue.asked == ["42"]
    assert queue.slept == [slurm.ASK_SECONDS]
    assert capsys.readouterr().out == "time is nearly up: what was learnt is saved, and the job begins again\n"


def test_on_this_machine_an_exit_code_asks_for_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "77")
    assert ends(runs(ledger, monkeypatch, told(ledger, WARNING, kept={"adapt": 40}))) == AGAIN
    assert state(ledger) == ("requeued", None)


def test_where_slurm_refuses_the_driver_submits_another_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Slurm(monkeypatch)
    queue.agrees = False
    assert ends(runs(ledger, monkeypatch, told(ledger, WARNING, kept={"adapt": 40}))) == 1
    assert state(ledger) == ("requeued", None)
    assert queue.slept == []
    assert "Slurm does not begin job 42 again; the driver submits another one" in capsys.readouterr().out


def test_a_time_limit_that_lets_nothing_be_kept_is_an_error_that_names_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Slurm(monkeypatch)
    assert ends(runs(ledger, monkeypatch, told(ledger, WARNING))) == 1
    why = "the time limit of 90 min (hydra.launcher.time) was reached before anything was kept: give a job more time"
    assert state(ledger) == ("failed", why)
    assert queue.asked == []
    assert capsys.readouterr().out == f"{why}\n"


def test_what_an_earlier_beginning_kept_is_no_progress(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Slurm(monkeypatch)
    runs(ledger, monkeypatch, told(ledger, WARNING, kept={"adapt": 40}))()
    assert ends(runs(ledger, monkeypatch, told(ledger, WARNING, kept={"adapt": 40}))) == 1
    assert queue.asked == ["42"]
    runs(ledger, monkeypatch, told(ledger, WARNING, state="running", kept={"adapt": 41}))()
    assert queue.asked == ["42", "42"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_another_signal_ends_a_job(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signum: int
) -> None:
    queue = Slurm(monkeypatch)
    assert ends(runs(ledger, monkeypatch, told(ledger, signum, kept={"adapt": 40}))) == 128 + signum
    assert state(ledger) == ("interrupted", "interrupted by a signal")
    assert queue.asked == []
    said = f"interrupted by {signal.Signals(signum).name}; the same command resumes it\n"
    assert capsys.readouterr().out == said


def test_the_second_process_of_a_job_says_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Slurm(monkeypatch)
    monkeypatch.setenv("SLURM_PROCID", "1")
    before = state(ledger)
    job = runs(ledger, monkeypatch, lambda: os.kill(os.getpid(), WARNING))
    assert ends(job) == 0
    assert state(ledger) == before
    assert queue.asked == []
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("SLURM_PROCID", "0")
    runs(ledger, monkeypatch, told(ledger, WARNING, kept={"adapt": 1}))()
    assert queue.asked == ["42"]


@pytest.mark.parametrize("ended", ["done", "diverged", "failed", "pruned"])
def test_a_warning_that_comes_when_all_is_done_changes_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    """Done is never replaced by less."""
    queue = Slurm(monkeypatch)
    work = told(ledger, WARNING, kept={"adapt": -1}, state=ended, error="as it is")
    assert ends(runs(ledger, monkeypatch, work)) == 0
    assert state(ledger) == (ended, "as it is")
    assert queue.asked == []


def test_a_job_whose_entry_is_gone_ends(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        ledger.path("k").unlink()
        os.kill(os.getpid(), WARNING)

    assert ends(runs(ledger, monkeypatch, work)) == 128 + WARNING


def test_the_id_of_a_job_and_how_often_it_began_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert job_id() is None
    assert slurm_restarts() == 0
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "77")
    assert job_id() == "77"
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    assert job_id() == "42"
    assert slurm_restarts() == 3
