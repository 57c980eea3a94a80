"""How a model sees images that it learns from: a preprocessing, and what is varied about it."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tlfw.data.pictures.augment import BATCH, drawing_from, of_batches, of_images
from tlfw.data.pictures.preprocessing import Preprocessing
from tlfw.identity.names import named, seed_from

if TYPE_CHECKING:
    import torchvision.transforms.v2 as T


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

    @cached_property
    def _of_images(self) -> list[T.Transform]:
        # What is erased or moved in from outside has the mean colour, which becomes 0.
        fill = [float(round(255 * min(max(channel, 0), 1))) for channel in self.mean]
        return [of_images()[name](self.strength, self.size, fill) for name in self.augmentation if name not in BATCH]

    def augment(self, x_CHW: Tensor, *key: object) -> Tensor:
        """A variant of the uint8 image `x_CHW` that is a function of `key`; draws from no global state."""
        if self._of_images:
            with drawing_from(seed_from("augment", *key)):
                for transform in self._of_images:
                    x_CHW = transform(x_CHW)
        return x_CHW

    def mix(self, x_BCHW: Tensor, y_B: Tensor, classes: int, *key: object) -> tuple[Tensor, Tensor]:
        """The normalised images of a batch mixed with each other, as a function of `key`.

        Returns:
            The images, and int64 labels `[B]` as they were, or where images are mixed each one's shares of the
            classes, float32 `[B, classes]`.
        """
        if not self.mixes:
            return x_BCHW, y_B
        ways = [of_batches()[name](self.strength, classes) for name in self.augmentation if name in BATCH]
        import torchvision.transforms.v2 as T

        with drawing_from(seed_from("mix", *key)):
            return T.RandomChoice(ways)(x_BCHW, y_B)
