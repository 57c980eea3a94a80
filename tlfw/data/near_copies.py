"""Test images that look nearly like one that may be learnt from: resized, encoded anew, mirrored.

They are shown, and nothing is refused or moved because of them: whether two photographs of one thing are two images is
for a person to say.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from tlfw.data.division import Division, Part
from tlfw.data.pictures.fingerprint import ALIKE, alike
from tlfw.identity.names import digest
from tlfw.records.record import replace_text

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

    def remark(self, divisions: Mapping[str, Division]) -> str:
        """What is to be said of it where images are divided so."""
        learnt = {f"{name}/train": set(division.train.indices.tolist()) for name, division in divisions.items()}
        val = divisions["target"].val.indices.tolist()
        if divisions["target"].own_val:
            learnt["target/val"] = set(val)
        else:
            learnt["target/train"] |= set(val)
        here = [p for p in self.pairs if int(self.others[p.part].indices[p.other]) in learnt[p.part]]
        shown = (here or self.pairs)[0]
        some, of_these = (len({pair.test for pair in pairs}) for pairs in (self.pairs, here))
        return (
            f"target: {some} of {len(self.test)} test images {'looks' if some == 1 else 'look'} nearly like one that "
            f"some draw learns from, {of_these or 'none'} like one of this draw, for example "
            f"{self.test.called(shown.test)} and {self.others[shown.part].called(shown.other)}"
        )

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
    image = _shown(part, i)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def near_copies(divisions: Mapping[str, Division], manifests: Path | None) -> NearCopies | None:
    """Those among all that any draw may learn from; None: there are none.

    Args:
        divisions: data set -> its images by use.
        manifests: as `find` has it.
    """
    target = divisions.get("target")
    if target is None or target.test is None:
        return None
    others = {"target/train": target.pool}
    if target.own_val:
        others["target/val"] = target.val
    if "source" in divisions:
        others["source/train"] = divisions["source"].pool
    found = find(target.test, others, manifests)
    return found if found.pairs else None


def find(test: Part, others: Mapping[str, Part], manifests: Path | None) -> NearCopies:
    """Look for near copies of test images in `others`, or remember what was found in the same images before.

    Images whose shorter side is below 16 px are not looked for, nor are those that are made by a program.

    Args:
        manifests: a folder where what was found may be kept; None: it is not kept.
    """
    name = digest([ALIKE, test.sums_M, [[part, each.sums_M] for part, each in others.items()]])
    book = manifests / f"near-{name}.json" if manifests else None
    try:
        known = json.loads(book.read_text()) if book else None
        pairs = tuple(Pair(*each) for each in known) if known is not None else None
    except (OSError, ValueError, TypeError):
        pairs = None
    if pairs is None:
        looks_T = _looks(test, manifests)
        if not any(looks_T):
            return NearCopies(test, others, ())
        places = [(part, i) for part, each in others.items() for i in range(len(each))]
        found = alike(
            looks_T,
            [each for part in others.values() for each in _looks(part, manifests)],
            lambda i: _shown(test, i),
            lambda j: _shown(others[places[j][0]], places[j][1]),
        )
        listed = [Pair(i, *places[j], correlation) for i, j, correlation in found]
        pairs = tuple(sorted(listed, key=lambda pair: (-pair.correlation, pair)))
        if book:
            with contextlib.suppress(OSError):  # a store that can only be read; it is found again then
                book.parent.mkdir(parents=True, exist_ok=True)
                replace_text(book, json.dumps(pairs))
    return NearCopies(test, others, pairs)


def _looks(part: Part, manifests: Path | None) -> list[str | None]:
    return part.images.looks(part.indices.tolist(), manifests)


def _shown(part: Part, i: int) -> Image.Image:
    return part.images.open(int(part.indices[i])).shown()
