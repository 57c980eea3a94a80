"""What an image is known by: its pixels to the last bit, and what they look like."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image, ImageOps

SMALLEST = 16
"""Pixels of the shorter side below which so many images look alike that a perceptual hash says nothing.

Not more, so that a CIFAR image of half its size is still known."""

GREY = 16
"""Side in pixels of the small grey versions by which two images are compared."""

_HASHED = 32


def exact(pixels: np.ndarray) -> str:
    """A name for the content of an image: its size and its pixels, however they were stored.

    Args:
        pixels: uint8 `[H, W, 3]`, or `[H, W]` for a grey image, which is named as its three equal channels are.
    """
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return hashlib.sha256(b"%d %d " % pixels.shape[:2] + pixels.tobytes()).hexdigest()


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
