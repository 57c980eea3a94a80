"""What an image is known by: its pixels to the last bit, and what they look like."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageOps

from tlfw.data.pictures.picture import TYPE_RANGES, Picture

SMALLEST = 16
"""Pixels of the shorter side below which so many images look alike that a perceptual hash says nothing.

Not more, so that a CIFAR image of half its size is still known."""

GREY = 16
"""Side in pixels of the small grey versions by which two images are compared."""

DISTANCE = 8
"""Bits of 64 in which two hashes may differ at most. Copies of half the size or of JPEG quality 50 differ in 6."""

CORRELATION = 0.95
"""Of small grey versions, at least. Of such copies it is .96 or more at 32 px, and .98 or more at 64 px."""

NEAREST = 10
"""Images that are compared with one image at the most, the nearest by hash."""

ALIKE = (DISTANCE, CORRELATION, NEAREST, GREY, SMALLEST)
"""What decides which images are alike."""

_HASHED = 32


def exact(picture: Picture) -> str:
    """A name for the content of a picture: its size and its numbers, however they were stored.

    Grey is named as its three equal channels are, 16 bits as 8 bits where they say the same, and the colour of what is
    wholly transparent does not count.
    """
    values_HWC, alpha_HW, kind = picture.values_HWC, picture.alpha_HW, picture.span.kind
    if values_HWC.dtype == np.uint16 and picture.type_range == TYPE_RANGES["uint16"]:
        straight_HWC = 65535 - values_HWC if picture.white_is_low else values_HWC
        if not (straight_HWC % 257).any():
            values_HWC, kind = (straight_HWC // 257).astype(np.uint8), "uint8"
    values_HWC = np.broadcast_to(values_HWC, (*values_HWC.shape[:2], 3))
    name = b"%d %d " % values_HWC.shape[:2]
    if kind != "uint8":
        name += f"{kind} {picture.type_range} ".encode()
    if alpha_HW is not None:
        values_HWC = np.where(alpha_HW[:, :, None] == 0, 0, values_HWC).astype(values_HWC.dtype)
        name += b"alpha " + alpha_HW.tobytes()
    return hashlib.sha256(name + values_HWC.tobytes()).hexdigest()


def looks(image: Image.Image) -> str | None:
    """What an RGB image looks like, and what it looks like in a mirror: two 64-bit pHashes, 32 hexadecimal digits.

    None where its shorter side is below `SMALLEST`. (pHash: Zauner, 2010; by the library ImageHash.)
    """
    if min(image.size) < SMALLEST:
        return None
    from imagehash import phash  # of use to images that are looked at for the first time only

    small = image.convert("L").resize((_HASHED, _HASHED), Image.Resampling.LANCZOS)
    return f"{phash(small)}{phash(ImageOps.mirror(small))}"


def hashes(found: list[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """What `looks` said, as numbers.

    Returns:
        int64 `[M]`, the positions of those that are not None, and uint64 `[M, 2]`: of the image, of its mirror image.
    """
    positions_M = np.asarray([i for i, each in enumerate(found) if each is not None], dtype=np.int64)
    joined = "".join(each for each in found if each is not None)
    return positions_M, np.frombuffer(bytes.fromhex(joined), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def grey(image: Image.Image) -> np.ndarray:
    """A small grey version of zero mean and unit length, so that a product of two is their correlation.

    float32 `[GREY, GREY]`; zeros for an image of one colour.
    """
    small = np.asarray(image.convert("L").resize((GREY, GREY), Image.Resampling.LANCZOS), dtype=np.float32)
    small = small - small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length > GREY else np.zeros_like(small)  # an even spread of less than one level


def alike(
    these: list[str | None],
    others: list[str | None],
    this: Callable[[int], Image.Image],
    other: Callable[[int], Image.Image],
) -> Iterator[tuple[int, int, float]]:
    """Images that look nearly like one of `others`: a perceptual hash proposes, pixels confirm.

    Args:
        these, others: what `looks` said of each.
        this, other: open one of them, by its position.

    Returns:
        Both positions, and the correlation of their small grey versions, the one or the other way round.
    """
    tested_T, hash_T2 = hashes(these)
    known_N, hash_N2 = hashes(others)
    hash_N = np.ascontiguousarray(hash_N2[:, 0])
    seen: dict[int, np.ndarray] = {}
    for i, (upright, mirrored) in zip(tested_T.tolist(), hash_T2, strict=True):
        distance_N = np.minimum(np.bitwise_count(hash_N ^ upright), np.bitwise_count(hash_N ^ mirrored))
        near = np.flatnonzero(distance_N <= DISTANCE)
        if not len(near):
            continue
        small_HW = grey(this(i))
        for j in known_N[near[np.argsort(distance_N[near], kind="stable")][:NEAREST]].tolist():
            if j not in seen:
                seen[j] = grey(other(j))
            correlation = max(float((small_HW * seen[j]).sum()), float((small_HW[:, ::-1] * seen[j]).sum()))
            if correlation >= CORRELATION:
                yield i, j, round(min(correlation, 1.0), 4)
