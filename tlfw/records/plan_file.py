"""What a sweep's folder remembers: every command that was run under its name, and every run that one of them asked for.

That is `plan.json`. A later command adds to it and takes nothing away, so that a report is of all that was asked.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tlfw.errors import ConfigError
from tlfw.records.claim import claimed
from tlfw.records.record import now, replace_text
from tlfw.records.secret import masked
from tlfw.records.settings import REPETITION

FILE = "plan.json"
SCHEMA = 2
NAMES = ("data_mix", "freeze_policy", "backbone")
"""What a run is called by: the options of these groups, as they were asked for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ask:
    """One command that was run under a sweep's name.

    Attributes:
        at: when, in UTC, to the second; None in what was written before that was kept.
        repetitions: how many runs of each cell it asked for.
        compare: fields whose values make rows of their own.
        metric: by which is judged.
        margin: the smallest difference that matters, as a share; None: none is too small.
        note: what its report has to say of how its runs were come by.
    """

    at: str | None = dataclasses.field(default_factory=now)
    repetitions: int
    compare: list[str] = dataclasses.field(default_factory=list)
    metric: str = "accuracy"
    margin: float | None = None
    note: str | None = None


def read(folder: Path) -> dict[str, Any] | None:
    """What `plan.json` in a sweep's folder says, as of this schema; None: there is none.

    A file of schema 1 was of one command, and knew no names: those are null.

    Raises:
        ConfigError: it cannot be read.
    """
    path = folder / FILE
    try:
        plan = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        if (schema := plan.get("schema", 1)) == 1:
            plan = _of_schema_1(plan)
        elif schema != SCHEMA:
            raise ValueError(f"schema {schema}, where this tlfw reads {SCHEMA}")
        commands = range(len(plan["asked"]))
        for run in plan["runs"]:
            _called(run)
            if not all(number in commands for number in run["asked"]):
                raise ValueError("a run is of a command that is not there")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ConfigError(
            str(path),
            f"it cannot be read ({problem!r}), so that what was asked for under this name is not known.",
            "Move it away to start again, or give another name=….",
        ) from problem
    return dict(plan)


def add(folder: Path, facts: Mapping[str, Any], ask: Ask, outdated: Collection[str] = ()) -> bool:
    """Add a command to what the folder remembers. Of two processes at a time, each adds its own.

    Args:
        facts: of the command: its `runs`, each with `run_id`, a name for each of `NAMES` and whatever else there is to
            say; the `waves` that it makes them in, by their place in that list; and whatever else there is to say.
        outdated: ids of runs that cannot be compared with these any more: they are set aside.

    Returns:
        Whether it asked for a run that was not asked for before.

    Raises:
        ConfigError: what is there cannot be read, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with claimed(folder / f".{FILE}.claim", f"{folder.name}/{FILE}"):
            before = read(folder) or {"asked": [], "runs": []}
            plan = masked(_merged(before, facts, ask, outdated))
            replace_text(folder / FILE, json.dumps(plan, indent=1, default=str) + "\n")
    except OSError as problem:
        raise ConfigError(
            "outputs", f"cannot write in {folder} ({problem.strerror}).", "Give a folder that can be written."
        ) from problem
    return not {_called(run) for run in plan["runs"]} <= {_called(run) for run in before["runs"]}


def repetitions(settings: Iterable[Mapping[str, Any]]) -> int:
    """How many repetitions runs of such settings make, where nothing else says it."""
    return len({tuple(str(each.get(field)) for field in REPETITION) for each in settings})


def _called(run: Mapping[str, Any]) -> tuple[Any, ...]:
    return (run["run_id"], *(run[name] for name in NAMES))


def _of_schema_1(plan: Mapping[str, Any]) -> dict[str, Any]:
    runs: dict[str, dict[str, Any]] = {}
    for run in plan["runs"]:
        runs.setdefault(run["run_id"], {**dict.fromkeys(NAMES), **run, "asked": [0]})
    only = Ask(
        at=None,
        repetitions=repetitions(run.get("settings", {}) for run in runs.values()),
        note=plan.get("note"),
    )
    kept = {name: value for name, value in plan.items() if name != "waves"}  # which count equal runs apart
    return {**kept, "schema": SCHEMA, "asked": [dataclasses.asdict(only)], "runs": list(runs.values())}


def _merged(before: Mapping[str, Any], facts: Mapping[str, Any], ask: Ask, outdated: Collection[str]) -> dict[str, Any]:
    """One entry for each run under each set of names; what else is known of it is what the last command said."""
    runs = [dict(run) for run in before["runs"] if run["run_id"] not in outdated]
    aside = [run for run in before["runs"] if run["run_id"] in outdated]
    number = len(before["asked"])
    place = {_called(run): i for i, run in reversed(list(enumerate(runs)))}
    places: list[int] = []
    for run in facts["runs"]:
        nameless = (run["run_id"], *(None for _ in NAMES))
        if _called(run) not in place and nameless in place:  # of before names were kept: it is whoever's asks first
            place[_called(run)] = place.pop(nameless)
        i = place.setdefault(_called(run), len(runs))
        if i == len(runs):
            runs.append({"asked": []})
        if number not in runs[i]["asked"]:  # else an equal one of the same command was there
            runs[i] = {**run, "asked": [*runs[i]["asked"], number]}
        places.append(i)
    first: dict[str, int] = {}
    for i, run in enumerate(runs):
        run["same_as"] = first.get(run["run_id"])
        first.setdefault(run["run_id"], i)
    return {
        "schema": SCHEMA,
        **{name: value for name, value in facts.items() if name not in ("runs", "waves", "note")},
        "note": ask.note,
        "asked": [*before["asked"], dataclasses.asdict(ask)],
        "runs": runs,
        "set_aside": [*before.get("set_aside", []), *aside],
        "waves": [[{**task, "run": places[task["run"]]} for task in wave] for wave in facts["waves"]],
    }
