"""What was asked for under a sweep's name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlfw.records import plan_file

FEWEST_REPETITIONS = 3
"""From which on ways can be told apart."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run that a sweep was asked for.

    Attributes:
        data_mix, freeze_policy: the options' names as they were asked for; None: nobody wrote them down.
        settings: its fields, as it was asked for. setting: what it repeats then; None: nobody wrote it down.
        asked: the last command that asked for it.
    """

    run_id: str
    data_mix: str | None
    freeze_policy: str | None
    settings: Mapping[str, Any]
    asked: int
    setting: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """All that was asked for under a sweep's name: its `plan.json`.

    Attributes:
        records: the folder of the runs.
        latest: the place of the latest command.
        planned: the repetitions that were first asked for, of three or more; None: never so many.
        metric, margin, compare: of the latest command.
        note: what is to be said of how the runs were come by.
    """

    name: str
    records: Path
    entries: tuple[Entry, ...]
    latest: int
    planned: int | None
    metric: str | None
    margin: float | str | None
    compare: tuple[str, ...]
    note: str | None

    @classmethod
    def read(cls, folder: Path) -> SweepPlan:
        """The plan in a sweep's folder.

        Raises:
            ConfigError: it is damaged.
        """
        plan = plan_file.read(folder) or {}
        last = plan["asked"][-1]
        many = [each["repetitions"] for each in plan["asked"] if each["repetitions"] >= FEWEST_REPETITIONS]
        entries = tuple(
            Entry(
                run["run_id"],
                run.get("data_mix"),
                run.get("freeze_policy"),
                dict(run.get("settings") or {}),
                max(run["asked"]),
                run.get("setting"),
            )
            for run in plan["runs"]
        )
        return cls(
            name=folder.resolve().name,
            records=(folder / plan["records"]).resolve(),
            entries=entries,
            latest=max((entry.asked for entry in entries), default=0),
            planned=many[0] if many else None,
            metric=last.get("metric"),
            margin=last.get("margin"),
            compare=tuple(last.get("compare") or ()),
            note=last.get("note"),
        )
