"""Sweeps that nobody ran: their plans, entries and records."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfw.records.ledger import Entry, Ledger
from tlfw.records.plan_file import NAMES
from tlfw.records.record import Record


def ago(seconds: float) -> str:
    """A time as entries have it."""
    return datetime.datetime.fromtimestamp(time.time() - seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key(number: int) -> str:
    return f"{number:032x}"[::-1]


def planned(number: int, **facts: Any) -> dict[str, Any]:
    """A run as `plan.json` has it."""
    names = {"data_mix": "joint", "freeze_policy": "full", "backbone": "resnet18"}
    run = {"run_id": key(number), "overrides": [f"seed={number}"], "settings": {"seed": number}, "asked": [0]}
    return {**dict.fromkeys(NAMES), **run, **names, "steps": [], **facts}


def sweep(outputs: Path, runs: Sequence[Mapping[str, Any]], *, commands: int = 1, **facts: Any) -> Path:
    """-> the folder of a sweep that was asked for these runs."""
    folder = outputs / "sweeps" / "mine"
    folder.mkdir(parents=True)
    asked = [{"repetitions": 1, "metric": "accuracy", "margin": None, "compare": [], "note": None}] * commands
    plan = {"schema": 2, "sweep": "mine", "records": "../../runs", "asked": asked, "runs": list(runs), **facts}
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


def entry(folder: Path, number: int, state: str, *, quiet: float = 0.0, **facts: Any) -> Entry:
    """Write a task's entry, which was last touched so many seconds ago."""
    facts = {"name": f"joint-full-resnet18-s{number}", "since": ago(180), **facts}
    made = Entry(key=key(number), state=state, **facts)  # type: ignore[arg-type]
    ledger = Ledger(folder)
    ledger.write(made)
    touched = time.time() - quiet
    os.utime(ledger.path(made.key), (touched, touched))
    return made


def submission(folder: Path, number: int, executor: str, job: str, **facts: Any) -> None:
    """Write down that a task was submitted."""
    ledger = Ledger(folder)
    latest = ledger.listed()[1].get(key(number), -1) + 1
    assert ledger.claim_submission(key(number), latest, executor)
    ledger.submitted(key(number), latest, job)
    if facts:
        file = ledger.folder / f"{key(number)}.{latest}.job"
        file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def record(outputs: Path, number: int, status: str, ended: str | None = None, **facts: Any) -> Path:
    """Leave the record of a run: -> its folder."""
    made = Record(
        **{
            **dict.fromkeys(("source", "sweep", "certificate")),
            **{"run_id": key(number), "setting": "s", "status": status, "experiment": "mine", "seed": number},
            **{"paradigm": {}, "backbone": "resnet18", "target": "t", "labels": [], "images": {}, "content": {}},
            **{"settings": {}, "metrics": {}, "stages": [], "wandb": {}, "cost": {}, "environment": {}},
            "ended": ended,
            **facts,
        }
    )
    folder = outputs / "runs" / f"joint-full-resnet18-s{number}-{key(number)[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    made.write(folder)
    return folder


def ended_process() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
