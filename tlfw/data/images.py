"""A list of labelled images that can be opened one by one and named by content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL
from PIL import Image, ImageOps

from tlfw.errors import ConfigError
from tlfw.identity import digest
from tlfw.record import replace_text


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

    def open(self, index: int) -> Image.Image:
        """The image at `index` in RGB, upright."""
        ...

    def sums(self, indices: Sequence[int], manifests: Path) -> list[str]:
        """For each of the images at `indices` a name for its content, pixels or file: equal where they are copies.

        Args:
            manifests: a folder where what was found out about files may be kept.

        Raises:
            ConfigError: one of them cannot be read.
        """
        ...

    def called(self, index: int) -> str:
        """How a person finds the image at `index`."""
        ...


class ImageArray:
    """Images that are in memory, or are made when they are first needed.

    Args:
        pixels: uint8 `[N, H, W]` (grey) or `[N, H, W, 3]`, or a function that returns them.
        labels_N: int64 `[N]`.
        classes: the classes' names.
        name: what makes these images, all of them different, if that names their content; otherwise
            their bytes do.
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

    @cached_property
    def _pixels(self) -> np.ndarray:
        return self._given() if callable(self._given) else self._given

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self._pixels[index]).convert("RGB")

    def sums(self, indices: Sequence[int], manifests: Path) -> list[str]:
        if self._name is not None:
            return [f"{self._name}/{index}" for index in indices]
        return [hashlib.sha256(self._pixels[index].tobytes()).hexdigest() for index in indices]

    def called(self, index: int) -> str:
        return f"image {index}"


class ImageFiles:
    """Image files, named relative to `root`.

    Args:
        field: the setting that led here, for complaints.
        remedy: what a person can do about images that cannot be read.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        labels: Sequence[int],
        classes: Sequence[str],
        field: str = "root",
        remedy: str = "Repair or remove what cannot be read.",
    ) -> None:
        self.root, self.names, self.field, self.remedy = root, tuple(names), field, remedy
        self.labels_N = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)

    def open(self, index: int) -> Image.Image:
        return open_image(self.root / self.names[index])

    def called(self, index: int) -> str:
        return str(self.root / self.names[index])

    def unreadable(self, manifests: Path | None) -> dict[int, str]:
        """Index -> why, of the files that hold no image that Pillow can read.

        Args:
            manifests: a folder where what was found out about files may be kept; None: it is not kept.

        Raises:
            ConfigError: the file system does not let one be read, which says nothing about the image.
        """
        facts = self._facts(self.names, manifests)
        return {i: str(facts[name][3]) for i, name in enumerate(self.names) if facts[name][2] is None}

    def sums(self, indices: Sequence[int], manifests: Path) -> list[str]:
        """SHA-256 of files."""
        names = [self.names[i] for i in indices]
        facts = self._facts(names, manifests)
        if bad := {name: str(entry[3]) for name, entry in facts.items() if entry[2] is None}:
            raise self._complaint(bad)
        return [str(facts[name][2]) for name in names]

    def _facts(self, names: Sequence[str], manifests: Path | None) -> dict[str, list[Any]]:
        """[size, time, SHA-256] of files by name, or [size, time, None, why, Pillow's version] of an unreadable one.

        Each is read and decoded once, and again when it changes.
        """
        if manifests is None:
            return {name: [None, None, *self._look(name)] for name in names}
        book = manifests / f"{digest([str(self.root.resolve())])}.json"
        try:
            known = json.loads(book.read_text())
        except (OSError, ValueError):
            known = {}
        found: dict[str, list[Any]] = {}
        news = False
        for name in names:
            try:
                stat = os.stat(self.root / name)
            except OSError as problem:
                raise self._complaint({name: str(problem)}) from problem
            state = [stat.st_size, stat.st_mtime_ns]
            entry = known.get(name)
            # Another Pillow may read what this one does not.
            if entry is None or entry[:2] != state or (entry[2] is None and entry[4] != PIL.__version__):
                entry, news = [*state, *self._look(name)], True
            found[name] = entry
        if news:
            with contextlib.suppress(OSError):  # a store that can only be read; it is found out again then
                manifests.mkdir(parents=True, exist_ok=True)
                replace_text(book, json.dumps(known | found))
        return found

    def _look(self, name: str) -> list[str | None]:
        try:
            open_image(self.root / name)
            return [hashlib.sha256((self.root / name).read_bytes()).hexdigest()]
        except MemoryError:  # says nothing about the image
            raise
        except Exception as problem:  # Pillow raises many kinds for what it cannot read
            if isinstance(problem, OSError) and problem.errno is not None:
                raise self._complaint({name: str(problem)}) from problem
            return [None, str(problem) or type(problem).__name__, PIL.__version__]

    def _complaint(self, bad: Mapping[str, str]) -> ConfigError:
        what = "the image" if len(bad) == 1 else f"{len(bad)} images"
        named = first_three([f"{self.root / name} ({why})" for name, why in bad.items()])
        return ConfigError(self.field, f"{what} cannot be read: {named}.", self.remedy)


def first_three(names: Sequence[str]) -> str:
    """Up to three of `names`, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def open_image(path: Path) -> Image.Image:
    """The image in a file, as `as_seen`. Pillow raises many kinds of exceptions where it is none, or a damaged one."""
    with warnings.catch_warnings():
        # Pillow warns of odd metadata (EXIF, palette transparency) in images that it then reads well.
        warnings.simplefilter("ignore")
        with Image.open(path) as file:
            return as_seen(file)


def as_seen(image: Image.Image) -> Image.Image:
    """An image of any mode as people see it: upright and in RGB. What is so already stays as it is.

    Raises:
        ValueError: it cannot be known what is white in it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            raise ValueError("its pixels are floating-point numbers, of which nobody says what is white")
        if image.mode.startswith("I"):  # 16 bit: scaled, where conversion alone would clip to white
            image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
        return image.convert("RGB")
