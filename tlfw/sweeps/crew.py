"""Who makes the tasks of a sweep: a launcher of Hydra, wave by wave, or the jobs of a scheduler, each when it can."""

from __future__ import annotations

import contextlib
import dataclasses
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton

from tlfw.cluster.executor import EXECUTORS
from tlfw.cluster.job import Job
from tlfw.cluster.launcher import gpus, resources
from tlfw.errors import LauncherFailed, first_three
from tlfw.numerics.hardware import Machine
from tlfw.records.ledger import Ledger
from tlfw.records.record import FINISHED, Record, find_record
from tlfw.runs.trained_model import LEFT
from tlfw.signals import Interrupted, delegated
from tlfw.sweeps.jobs import Compose
from tlfw.sweeps.launch import Crew, Given, JobFailed, JobLost, Returned, Waves
from tlfw.sweeps.order import Order
from tlfw.sweeps.queue import Queue, weights
from tlfw.sweeps.task_graph import Agenda, Speeds
from tlfw.sweeps.watch import Watch


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a crew has to know of a sweep.

    Attributes:
        launcher: Hydra's, set up.
        name: the option of `hydra/launcher`.
        compose: from a job's overrides to its whole config.
        folder: the sweep's.
        runs: the folder of all runs.
    """

    launcher: Any
    name: str
    compose: Compose
    folder: Path
    runs: Path

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder)

    def record(self, run_id: str) -> Record | None:
        """The record of a run that has ended as a result."""
        found = find_record(self.runs, run_id, LEFT)
        return found[1] if found and found[1].status in FINISHED else None


def machine_of(name: str, settings: Mapping[str, Any]) -> Machine | None:
    """What the jobs of a launcher are computed on; None: on what this process is, as far as it is said.

    Args:
        name: the option of `hydra/launcher`.
        settings: the config's `hydra.launcher`.
    """
    if (count := gpus(name, settings)) is None:
        return None
    return Machine("cuda" if count else "cpu", max(count, 1), None, settings.get("nodes") or 1)


def crew_of(sweep: Sweep, agenda: Agenda, speeds: Speeds | None = None, watch: Watch | None = None) -> Crew:
    """Who makes the tasks of an agenda.

    Args:
        speeds: what earlier runs say of time; None: images stand for it.
        watch: shows the jobs of a scheduler, which print into files of their own.

    Raises:
        ConfigError: there is no such scheduler here.
    """
    if sweep.name not in EXECUTORS:
        return Waves(lambda batch, first: _launched(sweep, batch, first), lambda *lost: _otherwise(sweep, *lost))
    asked = resources(sweep.launcher.settings)
    executor = EXECUTORS[sweep.name](sweep.folder, asked)
    longest = weights(agenda, lambda task: agenda.cost(task, speeds))
    limit = f"{asked.minutes} min (hydra.launcher.time)"
    return Queue(
        executor,
        sweep.ledger,
        job=lambda order: _job(sweep, order, limit),
        weight=lambda task: longest[task],
        at_most=asked.at_most(executor.here),
        record=sweep.record,
        look=watch.look if watch else lambda: None,
    )


@contextlib.contextmanager
def conducting(sweep: Sweep, agenda: Agenda, speeds: Speeds) -> Iterator[Crew]:
    """The crew of a sweep, which is shown while it works. Who is interrupted is told which jobs go on."""
    crew: Crew | None = None
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(sweep.ledger.conducting())
            watch = stack.enter_context(Watch(sweep.folder)) if sweep.name in EXECUTORS else None
            crew = crew_of(sweep, agenda, speeds, watch)
            yield crew
    except (Interrupted, KeyboardInterrupt):
        if isinstance(crew, Queue) and crew.jobs:
            count = len(crew.jobs)
            print(
                f"{count} job{'s go' if count != 1 else ' goes'} on: {first_three(crew.jobs)}. The same command waits "
                f"for them{_and(crew.waiting)}; python -m tlfw.status {sweep.folder} shows them, and with --cancel "
                "ends them.",
                flush=True,
            )
        raise


def _and(waiting: Sequence[Order]) -> str:
    return f" and submits {len(waiting)} more" if waiting else ""


def _job(sweep: Sweep, order: Order, limit: str) -> Callable[[], None]:
    config = sweep.compose(order.words)
    config.hydra.job.num = order.task.candidate
    return Job(
        context=sweep.launcher.hydra_context,
        work=sweep.launcher.task_function,
        config=config,
        singletons=Singleton.get_state(),
        sweep=sweep.folder.absolute(),
        key=order.key,
        limit=limit,
    )


def _launched(sweep: Sweep, batch: Sequence[Sequence[str]], first: int) -> Sequence[Returned]:
    with delegated():
        try:
            return list(sweep.launcher.launch(batch, initial_job_idx=first))
        except Exception as problem:  # not of a job, whose exceptions it hands over: one was killed, say
            said = textwrap.shorten(f"{type(problem).__name__}: {problem}", 300, placeholder=" …")
            raise LauncherFailed(
                f"hydra/launcher={sweep.name} ended without the results of its jobs ({said}). What they finished is "
                "kept, and what does not need the others goes on."
            ) from problem


def _otherwise(sweep: Sweep, order: Order, why: str) -> Given:
    """What became of a task whose results its launcher lost: what its entry says; else it is lost too."""
    if order.others:
        return Given([_otherwise(sweep, each, why).value for each in order.runs])
    entry = sweep.ledger.entry(order.key)
    if entry is not None and entry.state == "done":
        if order.until:
            return Given(dict(entry.result or {}))
        if (record := sweep.record(order.key)) is not None:
            return Given((record, entry.reused))
    if entry is not None and entry.ended and entry.error:
        return Given(JobFailed(entry.error))
    if entry is not None:
        sweep.ledger.write(entry.changed(state="failed", error=why))
    return Given(JobLost(f"its job ended without a result (hydra/launcher={sweep.name})"))
