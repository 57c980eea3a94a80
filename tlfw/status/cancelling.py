"""Ends the jobs of a sweep, and says of what waits that nobody needs to wait for it."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import os
import re
import signal
import socket
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tlfw.processes import lives
from tlfw.records.ledger import Entry, Ledger, State
from tlfw.records.record import now
from tlfw.status.row import Row, moment

PATIENCE_SECONDS = 60.0
"""How long Slurm may take to answer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cancelled:
    """What was cancelled of a sweep.

    Attributes:
        jobs: how many jobs were told to end.
        waiting: how many tasks will not begin.
        left: tasks, by name, that could not be cancelled, with the reason.
    """

    jobs: int
    waiting: int
    left: Mapping[str, str]


def cancel(sweep: Path, rows: Sequence[Row]) -> Cancelled:
    """Cancel what waits, and then the jobs; a job that runs saves its stage first, and says itself that it ended.

    Args:
        sweep: its folder.
        rows: its tasks.
    """
    ledger = Ledger(sweep)
    why = f"cancelled by {_user()} at {now()}"
    left: dict[str, str] = {}
    waiting = 0
    for row in rows:  # before the jobs, whose places a driver would give to others
        if row.state == "waiting":
            waiting += _interrupted(ledger, row, ("waiting",), why, left)
    latest = ledger.listed()[1]
    by_job: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.state in ("submitted", "running", "requeued"):
            submission = ledger.submission(row.key, latest[row.key]) if row.key in latest else None
            if submission is None or not row.executor or not row.job:
                left[row.name] = _unreachable(row)
            else:  # numbers of processes are a host's own
                host = str(submission.host) if row.executor == "local" else ""
                by_job[row.executor, row.job, host].append(row)
    refused = _scancel([job for executor, job, _ in by_job if executor == "slurm"])
    jobs = 0
    for (executor, job, host), tasks in by_job.items():
        if executor == "slurm":
            problem = refused.get(job)
        elif executor == "local":
            problem = _terminate(ledger, job, host, tasks[0])
        else:
            problem = f"{executor} is no scheduler that can be asked here"
        jobs += problem is None
        for row in tasks:
            if problem is not None and problem != GONE:
                left[row.name] = problem
            elif row.word != "running" or problem == GONE:  # perhaps nobody else will say it: scancel also takes
                _interrupted(ledger, row, (row.state,), why, left)  # ids of jobs that are long gone
    return Cancelled(jobs=jobs, waiting=waiting, left=left)


ENDING = "already completing or completed"
"""What Slurm says of a job that ends anyway."""

GONE = "its process is gone"


def _interrupted(ledger: Ledger, row: Row, states: Sequence[str], why: str, left: dict[str, str]) -> bool:
    """Write into a task's entry that it was cancelled, if it is still in one of these states."""
    entry: Entry | None = ledger.entry(row.key)
    if entry is None or entry.state not in states:
        return False
    state: State = "interrupted"
    try:
        ledger.write(entry.changed(state=state, error=why))
    except OSError as problem:
        left[row.name] = f"its entry cannot be written ({problem.strerror})"
        return False
    return True


def _unreachable(row: Row) -> str:
    if row.state == "running" and row.host:
        return f"no scheduler made it: stop the command on {row.host}"
    return "the id of its job is not known"


def _scancel(jobs: Sequence[str]) -> dict[str, str]:
    """Ask Slurm to cancel jobs: -> job -> why it did not."""
    refused = {job: f"{job!r} is no job of Slurm" for job in jobs if not re.fullmatch(r"\d+([_+]\d+)?", job)}
    asked = [job for job in jobs if job not in refused]
    if asked and _refusal(asked) is not None:  # one of them; Slurm does not always say which
        refused |= {job: why for job in asked if (why := _refusal([job])) is not None}
    return refused


def _refusal(jobs: Sequence[str]) -> str | None:
    """Why Slurm does not cancel jobs; None: it does. One that has ended is no reason."""
    try:
        done = subprocess.run(
            ["scancel", *jobs], capture_output=True, text=True, errors="replace", timeout=PATIENCE_SECONDS, check=False
        )
    except FileNotFoundError:
        return "there is no scancel on this machine"
    except OSError as problem:
        return f"scancel cannot be run ({problem.strerror})"
    except subprocess.TimeoutExpired:
        return f"scancel did not answer within {PATIENCE_SECONDS:.0f} s"
    said = [line for line in done.stderr.splitlines() if ENDING not in line]
    if done.returncode == 0 or (done.stderr and not said):
        return None
    return " ".join(said) or f"scancel ended with exit code {done.returncode}"


def _terminate(ledger: Ledger, job: str, host: str, row: Row) -> str | None:
    """Tell the process that started a job on this machine to end: -> why that was not done."""
    submission = ledger.submission(row.key)
    if submission is None or str(submission.job) != job or not job.isdecimal():
        return "the id of its job is not known"
    if host != socket.gethostname():
        return f"it runs on {host}: cancel it there"
    if not lives(int(job), moment(submission.at) or 0.0):
        return GONE
    try:
        os.kill(int(job), signal.SIGTERM)
    except ProcessLookupError:
        return GONE
    except PermissionError:
        return "its process is another user's"
    return None


def _user() -> str:
    with contextlib.suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return f"user {os.getuid()}"
