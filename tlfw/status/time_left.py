"""How long a sweep still takes, estimated from what it has done."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from tlfw.status.row import Row


@dataclasses.dataclass(frozen=True)
class TimeLeft:
    """An estimate.

    Attributes:
        seconds: until all has ended.
        whole: whether it is of all tasks; else it takes longer than that.
        said: how it was estimated.
    """

    seconds: float
    whole: bool
    said: str


def time_left(rows: Sequence[Row], now: float) -> TimeLeft | None:
    """How long it takes until all has ended; None: nothing is known of that.

    A task takes as long as the median of those that brought runs equally far and are done. One that runs has that less
    what it has had, and at the least what its stage says. What there is to do is divided by how many run now.
    """
    took: defaultdict[str | None, list[float]] = defaultdict(list)
    for row in rows:
        if row.state == "done" and not row.reused and row.began is not None and row.since is not None:
            took[row.until].append(max(row.since - row.began, 0.0))
    usual = {until: median(seconds) for until, seconds in took.items()}
    going = [row for row in rows if row.going]
    running = [_rest(row, usual, now) for row in going if row.state == "running"]
    others = [usual.get(row.until) for row in going if row.state != "running"]
    known = [seconds for seconds in (*running, *others) if seconds is not None]
    if not known or not running:
        return None
    longest = max((seconds for seconds in running if seconds is not None), default=0.0)
    estimate = max(longest, sum(known) / len(running))
    if len(known) < len(running) + len(others) or any(row.until not in usual for row in going):
        return TimeLeft(estimate, False, "how long the other tasks take is not known yet")
    done = sum(map(len, took.values()))
    return TimeLeft(estimate, True, f"if the others take as long as the {done} done, {len(running)} at a time")


def _rest(row: Row, usual: dict[str | None, float], now: float) -> float | None:
    """What a task that runs still takes; its stage's own estimate is of no later stage."""
    had = 0.0 if row.began is None else now - row.began
    guesses = [seconds for seconds in (row.seconds_left,) if seconds is not None]
    if row.until in usual:
        guesses.append(usual[row.until] - had)
    return max(*guesses, 0.0) if guesses else None
