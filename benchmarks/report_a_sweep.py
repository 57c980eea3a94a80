"""The time and memory of a report on 1,000 runs with 10,000 test images each, all of them chosen and compared.

    python -m benchmarks.report_a_sweep [--runs 1000] [--images 10000]

200 cells (ten paradigms, twenty backbones) with five seeds each: 19,900 comparisons.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import measured
from tests.report import invented

SEEDS = 5
CLASSES = tuple(f"class {i}" for i in range(100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--images", type=int, default=10_000)
    given = parser.parse_args()
    backbones = [f"net{i}" for i in range(max(1, given.runs // len(invented.GRID) // SEEDS))]
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder) / "outputs"
        sweep = invented.sweep(outputs, seeds=SEEDS, images=given.images, backbones=backbones, classes=CLASSES)
        code = f"from tlfw.report.findings import find_out; from pathlib import Path; find_out([Path({str(sweep)!r})])"
        for what, command in (
            ("findings alone", [sys.executable, "-c", code]),
            ("the whole report", [sys.executable, "-m", "tlfw.report", str(sweep)]),
        ):
            seconds, peak = measured(command, stdout=subprocess.DEVNULL)
            runs = len(list(outputs.glob("runs/*")))
            print(f"{what}: {runs} runs x {given.images} images: {seconds:.1f} s, {peak / 2**30:.2f} GiB at the most")


if __name__ == "__main__":
    main()
