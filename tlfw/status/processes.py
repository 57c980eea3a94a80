"""Processes of this machine: whether one that was written down is still there."""

from __future__ import annotations

import os
from pathlib import Path

SLACK_SECONDS = 300.0
"""A process that began so long after it was written down is another one, which has got its number."""


def lives(pid: int, written: float) -> bool:
    """Whether a process still runs.

    Args:
        pid: its number.
        written: when that was written down, in seconds since 1970.
    """
    if pid <= 1:  # to the system's calls these mean a whole group, or the machine's first process
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's, and there
        pass
    try:
        # What stands before is its name, which may hold anything.
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        began = int(booted.split()[1]) + int(facts[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, IndexError, ValueError):  # not Linux, or it has just ended
        return True
    return facts[0] != "Z" and began <= written + SLACK_SECONDS
