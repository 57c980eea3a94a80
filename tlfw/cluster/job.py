"""What a job does that a scheduler started: one task, and after a warning one request to begin again."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from tlfw.cluster import slurm
from tlfw.processes import slurm_job
from tlfw.records.ledger import Ledger
from tlfw.signals import Interrupted, heeded

AGAIN = 144
"""The exit code by which submitit's local controller begins a job again."""

WARNING = signal.SIGUSR2
"""What a scheduler sends some time before it ends a job."""


@dataclasses.dataclass
class Job:
    """One job. It is pickled, and may be begun several times.

    Attributes:
        config: composed by the driver: what is edited meanwhile does not change a job.
        singletons: of Hydra, as they are in the driver.
        sweep: the sweep's folder.
        key: of the task.
        limit: the time limit, for people.
    """

    context: HydraContext
    work: TaskFunction
    config: DictConfig
    singletons: Mapping[Any, Any]
    sweep: Path
    key: str
    limit: str

    def __call__(self) -> None:
        for signum, own in (
            (signal.SIGTERM, signal.SIG_DFL),
            (WARNING, signal.SIG_DFL),  # submitit would ask for a new beginning at once, before anything is saved
            (signal.SIGCONT, signal.SIG_DFL),
        ):
            signal.signal(signum, own)
        Singleton.set_state(dict(self.singletons))
        setup_globals()
        with open_dict(self.config.hydra.job):
            self.config.hydra.job.id = job_id() or "0"
        before = self._kept()
        try:
            with heeded():
                self._run()
        except Interrupted as problem:
            self._end(problem, before)

    def _run(self) -> JobReturn:
        return run_job(
            hydra_context=self.context,
            task_function=self.work,
            config=self.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            configure_logging=False,
        )

    def _kept(self) -> Mapping[str, int]:
        entry = Ledger(self.sweep).entry(self.key)
        return dict(entry.kept) if entry else {}

    def _end(self, problem: Interrupted, before: Mapping[str, int]) -> None:
        """Begin again where time was up and something was kept since the job began; else end."""
        if os.environ.get("SLURM_PROCID", "0") != "0":
            sys.exit(0)  # the first process of the job speaks for all
        ledger = Ledger(self.sweep)
        entry = ledger.entry(self.key)
        if problem.signum != WARNING or entry is None:
            print(f"interrupted by {problem}; the same command resumes it", flush=True)
            sys.exit(128 + problem.signum)
        if entry.ended and entry.state != "interrupted":  # it had ended when the warning came
            sys.exit(0)
        if entry.kept == before:
            why = f"the time limit of {self.limit} was reached before anything was kept: give a job more time"
            ledger.write(entry.changed(state="failed", error=why))
            print(why, flush=True)
            sys.exit(1)
        ledger.write(entry.changed(state="requeued", error=None))
        print("time is nearly up: what was learnt is saved, and the job begins again", flush=True)
        if (job := slurm_job()) is None:
            sys.exit(AGAIN)
        if not slurm.requeue(job):
            print(f"Slurm does not begin job {job} again; the driver submits another one", flush=True)
            sys.exit(1)
        time.sleep(slurm.ASK_SECONDS)  # until Slurm ends it


def job_id() -> str | None:
    """The id that a scheduler gave the job of this process."""
    if (job := slurm_job()) is not None:
        return job
    return os.environ.get("SUBMITIT_LOCAL_JOB_ID")
