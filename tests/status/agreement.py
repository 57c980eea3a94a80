"""Whether a status says what a scheduler and the records say."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlfw.records.record import FINISHED, Record

LIVES = {
    "submitted": ("PENDING", "CONFIGURING", "REQUEUED", "RUNNING"),  # Slurm knows that it runs before it says so itself
    "requeued": ("PENDING", "CONFIGURING", "REQUEUED", "RUNNING", "COMPLETING"),
    "running": ("RUNNING", "COMPLETING"),
}
"""State of a task whose job Slurm has -> what Slurm may say of the job."""


def queue(folder: Path | None = None) -> dict[str, str]:
    """Job -> its state, as Slurm says it now.

    Args:
        folder: in which the jobs were submitted that count; None: all do.
    """
    asked = ["squeue", "--noheader", "--array", "--format=%i %T %Z"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    jobs = [line.split(maxsplit=2) for line in said.splitlines()]
    return {job: state for job, state, place in jobs if folder is None or Path(place) == folder}


def finished(runs: Path) -> dict[str, str]:
    """Run id -> its record's status."""
    records = [Record.read(path) for path in sorted(runs.glob("*/record.json"))]
    return {record.run_id: record.status for record in records}


def disagreements(
    status: Mapping[str, Any],
    before: tuple[Mapping[str, str], Mapping[str, str]],
    after: tuple[Mapping[str, str], Mapping[str, str]],
) -> list[str]:
    """Where they differ: sentences. A change between two looks is none.

    Args:
        status: what `--json` printed.
        before: the queue and the records as they were just before.
        after: as they were just after.
    """
    found = []
    for row in status["rows"]:
        if row["shown"] in LIVES and row["executor"] == "slurm" and row["job"]:  # else it is just being submitted
            said = [queue.get(row["job"], "nothing") for queue, _ in (before, after)]
            if not set(said) & set(LIVES[row["shown"]]):
                found.append(f"{row['name']}: {row['shown']}, but Slurm says {said[0]} and {said[1]} of {row['job']}")
        if row["until"] is None and not row["going"]:
            kept = [records.get(row["key"], "none") for _, records in (before, after)]
            if (row["state"] in FINISHED) not in {each in FINISHED for each in kept}:
                found.append(f"{row['name']}: {row['state']}, but its record says {kept[0]} and {kept[1]}")
    for key, ended in before[1].items():
        shown = [row["state"] for row in status["rows"] if row["key"] == key]
        if ended in FINISHED and shown and shown[0] not in FINISHED:
            found.append(f"{key}: {shown[0]}, but its record said {ended} before")
    ours = {row["job"] for row in status["rows"]}  # also of tasks that are done, whose processes are just ending
    for job in before[0].keys() & after[0].keys() - ours:
        if "COMPLETING" not in (before[0][job], after[0][job]):
            found.append(f"job {job}: in Slurm's queue, but of no task")
    return found
