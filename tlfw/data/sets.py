"""The data sets a config can name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.data.division import Division, Draw, divide
from tlfw.data.images import ImageArray, Images, Reading
from tlfw.data.pictures.augmentation import STRONGEST, augmentations
from tlfw.data.pictures.decoding import LARGEST_IMAGE
from tlfw.data.pictures.picture import Range
from tlfw.data.pictures.preprocessing import asked_range, check_by_type, colour
from tlfw.data.rows import SPLITS, Rows, SplitName, Stock, stock
from tlfw.errors import ConfigError
from tlfw.identity.fields import by_effect, unkeyed
from tlfw.identity.names import named
from tlfw.strictness import STRICT

Balance = Literal["none", "loss", "sampling"]

CONTENT = by_effect("the content of its parts")
REPETITION = by_effect("the content of its parts; repetitions differ in it", named=False)
SEEN = by_effect("how images are seen")
LIES = unkeyed("where images lie; they count by content", named=True)
"""What fields of data sets decide."""


@named("tlfw.DataSet")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataSet:
    """What all data sets have in common; a subclass says where its images come from.

    Args:
        image_size: side of the square that the model sees, in pixels; null: the published
            weights' own, or 224 without any.
        train_per_class: labelled images a class in all, validation included (10 are 8 for
            training and 2 for validation where `val_fraction` is 0.2); null: all there are.
        val_fraction: the share of the labelled images that is kept for validation; null: 0.2. Not used, which is said,
            where the set comes with validation images of its own and `train_per_class` is null.
        test_fraction: the share that is kept for the test; null: 0.2. Refused where the set has test images of its own.
        split_seed: the draw: decides which images are labelled, and which of these validate; `seed` does not. The test
            images stay.
        test_seed: decides which images are for the test where the set has none of its own.
        group: what keeps images that belong together (of one subject, camera, day) on one side of every split: a
            regular expression, searched in the path below the root, whose group named `group` says it; or n, the n-th
            folder below the class's (1: CLASS/GROUP/IMAGE). null: nothing does, unless the source itself knows.
        folds: of the target, where it has no test images of its own: it is divided into so many by `test_seed`, and
            one of them is the test.
        fold: which; from 0.
        skip_unreadable: leave out files that hold no image that can be read, before anything is divided, and say so;
            otherwise they are an error.
        augmentation: of training images: a name or a list of names, done in this order; `augment` says what each is.
        strength: how much, where 1 is usual.
        balance: of unequal classes in training; validation and test stay as they are. `none`; `loss`: an image counts
            the more, the rarer its class (`Part.class_weights`); `sampling`: every class is seen equally often.
        mean, std: of each channel, for normalisation, where 1 is white; null: the published
            weights' own, or ImageNet's.
        range: what is black and what is white in images of more than 8 bits. `type`: what their type says, 0 and 65535
            for 16 bits; where it does not say, as for floating-point numbers, they cannot be read. `auto`: the least
            and the greatest number in the images for training. [black, white]: these numbers, as files hold them.
        background: the colour behind transparency: a name that Pillow knows, or [red, green, blue].
        largest_image: pixels beyond which a file is refused.
    """

    image_size: Annotated[int | None, SEEN] = Field(default=None, ge=1, le=4096)
    train_per_class: Annotated[int | None, CONTENT] = Field(default=None, ge=2)
    val_fraction: Annotated[float | None, CONTENT] = Field(default=None, gt=0, lt=1)
    test_fraction: Annotated[float | None, CONTENT] = Field(default=None, gt=0, lt=1)
    split_seed: Annotated[int, REPETITION] = 0
    test_seed: Annotated[int, CONTENT] = 0
    group: Annotated[str | int | None, CONTENT] = None
    folds: Annotated[int | None, CONTENT] = Field(default=None, ge=2, le=50)
    fold: Annotated[int | None, REPETITION] = Field(default=None, ge=0)
    skip_unreadable: Annotated[bool, CONTENT] = False
    augmentation: Annotated[str | list[str], SEEN] = "none"
    strength: Annotated[float, SEEN] = Field(default=1.0, gt=0, le=STRONGEST)
    balance: Balance = "none"
    mean: Annotated[list[float] | None, SEEN] = Field(default=None, min_length=3, max_length=3)
    std: Annotated[list[float] | None, SEEN] = Field(default=None, min_length=3, max_length=3)
    range: Annotated[str | list[float], SEEN] = "type"
    background: Annotated[str | list[int], SEEN] = "white"
    largest_image: Annotated[int, unkeyed("a bound on what is read")] = Field(default=LARGEST_IMAGE, ge=1)

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ConfigError("mean, std", "only one of the two is given.", "Give both or neither.")
        remedy = "1 is white: if it is 255 in them, divide them by 255."
        if self.mean is not None and not (min(self.mean) >= 0 and max(self.mean) <= 1):
            raise ConfigError("mean", f"{self.mean} are not all from 0 to 1.", remedy)
        if self.std is not None and not (min(self.std) > 0 and max(self.std) <= 1):
            raise ConfigError("std", f"{self.std} are not all above 0 and up to 1.", remedy)
        asked_range(self.range)
        colour(self.background)
        augmentations(self.augmentation, self.strength)
        _check_group(self.group)

    @property
    def asked_range(self) -> Range | Literal["auto"]:
        """What is black and what is white, as it is asked for."""
        return asked_range(self.range)

    @property
    def backdrop(self) -> tuple[int, int, int]:
        """Red, green and blue of what lies behind transparency."""
        return colour(self.background)

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The names of what is done to training images, in order."""
        return augmentations(self.augmentation, self.strength)

    @property
    def title(self) -> str:
        """What people call it."""
        return type(self).__name__.lower()

    @property
    def published_splits(self) -> bool:
        """Whether it is known which images are for the test, and others report numbers on them."""
        return False

    @property
    def draw(self) -> Draw:
        """How its images are chosen for their uses."""
        return Draw(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Draw)})

    @property
    def undrawn(self) -> Self:
        """The same as a source alone: with no draw of its own, so that it is equal for all draws."""
        plain = Draw()
        return dataclasses.replace(
            self, **{field.name: getattr(plain, field.name) for field in dataclasses.fields(Draw)}
        )

    def read(self, split: SplitName) -> Images | None:
        """All images of one split; None where the set has none of that name. `train` always exists.

        Which of them are drawn is decided later: here the fields of `Draw` have their defaults.

        Raises:
            ConfigError: they are not where the config says.
        """
        raise NotImplementedError

    def rows(self, splits: Sequence[SplitName]) -> Rows:
        """All images of these splits, as far as the set has them: a list for each, unless a subclass has it otherwise.

        Raises:
            ConfigError: they are not where the config says.
        """
        return Rows({split: images for split in splits if (images := self.read(split)) is not None})

    def stock(self, *, tested: bool = True, manifests: Path | None = None) -> Stock:
        """All images that can be used, each looked at once.

        Args:
            tested: whether test images are needed: of the target only.
            manifests: a folder where what was found out about files may be kept; None: it is not kept.

        Raises:
            ConfigError: they cannot be had or read, have no group, or would be black.
        """
        rows = self.undrawn.rows(SPLITS if tested else ("train", "val"))
        reading = Reading(self.largest_image, self.asked_range)
        held = stock(rows, self.skip_unreadable, self.group, manifests, reading)
        if reading.range == "type":
            check_by_type(held.spanned("train"))
        return held

    def divide(self, *, tested: bool = True, manifests: Path | None = None) -> Division:
        """Decide what each image is for, as if this were the only data set.

        Raises:
            ConfigError: there are too few, or they cannot be had.
        """
        held = self.stock(tested=tested, manifests=manifests)
        return divide(held, self.draw, tested=tested, published=self.published_splits)


@named("tlfw.Digits")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Digits(DataSet):
    """scikit-learn's 1,797 real handwritten digits of 8x8 grey pixels (Alpaydin and Kaynak, 1998).

    Half of each class, the same in every run, is for the test.
    """

    @property
    def published_splits(self) -> bool:
        return True

    def read(self, split: SplitName) -> Images | None:
        from sklearn.datasets import load_digits  # loads in a second, which only its users should wait
        from sklearn.model_selection import train_test_split

        if split == "val":
            return None
        bunch = load_digits()
        train, test = train_test_split(
            np.arange(len(bunch.target)), test_size=0.5, stratify=bunch.target, random_state=0
        )
        chosen = np.sort(train if split == "train" else test)
        # The scans count ink in 17 steps, 0 to 16.
        pixels_NHW = np.rint(bunch.images[chosen] * (255 / 16)).astype(np.uint8)
        return ImageArray(pixels_NHW, bunch.target[chosen], [str(d) for d in range(10)])


@named("tlfw.NoData")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoData(DataSet):
    """In the place of a data set that nothing is trained on."""

    def read(self, split: SplitName) -> Images | None:
        raise ConfigError("", "there is none, but the data mix trains on it.", "Choose one of the group data.")


def _check_group(group: str | int | None) -> None:
    """See that it can say what belongs together."""
    if isinstance(group, int) and group < 1:
        raise ConfigError("group", f"there is no folder {group} below a class's.", "Count from 1: CLASS/GROUP/IMAGE.")
    if not isinstance(group, str):
        return
    try:
        named = re.compile(group).groupindex
    except re.error as problem:
        raise ConfigError(
            "group", f"{group!r} is no regular expression ({problem}).", "Give one, or a folder's level."
        ) from problem
    if "group" not in named:
        raise ConfigError(
            "group",
            f"{group!r} has no group named group.",
            "Put it around what belongs together: (?P<group>…), as in '(?P<group>[^/]+)_[0-9]+[.]jpg$'.",
        )
