"""What is known of one task of a sweep."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any, Literal

from tlfw.records.ledger import State

RESULTS = ("done", "diverged", "pruned")
"""States of a task that has what it was made for."""

STILL = ("waiting", "submitted", "running", "requeued")
"""States of a task that has not ended."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A task of a sweep: a run, or a stage or features that several runs need.

    Attributes:
        key: the run's id, or the key of what is made.
        name: for people; no other row has it.
        until: how far a run is brought for others; None: it is a run.
        overrides: of the job that makes it.
        state: `unknown` where what is written of it cannot be read.
        going: whether something still becomes of it without a person.
        job, executor: its latest job's id, and who has it: `slurm` or `local`.
        host: on which it runs, or ran.
        since, began: when it came into this state, and when its job began, in seconds since 1970.
        stage, step, steps, images_per_second, seconds_left: how far the stage is that it trains, and how fast.
        requeues: how often the scheduler began its job again.
        silent: for how many seconds its job has said nothing, where that is too long.
        dead: whether its process is gone though it should run.
        reused: whether it was there before, and nothing was done.
        error: why it ended as it did.
    """

    key: str
    name: str
    until: str | None = None
    overrides: Sequence[str] = ()
    state: State | Literal["unknown"] = "waiting"
    going: bool = False
    job: str | None = None
    executor: str | None = None
    host: str | None = None
    since: float | None = None
    began: float | None = None
    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    requeues: int = 0
    silent: float | None = None
    dead: bool = False
    reused: bool = False
    error: str | None = None

    @property
    def word(self) -> str:
        """Its state, as people want to know it."""
        return "dead" if self.dead else "silent" if self.silent is not None else self.state

    def facts(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {**dataclasses.asdict(self), "shown": self.word}


def moment(text: str | None) -> float | None:
    """A time as records and entries have it, in seconds since 1970; None: it is none."""
    try:
        return None if text is None else datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
