"""One task of a sweep, made in this process: the ledger says that it is at work, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlfw.cluster.job import WARNING, job_id
from tlfw.command_line.messages import explain
from tlfw.devices.nodes import is_a_further_node
from tlfw.errors import Diverged, Pruned
from tlfw.processes import slurm_restarts
from tlfw.records.ledger import Ledger, State, tell, working
from tlfw.records.secret import masked
from tlfw.signals import Interrupted


def made(sweep: Path, key: str | None, work: Callable[[], Any]) -> Any:
    """What `work` returns.

    Args:
        sweep: the sweep's folder.
        key: of the task; None: it is not in the ledger.
    """
    if key is None or is_a_further_node():  # the first node of a job speaks for all
        return work()
    with working(Ledger(sweep), key, job=job_id(), requeues=slurm_restarts()):
        try:
            value = work()
        except BaseException as problem:
            warned = isinstance(problem, Interrupted) and problem.signum == WARNING
            if not (warned and job_id()):  # then the job says whether it begins again
                state, why = _of(problem)
                tell(state=state, error=masked(why))
            raise
        if isinstance(value, Mapping):
            tell(state="done", result=dict(value))
        else:
            record, reused = value
            tell(state=record.status, error=record.error, reused=reused)
        return value


def _of(problem: BaseException) -> tuple[State, str]:
    """How a task has ended that raised, and why."""
    if isinstance(problem, Interrupted | KeyboardInterrupt):
        return "interrupted", f"interrupted by {problem}" if isinstance(problem, Interrupted) else "interrupted"
    if isinstance(problem, Diverged | Pruned):
        return "diverged" if isinstance(problem, Diverged) else "pruned", str(problem)
    said = explain(problem) if isinstance(problem, Exception) else None
    return "failed", said or f"{type(problem).__name__}: {problem}"
