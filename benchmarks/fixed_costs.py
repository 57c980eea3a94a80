"""What commands take that have little to do, against the imports that they cannot do without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.row import Row, python
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


def rows(place: Path) -> list[Row]:
    """The rows, which are measured in a folder."""
    one = images(place)
    ten = invented.sweep(place / "invented", seeds=3, images=1000, classes=[f"c{i}" for i in range(10)])
    run = ["-m", "tlfw"]
    asked: list[tuple[str, list[str], str, float]] = [
        ("a wrong option", [*run, "+experiment=nope"], "import hydra", 3),
        ("a wrong field", [*run, "+experiment=quickstart", "nofield=3"], "import hydra", 3),
        ("--help", [*run, "--help"], "import hydra", 4),
        ("a run with nothing to do", [*run, *one], "import torch", 1.2),
        ("a report of ten cells", ["-m", "tlfw.report", str(ten)], "import matplotlib.pyplot, pandas", 3),
    ]
    return [
        Row(
            name=name,
            against=imports,
            ours=python(arguments, place, fails=True),
            theirs=python(["-c", imports], place),
            goal=goal,
        )
        for name, arguments, imports, goal in asked
    ]
