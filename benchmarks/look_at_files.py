"""What an image folder costs before anything trains: looked at for the first time, unchanged, and copied.

    python -m benchmarks.look_at_files [--images 100000] [--repeats 5] [FOLDER]

FOLDER is an image folder; by default one is made of small noise. A plan looks at it as a target: its images are listed,
named by content, divided, and each part is named. Beside it, in turns, are measured what no plan can do without:
listing with `os.scandir` and asking for each file's state, and for the first time reading all bytes by as many
processes. Files are in the system's memory then.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tlfw.data.folder import ImageFolder
from tlfw.limits import cores

CLASSES, SIDE = 100, 32


def made(root: Path, images: int) -> Path:
    """A folder of small images, all different."""
    rng = np.random.default_rng(0)
    for k in range(CLASSES):
        (root / "train" / f"class{k:03}").mkdir(parents=True)
    for i in range(images):
        pixels_HWC = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels_HWC).save(root / "train" / f"class{i % CLASSES:03}" / f"{i}.png", compress_level=1)
    return root


def listed(root: Path) -> int:
    """The least that finds out whether a file has changed: -> how many files there are."""
    count, folders = 0, [str(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def bytes_of(files: Sequence[str]) -> int:
    return sum(len(Path(file).read_bytes()) for file in files)


def read(root: Path) -> int:
    """All bytes, by as many processes as there are cores."""
    files = [os.path.join(place, name) for place, _, names in os.walk(root) for name in names]
    with multiprocessing.Pool(cores()) as pool:
        return sum(pool.map(bytes_of, [files[k :: 4 * cores()] for k in range(4 * cores())]))


def looked(root: Path, manifests: Path) -> list[str]:
    """What a plan does: names for the content of all parts."""
    division = ImageFolder(root=str(root), group=None).divide(manifests=manifests)
    return [part.digest() for part in division.parts.values()]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def memory() -> float:
    """GiB that this process held at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30


def said(name: str, these: Sequence[float], floor: Sequence[float], what: str) -> None:
    ratios = [one / other for one, other in zip(these, floor, strict=True)]
    print(
        f"{name}: {statistics.median(these):.2f} s, {statistics.median(ratios):.2f} times {what} "
        f"({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    gc.freeze()  # as planning does
    with tempfile.TemporaryDirectory() as place:
        root = given.folder or made(Path(place) / "images", given.images)
        imports = memory()
        print(f"{listed(root):,} files, {cores()} cores")
        reading = seconds(lambda: read(root))  # which brings them into the system's memory
        reading, first = seconds(lambda: read(root)), seconds(lambda: looked(root, Path(place) / "first"))
        said("the first look", [first], [reading], "reading all bytes by as many processes")
        floor, unchanged = [], []
        for _ in range(given.repeats):
            floor.append(seconds(lambda: listed(root)))
            unchanged.append(seconds(lambda: looked(root, Path(place) / "first")))
        said("unchanged", unchanged, floor, "os.scandir with stat")
        print(f"memory beyond imports: {memory() - imports:.2f} GiB")
        copy = shutil.copytree(root, Path(place) / "copy")
        copied = seconds(lambda: looked(copy, Path(place) / "first"))
        said("a copy of it", [copied], [reading], "reading all bytes by as many processes")


if __name__ == "__main__":
    main()
