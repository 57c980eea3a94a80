"""An image's middle in another size: torch's antialiased interpolation of 8-bit numbers, and what it is exactly.

torch computes it in whole numbers (`aten/src/ATen/native/cpu/UpSampleKernel.cpp`), so that every processor gives the
same pixels; `ARITHMETIC` says how.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

Interpolation = Literal["bilinear", "bicubic"]

REACH: dict[Interpolation, float] = {"bilinear": 1.0, "bicubic": 2.0}

FILTERS: dict[Interpolation, Callable[[np.ndarray], np.ndarray]] = {
    "bilinear": lambda x: np.maximum(1 - x, 0),
    "bicubic": lambda x: np.where(
        x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * -0.5, 0)
    ),
}
"""Of distances from the centre that are not negative."""

MOST_BITS = 22

_FILTER = {"bilinear": "max(1 - |x|, 0)", "bicubic": "Keys' (1981) with a = -1/2, of reach 2"}

ARITHMETIC: dict[Interpolation, list[str]] = {
    interpolation: [
        "Columns are made first, then rows. An axis of as many pixels as it had stays as it is.",
        "Let scale = inputs / outputs of the axis, stretch = max(scale, 1), and centre = scale (i + 1/2) for output i. "
        "It is made of those inputs j with floor(centre - reach + 1/2) <= j < floor(centre + reach + 1/2), where "
        f"reach = {reach:g} stretch. Their weights are the filter at x = (j + 1/2 - centre) / stretch, over the sum of "
        f"these. The filter is {_FILTER[interpolation]}.",
        "Weights become whole numbers: times 2**p, rounded to the nearest, halves away from 0. p is the least number "
        "for which the largest weight of the axis, times 2**(p + 1) and rounded, is 2**15 or more; at most 22.",
        "The sum of weights x pixels becomes floor((sum + 2**(p - 1)) / 2**p), cut at 0 and 255.",
    ]
    for interpolation, reach in REACH.items()
}
"""What `weights` and `middle` do, for programs that do it without tlfw."""

THIN = 32
"""Beyond so many times the pixels that are cut out the whole resized image is not made; below, torch is quicker."""


class Place(NamedTuple):
    """Where one axis of what is cut out lies in the resized image.

    Attributes:
        whole: pixels of the axis in the resized image.
        first: the first of them that is cut out.
    """

    whole: int
    first: int


class Weights(NamedTuple):
    """How some outputs of an axis are made of its inputs.

    Attributes:
        first_S: int64 `[S]`, the first input of each.
        weights_SK: int64 `[S, K]`, of the K inputs from there on; 0 where there are fewer.
        bits: p, by whose power of two they were multiplied.
    """

    first_S: np.ndarray
    weights_SK: np.ndarray
    bits: int


def places(height: int, width: int, resize: int, size: int) -> tuple[Place, Place]:
    """Of rows and of columns: the shorter side becomes `resize`, the longer one floor(resize x longer / shorter).

    Of both the middle `size` are cut out, from round((pixels - size) / 2) on, halves to the even number.
    """
    longer = resize * max(height, width) // min(height, width)
    sizes = (resize, longer) if height <= width else (longer, resize)
    rows, columns = (Place(whole, round((whole - size) / 2)) for whole in sizes)
    return rows, columns


def middle(pixels_HWC: np.ndarray, resize: int, size: int, interpolation: Interpolation) -> Tensor:
    """Resize the shorter side to `resize` and cut out the middle `size` x `size`.

    Args:
        pixels_HWC: uint8 `[H, W, C]`.
        resize: at least `size`.

    Returns:
        uint8 `[C, size, size]`, as torch resizes the whole image. Of a thin one no more is made than is cut out, to
        the same pixels.
    """
    height, width = pixels_HWC.shape[:2]
    rows, columns = places(height, width, resize, size)
    if rows.whole * columns.whole > THIN * size**2:
        return torch.from_numpy(_middle_alone(pixels_HWC, rows, columns, size, interpolation)).permute(2, 0, 1)
    x_CHW = torch.from_numpy(np.require(pixels_HWC, requirements=["C", "W"])).permute(2, 0, 1)
    if (rows.whole, columns.whole) != (height, width):
        to = [rows.whole, columns.whole]
        x_CHW = interpolate(x_CHW[None], to, mode=interpolation, align_corners=False, antialias=True)[0]
    return x_CHW[:, rows.first : rows.first + size, columns.first : columns.first + size].contiguous()


@functools.lru_cache(maxsize=16)
def weights(inputs: int, outputs: int, first: int, count: int, interpolation: Interpolation) -> Weights:
    """Of the outputs `first` to `first + count` (exclusive) of `outputs`, which are not as many as the inputs."""
    scale = inputs / outputs
    # Of an enlarged image the first output is of one input alone, or of more than it: none has a larger weight's bits.
    every = np.arange(outputs) if scale > 1 else np.zeros(1, dtype=np.int64)
    largest = _shares(every, inputs, scale, interpolation)[1].max()
    bits = next((p for p in range(MOST_BITS) if int(0.5 + largest * 2 ** (p + 1)) >= 2**15), MOST_BITS)
    first_S, shares_SK = _shares(np.arange(first, first + count), inputs, scale, interpolation)
    return Weights(first_S, np.trunc(shares_SK * 2**bits + np.copysign(0.5, shares_SK)).astype(np.int64), bits)


def _shares(
    outputs_S: np.ndarray, inputs: int, scale: float, interpolation: Interpolation
) -> tuple[np.ndarray, np.ndarray]:
    """The first input of each output, int64 `[S]`, and what those from there on share in it, float64 `[S, K]`."""
    stretch = max(scale, 1.0)
    reach = REACH[interpolation] * stretch
    centre_S = scale * (outputs_S + 0.5)
    first_S = np.maximum((centre_S - reach + 0.5).astype(np.int64), 0)
    end_S = np.minimum((centre_S + reach + 0.5).astype(np.int64), inputs)
    input_SK = first_S[:, None] + np.arange((end_S - first_S).max())
    value_SK = FILTERS[interpolation](np.abs((input_SK - centre_S[:, None] + 0.5) * (1 / stretch)))
    value_SK = np.where(input_SK < end_S[:, None], value_SK, 0.0)
    return first_S, value_SK / value_SK.cumsum(1)[:, -1:]  # a sum one by one, as torch has it


def _middle_alone(
    pixels_HWC: np.ndarray, rows: Place, columns: Place, size: int, interpolation: Interpolation
) -> np.ndarray:
    """uint8 `[size, size, C]`."""
    height = pixels_HWC.shape[0]
    above, below = _needed(height, rows, size, interpolation)
    # Turned, so that the axis that is worked on comes first.
    part_WHC = _resampled(pixels_HWC[above:below].swapaxes(0, 1), pixels_HWC.shape[1], 0, columns, size, interpolation)
    return _resampled(part_WHC.swapaxes(0, 1), height, above, rows, size, interpolation)


def _needed(inputs: int, place: Place, size: int, interpolation: Interpolation) -> tuple[int, int]:
    """The first input that any of what is cut out is made of, and the end of these."""
    if place.whole == inputs:
        return place.first, place.first + size
    first_S, weights_SK, _ = weights(inputs, place.whole, place.first, size, interpolation)
    return int(first_S[0]), min(int(first_S[-1]) + weights_SK.shape[1], inputs)


def _resampled(
    part: np.ndarray, inputs: int, start: int, place: Place, size: int, interpolation: Interpolation
) -> np.ndarray:
    """The outputs that are cut out of the first axis.

    Args:
        part: uint8, the inputs from `start` on as far as they are needed, of `inputs`.
    """
    if place.whole == inputs:
        return part[place.first - start : place.first - start + size]
    first_S, weights_SK, bits = weights(inputs, place.whole, place.first, size, interpolation)
    total = np.full((size, *part.shape[1:]), 2 ** (bits - 1), dtype=np.int64)
    for k, weight_S in enumerate(weights_SK.T):
        taken = np.minimum(first_S - start + k, len(part) - 1)  # beyond the last one weights are 0
        total += weight_S[:, None, None] * part[taken]
    return np.clip(total >> bits, 0, 255).astype(np.uint8)
