"""Test images that look nearly like one that may be learnt from: resized, encoded anew, mirrored.

A perceptual hash proposes, pixels confirm. They are shown, and nothing is refused or moved because of them: whether
two photographs of one thing are two images is for a person to say.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlfw.data.division import Part
from tlfw.data.pictures.fingerprint import GREY, SMALLEST, grey, hashes
from tlfw.identity.names import digest
from tlfw.records.record import replace_text

DISTANCE = 8
"""Bits of 64 in which two hashes may differ at most. Copies of half the size or of JPEG quality 50 differ in 6."""

CORRELATION = 0.95
"""Of small grey versions, at least. Of such copies it is .96 or more at 32 px, and .98 or more at 64 px."""

NEAREST = 10
"""Images that are compared with one test image at the most, the nearest by hash."""

PICTURES, SIDE = 12, 64
"""How many pairs are kept with small pictures, of which side in pixels."""


class Pair(NamedTuple):
    """A test image and one that looks nearly like it.

    Attributes:
        test: position among the test images.
        part: which part the other is of.
        other: position in that part.
        correlation: of their small grey versions, the one or the other way round.
    """

    test: int
    part: str
    other: int
    correlation: float


@dataclasses.dataclass(frozen=True)
class NearCopies:
    """What was found.

    Attributes:
        others: what may be learnt from, by name of data set and part.
        pairs: by correlation, from the highest.
    """

    test: Part
    others: Mapping[str, Part]
    pairs: tuple[Pair, ...]

    @property
    def digest(self) -> str:
        """A name for what was found."""
        return digest(self._listed())

    def _listed(self) -> list[dict[str, Any]]:
        return [
            {
                "test": self.test.called(pair.test),
                "other": self.others[pair.part].called(pair.other),
                "part": pair.part,
                "correlation": pair.correlation,
            }
            for pair in self.pairs
        ]

    def write(self, folder: Path) -> Path:
        """Put `DIGEST.json` into `folder`, if it is not there.

        It holds `pairs`: each with the names `test` and `other`, the other's `part`, `correlation`; the first twelve
        with `thumbnails` of both too, PNGs of 64 px at the most in base64.
        """
        path = folder / f"{self.digest}.json"
        if not path.exists():
            listed = self._listed()
            for pair, facts in zip(self.pairs[:PICTURES], listed, strict=False):
                facts["thumbnails"] = [
                    _thumbnail(self.test, pair.test),
                    _thumbnail(self.others[pair.part], pair.other),
                ]
            folder.mkdir(parents=True, exist_ok=True)
            replace_text(path, json.dumps({"schema": 1, "pairs": listed}, indent=1) + "\n")
        return path


def _thumbnail(part: Part, i: int) -> str:
    image = part.images.open(int(part.indices[i])).shown()
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def find(test: Part, others: Mapping[str, Part], manifests: Path | None) -> NearCopies:
    """Look for near copies of test images in `others`, or remember what was found in the same images before.

    Images whose shorter side is below 16 px are not looked for, nor are those that are made by a program.

    Args:
        manifests: a folder where what was found may be kept; None: it is not kept.
    """
    made_by = [DISTANCE, CORRELATION, NEAREST, GREY, SMALLEST]
    name = digest([made_by, test.sums_M, [[part, each.sums_M] for part, each in others.items()]])
    book = manifests / f"near-{name}.json" if manifests else None
    try:
        known = json.loads(book.read_text()) if book else None
        pairs = tuple(Pair(*each) for each in known) if known is not None else None
    except (OSError, ValueError, TypeError):
        pairs = None
    if pairs is None:
        tested_T, hash_T2 = hashes(test.images.looks(test.indices.tolist(), manifests))
        if not len(tested_T):
            return NearCopies(test, others, ())
        found = _found(test, tested_T, hash_T2, others, manifests)
        pairs = tuple(sorted(found, key=lambda pair: (-pair.correlation, pair)))
        if book:
            with contextlib.suppress(OSError):  # a store that can only be read; it is found again then
                book.parent.mkdir(parents=True, exist_ok=True)
                replace_text(book, json.dumps(pairs))
    return NearCopies(test, others, pairs)


def _found(
    test: Part, tested_T: np.ndarray, hash_T2: np.ndarray, others: Mapping[str, Part], manifests: Path | None
) -> Iterator[Pair]:
    """Pairs of which the test image is one of the positions `tested_T`, whose hashes are uint64 `[T, 2]`."""
    places: list[tuple[str, int]] = []
    parts_2: list[np.ndarray] = []
    for name, part in others.items():
        positions_M, hash_M2 = hashes(part.images.looks(part.indices.tolist(), manifests))
        places += [(name, i) for i in positions_M.tolist()]
        parts_2.append(hash_M2)
    if not places:
        return
    hash_N = np.ascontiguousarray(np.concatenate(parts_2)[:, 0])
    seen: dict[tuple[str, int], np.ndarray] = {}
    for i, (upright, mirrored) in zip(tested_T.tolist(), hash_T2, strict=True):
        distance_N = np.minimum(np.bitwise_count(hash_N ^ upright), np.bitwise_count(hash_N ^ mirrored))
        near = np.flatnonzero(distance_N <= DISTANCE)
        if not len(near):
            continue
        small_HW = _grey(test, i)
        for j in near[np.argsort(distance_N[near], kind="stable")][:NEAREST].tolist():
            place = places[j]
            if place not in seen:
                seen[place] = _grey(others[place[0]], place[1])
            correlation = max(float((small_HW * seen[place]).sum()), float((small_HW[:, ::-1] * seen[place]).sum()))
            if correlation >= CORRELATION:
                yield Pair(i, place[0], place[1], round(min(correlation, 1.0), 4))


def _grey(part: Part, i: int) -> np.ndarray:
    return grey(part.images.open(int(part.indices[i])).shown())
