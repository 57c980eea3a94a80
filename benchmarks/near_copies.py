"""How many planted near copies are found among an image folder's images, and how many others are taken for some.

    python benchmarks/near_copies.py FOLDER [--images 5000] [--others 1000] [--each 20] [--seed 0]

Draws images from all below FOLDER. `--each` of them are planted in a test part, resized (to half, three quarters, or
half as large again), encoded anew (JPEG, quality 50), and mirrored; with them go `--others` images that are not among
the drawn ones. An alarm is one of these that is said to look nearly like a drawn one. Sets have near copies of their
own: alarms whose pixels, all of them and in colour, correlate by 0.9 or more are set aside.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tlfw.data.division import Part
from tlfw.data.images import ImageFiles
from tlfw.data.near_copies import NearCopies, find
from tlfw.data.pictures.decoding import open_image
from tlfw.data.sets import image_files

OWN = 0.9


def resized(image: Image.Image, random: np.random.Generator) -> Image.Image:
    factor = random.choice([0.5, 0.75, 1.5])
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BILINEAR)


def encoded(image: Image.Image, random: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "resized": resized,
    "JPEG 50": encoded,
    "flipped": lambda image, random: ImageOps.mirror(image),
}


def part(root: Path, names: list[str]) -> Part:
    images = ImageFiles(root, names, [0] * len(names), ["all"])
    whole = range(len(names))
    return Part(images, np.asarray(whole), tuple(images.sums(whole, None)))


def alike(one: Image.Image, other: Image.Image) -> bool:
    """Whether all pixels correlate, the one or the other way round."""
    other = other.resize(one.size)
    flat = [np.asarray(each, dtype=float).ravel() for each in (one, other, ImageOps.mirror(other))]
    return max(np.corrcoef(flat[0], flat[1])[0, 1], np.corrcoef(flat[0], flat[2])[0, 1]) >= OWN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--others", type=int, default=1000)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    every = [path.relative_to(given.folder).as_posix() for path in image_files(given.folder)]
    chosen = [every[i] for i in random.permutation(len(every))[: given.images + given.others]]
    learnt, others = chosen[: given.images], chosen[given.images :]
    with tempfile.TemporaryDirectory() as place:
        planted: dict[str, tuple[str, str]] = {}
        for kind, change in CHANGES.items():
            for name in random.choice(learnt, given.each, replace=False).tolist():
                file = f"{len(planted)}.png"
                change(open_image(given.folder / name).shown(), random).save(Path(place, file))
                planted[file] = (kind, name)
        began = time.monotonic()
        pool = part(given.folder, learnt)
        hidden = find(part(Path(place), list(planted)), {"pool": pool}, None)
        plain = find(part(given.folder, others), {"pool": pool}, None)
        took = time.monotonic() - began
    _show(hidden, plain, planted, given.each, len(others))
    print(f"{took:.1f} s for {len(chosen) + len(planted):,} images")


def _show(hidden: NearCopies, plain: NearCopies, planted: dict[str, tuple[str, str]], each: int, others: int) -> None:
    root = plain.others["pool"].images
    assert isinstance(root, ImageFiles)
    found = {
        Path(hidden.test.called(pair.test)).name
        for pair in hidden.pairs
        if planted[Path(hidden.test.called(pair.test)).name][1] == root.names[pair.other]
    }
    for kind in CHANGES:
        count = sum(planted[file][0] == kind for file in found)
        print(f"{kind}: {count} of {each} found ({count / each:.0%})")
    print(f"planted: {len(found)} of {len(planted)} found ({len(found) / len(planted):.1%})")
    alarms = {pair.test: pair.other for pair in reversed(plain.pairs)}
    own = sum(alike(plain.test.images.open(i).shown(), root.open(j).shown()) for i, j in alarms.items())
    print(
        f"alarms: {len(alarms)} of {others} images ({len(alarms) / max(others, 1):.2%}); "
        f"{(len(alarms) - own) / max(others, 1):.2%} without near copies of the set's own"
    )


if __name__ == "__main__":
    main()
