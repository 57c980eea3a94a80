"""A list of labelled images that can be opened one by one and named by content."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from tlfw.data.pictures.decoding import LARGEST_IMAGE, open_image, reader
from tlfw.data.pictures.fingerprint import exact, looks
from tlfw.data.pictures.picture import Picture, Range, Span
from tlfw.errors import ConfigError, first_three
from tlfw.escape import printable
from tlfw.identity.names import digest
from tlfw.records.record import replace_text

MANIFEST = "pixels 2"
"""Raised whenever something else comes to be found out about a file."""

MANY = 10_000
"""Files that are looked at for the first time take so long from here on that it is said."""


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
        facts = self._facts(self.names, manifests)
        return {i: why for i, name in enumerate(self.names) if (why := self._why(facts[name])) is not None}

    def without(self, indices: Collection[int]) -> ImageFiles:
        """The same but for some files."""
        left = [i for i in range(len(self.names)) if i not in indices]
        names, labels = [self.names[i] for i in left], self.labels_N[left].tolist()
        return ImageFiles(self.root, names, labels, self.classes, self.field, self.reading)

    def read_as(self, reading: Reading) -> ImageFiles:
        """The same files, read otherwise."""
        return ImageFiles(self.root, self.names, self.labels_N.tolist(), self.classes, self.field, reading)

    def sums(self, indices: Sequence[int], manifests: Path | None) -> list[str]:
        facts = self._readable([self.names[i] for i in indices], manifests)
        return [self._sum(facts[self.names[i]]) for i in indices]

    def looks(self, indices: Sequence[int], manifests: Path | None) -> list[str | None]:
        facts = self._readable([self.names[i] for i in indices], manifests)
        return [facts[self.names[i]].looks for i in indices]

    def spans(self, indices: Sequence[int], manifests: Path | None) -> list[Span | None]:
        facts = self._readable([self.names[i] for i in indices], manifests)
        return [facts[self.names[i]].span for i in indices]

    def _sum(self, facts: _Facts) -> str:
        """Where numbers are given to be black and white, 16 bits mean another picture than 8, and have another name."""
        assert facts.span is not None
        kept = self.reading.range == "type" or not facts.span.wide
        return str(facts.sum) if kept else f"{facts.sum}/{facts.span.kind}"

    def _why(self, facts: _Facts) -> str | None:
        """Why a file cannot be read; None: it can."""
        if facts.span is None:
            return facts.why
        try:
            if self.reading.range == "type":
                facts.span.bounds("type")
        except ValueError as problem:
            return str(problem)
        return None

    def _readable(self, names: Sequence[str], manifests: Path | None) -> dict[str, _Facts]:
        facts = self._facts(names, manifests)
        if bad := {name: why for name in names if (why := self._why(facts[name])) is not None}:
            raise self._complaint(bad)
        return facts

    def _facts(self, names: Sequence[str], manifests: Path | None) -> dict[str, _Facts]:
        """What is known of files by name. Each is read and decoded once, and again when it changes."""
        if manifests is None:
            return {name: self._look(name, "") for name in names}
        book = manifests / f"{digest([str(self.root.resolve()), MANIFEST, self.reading.largest])}.json"
        try:
            known = {name: _Facts.of(*entry) for name, entry in json.loads(book.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            known = {}
        found: dict[str, _Facts] = {}
        news: list[tuple[str, str]] = []
        root, now = str(self.root), reader()
        for name in names:
            try:
                state = _state(os.stat(f"{root}/{name}"))
            except OSError as problem:
                raise self._complaint({name: str(problem)}) from problem
            entry = known.get(name)
            if entry is not None and entry.holds(state, now):
                found[name] = entry
            else:
                news.append((name, state))
        if len(news) >= MANY:
            print(f"{self.root}: {len(news):,} images are looked at for the first time", flush=True)
        found |= {name: self._look(name, state) for name, state in news}
        if news:
            with contextlib.suppress(OSError):  # a store that can only be read; it is found out again then
                manifests.mkdir(parents=True, exist_ok=True)
                replace_text(book, json.dumps(known | found))
        return found

    def _look(self, name: str, state: str) -> _Facts:
        try:
            picture = open_image(self.root / name, self.reading.largest)
            return _Facts(state, exact(picture), looks(picture.shown()), picture.span)
        except MemoryError:  # says nothing about the image
            raise
        except Exception as problem:  # Pillow raises many kinds for what it cannot read
            # Pillow asks for places that a cut file does not have, which the system calls invalid.
            if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):
                raise self._complaint({name: str(problem)}) from problem
            why = str(problem) or type(problem).__name__
            return _Facts(state, None, None, None, why, reader())

    def _complaint(self, bad: Mapping[str, str]) -> ConfigError:
        what = "the image" if len(bad) == 1 else f"{len(bad)} images"
        named = first_three([f"{self.root / name} ({why})" for name, why in bad.items()])
        remedy = "Repair or remove what cannot be read, or set skip_unreadable=true to leave it out."
        return ConfigError(self.field, f"{what} cannot be read: {named}.", remedy)


class _Facts(NamedTuple):
    """What is known of a file as it was (`_state`): of its pixels, or why it cannot be read by a `reader`."""

    state: str
    sum: str | None
    looks: str | None
    span: Span | None
    why: str = ""
    reader: str = ""

    @classmethod
    def of(cls, state: str, sum: str, looks: str, span: Sequence[Any] | None, *more: str) -> _Facts:
        """As it was written."""
        return cls(state, sum, looks, None if span is None else Span(*span), *more)

    def holds(self, state: str, reader: str) -> bool:
        """Whether this is still known of a file of that state: another reader may read more."""
        return self.state == state and (self.sum is not None or self.reader == reader)


def _state(stat: os.stat_result) -> str:
    """What tells whether a file may be another one than before.

    Archives and copying programs set a file's time as they like, and equal sizes are common; when a file's entry was
    changed last (its ctime) and which one it is (its inode) nobody sets.
    """
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
