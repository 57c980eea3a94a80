"""The time of `quickstart_grid` over several seeds: serial, two at a time, and its runs one by one without sharing.

    python benchmarks/share_the_grid.py [--seeds 5] [--alone 1] [--folder DIR] [override ...]

Every job has one torch thread. Prints the seconds of each way, their ratios, and whether all numbers are equal.
Really run alone, each in a folder and with a store of its own, are the runs of the first `--alone` seeds; the sum over
all runs is that of the costs that their records give as alone, beside which the measured ones are printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kill_the_grid import numbers

from tlfw.records.record import Record

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def timed(folder: Path, *arguments: str) -> float:
    """Seconds that a command takes, its start included."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tlfw", *arguments, "threads=1", "tracking=offline"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.monotonic() - began


def records(folder: Path) -> dict[str, Record]:
    found = {path.parent.name: Record.read(path) for path in folder.glob("outputs/runs/*/record.json")}
    return {name: record for name, record in found.items() if record.status == "done"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--alone", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    given, overrides = parser.parse_known_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    sweep = ["-m", "+experiment=quickstart_grid", f"seed={','.join(map(str, range(given.seeds)))}", *overrides]
    serial = timed(folder / "serial", *sweep)
    print(f"serial: {serial:.0f} s", flush=True)
    parallel = timed(folder / "joblib", *sweep, *JOBLIB)
    print(f"two at a time: {parallel:.0f} s", flush=True)
    made = records(folder / "serial")
    counted = sum(record.cost["seconds"] for record in made.values())
    measured = claimed = 0.0
    runs = 0
    for name, record in made.items():
        if record.seed >= given.alone:
            continue
        place = folder / "alone" / name
        paradigm = [f"{group}={option}" for group, option in record.paradigm.items()]
        own = ["match_budget=images", f"seed={record.seed}"]  # as in the grid
        measured += timed(place, "+experiment=quickstart", *paradigm, *own, *overrides)
        assert numbers(place) == {name: numbers(folder / "serial")[name]}, f"{name} has other numbers alone"
        claimed, runs = claimed + record.cost["seconds"], runs + 1
    equal = numbers(folder / "serial") == numbers(folder / "joblib")
    print(f"{len(made)} runs, all numbers equal: {equal}")
    print(f"one by one without sharing, from the records: {counted:.0f} s")
    if runs:
        print(f"  of {runs} of them: {claimed:.0f} s, really run alone with a process's start each: {measured:.0f} s")
    print(f"serial / one by one: {serial / counted:.2f}")
    print(f"two at a time / serial: {parallel / serial:.2f}, / one by one: {parallel / counted:.2f}")
    sys.exit(not equal)


if __name__ == "__main__":
    main()
