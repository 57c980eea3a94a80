"""A row of the table of benchmarks: what tlfw takes, against something that it cannot be quicker than, or should be."""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measure import measured


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        name, against: for people.
        ours, theirs: do it once, and return the seconds that it took.
        goal: the largest ratio that is good.
        times: how often they take turns.
        warm: whether each is done once before it counts.
    """

    name: str
    against: str
    ours: Callable[[], float]
    theirs: Callable[[], float]
    goal: float
    times: int = 5
    warm: bool = True

    def measure(self) -> dict[str, Any]:
        """Both in turn: -> medians, the ratio of these, and the range of the ratios of single turns."""
        if self.warm:
            self.ours()
            self.theirs()
        turns = [(self.ours(), self.theirs()) for _ in range(self.times)]
        ours, theirs = ([turn[i] for turn in turns] for i in (0, 1))
        ratios = [own / other for own, other in turns]
        return {
            "name": self.name,
            "against": self.against,
            "seconds": statistics.median(ours),
            "against_seconds": statistics.median(theirs),
            "ratio": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
            "goal": self.goal,
        }


def clocked(call: Callable[[], Any]) -> Callable[[], float]:
    """From something to do: what does it and returns the seconds."""

    def timed() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return timed


def python(arguments: Sequence[str], folder: Any, *, fails: bool = False) -> Callable[[], float]:
    """What runs a command of Python's in a folder, from the prompt to the prompt."""

    def run() -> float:
        command = [sys.executable, *arguments]
        if fails:  # its end is no news
            command = ["/bin/sh", "-c", '"$@"; true', "sh", *command]
        return measured(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)[0]

    return run
