"""Test images that look nearly like one that may be learnt from, as runs left them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from tlfw.report.runs import Run

FOLDER = "near_copies"
"""Beside the folder of all runs."""

SCHEMA = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearCopy:
    """A test image and one that looks nearly like it.

    Attributes:
        tested, other: their names.
        part: which data set's which part the other is of.
        correlation: of small grey versions, at most 1.
        pictures: of both, PNGs in base64; empty where none were kept.
    """

    tested: str
    other: str
    part: str
    correlation: float
    pictures: tuple[str, ...] = ()


def near_copies(runs: Sequence[Run]) -> tuple[tuple[NearCopy, ...], list[str]]:
    """All that these runs name, each once, the likest first; and a sentence where a list cannot be read."""
    paths = {run.folder.parent.parent / FOLDER / f"{name}.json" for run in runs if (name := run.record.near_copies)}
    found: dict[tuple[str, str, str], NearCopy] = {}
    unread = []
    for path in sorted(paths):
        try:
            facts = json.loads(path.read_text())
            if facts["schema"] != SCHEMA:
                raise ValueError
            own = [
                NearCopy(
                    tested=str(each["test"]),
                    other=str(each["other"]),
                    part=str(each["part"]),
                    correlation=float(each["correlation"]),
                    pictures=tuple(map(str, each.get("thumbnails", ()))),
                )
                for each in facts["pairs"]
            ]
        except (OSError, ValueError, KeyError, TypeError):
            unread.append(path)
            continue
        for each in own:
            found.setdefault((each.tested, each.other, each.part), each)
    pairs = sorted(found.values(), key=lambda each: (-each.correlation, each.tested, each.other))
    said = [f"{FOLDER}/{path.name} cannot be read: near copies of test images are not shown." for path in unread]
    return tuple(pairs), said
