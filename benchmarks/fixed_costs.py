"""What commands take that have little to do, against the imports that they cannot do without.

    python -m benchmarks.fixed_costs [--times 5]

Each is run in turn with what it is compared with, so that a busy machine slows both. Shown are medians of seconds and
of their ratios, with the least and the most. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import measured
from tests.report import invented

SMALL = ("target.train_per_class=10", "image_size=32", "trainer=smoke", "tracking=disabled")


def images(folder: Path) -> list[str]:
    """Two folders of noise: -> the arguments of a small run on them."""
    random = np.random.default_rng(0)
    for name in ("source", "target"):
        for i in range(240):
            file = folder / name / ("test" if i % 3 == 0 else "train") / f"c{i % 4}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)
    return ["+experiment=folder", *(f"{name}.root={folder / name}" for name in ("source", "target")), *SMALL]


def shown(values: list[float], unit: str) -> str:
    return f"{statistics.median(values):5.2f} {unit} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as place:
        one = images(Path(place))
        ten = invented.sweep(Path(place) / "invented", seeds=3, images=1000, classes=[f"c{i}" for i in range(10)])
        run = ["-m", "tlfw"]
        rows: list[tuple[str, list[str], str, float]] = [
            ("a wrong option", [*run, "+experiment=nope"], "import hydra", 3),
            ("a wrong field", [*run, "+experiment=quickstart", "nofield=3"], "import hydra", 3),
            ("--help", [*run, "--help"], "import hydra", 4),
            ("a run with nothing to do", [*run, *one], "import torch", 1.2),
            ("a report of ten cells", ["-m", "tlfw.report", str(ten)], "import matplotlib.pyplot, pandas", 3),
        ]

        def seconds(arguments: list[str]) -> float:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            # What has to fail does; its end is no news.
            command = ["/bin/sh", "-c", '"$@"; true', "sh", sys.executable, *arguments]
            return measured(command, cwd=place, **quiet)[0]

        for what, arguments, imports, goal in rows:
            for each in (arguments, ["-c", imports]):
                seconds(each)  # the run is made, and files are in the system's memory
            found = [(seconds(arguments), seconds(["-c", imports])) for _ in range(times)]
            ratios = [own / other for own, other in found]
            print(f"{what}: {shown([own for own, _ in found], 's')}")
            print(f"    against {imports}: {shown(ratios, 'times')}, to reach {goal}", flush=True)


if __name__ == "__main__":
    main()
