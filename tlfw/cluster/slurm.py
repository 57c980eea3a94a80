"""What Slurm says of its jobs, asked through its own commands."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import subprocess
from collections.abc import Collection, Mapping

ASK_SECONDS = 60
"""How long a command of Slurm may take; a busy controller answers late."""

ALIVE = frozenset(
    (
        *("CONFIGURING", "COMPLETING", "PENDING", "RUNNING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING"),
        *("RESV_DEL_HOLD", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED"),
    )
)
"""States of a job that will go on. `SPECIAL_EXIT` and the holds wait for a person."""

NOT_ITS_FAULT = frozenset({"PREEMPTED", "NODE_FAIL", "BOOT_FAIL"})
"""States in which a job has ended through nothing that it did."""

TIMED_OUT = frozenset({"TIMEOUT", "DEADLINE"})

CANCELLED = "CANCELLED"


@dataclasses.dataclass(frozen=True)
class Said:
    """What Slurm says of a job: its state in one word, and all of it for people."""

    state: str
    text: str


def states(jobs: Collection[str]) -> Mapping[str, Said] | None:
    """What Slurm says of jobs, by id; of those of which it says nothing there is nothing. None: it does not answer.

    The queue is asked first, which costs a controller least, and accounting for what is not in it any more.
    """
    found: dict[str, Said] = {}
    if not jobs:
        return found
    queue = _ask(["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", f"--jobs={','.join(sorted(jobs))}"])
    if queue is None:  # it knows one of them no more, and answers for none
        queue = _ask(["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", f"--user={getpass.getuser()}"])
    for line in (queue or "").splitlines():
        job, _, rest = line.partition("|")
        state, _, reason = rest.partition("|")
        if job in jobs:
            found[job] = Said(state, f"{state}, {reason}" if reason not in ("", "None") else state)
    answers = queue is not None
    # Of those that have ended accounting knows more, where there is one.
    if rest_of := sorted(job for job in jobs if job not in found or found[job].state not in ALIVE):
        accounts = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State,ExitCode"]
        said = _ask([*accounts, f"--jobs={','.join(rest_of)}"])
        answers = answers or said is not None
        for line in (said or "").splitlines():
            job, _, rest = line.partition("|")
            state, _, code = rest.partition("|")
            if job in rest_of and state and code:
                exit_code, _, signal = code.partition(":")
                how = f", signal {signal}" if signal not in ("", "0") else f", exit code {exit_code}"
                found[job] = Said(state.split()[0], state + how * (state != "COMPLETED"))
    return found if answers else None


USUAL = ("BeginTime", "Dependency", "None", "Prolog", "Priority", "Resources")
"""Why Slurm lets a job wait that begins by itself."""


def waits_for(said: Said) -> str:
    """Why a job does not begin, if somebody has to do something for it; else empty."""
    state, _, reason = said.text.partition(", ")
    return reason if state == "PENDING" and reason and not reason.startswith(USUAL) else ""


def find(name: str) -> str | None:
    """The id of the latest job of this user that is called so and that Slurm still has; None: there is none."""
    said = _ask(["squeue", "--noheader", f"--user={getpass.getuser()}", f"--name={name}", "--format=%i"])
    ids = (said or "").split()
    return max(ids, key=_number) if ids else None


def requeue(job: str) -> bool:
    """Whether Slurm begins a running job again; it then ends this one at once."""
    return _ask(["scontrol", "requeue", job]) is not None


def cancel(jobs: Collection[str]) -> bool:
    """Whether Slurm takes jobs away."""
    return not jobs or _ask(["scancel", *sorted(jobs)]) is not None


def _number(job: str) -> int:
    return int(job.split("_")[0])


def _ask(command: list[str]) -> str | None:
    """What a command prints; None: it failed, or is not there."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
    return None
