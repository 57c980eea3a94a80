"""A list of labelled images that can be opened one by one and named by content."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from tlfw.data.manifest import Facts, Manifest, Unread
from tlfw.data.pictures.decoding import LARGEST_IMAGE, open_image
from tlfw.data.pictures.fingerprint import exact, looks
from tlfw.data.pictures.picture import Picture, Range, Span
from tlfw.errors import ConfigError, first_three
from tlfw.escape import printable


class Images(Protocol):
    """Labelled images of one split.

    Attributes:
        labels_N: int64 `[N]`, each in `[0, len(classes))`.
        classes: the classes' names, in the order of their labels.
    """

    @property
    def labels_N(self) -> np.ndarray: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def open(self, index: int) -> Picture:
        """The image at `index`, upright."""
        ...

    def sums(self, indices: Sequence[int], manifests: Path | None) -> list[str]:
        """For each of the images at `indices` a name for its content: equal where their pixels are (`exact`).

        Images that are made, or too many to be opened, may have names of another kind, each its own.

        Args:
            manifests: a folder where what was found out about files may be kept; None: it is not kept.

        Raises:
            ConfigError: one of them cannot be read.
        """
        ...

    def looks(self, indices: Sequence[int], manifests: Path | None) -> list[str | None]:
        """What each of the images at `indices` looks like (`fingerprint.looks`); None where that says nothing."""
        ...

    def spans(self, indices: Sequence[int], manifests: Path | None) -> list[Span | None]:
        """What is known of the numbers of each of the images at `indices`; None where they are not looked at."""
        ...

    def called(self, index: int) -> str:
        """How a person finds the image at `index`."""
        ...


class ImageArray:
    """Images that are in memory, or are made when they are first needed.

    Args:
        pixels: uint8 `[N, H, W]` (grey) or `[N, H, W, 3]`, or what else `Picture.of` takes of each, or a function that
            returns them.
        labels_N: int64 `[N]`.
        classes: the classes' names.
        name: what makes these images, all of them different, if that names their content; otherwise
            their pixels do.
    """

    def __init__(
        self,
        pixels: np.ndarray | Callable[[], np.ndarray],
        labels_N: np.ndarray,
        classes: Sequence[str],
        name: str | None = None,
    ) -> None:
        self._given, self._name = pixels, name
        self.labels_N = labels_N.astype(np.int64)
        self.classes = tuple(classes)

    @property
    def is_named(self) -> bool:
        """Whether its content is known by what makes it, and not by its pixels."""
        return self._name is not None

    @cached_property
    def _pixels(self) -> np.ndarray:
        return self._given() if callable(self._given) else self._given

    def open(self, index: int) -> Picture:
        return Picture.of(self._pixels[index])

    def sums(self, indices: Sequence[int], manifests: Path | None) -> list[str]:
        if self._name is not None:
            return [f"{self._name}/{index}" for index in indices]
        return [exact(Picture.of(self._pixels[index])) for index in indices]

    def looks(self, indices: Sequence[int], manifests: Path | None) -> list[str | None]:
        if self._name is not None:
            return [None] * len(indices)
        return [looks(Picture.of(self._pixels[index]).shown()) for index in indices]

    def spans(self, indices: Sequence[int], manifests: Path | None) -> list[Span | None]:
        if self._name is not None:
            return [None] * len(indices)
        return [Picture.of(self._pixels[index]).span for index in indices]

    def called(self, index: int) -> str:
        return f"image {index}"


class Reading(NamedTuple):
    """How files are read.

    Attributes:
        largest: pixels that one may have.
        range: what is black and what is white in images of more than 8 bits. By `type` those cannot be read whose type
            does not say; otherwise 8 and 16 bits of one picture are not its copies.
    """

    largest: int = LARGEST_IMAGE
    range: Range | Literal["auto"] = "type"


AS_USUAL = Reading()


class ImageFiles:
    """Image files, named relative to `root`, with `/` between folders.

    Args:
        field: the setting that led here, for complaints.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        labels: Sequence[int],
        classes: Sequence[str],
        field: str = "root",
        reading: Reading = AS_USUAL,
    ) -> None:
        self.root, self.names, self.field, self.reading = root, tuple(names), field, reading
        self.labels_N = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)

    def open(self, index: int) -> Picture:
        return open_image(self.root / self.names[index], self.reading.largest)

    def called(self, index: int) -> str:
        return printable(str(self.root / self.names[index]))

    def unreadable(self, manifests: Path | None) -> dict[int, str]:
        """Index -> why, of the files that hold no image that Pillow can read.

        Args:
            manifests: a folder where what was found out about files may be kept; None: it is not kept.

        Raises:
            ConfigError: the file system does not let one be read, which says nothing about the image.
        """
        return self._why(self._facts(self.names, manifests))

    def without(self, indices: Collection[int]) -> ImageFiles:
        """The same but for some files."""
        left = [i for i in range(len(self.names)) if i not in indices]
        names, labels = [self.names[i] for i in left], self.labels_N[left].tolist()
        return ImageFiles(self.root, names, labels, self.classes, self.field, self.reading)

    def read_as(self, reading: Reading) -> ImageFiles:
        """The same files, read otherwise."""
        return ImageFiles(self.root, self.names, self.labels_N.tolist(), self.classes, self.field, reading)

    def sums(self, indices: Sequence[int], manifests: Path | None) -> list[str]:
        return self._named(self._readable(indices, manifests))

    def looks(self, indices: Sequence[int], manifests: Path | None) -> list[str | None]:
        return self._readable(indices, manifests).looks

    def spans(self, indices: Sequence[int], manifests: Path | None) -> list[Span | None]:
        return self._readable(indices, manifests).spans

    def known(self, manifests: Path | None) -> tuple[list[str], list[Span | None]]:
        """`sums` and `spans` of all, at one look."""
        facts = self._readable(range(len(self.names)), manifests)
        return self._named(facts), facts.spans

    def _named(self, facts: Facts) -> list[str]:
        """Where numbers are given to be black and white, 16 bits mean another picture than 8, and have another name."""
        if self.reading.range == "type" or all(kind.number == "uint8" for kind in facts.kinds):
            return facts.sums
        return [
            f"{each}/{span.kind}" if span is not None and span.wide else each
            for each, span in zip(facts.sums, facts.spans, strict=True)
        ]

    def _why(self, facts: Facts) -> dict[int, str]:
        """Place -> why, of files that cannot be read."""
        bad = facts.unreadable
        if self.reading.range == "type" and any(kind.number and kind.black is None for kind in facts.kinds):
            for place, span in enumerate(facts.spans):
                try:
                    if span is not None:
                        span.bounds("type")
                except ValueError as problem:
                    bad[place] = str(problem)
        return dict(sorted(bad.items()))

    def _readable(self, indices: Sequence[int], manifests: Path | None) -> Facts:
        names = [self.names[i] for i in indices]
        facts = self._facts(names, manifests)
        if bad := self._why(facts):
            raise self._complaint({names[place]: why for place, why in bad.items()})
        return facts

    def _facts(self, names: Sequence[str], manifests: Path | None) -> Facts:
        try:
            return Manifest(self.root, manifests, self.reading.largest).facts(names)
        except Unread as problem:
            raise self._complaint({problem.name: problem.why}) from problem

    def _complaint(self, bad: Mapping[str, str]) -> ConfigError:
        what = "the image" if len(bad) == 1 else f"{len(bad)} images"
        named = first_three([f"{self.root / name} ({why})" for name, why in bad.items()])
        remedy = "Repair or remove what cannot be read, or set skip_unreadable=true to leave it out."
        return ConfigError(self.field, f"{what} cannot be read: {named}.", remedy)
