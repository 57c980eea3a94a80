"""The time and memory of planning 10, 100 and 1,000 runs of the quickstart, without training any.

python -m benchmarks.plan_a_sweep
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.measure import measured

DRY = ("-m", "tlfw", "-m", "+experiment=quickstart_grid", "hydra.sweeper.dry_run=true", "tracking=disabled")


def main() -> None:
    before = None
    for runs in (10, 100, 1000):
        seeds = ",".join(map(str, range(runs // 10)))
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, *DRY, f"seed={seeds}"]
            seconds, peak = measured(command, cwd=folder, stdout=subprocess.DEVNULL)
        each = f", {(seconds - before[1]) / (runs - before[0]) * 1000:.0f} ms for each further run" if before else ""
        print(f"a plan of {runs} runs: {seconds:.1f} s{each}, {peak / 2**30:.2f} GiB at the most", flush=True)
        before = runs, seconds


if __name__ == "__main__":
    main()
