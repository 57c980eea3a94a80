"""The data of an experiment: what each image is for, how a model sees it, and a name for its content."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.input_spec import InputSpec
from tlfw.data import DataSet, Division, ImageArray, View
from tlfw.data.copies import Copies, pairs
from tlfw.data.division import Part, divide
from tlfw.data.near_copies import NearCopies, find
from tlfw.data.pictures.picture import Range
from tlfw.data.pictures.preprocessing import asked_range, colour, oddities, range_in
from tlfw.data.rows import Stock
from tlfw.data.sets import Balance
from tlfw.errors import ConfigError, at
from tlfw.identity.names import canonical, digest, is_of_tlfw

UNEQUAL = 3
"""How many times the images of the smallest class the largest may have before it is said."""

FEWEST_VALIDATING = 5
"""Images of a class below which validation chooses settings by luck."""

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
        asked: data set -> the same as it was asked for: without what was found in a draw's images.
        balance: data set -> how its unequal classes are made equal in training.
        content: data set -> part -> digest.
        image_size: pixels.
        remarks: what is odd about the images, and no error: sentences.
        near: test images that look nearly like one that may be learnt from; None: there are none.
    """

    divisions: Mapping[str, Division]
    views: Mapping[str, View]
    asked: Mapping[str, object]
    balance: Mapping[str, Balance]
    content: Mapping[str, Mapping[str, str]]
    image_size: int
    remarks: tuple[str, ...]
    near: NearCopies | None

    @property
    def tested_on(self) -> str:
        """A name for the content of the test images, by which runs that can be compared are known."""
        return self.content["target"]["test"]

    @property
    def sizes(self) -> dict[str, int]:
        """Data set -> its training images."""
        return {name: len(division.train) for name, division in self.divisions.items()}

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
    pool: str


def look(backbone: Backbone, data_sets: Mapping[str, DataSet], copies: Copies, manifests: Path, memo: Memo) -> SeenData:
    """Read, divide and name the images of `data_sets`.

    Args:
        copies: what is done with copies across given parts.

    Raises:
        ConfigError: they cannot be had, or one that judges the model is also one that it learns from.
    """
    image_size = size_for(backbone, data_sets)
    found = _divided(data_sets, copies, manifests, memo)
    divisions = {name: known.division for name, known in found.items()}
    ranges = {name: _range(name, data_set, divisions[name]) for name, data_set in data_sets.items()}

    def remark() -> tuple[tuple[str, ...], NearCopies | None]:
        published = {name: data_set.published_splits for name, data_set in data_sets.items()}
        copied = _copied(divisions, published, copies)
        near = _near(found, manifests, memo)
        numbers = [remark for name in found for remark in _of_numbers(name, found[name], data_sets[name], ranges[name])]
        return (*_remarks(divisions, copied, near), *numbers), near

    remarks, near = memo.get(remark, "remarks", data_sets, copies)
    return SeenData(
        divisions=divisions,
        views={name: view(data_set, backbone, image_size, range=ranges[name]) for name, data_set in data_sets.items()},
        asked={
            name: [view(data_set, backbone, image_size), asked_range(data_set.range)]
            for name, data_set in data_sets.items()
        },
        balance={name: data_set.balance for name, data_set in data_sets.items()},
        content={name: known.content for name, known in found.items()},
        image_size=image_size,
        remarks=(*remarks, *_of_size(backbone, image_size)),
        near=near,
    )


def divided(data_sets: Mapping[str, DataSet], copies: Copies, manifests: Path, memo: Memo) -> Mapping[str, Division]:
    """The images of data sets by use, as they are where all of these are in one experiment.

    Raises:
        ConfigError: they cannot be had.
    """
    return {name: known.division for name, known in _divided(data_sets, copies, manifests, memo).items()}


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
            return _Known(stocks[name], division, content, digest(division.pool.sums_M))

        with at(name):
            found[name] = memo.get(
                cut, "division", name, data_set, copies, data_sets[beside].undrawn if beside else None
            )
    return found


def _content(part: Part, data_set: DataSet) -> str:
    """A name for the content of a part, by its pixels; where the code of somebody else names images, also by that."""
    images = part.images
    codes = [] if is_of_tlfw(type(images)) else [canonical(type(images))]
    if isinstance(images, ImageArray) and images.is_named and not is_of_tlfw(type(data_set)):
        codes.append(canonical(type(data_set)))
    return digest([part.digest(), codes]) if codes else part.digest()


def _copied(divisions: Mapping[str, Division], published: Mapping[str, bool], copies: Copies) -> list[str]:
    """What is to be said of images that judge a model and are also among those that it learns from.

    Raises:
        ConfigError: there are some, and they are not accepted.
    """
    parts = {name: division.parts for name, division in divisions.items()}
    sums = {name: {part: images.sums_M for part, images in own.items()} for name, own in parts.items()}
    found = list(pairs(sums, published))
    if not found:
        return []
    (name, part), i, (other, other_part), j = found[0]
    what = (
        f"{parts[name][part].called(i)}, which is for {part}, is the same image as "
        f"{parts[other][other_part].called(j)}, which {other} has for {other_part}"
    )
    if copies == "accept":
        return [f"{name}: {len(found)} images that judge the model are also learnt from (copies=accept): {what}"]
    raise ConfigError(
        name,
        f"{what}; there are {len(found)} such pairs.",
        "Remove one of each, for a model is not judged by what it learns from; or set copies=leave_out, which leaves "
        "them out of what is learnt from, or copies=accept.",
    )


def _range(name: str, data_set: DataSet, division: Division) -> Range:
    """What is black and what is white; with `auto`, by the images for training alone."""
    asked = asked_range(data_set.range)
    if asked != "auto":
        return asked
    with at(name):
        return range_in([span for span in division.train.spans_M if span is not None])


def _of_numbers(name: str, known: _Known, data_set: DataSet, range: Range) -> Iterator[str]:
    """What is odd about the numbers that the files of a data set hold."""
    spanned = known.stock.spanned()
    yield from (f"{name}: {oddity}" for oddity in oddities(spanned, range))
    if data_set.range == "auto" and range != "type":
        yield f"{name}: range=auto is [{range[0]:g}, {range[1]:g}], by its images for training"
    elif data_set.range != "type" and not any(span.wide for _, span in spanned):
        yield f"{name}: range={data_set.range} changes nothing, for none of its images has more than 8 bits"


def _of_size(backbone: Backbone, image_size: int) -> Iterator[str]:
    """Whether the network reduces images further than they have pixels."""
    single, convolutions = backbone.single_pixels(image_size)
    if single:
        yield (
            f"image_size={image_size} is too small for {backbone.name}: {single} of its {convolutions} convolutions "
            "that look at neighbours get maps of 1 x 1 pixel"
        )


def _near(found: Mapping[str, _Known], manifests: Path, memo: Memo) -> NearCopies | None:
    """Test images that look nearly like others, of all that any draw may learn from."""
    target = found["target"].division if "target" in found else None
    if target is None or target.test is None:
        return None
    others = {"target/train": target.pool}
    if target.own_val:
        others["target/val"] = target.val
    if "source" in found:
        others["source/train"] = found["source"].division.pool
    content = found["target"].content
    own_val = content["val"] if target.own_val else None
    found_pools = {name: known.pool for name, known in found.items()}
    test = target.test
    near = memo.get(lambda: find(test, others, manifests), "near", content["test"], own_val, found_pools)
    return near if near.pairs else None


def _remarks(divisions: Mapping[str, Division], copied: Sequence[str], near: NearCopies | None) -> Iterator[str]:
    for name, division in divisions.items():
        yield from (f"{name}: {remark}" for remark in division.remarks)
    yield from copied
    if near is not None:
        yield _near_remark(near, divisions)
    if "target" in divisions:
        yield from (f"target: {remark}" for remark in _of_classes(divisions["target"]))


def _near_remark(near: NearCopies, divisions: Mapping[str, Division]) -> str:
    learnt = {f"{name}/train": set(division.train.indices.tolist()) for name, division in divisions.items()}
    val = divisions["target"].val.indices.tolist()
    if divisions["target"].own_val:
        learnt["target/val"] = set(val)
    else:
        learnt["target/train"] |= set(val)
    here = [p for p in near.pairs if int(near.others[p.part].indices[p.other]) in learnt[p.part]]
    shown = (here or near.pairs)[0]
    some, of_these = (len({pair.test for pair in pairs}) for pairs in (near.pairs, here))
    return (
        f"target: {some} of {len(near.test)} test images {'looks' if some == 1 else 'look'} nearly like one that some "
        f"draw learns from, {of_these or 'none'} like one of this draw, for example "
        f"{near.test.called(shown.test)} and {near.others[shown.part].called(shown.other)}"
    )


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
        background=colour(data_set.background),
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
