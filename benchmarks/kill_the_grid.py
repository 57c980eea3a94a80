"""Kills `quickstart_grid` at random moments, goes on, and compares every number with an undisturbed sweep's.

    python benchmarks/kill_the_grid.py [--kills 20] [--folder DIR] [override ...]

Prints each kill, the seconds that the killed sweep took beyond the undisturbed one, and whether all is equal.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tlfw.record import Record


def start(folder: Path, overrides: list[str]) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tlfw", "-m", "+experiment=quickstart_grid", "tracking=disabled", *overrides]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(out)
    return out


def numbers(folder: Path) -> dict[str, object]:
    """Of every run that is done: metrics, certificate, and the predictions' bytes."""
    found: dict[str, object] = {}
    for path in folder.glob("outputs/runs/*/record.json"):
        record = Record.read(path)
        if record.status == "done":
            with np.load(path.with_name("predictions.npz")) as arrays:
                predictions = {name: arrays[name].tobytes() for name in arrays}
            found[path.parent.name] = (record.metrics, record.certificate, predictions)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    given, overrides = parser.parse_known_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    began = time.monotonic()
    finish(start(folder / "whole", overrides))
    whole = time.monotonic() - began
    print(f"undisturbed: {whole:.0f} s", flush=True)
    random_moment, spent = random.Random(given.seed), 0.0
    for i in range(given.kills):
        # On average as far apart as lets the last of them still hit something.
        wait = random_moment.uniform(0.1, 1.9) * whole / (given.kills + 1) + 10  # the start of a process
        process, began = start(folder / "killed", overrides), time.monotonic()
        try:
            process.communicate(timeout=wait)
            print(f"kill {i + 1}: the sweep had ended before", flush=True)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            print(f"kill {i + 1}: after {wait:.1f} s, {len(numbers(folder / 'killed'))} runs done", flush=True)
        spent += time.monotonic() - began
    began = time.monotonic()
    finish(start(folder / "killed", overrides))
    spent += time.monotonic() - began
    expected, found = numbers(folder / "whole"), numbers(folder / "killed")
    print(f"killed {given.kills} times: {spent:.0f} s, {spent - whole:.0f} s of them repeated work and new starts")
    print(f"{len(found)} of {len(expected)} runs done, all numbers equal: {found == expected}")
    sys.exit(found != expected)


if __name__ == "__main__":
    main()
