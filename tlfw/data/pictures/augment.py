"""Augmentation by name and strength: torchvision's transforms, made functions of a seed, for a whole batch at once."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import torch
import torchvision.transforms.v2 as T
from torch import Tensor

from tlfw.data.pictures.auto_augment import rand_augment, trivial_augment
from tlfw.data.pictures.draws import Draws
from tlfw.data.pictures.operations import brightness, by_kind, contrast, crop, erase, flip, hue, saturation
from tlfw.errors import ConfigError, nearest

REVISION = 1
"""Raised whenever `IMAGE` comes to draw other images, so that what was trained on others is not taken for it."""

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


IMAGE: dict[str, Image] = {
    "flip": _flip,
    "flip_crop": _flip_crop,
    "rand_augment": lambda x_BCHW, draws, strength, fill: rand_augment(x_BCHW, draws, round(9 * strength), fill),
    "trivial_augment": lambda x_BCHW, draws, strength, fill: trivial_augment(x_BCHW, draws, fill),
    "colour": _colour,
    "erasing": _erasing,
}
"""Of single images, before they are normalised.

`flip`: left to right in half of the cases.
`flip_crop`: also moved by up to `strength` x an eighth of the size, with reflected borders.
`rand_augment`: two operations of 14, of magnitude `strength` x 9 out of 30 (Cubuk et al., 2020).
`trivial_augment`: one operation, of a magnitude that it draws itself (Müller and Hutter, 2021).
`colour`: brightness, contrast and saturation by up to `strength` x 40 %, the hue by `strength` x a tenth of its circle.
`erasing`: in half of the cases a rectangle of `strength` x (2 to 33) % of the area (Zhong et al., 2020).
"""

BATCH: dict[str, Batch] = {
    "mixup": lambda strength, classes: T.MixUp(alpha=0.2 * strength, num_classes=classes),
    "cutmix": lambda strength, classes: T.CutMix(alpha=strength, num_classes=classes),
}
"""Of the images of one data set in a batch, with their labels. Where both are named, each batch takes one of them.

`mixup`: each image is blended with the one before it, by a share from Beta(a, a), a = `strength` x 0.2
(Zhang et al., 2018).
`cutmix`: each gets a rectangle of the one before it, whose share of the area is from Beta(a, a), a = `strength`
(Yun et al., 2019).
"""

AUGMENTATIONS = ("none", *IMAGE, *BATCH)

UNSCALED = ("flip", "trivial_augment")
"""What no strength changes."""

STRONGEST = 2.0


def varies(names: Collection[str]) -> bool:
    """Whether single images are augmented: then the draws of `REVISION` decide what is learnt."""
    return any(name in IMAGE for name in names)


def augmentations(given: str | Sequence[str], strength: float) -> tuple[str, ...]:
    """The names of what is done to training images, in order; nothing for `none`.

    Raises:
        ConfigError: a name is unknown, stands where it cannot, or the strength would change nothing.
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    if unknown := [name for name in names if name not in AUGMENTATIONS]:
        near = " or ".join(nearest(unknown[0], AUGMENTATIONS))
        raise ConfigError(
            "augmentation",
            f"{unknown[0]!r} is no name of one.",
            f"Use {near}, or a list of several, such as [flip, mixup].",
        )
    if "none" in names and len(names) > 1:
        raise ConfigError("augmentation", f"{list(names)} has none beside others.", "Leave none out.")
    kinds = [name in BATCH for name in names]
    if kinds != sorted(kinds):
        raise ConfigError(
            "augmentation",
            f"in {list(names)} whole batches are mixed before single images are augmented.",
            f"Put {' and '.join(name for name in names if name in BATCH)} last.",
        )
    names = () if names == ("none",) else names
    if strength != 1 and not set(names) - set(UNSCALED):
        raise ConfigError(
            "strength",
            f"it is {strength:g}, but nothing depends on it in augmentation={' and '.join(names) or 'none'}.",
            "Leave it at 1.0, or choose another augmentation.",
        )
    return names


@contextlib.contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Inside, torch's CPU generator draws from `seed`; outside, nothing has happened."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed GPUs too, which are not forked here, and take thirty times as long.
        torch.default_generator.manual_seed(seed)
        yield
