"""The data of an experiment: what each image is for, how a model sees it, and a name for its content."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.input_spec import InputSpec
from tlfw.data.copies import Copies
from tlfw.data.division import Division, Part, divide
from tlfw.data.images import ImageArray
from tlfw.data.near_copies import NearCopies, near_copies
from tlfw.data.overlap import overlap
from tlfw.data.pictures.picture import Range
from tlfw.data.pictures.preprocessing import numbers
from tlfw.data.pictures.view import View
from tlfw.data.rows import Stock
from tlfw.data.sets import Balance, DataSet
from tlfw.errors import ConfigError, at
from tlfw.identity.names import digest, is_of_tlfw
from tlfw.numerics.hardware import Machine
from tlfw.store.facts import Facts

UNEQUAL = 3
"""How many times the images of the smallest class the largest may have before it is said."""

FEWEST_VALIDATING = 5
"""Images of a class below which validation chooses settings by luck."""

T = TypeVar("T")


class Memo:
    """What was found out for one job of a sweep and holds for the next, as long as files stay as they are.

    Args:
        machine: what the jobs are computed on; None: what this process is on.
        waits: whether what the store is to keep waits until all jobs are known to work.
    """

    def __init__(self, machine: Machine | None = None, *, waits: bool = False) -> None:
        self.machine, self._waits = machine, waits
        self._found: dict[str, Any] = {}
        self._facts: list[Facts] = []

    def settle(self, facts: Facts) -> None:
        """A job can work: what was found out for it may be kept."""
        self._facts.append(facts)
        if not self._waits:
            self.keep()

    def keep(self) -> None:
        """Let the store keep what was found out."""
        for each in self._facts:
            each.keep()
        self._facts.clear()

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
        asked: data set -> the same as it was asked for: without what was found in a draw's images.
        balance: data set -> how its unequal classes are made equal in training.
        content: data set -> part -> digest.
        image_size: pixels.
        remarks: what is odd about the images, and no error: sentences.
        near: test images that look nearly like one that may be learnt from; None: there are none.
        beside: as `divisions`, of data sets that it does not train on, but what its budget is matched to does.
    """

    divisions: Mapping[str, Division]
    views: Mapping[str, View]
    asked: Mapping[str, object]
    balance: Mapping[str, Balance]
    content: Mapping[str, Mapping[str, str]]
    image_size: int
    remarks: tuple[str, ...]
    near: NearCopies | None
    beside: Mapping[str, Division]

    @property
    def tested_on(self) -> str:
        """A name for the content of the test images, by which runs that can be compared are known."""
        return self.content["target"]["test"]

    @property
    def sizes(self) -> dict[str, int]:
        """Data set, also beside those that it trains on -> its training images."""
        return {name: len(division.train) for name, division in (*self.divisions.items(), *self.beside.items())}

    @property
    def classes(self) -> dict[str, int]:
        """Data set, also beside those that it trains on -> how many classes it has."""
        return {name: len(division.classes) for name, division in (*self.divisions.items(), *self.beside.items())}

    @property
    def drawn(self) -> float | None:
        """The share of the target's pool that is labelled (`Division.drawn`)."""
        return self.divisions["target"].drawn if "target" in self.divisions else None

    @property
    def grouping(self) -> str | None:
        """A name for what the test images belong together with; None: nothing is known."""
        test = self.divisions["target"].test if "target" in self.divisions else None
        return None if test is None or test.groups_M is None else digest(test.groups_M)


@dataclasses.dataclass(frozen=True)
class _Known:
    """A stock, its division, and names for what is in its parts."""

    stock: Stock
    division: Division
    content: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What is known of all images together."""

    ranges: Mapping[str, Range]
    remarks: tuple[str, ...]
    near: NearCopies | None


def look(
    backbone: Backbone,
    data_sets: Mapping[str, DataSet],
    copies: Copies,
    manifests: Path,
    memo: Memo,
    beside: Mapping[str, DataSet] | None = None,
) -> SeenData:
    """Read, divide and name the images of `data_sets`.

    Args:
        copies: what is done with copies across given parts.
        beside: other data sets, of which only sizes are needed; None: none.

    Raises:
        ConfigError: they cannot be had, or one that judges the model is also one that it learns from.
    """
    image_size = size_for(backbone, data_sets)
    found = _divided(data_sets, copies, manifests, memo)
    facts = memo.get(lambda: _facts(found, data_sets, copies, manifests, memo), "facts", data_sets, copies)
    return SeenData(
        divisions={name: known.division for name, known in found.items()},
        views={name: view(each, backbone, image_size, facts.ranges[name]) for name, each in data_sets.items()},
        asked={name: [view(each, backbone, image_size), each.asked_range] for name, each in data_sets.items()},
        balance={name: data_set.balance for name, data_set in data_sets.items()},
        content={name: known.content for name, known in found.items()},
        image_size=image_size,
        remarks=facts.remarks,
        near=facts.near,
        beside={
            name: _beside(name, {**data_sets, name: each}, copies, manifests, memo)
            for name, each in (beside or {}).items()
        },
    )


def _beside(name: str, data_sets: Mapping[str, DataSet], copies: Copies, manifests: Path, memo: Memo) -> Division:
    """A data set that a run does not train on, but what it is matched to does, beside those that it trains on."""
    try:
        return _divided(data_sets, copies, manifests, memo)[name].division
    except ConfigError as problem:
        raise ConfigError(
            "match_budget",
            f"the run that all are made equal to trains on the {name}: {problem.problem.rstrip('.')}.",
            f"Choose data@{name}, or match_budget=epochs, or pretrain.budget=0epochs.",
        ) from problem


def _facts(
    found: Mapping[str, _Known], data_sets: Mapping[str, DataSet], copies: Copies, manifests: Path, memo: Memo
) -> _Facts:
    divisions = {name: known.division for name, known in found.items()}
    held = {}
    for name, data_set in data_sets.items():
        with at(name):
            held[name] = numbers(data_set.asked_range, divisions[name].train.spans_M, found[name].stock.spanned())
    copied = overlap(divisions, {name: data_set.published_splits for name, data_set in data_sets.items()}, copies)
    # All draws that have these in common are compared in the same images.
    alike = {
        name: [
            data_sets[name].undrawn,
            known.content.get("test"),
            known.content["val"] if known.division.own_val else None,
        ]
        for name, known in found.items()
    }
    near = memo.get(lambda: near_copies(divisions, manifests), "near", alike, copies)
    return _Facts(
        ranges={name: each.range for name, each in held.items()},
        remarks=(
            *(f"{name}: {remark}" for name, division in divisions.items() for remark in division.remarks),
            *copied,
            *([near.remark(divisions)] if near else []),
            *(f"target: {remark}" for remark in (_of_classes(divisions["target"]) if "target" in divisions else [])),
            *(f"{name}: {remark}" for name, each in held.items() for remark in each.remarks),
        ),
        near=near,
    )


def _divided(data_sets: Mapping[str, DataSet], copies: Copies, manifests: Path, memo: Memo) -> dict[str, _Known]:
    # All draws of a data set have its images in common.
    stocks = {}
    for name, data_set in data_sets.items():
        tested = name == "target"
        look_at = functools.partial(data_set.stock, tested=tested, manifests=manifests)
        with at(name):
            stocks[name] = memo.get(look_at, "stock", data_set.undrawn, tested)
    found = {}
    for name, data_set in data_sets.items():
        # What the target has in any part, so that the source is the same for every draw of the target.
        beside = "target" if name == "source" and copies == "leave_out" and "target" in stocks else None

        def cut(name: str = name, data_set: DataSet = data_set, beside: str | None = beside) -> _Known:
            division = divide(
                stocks[name],
                data_set.draw,
                tested=name == "target",
                published=data_set.published_splits,
                copies=copies,
                others=stocks[beside].content if beside else (),
            )
            content = {part: _content(images, data_set) for part, images in division.parts.items()}
            return _Known(stocks[name], division, content)

        with at(name):
            found[name] = memo.get(
                cut, "division", name, data_set, copies, data_sets[beside].undrawn if beside else None
            )
    return found


def _content(part: Part, data_set: DataSet) -> str:
    """A name for the content of a part, by its pixels; where the code of somebody else names images, also by that."""
    images = part.images
    codes: list[type] = [] if is_of_tlfw(type(images)) else [type(images)]
    if isinstance(images, ImageArray) and images.is_named and not is_of_tlfw(type(data_set)):
        codes.append(type(data_set))
    return digest([part.digest(), codes]) if codes else part.digest()


def _of_classes(division: Division) -> Iterator[str]:
    """What is odd about the sizes of the target's classes."""
    classes = len(division.classes)
    counts = {part: np.bincount(images.labels_M, minlength=classes) for part, images in division.parts.items()}
    train_K, val_K = counts["train"], counts["val"]
    if train_K.max() > UNEQUAL * train_K.min():
        few, many = int(train_K.argmin()), int(train_K.argmax())
        yield (
            f"its classes are unequal, {train_K[many]} images of {division.classes[many]} for training and "
            f"{train_K[few]} of {division.classes[few]}: metric=balanced_accuracy counts every class the same, "
            "target.balance=loss or sampling trains them so"
        )
    if val_K.min() < FEWEST_VALIDATING:
        few = int(val_K.argmin())
        yield (
            f"{int((val_K < FEWEST_VALIDATING).sum())} of {classes} classes have fewer than {FEWEST_VALIDATING} images "
            f"for validation, “{division.classes[few]}” has {val_K[few]}: they choose settings by luck"
        )
    if "test" in counts and (missing := [division.classes[label] for label in np.flatnonzero(counts["test"] == 0)]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        yield f"no test image is of {', '.join(missing[:3])}{more}"


def view(data_set: DataSet, backbone: Backbone, image_size: int, range: Range = "type") -> View:
    """How the model sees a data set: as its first weights were trained to see, else at ImageNet's statistics.

    Args:
        range: what is black and what is white in images of more than 8 bits.
    """
    with at("backbone"):
        own = backbone.input_spec or InputSpec(size=image_size, resize=image_size)
    return View(
        size=image_size,
        resize=round(image_size * own.resize / own.size),
        interpolation=own.interpolation,
        range=range,
        background=data_set.backdrop,
        mean=tuple(data_set.mean) if data_set.mean else own.mean,
        std=tuple(data_set.std) if data_set.std else own.std,
        augmentation=data_set.augmentations,
        strength=data_set.strength,
    )


def size_for(backbone: Backbone, data_sets: Mapping[str, DataSet]) -> int:
    """The one image size of all, in pixels.

    Raises:
        ConfigError: they ask for several.
    """
    with at("backbone"):
        spec = backbone.input_spec
    own = spec.size if spec else 224
    sizes = {name: data_set.image_size or own for name, data_set in data_sets.items()}
    if len(set(sizes.values())) > 1:
        raise ConfigError(
            "source.image_size, target.image_size", f"they differ ({sizes}).", "Set image_size, which both follow."
        )
    return next(iter(sizes.values()))
