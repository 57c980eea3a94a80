"""All that is compared in one table: python -m benchmarks [WORD ...] [--out FILE].

Rows whose names hold one of the words are measured; none: all. Each takes turns with what it is compared with, so that
a machine that is busy is busy for both. It takes about a quarter of an hour on two cores. The table goes into a JSON
file too, with the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

from benchmarks import batches, fixed_costs, probes
from tlfw.limits import cores
from tlfw.numerics.environment import environment
from tlfw.numerics.hardware import processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for room in (fixed_costs, probes, batches) for row in room.rows(Path(folder))]
        chosen = [row for row in rows if not given.words or any(word in row.name for word in given.words)]
        width = max((len(row.name) for row in chosen), default=0)
        for row in chosen:
            said = row.measure()
            found.append(said)
            reached = "reached" if said["ratio"] <= said["goal"] else "missed"
            print(
                f"{row.name:{width}} {said['seconds']:7.2f} s {said['ratio']:6.2f} ({said['lowest']:.2f} to "
                f"{said['highest']:.2f}) times {row.against}; {row.goal:g} {reached}",
                flush=True,
            )
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {
        name: resource.getrusage(who).ru_maxrss * unit
        for name, who in (("this", resource.RUSAGE_SELF), ("commands", resource.RUSAGE_CHILDREN))
    }
    machine = {"processor": processor("cpu"), "cores": cores(), "environment": environment()}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"machine": machine, "peak_memory_bytes": peaks, "rows": found}, indent=1))
    print(f"{machine['processor']}, {machine['cores']} cores; {given.out}")


if __name__ == "__main__":
    main()
