"""The data of an experiment: what each image is for, how a model sees it, and a name for its content."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tlfw.backbone import Backbone
from tlfw.data import DataSet, Division, View
from tlfw.data.copies import refuse_copies
from tlfw.data.sets import Balance
from tlfw.errors import ConfigError, at
from tlfw.identity import digest

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

T = TypeVar("T")


class Memo:
    """What was found out for one job of a sweep and holds for the next, as long as files stay as they are."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def get(self, make: Callable[[], T], *what: object) -> T:
        """What `make` returned when it was first asked for `what`."""
        key = digest(what)
        if key not in self._found:
            self._found[key] = make()
        return self._found[key]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeenData:
    """The data sets that an experiment needs.

    Attributes:
        divisions: data set -> its images by use.
        views: data set -> how its training images are seen.
        balance: data set -> how its unequal classes are made equal in training.
        content: data set -> part -> digest.
        image_size: pixels.
        remarks: what is odd about the images, and no error: sentences.
    """

    divisions: Mapping[str, Division]
    views: Mapping[str, View]
    balance: Mapping[str, Balance]
    content: Mapping[str, Mapping[str, str]]
    image_size: int
    remarks: tuple[str, ...]

    @property
    def tested_on(self) -> str:
        """A name for the content of the test images, by which runs that can be compared are known."""
        return self.content["target"]["test"]

    @property
    def sizes(self) -> dict[str, int]:
        """Data set -> its training images."""
        return {name: len(division.train) for name, division in self.divisions.items()}


def look(backbone: Backbone, data_sets: Mapping[str, DataSet], manifests: Path, memo: Memo) -> SeenData:
    """Read, divide and name the images of `data_sets`.

    Raises:
        ConfigError: they cannot be had, or one that judges the model is also one that it learns from.
    """
    image_size = size_for(backbone, data_sets)
    divisions: dict[str, Division] = {}
    sums: dict[str, dict[str, list[str]]] = {}
    content: dict[str, dict[str, str]] = {}
    for name, data_set in data_sets.items():
        parts = ("train", "val", "test") if name == "target" else ("train", "val")

        def read(data_set: DataSet = data_set, parts: tuple[str, ...] = parts) -> tuple[Any, Any, Any]:
            division = divided(data_set, "test" in parts, manifests, memo)
            own = {part: getattr(division, part).sums(manifests) for part in parts}
            return division, own, {part: getattr(division, part).digest(found) for part, found in own.items()}

        with at(name):
            divisions[name], sums[name], content[name] = memo.get(read, data_set, parts)
    published = {name: data_set.published_splits for name, data_set in data_sets.items()}
    memo.get(lambda: refuse_copies(divisions, sums, published), "copies", content, published)
    return SeenData(
        divisions=divisions,
        views={name: view(data_set, backbone, image_size) for name, data_set in data_sets.items()},
        balance={name: data_set.balance for name, data_set in data_sets.items()},
        content=content,
        image_size=image_size,
        remarks=memo.get(lambda: _remarks(divisions, sums), "remarks", content),
    )


def _remarks(divisions: Mapping[str, Division], sums: Mapping[str, Mapping[str, Sequence[str]]]) -> tuple[str, ...]:
    found = []
    for name, division in divisions.items():
        if division.test is not None:
            tested = set(division.test.labels_M.tolist())
            if missing := [each for label, each in enumerate(division.classes) if label not in tested]:
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                found.append(f"{name}: no test image is of {', '.join(missing[:3])}{more}")
        labels: dict[str, int] = {}
        known = zip(sums[name]["train"], division.train.labels_M.tolist(), strict=True)
        torn = [
            (i, labels[each], label) for i, (each, label) in enumerate(known) if labels.setdefault(each, label) != label
        ]
        if torn:
            i, first, other = torn[0]
            found.append(
                f"{name}: {len(torn)} training image{'s are' if len(torn) > 1 else ' is'} there under another class "
                f"too: {division.train.called(i)} is {division.classes[other]} and {division.classes[first]}"
            )
    return tuple(found)


def divided(data_set: DataSet, tested: bool, manifests: Path, memo: Memo) -> Division:
    """A data set's images by use.

    Raises:
        ConfigError: they cannot be had; the field is the data set's own.
    """
    return memo.get(lambda: data_set.divide(tested=tested, manifests=manifests), "division", data_set, tested)


def view(data_set: DataSet, backbone: Backbone, image_size: int) -> View:
    """How the model sees a data set: as published weights were trained to see, else at ImageNet's statistics."""
    mean, std, resize, interpolation = IMAGENET_MEAN, IMAGENET_STD, image_size, "bilinear"
    if backbone.published:
        own = backbone.published.transforms()
        mean, std, interpolation = tuple(own.mean), tuple(own.std), own.interpolation.value
        resize = round(image_size * own.resize_size[0] / own.crop_size[0])
    return View(
        size=image_size,
        resize=resize,
        interpolation=interpolation,
        mean=tuple(data_set.mean) if data_set.mean else mean,
        std=tuple(data_set.std) if data_set.std else std,
        augmentation=data_set.augmentations,
        strength=data_set.strength,
    )


def size_for(backbone: Backbone, data_sets: Mapping[str, DataSet]) -> int:
    """The one image size of all, in pixels.

    Raises:
        ConfigError: they ask for several.
    """
    own = backbone.published.transforms().crop_size[0] if backbone.published else 224
    sizes = {name: data_set.image_size or own for name, data_set in data_sets.items()}
    if len(set(sizes.values())) > 1:
        raise ConfigError(
            "source.image_size, target.image_size", f"they differ ({sizes}).", "Set image_size, which both follow."
        )
    return next(iter(sizes.values()))
