"""Processes of this machine, whether one that was written down is still there, and the job of Slurm of this one."""

from __future__ import annotations

import os
from pathlib import Path

SLACK_SECONDS = 300.0
"""A process that began so long after it was written down is another one, which has got its number."""

DEAD = ("Z", "X")


def state(pid: int) -> tuple[str, int | None]:
    """A process's state, a letter, and when it was started, in ticks of the machine; where that cannot be known: None.

    A number of a process is given again; number and start are not.
    """
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # names may hold anything
        return words[0], int(words[19])
    except (OSError, ValueError, IndexError):  # not Linux, or it has just ended
        return "", None


def alive(pid: int) -> bool:
    """Whether a process has that number and has not ended; one that nobody has asked how it ended has."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's, and there
        pass
    return state(pid)[0] not in DEAD


def lives(pid: int, written: float) -> bool:
    """Whether a process still runs, and is the one that was written down.

    Args:
        pid: its number.
        written: when that was written down, in seconds since 1970.
    """
    if pid <= 1:  # to the system's calls these mean a whole group, or the machine's first process
        return False
    started = state(pid)[1]
    try:
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        began = 0.0 if started is None else int(booted.split()[1]) + started / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, IndexError, ValueError):  # not Linux
        began = 0.0
    return alive(pid) and began <= written + SLACK_SECONDS


def slurm_job() -> str | None:
    """The id of the job of Slurm that this process is of; None: it is of none."""
    return os.environ.get("SLURM_JOB_ID")


def slurm_restarts() -> int:
    """How often Slurm has begun that job again."""
    text = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(text) if text.isdecimal() else 0
