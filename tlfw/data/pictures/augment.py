"""Augmentation by name and strength: torchvision's transforms, made functions of a seed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from tlfw.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torchvision.transforms.v2 as T

IMAGE = ("flip", "flip_crop", "rand_augment", "trivial_augment", "colour", "erasing")
"""Of single images, before they are normalised.

`flip`: left to right in half of the cases.
`flip_crop`: also moved by up to `strength` x an eighth of the size, with reflected borders.
`rand_augment`: two operations of 14, of magnitude `strength` x 9 out of 30 (Cubuk et al., 2020).
`trivial_augment`: one operation, of a magnitude that it draws itself (Müller and Hutter, 2021).
`colour`: brightness, contrast and saturation by up to `strength` x 40 %, the hue by `strength` x a tenth of its circle.
`erasing`: in half of the cases a rectangle of `strength` x (2 to 33) % of the area (Zhong et al., 2020).
"""

BATCH = ("mixup", "cutmix")
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


def _flip_crop(strength: float, size: int, fill: list[float]) -> T.Transform:
    import torchvision.transforms.v2 as T

    reach = min(max(int(strength * size / 8), 1), size - 1)  # a border of one pixel cannot be reflected
    return T.Compose([T.RandomHorizontalFlip(), T.RandomCrop(size, padding=reach, padding_mode="reflect")])


@functools.cache
def of_images() -> dict[str, Callable[[float, int, list[float]], T.Transform]]:
    """Each of `IMAGE` from (strength, size in pixels, the colour of what an image does not hold)."""
    import torchvision.transforms.v2 as T  # takes a second, of which who only names augmentations has no need

    bilinear = T.InterpolationMode.BILINEAR
    return {
        "flip": lambda strength, size, fill: T.RandomHorizontalFlip(),
        "flip_crop": _flip_crop,
        "rand_augment": lambda strength, size, fill: T.RandAugment(
            num_ops=2, magnitude=round(9 * strength), interpolation=bilinear, fill=fill
        ),
        "trivial_augment": lambda strength, size, fill: T.TrivialAugmentWide(interpolation=bilinear, fill=fill),
        "colour": lambda strength, size, fill: T.ColorJitter(
            0.4 * strength, 0.4 * strength, 0.4 * strength, 0.1 * strength
        ),
        "erasing": lambda strength, size, fill: T.RandomErasing(scale=(0.02 * strength, 0.33 * strength), value=fill),
    }


@functools.cache
def of_batches() -> dict[str, Callable[[float, int], T.Transform]]:
    """Each of `BATCH` from (strength, number of classes)."""
    import torchvision.transforms.v2 as T

    return {
        "mixup": lambda strength, classes: T.MixUp(alpha=0.2 * strength, num_classes=classes),
        "cutmix": lambda strength, classes: T.CutMix(alpha=strength, num_classes=classes),
    }


@contextlib.contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Inside, torch's CPU generator draws from `seed`; outside, nothing has happened."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed GPUs too, which are not forked here, and take thirty times as long.
        torch.default_generator.manual_seed(seed)
        yield
