"""Augmentations as functions of a batch of images, with draws of each image's own (`augmentation` has their names)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torchvision.transforms.v2 as T
from torch import Tensor

from tlfw.data.pictures.auto_augment import rand_augment, trivial_augment
from tlfw.data.pictures.draws import Draws
from tlfw.data.pictures.operations import brightness, by_kind, contrast, crop, erase, flip, hue, saturation

Image = Callable[[Tensor, Draws, float, list[float]], Tensor]
"""From (uint8 images `[B, 3, H, W]`, their draws, strength, the colour of what an image does not hold)."""

Batch = Callable[[float, int], T.Transform]
"""From (strength, number of classes)."""


def _flip(x_BCHW: Tensor, draws: Draws, strength: float, fill: list[float]) -> Tensor:
    return flip(x_BCHW, draws.coin())


def _flip_crop(x_BCHW: Tensor, draws: Draws, strength: float, fill: list[float]) -> Tensor:
    x_BCHW = flip(x_BCHW, draws.coin())
    size = min(x_BCHW.shape[-2:])
    reach = min(max(int(strength * size / 8), 1), size - 1)  # a border of one pixel cannot be reflected
    return crop(x_BCHW, reach, draws.below(2 * reach + 1), draws.below(2 * reach + 1))


def _colour(x_BCHW: Tensor, draws: Draws, strength: float, fill: list[float]) -> Tensor:
    order_B4 = _ORDERS[draws.below(len(_ORDERS))]
    around = 0.4 * strength
    amounts = [draws.uniform(1 - around, 1 + around) for _ in range(3)]
    amounts.append(draws.uniform(-0.1 * strength, 0.1 * strength))
    changes = list(zip((brightness, contrast, saturation, hue), amounts, strict=True))
    for now_B in order_B4.T:
        x_BCHW = by_kind(x_BCHW, now_B, changes)
    return x_BCHW


_ORDERS = np.array(list(itertools.permutations(range(4))))


def _erasing(x_BCHW: Tensor, draws: Draws, strength: float, fill: list[float]) -> Tensor:
    height, width = x_BCHW.shape[-2:]
    open_B = draws.coin()
    top_B, left_B, height_B, width_B = np.zeros((4, len(x_BCHW)), dtype=np.int64)
    # A rectangle that does not fit is drawn again, ten times at most.
    for _ in range(10):
        if not open_B.any():
            break
        area_B = height * width * draws.uniform(0.02 * strength, 0.33 * strength)
        ratio_B = np.exp(draws.uniform(math.log(0.3), math.log(3.3)))
        high_B, wide_B = (np.rint(np.sqrt(side_B)).astype(np.int64) for side_B in (area_B * ratio_B, area_B / ratio_B))
        fits_B = open_B & (high_B < height) & (wide_B < width)
        drawn = (draws.below(height - high_B + 1), draws.below(width - wide_B + 1), high_B, wide_B)
        for kept_B, new_B in zip((top_B, left_B, height_B, width_B), drawn, strict=True):
            kept_B[fits_B] = new_B[fits_B]
        open_B &= ~fits_B
    return erase(x_BCHW, top_B, left_B, height_B, width_B, fill)


OF_IMAGES: dict[str, Image] = {
    "flip": _flip,
    "flip_crop": _flip_crop,
    "rand_augment": lambda x_BCHW, draws, strength, fill: rand_augment(x_BCHW, draws, round(9 * strength), fill),
    "trivial_augment": lambda x_BCHW, draws, strength, fill: trivial_augment(x_BCHW, draws, fill),
    "colour": _colour,
    "erasing": _erasing,
}

OF_BATCHES: dict[str, Batch] = {
    "mixup": lambda strength, classes: T.MixUp(alpha=0.2 * strength, num_classes=classes),
    "cutmix": lambda strength, classes: T.CutMix(alpha=strength, num_classes=classes),
}
