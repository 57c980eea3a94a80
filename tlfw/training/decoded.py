"""Images are decoded and resized once: each part of a data set lies in the store, for all processes, jobs and seeds.

What is stored is what `Preprocessing.pixels` makes of an image, so that a batch of it is what decoding would give. A
part that does not fit is decoded whenever it is asked for, with the same numbers. Test images may be stored at any
time: no model sees them here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from tlfw.data.division import Part
from tlfw.data.mixture import Pixels, image_loader
from tlfw.data.pictures.view import View
from tlfw.errors import ConfigError
from tlfw.identity.names import digest
from tlfw.limits import cores
from tlfw.store import Store, size
from tlfw.training.progress import counting

KIND = "pixels"
REVISION = 1
"""Raised whenever the same settings come to give other pixels."""

IN_MEMORY_BYTES = 2**30
"""Of a part that is kept by this process where the store takes nothing."""

CHUNK = 64
"""Images that a process decodes at a time."""

ALONE_SECONDS = 0.5
"""Work that takes no longer is done before other processes have begun."""


class Kept:
    """The decoded images of a part in the store: uint8 `[N, 3, size, size]`, read from the disk as they are needed.

    Args:
        content: the part's digest.
        numerics: what a plan says that pixels depend on besides: versions of what decodes and resizes.
        title: for people who wait for it.
        most_bytes: that all decoded images in the store may take; None: half of what is free on its disk.
    """

    def __init__(
        self,
        store: Store,
        part: Part,
        view: View,
        content: str,
        numerics: Mapping[str, Any],
        title: str,
        most_bytes: int | None = None,
    ) -> None:
        self.store, self.part, self.view, self.title, self.most_bytes = store, part, view, title, most_bytes
        versions = {name: numerics[name] for name in ("torch", "torchvision", "decoders")}
        self.key = digest(["pixels", REVISION, content, view.of_pixels, versions])
        self.bytes = len(part) * 3 * view.size**2

    def find(self) -> np.ndarray | None:
        """What is there; None: nothing."""
        folder = self.store.find(KIND, self.key)
        return None if folder is None else _read(folder)

    def get(self) -> np.ndarray | None:
        """What is there, or is decoded now; None: it is to be decoded each time, which is said."""
        for _ in range(3):  # another process may make room between two lines
            if (found := self.find()) is not None:
                return found
            if self._too_large():
                return self._otherwise("they do not fit beside what others use")
            try:
                folder, _ = self.store.get_or_make(KIND, self.key, self._make, about=self._about())
                return _read(folder)
            except ConfigError as problem:  # a store that can only be read, or is full
                return self._otherwise(problem.problem.rstrip("."))
            except FileNotFoundError:
                continue
        return self._otherwise("others take them away")

    def _too_large(self) -> bool:
        """Whether there is no room, also after the least recently used have gone."""
        most = self.store.free_bytes() // 2 if self.most_bytes is None else self.most_bytes
        gone = self.store.make_room(KIND, self.bytes, most, grows=self.most_bytes is None)
        if gone:
            freed = size(sum(entry.bytes for entry in gone))
            print(f"  {len(gone)} decoded parts that were not used lately left the store: {freed}", flush=True)
        return gone is None

    def _otherwise(self, why: str) -> np.ndarray | None:
        kept = self.bytes <= IN_MEMORY_BYTES
        how = "are kept in memory" if kept else "are decoded each time"
        print(
            f"  {self.title}: {len(self.part)} images ({size(self.bytes)}) {how}, not in the store: {why}", flush=True
        )
        return _decoded(self.part, self.view, self.title) if kept else None

    def _make(self, draft: Path) -> None:
        shape = (len(self.part), 3, self.view.size, self.view.size)
        into = np.lib.format.open_memmap(draft / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
        _decode(self.part, self.view, self.title, into)
        into.flush()

    def _about(self) -> dict[str, Any]:
        return {"images": self.title, "size": self.view.size}


def _read(folder: Path) -> np.ndarray:
    return np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)


def _decoded(part: Part, view: View, title: str) -> np.ndarray:
    into = np.empty((len(part), 3, view.size, view.size), dtype=np.uint8)
    _decode(part, view, title, into)
    return into


class _Chunks(Dataset):
    """Item `i` is the `i`-th chunk of the part: uint8 `[n, 3, size, size]`."""

    heavy = True

    def __init__(self, part: Part, view: View) -> None:
        self.pixels = Pixels(part, view)

    def __len__(self) -> int:
        return -(-len(self.pixels.part) // CHUNK)

    def __getitem__(self, i: int) -> Tensor:
        return self.pixels.decode(range(i * CHUNK, min((i + 1) * CHUNK, len(self.pixels.part))))


def _decode(part: Part, view: View, title: str, into: np.ndarray) -> None:
    """Decode all images of a part: the first in this process, the rest by processes on all cores."""
    chunks, began, done = _Chunks(part, view), time.monotonic(), 0
    with counting(f"{title}: decoding", len(part)) as advance:

        def take(i: int, x_BCHW: Tensor) -> None:
            into[i * CHUNK : i * CHUNK + len(x_BCHW)] = x_BCHW.numpy()
            advance(len(x_BCHW))

        while done < len(chunks) and time.monotonic() - began < ALONE_SECONDS:
            take(done, chunks[done])
            done += 1
        rest = range(done, len(chunks))
        workers = cores() if len(rest) > 1 and cores() > 1 else 0
        for i, x_BCHW in zip(rest, image_loader(chunks, workers, rest) if rest else (), strict=True):
            take(i, x_BCHW)
