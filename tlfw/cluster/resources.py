"""What one job gets of a cluster, as a person asks for it."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from tlfw.limits import cores
from tlfw.strictness import STRICT

TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")
EARLY_SECONDS = 60
"""How much earlier than asked Slurm may send its warning."""

MEMORY = re.compile(r"\d+[KMGT]B?", re.IGNORECASE)
"""Slurm takes whole numbers only."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Resources:
    """What one job gets, and how many jobs there are at a time.

    Args:
        cpus: cores of a node that a job gets; torch uses as many threads.
        gpus: GPUs of a node that a job gets.
        nodes: on each of which one process of the job is started.
        memory: of a node, as `16GB`; None: what the cluster gives by itself.
        time: minutes, or text as Slurm takes it: `90`, `1:30:00`, `1-12:00:00`.
        signal_seconds: before the time limit, when a job is told to save and to begin again.
        at_a_time: jobs that are submitted at a time.
        partition, account, qos, constraint: as Slurm calls them.
        setup: lines of shell that are run before a job, such as `module load cuda`.
        options: any other option of `sbatch`, by its long name without dashes.
    """

    cpus: int = Field(default=2, ge=1)
    gpus: int = Field(default=0, ge=0)
    nodes: int = Field(default=1, ge=1)
    memory: str | None = None
    time: int | str = Field(default=240)  # a Field, so that it is there when signal_seconds is looked at
    signal_seconds: int = Field(default=120, ge=1, validate_default=True)
    at_a_time: int | None = Field(default=None, ge=1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    setup: list[str] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("time")
    @classmethod
    def _check_time(cls, value: int | str) -> int | str:
        if minutes(value) < 1:
            raise ValueError("a job needs at least a minute")
        return value

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, value: str | None) -> str | None:
        if value is not None and not MEMORY.fullmatch(value):
            raise ValueError(f"{value!r} is no amount of memory; write 500MB or 16GB")
        return value

    @field_validator("signal_seconds")
    @classmethod
    def _check_signal(cls, value: int, info: ValidationInfo) -> int:
        time = info.data.get("time")  # None: it is wrong itself
        if time is not None and value + EARLY_SECONDS >= 60 * minutes(time):
            raise ValueError(
                f"{value} s before the time limit of {60 * minutes(time)} s, and up to {EARLY_SECONDS} s earlier still "
                "as Slurm may have it, a job may not have begun; use less, or give a job more time"
            )
        return value

    @property
    def minutes(self) -> int:
        return minutes(self.time)

    def at_most(self, here: bool) -> int:
        """How many jobs there are at a time.

        Args:
            here: they run on this machine, which has only so many cores.
        """
        if self.at_a_time is not None:
            return self.at_a_time
        return max(1, cores() // self.cpus) if here else 10_000


def minutes(time: int | str) -> int:
    """Minutes of a time limit as Slurm takes it, rounded up: `90`, `30:00` (minutes and seconds), `1:30:00`, `1-12`.

    Raises:
        ValueError: it is none.
    """
    if isinstance(time, int):
        return time
    found = TIME.fullmatch(time.strip())
    if found is None:
        raise ValueError(f"{time!r} is no time limit; write minutes, 1:30:00 or 1-12:00:00")
    days, first, second, third = (int(part) if part else 0 for part in found.groups())
    if found["days"] is not None or found["third"] is not None:
        hours, mins, seconds = first, second, third
    else:
        hours, mins, seconds = 0, first, second
    return -(-(((days * 24 + hours) * 60 + mins) * 60 + seconds) // 60)
