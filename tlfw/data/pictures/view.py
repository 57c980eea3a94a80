"""How a model sees images that it learns from: a preprocessing, and what is varied about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tlfw.data.pictures.augmentation import BATCH, IMAGE
from tlfw.data.pictures.draws import Draws, drawing_from, streams
from tlfw.data.pictures.preprocessing import Preprocessing
from tlfw.identity.names import named, seed_from

PIXELS_TOGETHER = 2**17
"""So many pixels of several images are augmented at once on the CPU; more leave its caches. Not keyed: equal pixels."""


@named("tlfw.View")
@dataclasses.dataclass(frozen=True, kw_only=True)
class View(Preprocessing):
    """A preprocessing, with images augmented before they are normalised, and mixed with each other after.

    Attributes:
        augmentation: names of what is done to training images, in order; `augment` says what each is.
        strength: how much, where 1 is usual.
    """

    augmentation: tuple[str, ...] = ()
    strength: float = 1.0

    @property
    def still(self) -> View:
        """The same without augmentation: how images are seen when nothing is learnt from them."""
        return dataclasses.replace(self, augmentation=(), strength=1.0)

    @property
    def preprocessing(self) -> Preprocessing:
        """That alone, for those who learn nothing."""
        return Preprocessing(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Preprocessing)})

    @property
    def prepared(self) -> dict[str, Any]:
        """What is done to an image before it is augmented, as plain types: the fields of an `InputSpec`."""
        names = ("size", "resize", "interpolation", "mean", "std")
        return {name: getattr(self, name) for name in names}

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed with each other."""
        return any(name in BATCH for name in self.augmentation)

    def augment(self, x_BCHW: Tensor, seed: int, positions: Sequence[int], passes: Sequence[int]) -> Tensor:
        """A variant of each of some uint8 images.

        It is a function of the image, the seed, the image's position and its pass, and of nothing else: neither of the
        other images nor of a global state.
        """
        if not (names := [name for name in self.augmentation if name in IMAGE]):
            return x_BCHW
        from tlfw.data.pictures.augment import OF_IMAGES  # torchvision takes a second

        ways = [OF_IMAGES[name] for name in names]
        # What is erased or moved in from outside has the mean colour, which becomes 0.
        fill = [float(round(255 * min(max(channel, 0), 1))) for channel in self.mean]
        streams_B = [streams(seed, place, positions, passes) for place in range(len(ways))]
        together = max(PIXELS_TOGETHER // self.size**2, 1) if x_BCHW.device.type == "cpu" else len(x_BCHW)
        parts = []
        for start in range(0, len(x_BCHW), together):
            part = slice(start, start + together)
            x = x_BCHW[part]
            for way, stream_B in zip(ways, streams_B, strict=True):
                x = way(x, Draws(stream_B[part]), self.strength, fill)
            parts.append(x)
        return torch.cat(parts)

    def mix(self, x_BCHW: Tensor, y_B: Tensor, classes: int, *key: object) -> tuple[Tensor, Tensor]:
        """The normalised images of a batch mixed with each other, as a function of `key`.

        Returns:
            The images, and int64 labels `[B]` as they were, or where images are mixed each one's shares of the
            classes, float32 `[B, classes]`.
        """
        if not self.mixes:
            return x_BCHW, y_B
        import torchvision.transforms.v2 as T

        from tlfw.data.pictures.augment import OF_BATCHES

        ways = [OF_BATCHES[name](self.strength, classes) for name in self.augmentation if name in BATCH]
        with drawing_from(seed_from("mix", *key)):
            return T.RandomChoice(ways)(x_BCHW, y_B)
