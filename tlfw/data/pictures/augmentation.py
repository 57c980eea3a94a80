"""The names of augmentations: what each is, in words, and which may stand together."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tlfw.errors import ConfigError, nearest

REVISION = 1
"""Raised whenever `IMAGE` comes to draw other images, so that what was trained on others is not taken for it."""

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
