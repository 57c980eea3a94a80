"""torchvision's own classification data sets, each with its own way of naming splits."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torchvision.datasets
from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.data.images import ImageArray, ImageFiles, Images
from tlfw.data.pictures.decoding import decoded
from tlfw.data.pictures.fingerprint import exact, looks
from tlfw.data.pictures.picture import Picture, Span
from tlfw.data.rows import SplitName
from tlfw.data.sets import CONTENT, LIES, DataSet
from tlfw.errors import ConfigError, nearest
from tlfw.identity.fields import unkeyed
from tlfw.identity.names import named
from tlfw.internals.torchvision import files_of_pcam
from tlfw.strictness import STRICT

Splits = Mapping[SplitName, Mapping[str, Any]]

_BOOLEAN: Splits = {"train": {"train": True}, "test": {"train": False}}
_TWO: Splits = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE: Splits = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}
_ONE: Splits = {"train": {}}
_VALIDATED: Splits = {"train": {"split": "train"}, "test": {"split": "val"}}

SETS: dict[str, Splits] = {
    "CIFAR10": _BOOLEAN,
    "CIFAR100": _BOOLEAN,
    "MNIST": _BOOLEAN,
    "FashionMNIST": _BOOLEAN,
    "KMNIST": _BOOLEAN,
    "USPS": _BOOLEAN,
    "EMNIST": {name: {"split": "balanced", **how} for name, how in _BOOLEAN.items()},
    "SVHN": _TWO,
    "STL10": _TWO,
    "Flowers102": _THREE,
    "DTD": _THREE,
    "FGVCAircraft": _THREE,
    "PCAM": _THREE,
    "RenderedSST2": _THREE,
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "Food101": _TWO,
    "StanfordCars": _TWO,
    "GTSRB": _TWO,
    "Country211": {**_THREE, "val": {"split": "valid"}},
    "EuroSAT": _ONE,
    "Caltech101": _ONE,
    "Caltech256": _ONE,
    "SUN397": _ONE,
    # The labels of these sets' own test images are not public: their validation images are the test.
    "Imagenette": _VALIDATED,
    "ImageNet": _VALIDATED,
    "Places365": {
        "train": {"split": "train-standard", "small": True},
        "test": {"split": "val", "small": True},
    },
}
"""Data set -> split -> what torchvision's class is called with. A set without test images gives some of its own."""

NOT_DOWNLOADED = ("ImageNet", "StanfordCars")
"""Sets whose files have to be put into their place by hand."""


@named("tlfw.TorchvisionSet")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class TorchvisionSet(DataSet):
    """A data set of torchvision, by the name of its class.

    Args:
        name: one of `SETS`.
        root: where it lies or is to be put, as torchvision wants it.
        download: fetch it if it is not there.
    """

    name: Annotated[str, CONTENT]
    root: Annotated[str, LIES] = Field(default="data", min_length=1)
    download: Annotated[bool, unkeyed("how images get there; they count by content")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in SETS:
            near = " or ".join(nearest(self.name, SETS)) or ", ".join(SETS)
            raise ConfigError("name", f"torchvision has no classification set {self.name!r}.", f"Did you mean {near}?")
        if self.download and self.name in NOT_DOWNLOADED:
            raise ConfigError(
                "download", f"torchvision does not download {self.name}.", "Put its files into root by hand."
            )

    @property
    def title(self) -> str:
        return self.name.lower()

    @property
    def published_splits(self) -> bool:
        return "test" in SETS[self.name]

    def read(self, split: SplitName) -> Images | None:
        if split not in SETS[self.name]:
            return None
        given: dict[str, Any] = dict(SETS[self.name][split])
        if self.name not in NOT_DOWNLOADED:
            given["download"] = self.download
        try:
            found = getattr(torchvision.datasets, self.name)(str(Path(self.root).expanduser()), **given)
        except (ImportError, RuntimeError, OSError, ValueError) as problem:
            if isinstance(problem, ImportError) or isinstance(problem.__context__, ImportError):
                raise ConfigError(
                    "name", f"{self.name} needs a package that is missing ({problem}).", "Install it."
                ) from problem
            remedy = (
                "Put its files there." if self.name in NOT_DOWNLOADED else "Set download=true, or put its files there."
            )
            raise ConfigError(
                "root", f"{self.name} is not whole in {Path(self.root).absolute()} ({problem}).", remedy
            ) from problem
        return images_of(found)


def images_of(found: Any) -> Images:
    """What a torchvision data set holds, as images that are opened one by one and named by content.

    Args:
        found: made without transforms, so that it gives (picture, label).
    """
    if hasattr(found, "h5py"):
        return _InOneFile(found)
    labels_N, files = _labels_and_files(found)
    classes = _classes(found, labels_N)
    if files is not None:
        root = Path(found.root)
        return ImageFiles(root, [_below(Path(file), root) for file in files], labels_N.tolist(), classes)
    pixels = getattr(found, "data", None)
    if isinstance(pixels, list) or pixels is None:
        return _Opened(found, labels_N, classes)
    pixels = np.asarray(pixels)
    if pixels.ndim == 4 and pixels.shape[1] == 3 and pixels.shape[3] != 3:
        pixels = pixels.transpose(0, 2, 3, 1)  # SVHN and STL10 put the channels first
    return ImageArray(pixels, labels_N, classes)


class _Opened:
    """Images that only the data set itself knows how to open."""

    def __init__(self, found: Any, labels_N: np.ndarray, classes: Sequence[str]) -> None:
        self.found, self.labels_N, self.classes = found, labels_N, tuple(classes)

    def open(self, index: int) -> Picture:
        return decoded(self.found[index][0])

    def sums(self, indices: Sequence[int], manifests: Path | None) -> list[str]:
        return [exact(self.open(i)) for i in indices]

    def looks(self, indices: Sequence[int], manifests: Path | None) -> list[str | None]:
        return [looks(self.open(i).shown()) for i in indices]

    def spans(self, indices: Sequence[int], manifests: Path | None) -> list[Span | None]:
        return [None] * len(indices)  # torchvision has made 8 bits of them

    def called(self, index: int) -> str:
        return f"image {index}"


class _InOneFile(_Opened):
    """PCAM's images: too many to be opened for their names, which are the file's and the place in it."""

    def __init__(self, found: Any) -> None:
        self._pixels, labels = files_of_pcam(found)
        with found.h5py.File(labels) as opened:
            labels_N = np.asarray(opened["y"]).reshape(-1).astype(np.int64)
        super().__init__(found, labels_N, ("normal", "tumour"))

    def sums(self, indices: Sequence[int], manifests: Path | None) -> list[str]:
        stat = self._pixels.stat()
        whole = _checksum(self._pixels, stat.st_size, stat.st_mtime_ns)
        return [f"{whole}/{index}" for index in indices]

    def looks(self, indices: Sequence[int], manifests: Path | None) -> list[str | None]:
        return [None] * len(indices)


@functools.cache
def _checksum(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _labels_and_files(found: Any) -> tuple[np.ndarray, Sequence[Any] | None]:
    """Labels int64 `[N]` without opening an image, and the images' files if they lie in files."""
    for name in ("samples", "_samples", "imgs"):
        if pairs := getattr(found, name, None):
            return np.asarray([label for _, label in pairs], dtype=np.int64), [file for file, _ in pairs]
    files: Sequence[Any] | None = getattr(found, "_image_files", getattr(found, "_images", None))
    for name in ("targets", "labels", "_labels", "y"):
        if (labels := getattr(found, name, None)) is not None and not callable(labels):
            return np.asarray(labels, dtype=np.int64), files
    return np.asarray([found[i][1] for i in range(len(found))], dtype=np.int64), files


def _classes(found: Any, labels_N: np.ndarray) -> list[str]:
    """Names by label: the set's own, or the labels themselves."""
    for name in ("classes", "categories"):
        if own := getattr(found, name, None):
            names = [", ".join(each) if isinstance(each, tuple) else str(each) for each in own]
            if len(names) > labels_N.max():
                return names
    return [str(label) for label in range(int(labels_N.max()) + 1)]


def _below(file: Path, root: Path) -> str:
    return (file.relative_to(root) if file.is_relative_to(root) else file.absolute()).as_posix()
