"""Kills `quickstart_grid` at random moments, resumes it, and compares every number with an undisturbed sweep's.

    python benchmarks/kill_the_grid.py [--kills 20] [--folder DIR] [override ...]

A kill counts where it hits a running sweep. Prints what each of them fell into, the seconds that the killed sweep
took beyond the undisturbed one, and whether all numbers are equal, nothing that was published was made again, and the
store is whole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tlfw.records.record import Record

PUBLISHED = ("outputs/store/*/[!.]*/done.json", "outputs/runs/*/record.json")


def start(folder: Path, overrides: list[str]) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tlfw", "-m", "+experiment=quickstart_grid", "tracking=disabled", *overrides]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True)


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


def published(folder: Path) -> dict[str, tuple[int, int]]:
    """What is whole: store entries and records of finished runs -> their files' inode and time of change.

    A seal is touched when it is read, so that of an entry's time is none that counts.
    """
    found = {}
    for pattern in PUBLISHED:
        for path in folder.glob(pattern):
            if path.name != "record.json":
                found[str(path.relative_to(folder))] = (path.stat().st_ino, 0)
            elif json.loads(path.read_text())["status"] == "done":
                found[str(path.relative_to(folder))] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def moment(folder: Path, out: str) -> str:
    """What a kill fell into, by what the sweep had said and left half done."""
    if "plan: " not in out:
        return "start"
    store = folder / "outputs" / "store"
    if list(store.glob("stages/.*.scratch/.last*")):
        return "checkpoint"
    if list(store.glob("features/.*.draft")):
        return "features"
    drafts = list(store.glob("stages/.*.draft"))
    if drafts:
        return "publication" if any(any(draft.iterdir()) for draft in drafts) else "training"
    if re.search(r"  test: \d+ images\n$", out):
        return "test, record"
    return "between"


class Sweep:
    """A sweep that is killed, in a folder of its own, until it has ended."""

    def __init__(self, folder: Path, overrides: list[str]) -> None:
        self.folder, self.overrides = folder, overrides
        self.spent, self.seen, self.again = 0.0, dict[str, tuple[int, int]](), set[str]()
        self.told: list[str] = []

    def kill(self, wait: float) -> str | None:
        """Start, kill after `wait` seconds: -> what that fell into; None: the sweep had ended."""
        process, began = start(self.folder, self.overrides), time.monotonic()
        try:
            out, into = process.communicate(timeout=wait)[0], None
            if process.returncode:
                sys.exit(out)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out = process.communicate()[0]
            into = moment(self.folder, out)
        self.note(out, began)
        return into

    def end(self) -> None:
        began = time.monotonic()
        self.note(finish(start(self.folder, self.overrides)), began)

    def note(self, out: str, began: float) -> None:
        self.spent += time.monotonic() - began
        self.told.append(out)
        now = published(self.folder)
        self.again |= {name for name, facts in self.seen.items() if now.get(name) != facts}
        self.seen = now

    def said(self, what: str) -> int:
        return sum(out.count(what) for out in self.told)

    @property
    def done(self) -> int:
        return sum("record.json" in name for name in self.seen)

    def whole(self) -> tuple[bool, str]:
        """Whether the store is, and what was said of it."""
        command = [sys.executable, "-m", "tlfw.store", "verify"]
        told = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return told.returncode == 0, told.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    given, overrides = parser.parse_known_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    undisturbed = Sweep(folder / "whole", overrides)
    undisturbed.end()
    whole, stages = undisturbed.spent, undisturbed.said(" steps in ")
    undisturbed.end()
    begin = undisturbed.spent - whole
    print(f"undisturbed: {whole:.0f} s, {stages} stages; to start it and find all done: {begin:.0f} s", flush=True)
    draw, fell, scale = random.Random(given.seed), Counter[str](), 1.0
    sweeps = [Sweep(folder / "killed", overrides)]
    while fell.total() < given.kills:
        sweep = sweeps[-1]
        # On average as far apart as lets the last of them still hit something; one in four hits the start.
        work = draw.uniform(0.1, 1.9) * max(whole - begin, 1) / (given.kills + 1) * scale
        wait = draw.uniform(0.1, 1.0) * begin if draw.random() < 0.25 else begin + work
        into = sweep.kill(wait)
        if into is None:
            print("  the sweep had ended before: that does not count, and a new one begins", flush=True)
            sweeps.append(Sweep(folder / f"killed-{len(sweeps) + 1}", overrides))
            scale = max(scale / 2, 0.1)
            continue
        fell[into] += 1
        entries = len(sweep.seen) - sweep.done
        print(
            f"kill {fell.total()}: after {wait:.1f} s, in {into}; {entries} entries, {sweep.done} runs done", flush=True
        )
    sweeps[-1].end()
    expected, bad = numbers(undisturbed.folder), False
    print(f"{fell.total()} kills of a running sweep: {', '.join(f'{n} in {what}' for what, n in fell.most_common())}")
    for sweep in sweeps:
        found, (clean, told), starts = numbers(sweep.folder), sweep.whole(), len(sweep.told) - 1
        lost = sweep.spent - whole
        print(
            f"{sweep.folder.name}: {starts} kills, {sweep.spent:.0f} s; {lost:.0f} s more than undisturbed, of which "
            f"{starts} starts took about {min(starts * begin, lost):.0f} s and the rest is work done twice"
        )
        print(
            f"  trainings that ended: {sweep.said(' steps in ')} (undisturbed: {stages}), gone on from a checkpoint: "
            f"{sweep.said(': resumes from step')}"
        )
        print(f"  {len(found)} of {len(expected)} runs done, all numbers equal: {found == expected}")
        print(f"  nothing that was published was made again: {not sweep.again}", *sorted(sweep.again))
        print(f"  the store is whole: {clean} ({told.splitlines()[-1]})")
        bad |= found != expected or bool(sweep.again) or not clean
    sys.exit(bad)


if __name__ == "__main__":
    main()
