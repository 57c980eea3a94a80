"""Submits jobs and asks how they are: to Slurm, or as processes of this machine. Both through submitit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from tlfw.cluster import slurm
from tlfw.cluster.resources import Resources
from tlfw.errors import ConfigError, LauncherFailed
from tlfw.processes import alive

Phase = Literal["alive", "ended", "preempted", "timed out", "cancelled", "unknown", "no answer"]
"""How a job is. `ended` says nothing of how; of `unknown` ones the scheduler knows nothing (any more); `no answer`: it
cannot be asked now.
"""

CONTROLLER = b"submitit.local._local"
"""The module that a job's process on this machine runs."""

CLOSING_SECONDS = 15.0
"""How long a process of this machine may take to end once its task has."""

LOGS = "logs"
"""The folder, in a sweep's, of what jobs print."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a scheduler says of a job.

    Attributes:
        text: for people.
        waits_for: why it does not begin, where that is not that others are before it.
    """

    phase: Phase
    text: str
    waits_for: str = ""


class Executor(Protocol):
    """Where jobs run.

    Attributes:
        kind: its name in the ledger.
        here: whether jobs run on this machine, beside the driver.
        patience: seconds between two questions to the scheduler.
    """

    kind: str
    here: bool
    patience: float

    def submit(self, job: Callable[[], None], name: str) -> str:
        """Have a job run: -> its id."""

    def seen(self, jobs: Collection[str]) -> Mapping[str, Seen]:
        """How jobs are, by id."""

    def find(self, name: str) -> str | None:
        """The id of a job of that name, which was submitted by a driver that died before it wrote the id down."""

    def cancel(self, jobs: Collection[str]) -> bool:
        """Whether jobs are ended, each in its own good time."""

    def close(self) -> None:
        """Wait a moment for jobs that have said how they ended, and whose processes still do."""


class Slurm:
    """Jobs of Slurm.

    Args:
        folder: the sweep's.

    Raises:
        ConfigError: there is no Slurm here, or submitit is not installed.
    """

    kind, here, patience = "slurm", False, 5.0

    def __init__(self, folder: Path, resources: Resources) -> None:
        self.folder, self.resources = folder, resources
        if submitit().SlurmExecutor.affinity() < 0:
            raise ConfigError(
                "hydra/launcher",
                "slurm needs Slurm's commands (srun is not found).",
                "Run the command where jobs are submitted from; hydra/launcher=slurm_local tries it on this machine.",
            )

    def submit(self, job: Callable[[], None], name: str) -> str:
        asked = self.resources
        executor = submitit().SlurmExecutor(folder=self.folder / LOGS / "%j")
        asked_for = {"requeue": True, "mem": asked.memory, **asked.options}
        options = {name: value for name, value in asked_for.items() if value is not None and value is not False}
        given = {
            "job_name": name,
            "partition": asked.partition,
            "account": asked.account,
            "qos": asked.qos,
            "constraint": asked.constraint,
            "time": asked.minutes,
            "nodes": asked.nodes,
            "ntasks_per_node": 1,
            "cpus_per_task": asked.cpus,
            "gpus_per_node": asked.gpus or None,
            "signal_delay_s": asked.signal_seconds,
            "setup": asked.setup or None,
            # The job step is given as many cores as the job has; newer versions of Slurm do not do so by themselves.
            "srun_args": [f"--cpus-per-task={asked.cpus}"],
            "stderr_to_stdout": True,
            "additional_parameters": options,
        }
        executor.update_parameters(**{option: value for option, value in given.items() if value is not None})
        try:
            return str(executor.submit(job).job_id)
        except (RuntimeError, OSError, subprocess.SubprocessError) as problem:  # submitit's are RuntimeErrors
            said = " ".join(str(problem).split())
            raise LauncherFailed(f"Slurm does not take the job {name}: {said[-400:]}") from problem

    def seen(self, jobs: Collection[str]) -> Mapping[str, Seen]:
        found = slurm.states(jobs)
        if found is None:
            return {job: Seen("no answer", "Slurm does not answer") for job in jobs}
        return {
            job: Seen(_phase(said.state), f"Slurm: {said.text}", slurm.waits_for(said)) for job, said in found.items()
        }

    def find(self, name: str) -> str | None:
        return slurm.find(name)

    def cancel(self, jobs: Collection[str]) -> bool:
        return slurm.cancel(jobs)

    def close(self) -> None:
        """Slurm looks after its jobs."""


def _phase(state: str) -> Phase:
    if state in slurm.ALIVE:
        return "alive"
    if state in slurm.NOT_ITS_FAULT:
        return "preempted"
    if state in slurm.TIMED_OUT:
        return "timed out"
    return "cancelled" if state.startswith(slurm.CANCELLED) else "ended"


class Local:
    """Processes of this machine, which get the signals and the time limit that Slurm's jobs get.

    Args:
        folder: the sweep's.

    Raises:
        ConfigError: submitit is not installed, or more than one node is asked for.
    """

    kind, here, patience = "local", True, 0.5

    def __init__(self, folder: Path, resources: Resources) -> None:
        self.folder, self.resources = folder, resources
        self.own: dict[str, Any] = {}
        submitit()
        if resources.nodes > 1:
            raise ConfigError("hydra.launcher.nodes", "this machine is one node.", "Use 1 with slurm_local.")

    def submit(self, job: Callable[[], None], name: str) -> str:
        asked = self.resources
        executor = submitit().LocalExecutor(folder=self.folder / LOGS / "%j", python=_python(asked.setup))
        executor.update_parameters(
            timeout_min=asked.minutes,
            signal_delay_s=asked.signal_seconds,
            gpus_per_node=asked.gpus,
            visible_gpus=tuple(range(asked.gpus)),
            tasks_per_node=1,
            stderr_to_stdout=True,
        )
        # A terminal sends Ctrl-C to all that it started; jobs live on when the driver ends.
        kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            submitted = executor.submit(job)
        finally:
            signal.signal(signal.SIGINT, kept)
        self.own[str(submitted.job_id)] = submitted
        return str(submitted.job_id)

    def seen(self, jobs: Collection[str]) -> Mapping[str, Seen]:
        return {job: self._seen(job) for job in jobs}

    def _seen(self, job: str) -> Seen:
        alive = self.own[job].state == "RUNNING" if job in self.own else _is_job(int(job))
        return Seen("alive", "runs") if alive else Seen("ended", f"its process {job} has ended")

    def find(self, name: str) -> str | None:
        return None  # a process that nobody wrote down cannot be told from others

    def cancel(self, jobs: Collection[str]) -> bool:
        for job in filter(_is_job, map(int, jobs)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(job, signal.SIGTERM)
        return True

    def close(self) -> None:
        end = time.monotonic() + CLOSING_SECONDS
        while time.monotonic() < end and any(job.state == "RUNNING" for job in self.own.values()):
            wait(0.05)
        self.own = {name: job for name, job in self.own.items() if job.state == "RUNNING"}


def _python(setup: Sequence[str]) -> str:
    """What starts Python after some lines of shell, whose place it takes, so that it gets the signals itself."""
    lines = [*setup, 'exec "$0" "$@"']
    return shlex.join(["bash", "-c", "\n".join(lines), sys.executable] if setup else [sys.executable])


def _is_job(pid: int) -> bool:
    """Whether a process lives and is a job's; numbers of processes are used again, and other machines have theirs."""
    if not alive(pid):
        return False
    try:
        return CONTROLLER in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # no Linux
        return True


def submitit() -> Any:
    """The library that submits jobs, which knows how Slurm is asked.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import submitit as library
    except ImportError as problem:
        raise ConfigError(
            "hydra/launcher",
            "slurm and slurm_local need submitit, which is not installed.",
            "Install tlfw with its extra `slurm`.",
        ) from problem
    return library


EXECUTORS: Mapping[str, Callable[[Path, Resources], Executor]] = {"slurm": Slurm, "slurm_local": Local}
"""By the launcher's name."""


def wait(seconds: float) -> None:
    """Let time pass; of its own, so that a test can shorten it."""
    time.sleep(seconds)
