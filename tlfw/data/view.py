"""How a model sees an image: its size, its augmentation, its normalisation."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import torch
import torchvision.transforms.v2 as T
import torchvision.transforms.v2.functional as F
from PIL import Image
from torch import Tensor

from tlfw.data.augment import BATCH, IMAGE, drawing_from
from tlfw.data.images import as_seen
from tlfw.identity import named, seed_from


@named("tlfw.View")
@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """From a picture to what a backbone takes, with torchvision's own operations.

    Resize the shorter side to `resize`, cut out the middle `size` x `size`, (augment,)
    scale to [0, 1], subtract `mean` and divide by `std` for each of the three channels, (mix).

    Attributes:
        size, resize: pixels.
        interpolation: `bilinear` or `bicubic`, as torchvision names them.
        augmentation: names of what is done to training images, in order; `augment` says what each is.
        strength: how much, where 1 is usual.
    """

    size: int
    resize: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: tuple[str, ...] = ()
    strength: float = 1.0

    @property
    def still(self) -> View:
        """The same without augmentation: how images are seen when nothing is learnt from them."""
        return dataclasses.replace(self, augmentation=(), strength=1.0)

    @property
    def prepared(self) -> dict[str, Any]:
        """What is done to an image before it is augmented, as plain types: the fields of an `InputSpec`."""
        names = ("size", "resize", "interpolation", "mean", "std")
        return {name: getattr(self, name) for name in names}

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed with each other."""
        return any(name in BATCH for name in self.augmentation)

    @cached_property
    def _of_images(self) -> list[T.Transform]:
        # What is erased or moved in from outside has the mean colour, which becomes 0.
        fill = [float(round(255 * min(max(channel, 0), 1))) for channel in self.mean]
        return [IMAGE[name](self.strength, self.size, fill) for name in self.augmentation if name not in BATCH]

    def __call__(self, image: Image.Image) -> Tensor:
        """What a backbone takes of a picture of any mode when nothing is learnt from it: float32 `[3, size, size]`."""
        return self.normalise(self.pixels(as_seen(image)))

    def pixels(self, image: Image.Image) -> Tensor:
        """The part that is the same every time: uint8 `[3, size, size]`."""
        if image.size != (self.size, self.size) or self.resize != self.size:
            image = F.resize(image, [self.resize], interpolation=T.InterpolationMode(self.interpolation))
            image = F.center_crop(image, [self.size, self.size])
        return F.pil_to_tensor(image)

    def augment(self, x_CHW: Tensor, *key: object) -> Tensor:
        """A variant of the uint8 image `x_CHW` that is a function of `key`; draws from no global state."""
        if self._of_images:
            with drawing_from(seed_from("augment", *key)):
                for transform in self._of_images:
                    x_CHW = transform(x_CHW)
        return x_CHW

    def normalise(self, x_BCHW: Tensor) -> Tensor:
        """From uint8 `[..., 3, size, size]` to float32 of about zero mean and unit spread."""
        return F.normalize(F.to_dtype(x_BCHW, torch.float32, scale=True), list(self.mean), list(self.std))

    def mix(self, x_BCHW: Tensor, y_B: Tensor, classes: int, *key: object) -> tuple[Tensor, Tensor]:
        """The normalised images of a batch mixed with each other, as a function of `key`.

        Returns:
            The images, and int64 labels `[B]` as they were, or where images are mixed each one's shares of the
            classes, float32 `[B, classes]`.
        """
        if not self.mixes:
            return x_BCHW, y_B
        ways = [BATCH[name](self.strength, classes) for name in self.augmentation if name in BATCH]
        with drawing_from(seed_from("mix", *key)):
            return T.RandomChoice(ways)(x_BCHW, y_B)
