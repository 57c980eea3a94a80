"""Image files of many modes, depths, formats and orientations, with the pixels that a person sees, by NumPy alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 31
"""Of what lies in a file: the shorter side is what a network gets, so nothing is resized."""

TYPE = {"uint8": 255, "uint16": 65535}


class Odd(NamedTuple):
    """A file, and what is right.

    Attributes:
        file: where it is.
        rgb_HWC: uint8, upright, as wide as the file.
        range: which it is right for.
    """

    file: Path
    rgb_HWC: np.ndarray
    range: tuple[float, float] | str = "type"


def levels(values: np.ndarray, black: float, white: float, white_is_low: bool = False) -> np.ndarray:
    """255 (v - black) / (white - black), to the nearest, halves to the even number."""
    share = (values.astype(np.float64) - black) / (white - black)
    found = np.rint(255 * np.minimum(np.maximum(share, 0), 1)).astype(np.int64)
    return 255 - found if white_is_low else found


def composited(rgb_HWC: np.ndarray, alpha_HW: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    alpha_HW1 = alpha_HW.astype(np.float64)[:, :, None] / 255
    return np.rint(rgb_HWC * alpha_HW1 + np.asarray(background) * (1 - alpha_HW1) + 1e-9)


def as_rgb(grey_or_rgb: np.ndarray) -> np.ndarray:
    return np.repeat(grey_or_rgb[:, :, None], 3, 2) if grey_or_rgb.ndim == 2 else grey_or_rgb


def upright(stored_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """By what EXIF says of the stored row 0 and column 0, pixel by pixel."""
    height, width = stored_HWC.shape[:2]
    # Orientation -> the visual side of row 0, the visual side of column 0 (Exif 2.32, table 6).
    row, column = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    shape = (height, width) if row in ("top", "bottom") else (width, height)
    seen = np.zeros((*shape, *stored_HWC.shape[2:]), stored_HWC.dtype)
    for r in range(height):
        for c in range(width):
            place = {}
            for side, i, length in ((row, r, height), (column, c, width)):
                axis = "y" if side in ("top", "bottom") else "x"
                place[axis] = i if side in ("top", "left") else length - 1 - i
            seen[place["y"], place["x"]] = stored_HWC[r, c]
    return seen


def png(
    file: Path, values: np.ndarray, bits: int, transparent: bytes | None = None, palette: np.ndarray | None = None
) -> None:
    """A PNG of any depth. Rows are filtered by the difference to their left (filter 1)."""
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    kind = 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows, step = [], max(bits * channels // 8, 1)
    for row in values.reshape(height, -1):
        if bits < 8:
            padded = np.pad(row, (0, -len(row) % (8 // bits)))
            places = np.arange(len(padded)) % (8 // bits)
            packed = (padded.astype(np.int64) << (8 - bits * (places + 1))).reshape(-1, 8 // bits).sum(1)
            content = packed.astype(np.uint8)
        else:
            content = np.frombuffer(row.astype(">u2" if bits == 16 else "u1").tobytes(), np.uint8)
        left = np.concatenate([np.zeros(step, np.uint8), content[:-step]])
        rows.append(b"\1" + (content - left).astype(np.uint8).tobytes())

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
        + (chunk(b"PLTE", palette.astype(np.uint8).tobytes()) if palette is not None else b"")
        + (chunk(b"tRNS", transparent) if transparent is not None else b"")
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def tiff(
    file: Path,
    values: np.ndarray,
    *,
    order: str = "<",
    bits: int | None = None,
    white_is_low: bool = False,
    in_planes: bool = False,
    deflated: bool = False,
    alpha: int | None = None,
    orientation: int = 1,
) -> None:
    """A TIFF of any type of number, in one strip, or one for each plane."""
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    planes = [values[..., c] for c in range(channels)] if in_planes else [values]
    if bits == 12:
        pairs = values.reshape(height, -1, 2).astype(np.int64)
        assert width % 2 == 0
        packed = np.stack([pairs[..., 0] >> 4, (pairs[..., 0] & 15) << 4 | pairs[..., 1] >> 8, pairs[..., 1] & 255], -1)
        strips = [packed.astype(np.uint8).tobytes()]
    else:
        strips = [np.ascontiguousarray(each).astype(each.dtype.newbyteorder(order)).tobytes() for each in planes]
    strips = [zlib.compress(each) for each in strips] if deflated else strips
    photometric = 0 if white_is_low else 1 if channels < 3 else 2
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags: list[tuple[int, str, list[int]]] = [
        (256, "H", [width]), (257, "H", [height]), (258, "H", [bits or values.dtype.itemsize * 8] * channels),
        (259, "H", [8 if deflated else 1]), (262, "H", [photometric]), (273, "I", [0] * len(strips)),
        (274, "H", [orientation]), (277, "H", [channels]), (278, "H", [height]),
        (279, "I", [len(each) for each in strips]), (284, "H", [2 if in_planes else 1]),
        *([(338, "H", [alpha])] if alpha is not None else []), (339, "H", [sample_format] * channels),
    ]  # fmt: skip
    place = 8 + 2 + 12 * len(tags) + 4
    beyond = b""
    for _, kind, numbers in tags:
        size = struct.calcsize(order + kind * len(numbers))
        place += (size + size % 2) * (size > 4)
    entries = b""
    first = 8 + 2 + 12 * len(tags) + 4
    for tag, kind, numbers in tags:
        if tag == 273:
            starts = np.cumsum([place, *(len(each) for each in strips)])[:-1]
            numbers = [int(start) for start in starts]
        content = struct.pack(order + kind * len(numbers), *numbers)
        entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(numbers))
        if len(content) > 4:
            entries += struct.pack(order + "I", first + len(beyond))
            beyond += content + b"\0" * (len(content) % 2)
        else:
            entries += content.ljust(4, b"\0")
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    directory = struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0)
    file.write_bytes(head + directory + beyond + b"".join(strips))


def netpbm(file: Path, values: np.ndarray, maxval: int, plain: bool = False) -> None:
    height, width = values.shape[:2]
    name = {(2, False): "P5", (3, False): "P6", (2, True): "P2", (3, True): "P3"}[values.ndim, plain]
    head = f"{name}\n{width} {height}\n{maxval}\n".encode()
    if plain:
        file.write_bytes(head + " ".join(map(str, values.reshape(-1))).encode() + b"\n")
    else:
        file.write_bytes(head + values.astype(">u2" if maxval > 255 else "u1").tobytes())


def odd_files(folder: Path) -> Iterator[Odd]:
    """Many, each another one, on a white background."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    white = (255, 255, 255)
    count = 0

    def new(name: str) -> Path:
        nonlocal count
        count += 1
        return folder / f"{count:03d} {name}"

    def noise(*channels: int, most: int = 255, type: str = "uint8") -> np.ndarray:
        return random.integers(0, most, (HEIGHT, WIDTH, *channels), endpoint=True).astype(type)

    def on_white(values: np.ndarray, most: int = 255) -> np.ndarray:
        colour, alpha = levels(values[..., :-1], 0, most), levels(values[..., -1], 0, most)
        return composited(np.repeat(colour, 3 if colour.shape[2] == 1 else 1, 2), alpha, white)

    # 8 bits in formats that keep them
    for ending in ("png", "tif", "bmp", "webp", "ppm", "qoi", "tga", "sgi", "jp2", "pcx", "dds", "ico"):
        how = {"webp": {"lossless": True}, "jp2": {"irreversible": False}}.get(ending, {})
        rgb = noise(3)
        size = {"sizes": [(WIDTH, HEIGHT)]} if ending == "ico" else {}
        Image.fromarray(rgb).save(file := new(f"rgb.{ending}"), **how, **size)
        yield Odd(file, rgb)
    for ending in ("png", "tif", "bmp", "pgm", "gif", "tga", "sgi", "jp2", "pcx", "dds"):
        grey = noise()
        how = {"jp2": {"irreversible": False}}.get(ending, {})
        Image.fromarray(grey).save(file := new(f"grey.{ending}"), **how)
        yield Odd(file, as_rgb(grey))
    for ending in ("png", "tif", "webp", "tga", "sgi", "jp2", "qoi", "dds"):
        rgba = noise(4)
        if ending == "webp":
            how = {"lossless": True, "exact": True}
        else:
            how = {"jp2": {"irreversible": False}}.get(ending, {})
        Image.fromarray(rgba).save(file := new(f"rgba.{ending}"), **how)
        yield Odd(file, on_white(rgba))
    for ending in ("png", "tif", "tga", "jp2", "dds"):
        both = noise(2)
        how = {"jp2": {"irreversible": False}}.get(ending, {})
        Image.fromarray(both, "LA").save(file := new(f"grey and alpha.{ending}"), **how)
        yield Odd(file, on_white(both))
    for ending in ("png", "tif", "bmp", "gif", "tga", "pcx"):
        colours, places = noise(3)[0, :16].astype(np.uint8), noise(most=15)
        image = Image.fromarray(places, "P")
        image.putpalette(colours.tobytes())
        image.save(file := new(f"palette.{ending}"))
        yield Odd(file, colours[places])
    for ending in ("png", "gif"):
        colours, places = noise(3)[0, :16].astype(np.uint8), noise(most=15)
        image = Image.fromarray(places, "P")
        image.putpalette(colours.tobytes())
        image.save(file := new(f"palette with one transparent.{ending}"), transparency=3)
        yield Odd(file, composited(colours[places], np.where(places == 3, 0, 255), white))
    for ending in ("png", "tif", "bmp", "pbm", "xbm", "msp"):
        bits = noise(most=1)
        if ending in ("xbm", "msp"):
            bits[:2] = 0
        Image.fromarray(bits.astype(bool)).save(file := new(f"bits.{ending}"))
        yield Odd(file, as_rgb(255 * bits))
    cmyk = noise(4)
    Image.fromarray(cmyk, "CMYK").save(file := new("cmyk.tif"))
    ink, black = 255 - cmyk[..., :3].astype(np.int64), 255 - cmyk[..., 3:].astype(np.int64)
    yield Odd(file, np.rint(ink * black / 255))

    # Few bits, and one colour that is transparent
    for bits in (1, 2, 4):
        most = 2**bits - 1
        values = noise(most=most)
        png(file := new(f"grey of {bits} bits.png"), values, bits)
        yield Odd(file, as_rgb(levels(values, 0, most)))
        png(file := new(f"grey of {bits} bits, one transparent.png"), values, bits, struct.pack(">H", 1))
        yield Odd(file, composited(as_rgb(levels(values, 0, most)), np.where(values == 1, 0, 255), white))
        colours, opaque = noise(3)[0, : most + 1], noise()[0, : most + 1]
        png(file := new(f"palette of {bits} bits.png"), values, bits, opaque.tobytes(), colours)
        yield Odd(file, composited(colours[values], opaque[values], white))
    grey, rgb = noise(most=3) * np.uint8(60), noise(3, most=1) * np.uint8(200)
    png(file := new("grey, one transparent.png"), grey, 8, struct.pack(">H", 120))
    yield Odd(file, composited(as_rgb(grey), np.where(grey == 120, 0, 255), white))
    png(file := new("rgb, one transparent.png"), rgb, 8, struct.pack(">HHH", 200, 0, 200))
    clear = (rgb == (200, 0, 200)).all(2)
    yield Odd(file, composited(rgb, np.where(clear, 0, 255), white))
    wide = noise(3, most=1, type="uint16") * np.uint16(40001)
    png(file := new("rgb of 16 bits, one transparent.png"), wide, 16, struct.pack(">HHH", 40001, 0, 40001))
    clear = (wide == (40001, 0, 40001)).all(2)
    yield Odd(file, composited(levels(wide, 0, 65535), np.where(clear, 0, 255), white))
    wide = noise(most=3, type="uint16") * np.uint16(20001)
    png(file := new("grey of 16 bits, one transparent.png"), wide, 16, struct.pack(">H", 20001))
    yield Odd(file, composited(as_rgb(levels(wide, 0, 65535)), np.where(wide == 20001, 0, 255), white))

    # 16 bits, by their type and by given ranges
    for name, range_, most in (("full", "type", 65535), ("12 bits", (0, 4095), 4095), ("8 bits", (0, 255), 255)):
        low, high = (0, 65535) if range_ == "type" else range_
        for channels, kind in (((), "grey"), ((3,), "rgb")):
            wide = noise(*channels, most=most, type="uint16")
            right = as_rgb(levels(wide, low, high))
            png(file := new(f"{kind} of 16 bits, {name}.png"), wide, 16)
            yield Odd(file, right, range_)
            for order in "<>":
                for deflated in (False, True):
                    tiff(file := new(f"{kind} of 16 bits, {name}.tif"), wide, order=order, deflated=deflated)
                    yield Odd(file, right, range_)
        for channels in (2, 4):
            wide = noise(channels, most=most, type="uint16")
            wide[..., -1] = noise(most=65535, type="uint16")
            colour = levels(wide[..., :-1], low, high)
            colour = np.repeat(colour, 3, 2) if channels == 2 else colour
            right = composited(colour, levels(wide[..., -1], 0, 65535), white)
            png(file := new(f"{channels} channels of 16 bits, {name}.png"), wide, 16)
            yield Odd(file, right, range_)
            if channels == 4:
                tiff(file := new(f"rgba of 16 bits, {name}.tif"), wide, alpha=2)
                yield Odd(file, right, range_)
        wide = noise(3, most=most, type="uint16")
        tiff(file := new(f"planes of 16 bits, {name}.tif"), wide, in_planes=True)
        yield Odd(file, levels(wide, low, high), range_)
        wide = noise(most=most, type="uint16")
        tiff(file := new(f"white is low, {name}.tif"), wide, white_is_low=True)
        yield Odd(file, as_rgb(levels(wide, low, high, white_is_low=True)), range_)
    grey = noise()
    tiff(file := new("white is low, of 8 bits.tif"), grey, white_is_low=True)
    yield Odd(file, as_rgb(255 - grey))
    twelve = random.integers(0, 4096, (HEIGHT, WIDTH + 1)).astype(np.uint16)
    tiff(file := new("12 bits.tif"), twelve, bits=12)
    yield Odd(file, as_rgb(levels(twelve, 0, 4095)))
    for maxval in (1, 100, 1000, 4095, 65535):
        for plain in (False, True):
            values = noise(most=maxval, type="uint16")
            netpbm(file := new(f"white is {maxval}.pgm"), values, maxval, plain)
            yield Odd(file, as_rgb(levels(values, 0, maxval)))
            values = noise(3, most=maxval, type="uint16")
            netpbm(file := new(f"white is {maxval}.ppm"), values, maxval, plain)
            yield Odd(file, levels(values, 0, maxval))

    # Numbers of which no type says what is white
    for type_, low, high in (
        ("int8", -100, 100), ("int16", -1000, 3000), ("int32", 0, 100_000), ("uint32", 10, 2**32 - 1),
        ("float32", -0.5, 1.5),
    ):  # fmt: skip
        values = random.uniform(low, high, (HEIGHT, WIDTH)).astype(type_)
        values[0, :2] = low, high
        tiff(file := new(f"{type_}.tif"), values)
        yield Odd(file, as_rgb(levels(values, low, high)), (low, high))
        middle = (low + (high - low) / 4, high - (high - low) / 4)
        tiff(file := new(f"{type_}, the middle half.tif"), values)
        yield Odd(file, as_rgb(levels(values, *middle)), middle)
    values = random.uniform(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    tiff(file := new("white is low, float32.tif"), values, white_is_low=True)
    yield Odd(file, as_rgb(levels(values, 0, 1, white_is_low=True)), (0, 1))

    # Turned
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        for ending in ("png", "webp", "tif"):
            rgb, rgba = noise(3), noise(4)
            how = {"lossless": True, "exact": True} if ending == "webp" else {}
            Image.fromarray(rgb).save(file := new(f"rgb, turned {orientation}.{ending}"), exif=exif, **how)
            yield Odd(file, upright(rgb, orientation))
            Image.fromarray(rgba).save(file := new(f"rgba, turned {orientation}.{ending}"), exif=exif, **how)
            yield Odd(file, upright(on_white(rgba), orientation))
        wide = noise(type="uint16", most=65535)
        Image.fromarray(wide).save(file := new(f"grey of 16 bits, turned {orientation}.png"), exif=exif)
        yield Odd(file, upright(as_rgb(levels(wide, 0, 65535)), orientation))
        wide = noise(3, most=65535, type="uint16")
        tiff(file := new(f"rgb of 16 bits, turned {orientation}.tif"), wide, orientation=orientation)
        yield Odd(file, upright(levels(wide, 0, 65535), orientation))
