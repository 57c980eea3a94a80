"""Damaged and odd image files: none crashes or hangs what reads images, and none passes unreported.

    python benchmarks/odd_files.py [--count 2000] [--seed 0] [--seconds 10]

It makes files in all formats that are read, cuts them, changes bytes of them and their endings, and reads the folder as
training and `tlfw.predict` do. Each file has to be

- left out, with the reason;
- unreadable, with the reason; or
- read as uint8 RGB: with the pixels of the whole file where it was cut or called otherwise. Where bytes were changed
  the pixels may be others, for few formats have a checksum.

The exit code is 1 where some are none of these, where a file takes more than `--seconds`, or where reading ends the
process.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from tlfw.data.images import ImageFiles
from tlfw.data.listing import ENDINGS, listed

MODES = {
    "jpg": ("L", "RGB", "CMYK"), "png": ("1", "L", "LA", "P", "RGB", "RGBA"), "gif": ("P",), "bmp": ("1", "L", "RGB"),
    "tiff": ("L", "RGB", "CMYK", "RGBA"), "webp": ("RGB", "RGBA"), "jp2": ("L", "RGB"), "ppm": ("L", "RGB"),
    "tga": ("L", "RGB"), "avif": ("RGB",), "heic": ("RGB",), "ico": ("RGBA",), "pcx": ("L", "RGB"),
}  # fmt: skip
"""Ending -> Pillow's modes that are written with it."""

OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "jpg": ({}, {"progressive": True}, {"quality": 30, "optimize": True}),
    "tiff": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}),
    "webp": ({}, {"lossless": True}),
    "tga": ({}, {"compression": "tga_rle"}),
}
FORMS = {"jpg": "JPEG", "jp2": "JPEG2000", "heic": "HEIF"}

NAMES = ("{i}", "{i} a b", "{i}-größe", "{i}-灰", "{i}[x]", "={i}+1", "{i}\x1b[31m", "{i}\ncaf\udce9", "{i}'\"$(x)")


def written(random: np.random.Generator) -> tuple[bytes, str]:
    """A whole image file, and its ending."""
    endings = [each for each in MODES if each not in ("avif", "heic") or (each == "avif" and features.check("avif"))]
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        endings.append("heic")
    except ImportError:
        pass
    ending = str(random.choice(endings))
    mode = str(random.choice(MODES[ending]))
    width, height = random.integers(1, 80, 2).tolist()
    smooth = np.kron(random.integers(0, 256, (10, 10, 4)), np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)
    image = Image.fromarray(smooth, "RGBA")
    image = image.convert("RGB").convert(mode) if mode in ("1", "P", "CMYK", "L", "RGB") else image.convert(mode)
    options = OPTIONS.get(ending, ({},))
    chosen = dict(options[int(random.integers(len(options)))])
    if ending in ("gif", "tiff", "webp") and random.random() < 0.2:
        chosen |= {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    if ending in ("jpg", "png", "tiff", "webp") and random.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = int(random.integers(1, 9))
        chosen["exif"] = exif
    file = io.BytesIO()
    image.save(file, FORMS.get(ending, ending.upper()), **chosen)
    return file.getvalue(), ending


def cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: int(random.integers(0, len(content)))]


def cut_a_little(content: bytes, random: np.random.Generator) -> bytes:
    return content[: -int(random.integers(1, min(40, len(content))))]


def changed(content: bytes, random: np.random.Generator) -> bytes:
    """Some bytes are others, more often at the beginning, where the sizes are."""
    found = bytearray(content)
    for _ in range(int(random.integers(1, 12))):
        found[int(len(found) * random.random() ** 3)] = int(random.integers(256))
    return bytes(found)


def blank(content: bytes, random: np.random.Generator) -> bytes:
    """A piece is zeros, as after a disk's or a download's failure."""
    first, last = sorted(random.integers(0, len(content) + 1, 2).tolist())
    return content[:first] + bytes(last - first) + content[last:]


def shifted(content: bytes, random: np.random.Generator) -> bytes:
    """A piece is missing within."""
    first = int(random.integers(0, len(content)))
    return content[:first] + content[first + int(random.integers(1, 50)) :]


def noise(content: bytes, random: np.random.Generator) -> bytes:
    return random.bytes(len(content))


def whole(content: bytes, random: np.random.Generator) -> bytes:
    return content


DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    cut, cut_a_little, changed, changed, blank, shifted, noise, whole
)  # fmt: skip
SAME_PIXELS = (cut, cut_a_little, whole)
"""What is read of them has to be what the whole file has."""


def make(folder: Path, count: int, seed: int) -> dict[str, tuple[str, bytes, str]]:
    """Write `count` files -> name: what was done to it, the whole file's content, and its ending."""
    random = np.random.default_rng(seed)
    others = [*ENDINGS, ".txt", ".dcm", ".part", "", ".image", ".PNG", ".JPG", ".csv", ".mp4"]
    made = {}
    for i in range(count):
        content, ending = written(random)
        damage = DAMAGES[int(random.integers(len(DAMAGES)))]
        shown = f".{ending}" if damage is not whole and random.random() < 0.8 else str(random.choice(others))
        name = NAMES[int(random.integers(len(NAMES)))].format(i=i) + shown
        (folder / name).write_bytes(damage(content, random))
        made[name] = (damage.__name__, content, ending)
    return made


def judged(folder: Path, made: dict[str, tuple[str, bytes, str]], name: str, left_out: dict[str, str]) -> str:
    """What became of a file; what begins with FAULT must not be."""
    if name in left_out:
        return "left out" if left_out[name] else "FAULT: left out without a reason"
    files = ImageFiles(folder, [name], [0], ["a"])
    why = files.unreadable(None)
    if why:
        return "unreadable" if why[0] else "FAULT: unreadable without a reason"
    pixels = np.asarray(files.open(0).shown())
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        return f"FAULT: {pixels.dtype} {pixels.shape}"
    damage, content, ending = made[name]
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / f"whole.{ending}").write_bytes(content)
        expected = np.asarray(ImageFiles(Path(place), [f"whole.{ending}"], [0], ["a"]).open(0).shown())
    if np.array_equal(pixels, expected):
        return "read, with the same pixels"
    if damage in {each.__name__ for each in SAME_PIXELS}:
        return f"FAULT: {damage}, and read with other pixels"
    return "read, with other pixels"


def read_all(folder: Path, made: dict[str, tuple[str, bytes, str]], place: Any, tell: Any) -> None:
    """Judge every file, in a process that may end: `place` has the number of the file that is looked at."""
    found = listed(folder)
    left_out = {each.path: each.reason for each in found.left_out}
    missing = set(made) - set(found.images) - set(left_out)
    if missing:
        tell.put((sorted(missing)[0], "FAULT: neither listed nor left out"))
    for i, name in enumerate(made):
        place.value = i
        try:
            tell.put((name, judged(folder, made, name, left_out)))
        except BaseException as problem:
            tell.put((name, f"FAULT: raised {type(problem).__name__}: {problem}"))
    place.value = len(made)


def examine(folder: Path, made: dict[str, tuple[str, bytes, str]], seconds: float) -> list[tuple[str, str]]:
    """File -> what became of it, in another process, which may crash or hang."""
    context = multiprocessing.get_context("fork")
    place, tell = context.Value("i", 0), context.SimpleQueue()
    process = context.Process(target=read_all, args=(folder, made, place, tell))
    process.start()
    found: list[tuple[str, str]] = []
    last, since = 0, time.monotonic()
    while process.is_alive() or not tell.empty():
        while not tell.empty():
            found.append(tell.get())
        if place.value != last:
            last, since = place.value, time.monotonic()
        if last < len(made) and time.monotonic() - since > seconds:
            process.kill()
            process.join()
            return [*found, (list(made)[last], f"FAULT: more than {seconds} s")]
        time.sleep(0.01)
    process.join()
    if process.exitcode:
        found.append((list(made)[place.value], f"FAULT: reading it ended the process ({process.exitcode})"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10, help="that one file may take")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        made = make(Path(place), chosen.count, chosen.seed)
        found = examine(Path(place), made, chosen.seconds)
    counts = Counter((made[name][0], became) for name, became in found if not became.startswith("FAULT"))
    for (damage, became), count in sorted(counts.items()):
        print(f"{damage:>14}  {became:<28} {count:6}")
    faults = [(name, became) for name, became in found if became.startswith("FAULT")]
    for name, became in faults:
        print(f"{name!a} ({made[name][0]} {made[name][2]}): {became}")
    print(f"{len(found)} of {chosen.count} files were looked at, {len(faults)} faults")
    sys.exit(bool(faults) or len(found) != chosen.count)


if __name__ == "__main__":
    main()
