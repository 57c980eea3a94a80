"""The data sets a config can name."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from torchvision.datasets.folder import IMG_EXTENSIONS

from tlfw.data.augment import STRONGEST, augmentations
from tlfw.data.images import ImageArray, ImageFiles, Images, first_three
from tlfw.data.split import first_per_class, hold_out
from tlfw.errors import ConfigError
from tlfw.identity import digest
from tlfw.strict import STRICT

SplitName = Literal["train", "val", "test"]
Balance = Literal["none", "loss", "sampling"]


@dataclasses.dataclass(frozen=True)
class Part:
    """Some images of a list: `indices` int64 `[M]` into `images`."""

    images: Images
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels_M(self) -> np.ndarray:
        """int64 `[M]`."""
        return self.images.labels_N[self.indices]

    def called(self, i: int) -> str:
        """How a person finds the `i`-th of these images."""
        return self.images.called(int(self.indices[i]))

    def sums(self, manifests: Path) -> list[str]:
        """What `Images.sums` says of these images."""
        return self.images.sums(self.indices.tolist(), manifests)

    def digest(self, sums: Sequence[str]) -> str:
        """A name for the content of these images, of which `sums` is known, and for their labels."""
        return digest([sums, self.labels_M.tolist(), self.images.classes])

    def class_weights(self) -> np.ndarray:
        """Weights that give every class the same sum: images / (classes x images of the class), float32 `[classes]`.

        Their mean over the images is 1. A class without images has 0. (scikit-learn's `balanced`, King and Zeng, 2001.)
        """
        from sklearn.utils.class_weight import compute_class_weight  # loads in a second

        weights_K = np.zeros(len(self.images.classes), dtype=np.float32)
        there = np.unique(self.labels_M)
        weights_K[there] = compute_class_weight("balanced", classes=there, y=self.labels_M)
        return weights_K


@dataclasses.dataclass(frozen=True)
class Division:
    """A data set's images by what they are used for. No two parts share an image.

    `test` is None for a data set that is not tested on.
    """

    classes: tuple[str, ...]
    train: Part
    val: Part
    test: Part | None

    @property
    def counts(self) -> dict[str, int]:
        """Part -> its number of images."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {name: len(part) for name, part in parts.items() if part is not None}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataSet:
    """What all data sets have in common; a subclass says where its images come from.

    Args:
        image_size: side of the square that the model sees, in pixels; null: the published
            weights' own, or 224 without any.
        train_per_class: labelled images a class in all, validation included (10 are 8 for
            training and 2 for validation where `val_fraction` is 0.2); null: all there are.
        val_fraction: the share of the labelled images that is kept for validation. Not used where
            the set comes with validation images of its own and `train_per_class` is null.
        test_fraction: the share that is kept for the test where the set has no test images of its own.
        split_seed: decides which images; `seed` does not.
        augmentation: of training images: a name or a list of names, done in this order; `augment` says what each is.
        strength: how much, where 1 is usual.
        balance: of unequal classes in training; validation and test stay as they are. `none`; `loss`: an image counts
            the more, the rarer its class (`Part.class_weights`); `sampling`: every class is seen equally often.
        mean, std: of each channel, for normalisation, where 1 is white; null: the published
            weights' own, or ImageNet's.
    """

    published_splits: ClassVar[bool] = False
    """Whether it is known which images are for the test, and others report numbers on them."""

    image_size: int | None = Field(default=None, ge=1, le=4096)
    train_per_class: int | None = Field(default=None, ge=2)
    val_fraction: float = Field(default=0.2, gt=0, lt=1)
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    split_seed: int = 0
    augmentation: str | list[str] = "none"
    strength: float = Field(default=1.0, gt=0, le=STRONGEST)
    balance: Balance = "none"
    mean: list[float] | None = Field(default=None, min_length=3, max_length=3)
    std: list[float] | None = Field(default=None, min_length=3, max_length=3)

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ConfigError("mean, std", "only one of the two is given.", "Give both or neither.")
        if self.std is not None and min(self.std) <= 0:
            raise ConfigError("std", f"{self.std} has a value that is not above 0.", "Give three positive numbers.")
        augmentations(self.augmentation, self.strength)

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The names of what is done to training images, in order."""
        return augmentations(self.augmentation, self.strength)

    @property
    def title(self) -> str:
        """What people call it."""
        return type(self).__name__.lower()

    def read(self, split: SplitName) -> Images | None:
        """All images of one split; None where the set has none of that name. `train` always exists.

        Raises:
            ConfigError: they are not where the config says.
        """
        raise NotImplementedError

    def usable(self, found: dict[SplitName, Images], manifests: Path | None) -> dict[SplitName, Images]:
        """`found` without the images that are to be left out: none, unless a subclass says so."""
        return found

    def divide(self, *, tested: bool = True, manifests: Path | None = None) -> Division:
        """Decide what each image is for. Opens no image, unless unreadable ones are to be left out.

        Args:
            tested: whether test images are needed: of the target only.
            manifests: a folder where what was found out about files may be kept; None: it is not kept.

        Raises:
            ConfigError: there are too few.
        """
        splits: tuple[SplitName, ...] = ("train", "val", "test") if tested else ("train", "val")
        found = {split: images for split in splits if (images := self.read(split)) is not None}
        found = self.usable(found, manifests)
        labelled, own_val, own_test = found["train"], found.get("val"), found.get("test")
        classes = labelled.classes
        if len(classes) < 2:
            raise ConfigError("", f"there is only the class {classes[0]!r}.", "Give at least two.")
        pool = np.arange(len(labelled.labels_N))
        test = None
        if own_test is not None:
            test = Part(own_test, np.arange(len(own_test.labels_N)))
        elif tested:
            pool, held = hold_out(labelled.labels_N, len(classes), self.test_fraction, self.split_seed)
            test = Part(labelled, held)
        if self.train_per_class is not None:
            pool = pool[first_per_class(labelled.labels_N[pool], classes, self.train_per_class, self.split_seed)]
        if own_val is not None and self.train_per_class is None:
            train, val = pool, Part(own_val, np.arange(len(own_val.labels_N)))
        else:
            kept, held = hold_out(labelled.labels_N[pool], len(classes), self.val_fraction, self.split_seed)
            train, val = pool[kept], Part(labelled, pool[held])
        if len(val) == 0 or (test is not None and len(test) == 0):
            raise ConfigError(
                "val_fraction" if len(val) == 0 else "test_fraction",
                "no class has an image to spare for it.",
                "Give more images, so that every part has some.",
            )
        return Division(classes, Part(labelled, train), val, test)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageFolder(DataSet):
    """Your own images: `root/train/CLASS/IMAGE`, and if you like `root/val/…` and `root/test/…`.

    Args:
        root: the folder; relative to where the command is run. Not part of any key: content is.
        skip_unreadable: leave out files that hold no image that can be read, before anything is divided, and say so
            in a line; otherwise they are an error.
    """

    root: str = Field(min_length=1)
    skip_unreadable: bool = False

    @property
    def title(self) -> str:
        return Path(self.root).resolve().name

    def usable(self, found: dict[SplitName, Images], manifests: Path | None) -> dict[SplitName, Images]:
        if not self.skip_unreadable:
            return found
        kept: dict[SplitName, Images] = {}
        bad: list[str] = []
        for split, files in found.items():
            assert isinstance(files, ImageFiles)
            unreadable = files.unreadable(manifests)
            left = [i for i in range(len(files.names)) if i not in unreadable]
            counts = Counter(files.labels_N[left].tolist())
            lost = {int(files.labels_N[i]) for i in unreadable if not counts[files.labels_N[i]]}
            if not left or (split == "train" and lost):
                folder = files.root / split / (files.classes[min(lost)] if split == "train" else "")
                why = next(why for i, why in unreadable.items() if files.labels_N[i] in lost)
                raise ConfigError(
                    "root", f"none of the images in {folder} can be read ({why}).", "Repair some, or remove the folder."
                )
            kept[split] = ImageFiles(
                files.root, [files.names[i] for i in left], files.labels_N[left].tolist(), files.classes
            )
            bad += [files.names[i] for i in unreadable]
        if bad:
            _say_once(
                f"{self.root}: {len(bad)} of {sum(len(images.labels_N) for images in found.values())} images cannot be "
                f"read and are left out: {first_three(bad)}"
            )
        return kept

    def read(self, split: SplitName) -> Images | None:
        root = Path(self.root).expanduser()
        folder = root / split
        remedy = f"Put the images into {root / 'train'}/CLASS/."
        if not root.is_dir():
            raise ConfigError("root", f"there is no folder {root.absolute()}.", "Give the folder that holds train/.")
        if not folder.is_dir():
            if split == "train":
                raise ConfigError("root", f"{root} has no folder train.", remedy)
            return None
        classes = _folders(root / "train")
        if not classes:
            raise ConfigError("root", f"{root / 'train'} has no class folders.", remedy)
        if unknown := [name for name in _folders(folder) if name not in classes]:
            raise ConfigError(
                "root",
                f"{folder} has the class {unknown[0]!r}, which {root / 'train'} does not have.",
                "Use the same class folders in each split.",
            )
        found = [(path, label) for label, name in enumerate(classes) for path in image_files(folder / name)]
        counts = Counter(label for _, label in found)
        if not found or (split == "train" and len(counts) < len(classes)):
            empty = next((folder / name for i, name in enumerate(classes) if not counts[i]), folder)
            raise ConfigError(
                "root",
                f"{empty} has no images.",
                f"Put some there; these endings are read: {', '.join(IMG_EXTENSIONS)}.",
            )
        return ImageFiles(
            root,
            [str(path.relative_to(root)) for path, _ in found],
            [label for _, label in found],
            classes,
            remedy="Repair or remove what cannot be read, or set skip_unreadable=true to leave it out.",
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Digits(DataSet):
    """scikit-learn's 1,797 real handwritten digits of 8x8 grey pixels (Alpaydin and Kaynak, 1998).

    Half of each class, the same in every run, is for the test.
    """

    published_splits = True

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoData(DataSet):
    """In the place of a data set that nothing is trained on."""

    def read(self, split: SplitName) -> Images | None:
        raise ConfigError("", "there is none, but the data mix trains on it.", "Choose one of the group data.")


def image_files(folder: Path) -> list[Path]:
    """All images below a folder, sorted, as torchvision's ImageFolder finds them, links followed.

    What begins with a dot is a system's own note beside the images, whatever its ending says; a
    folder that is reached twice, as by a link to one above it, counts once.
    """
    found, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(place, name)) not in seen
        ]
        found += [
            Path(place, name) for name in files if not name.startswith(".") and name.lower().endswith(IMG_EXTENSIONS)
        ]
    return sorted(found)


def _folders(parent: Path) -> Sequence[str]:
    return sorted(entry.name for entry in parent.iterdir() if entry.is_dir() and not entry.name.startswith("."))


@cache
def _say_once(line: str) -> None:
    """Print a line, once in a process: a sweep plans each run, and each of them twice."""
    print(line, flush=True)
