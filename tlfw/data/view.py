"""How a model sees an image: its size, its augmentation, its normalisation."""

from __future__ import annotations

import dataclasses

import torch
import torchvision.transforms.v2 as T
import torchvision.transforms.v2.functional as F
from PIL import Image
from torch import Tensor

from tlfw.identity import seed_from

AUGMENTATIONS = ("none", "flip", "flip_crop")


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """From a picture to what a backbone takes, with torchvision's own operations.

    Resize the shorter side to `resize`, cut out the middle `size` x `size`, (augment,)
    scale to [0, 1], subtract `mean` and divide by `std` for each of the three channels.

    Attributes:
        size, resize: pixels.
        interpolation: `bilinear` or `bicubic`, as torchvision names them.
        augmentation: `none`; `flip`, left to right in half of the cases; `flip_crop`, also moved by up
            to an eighth of the size, with reflected borders.
    """

    size: int
    resize: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: str = "none"

    def pixels(self, image: Image.Image) -> Tensor:
        """The part that is the same every time: uint8 `[3, size, size]`."""
        if image.size != (self.size, self.size) or self.resize != self.size:
            image = F.resize(image, [self.resize], interpolation=T.InterpolationMode(self.interpolation))
            image = F.center_crop(image, [self.size, self.size])
        return F.pil_to_tensor(image)

    def augment(self, x_CHW: Tensor, *key: object) -> Tensor:
        """A variant of the uint8 image `x_CHW` that is a function of `key`; draws from no global state."""
        if self.augmentation == "none":
            return x_CHW
        random = torch.Generator().manual_seed(seed_from("augment", *key))
        if torch.rand((), generator=random) < 0.5:
            x_CHW = F.horizontal_flip(x_CHW)
        if self.augmentation == "flip_crop":
            reach = max(self.size // 8, 1)
            top, left = torch.randint(0, 2 * reach + 1, (2,), generator=random).tolist()
            padded_CHW = F.pad(x_CHW, [reach] * 4, padding_mode="reflect")
            x_CHW = F.crop(padded_CHW, top, left, self.size, self.size)
        return x_CHW

    def normalise(self, x_BCHW: Tensor) -> Tensor:
        """From uint8 `[B, 3, size, size]` to float32 of about zero mean and unit spread."""
        return F.normalize(F.to_dtype(x_BCHW, torch.float32, scale=True), list(self.mean), list(self.std))
