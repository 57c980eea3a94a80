"""What lies in the store: entries, and beside each what is needed while it is made, and what processes left that died.

What belongs to an entry lies beside it and is hidden: `.KEY.WHAT`, or `.KEY.UNIQUE.WHAT` where each process has its
own. Versions of before had `.KEY.draft`, `.KEY.gone`, `.KEY.scratch` and `.KEY.lock`, which are still known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tlfw.store.disk import bytes_of, stat_of
from tlfw.store.seal import DONE

KEY = re.compile(r"[0-9a-f]{32}")
SHOWN = 12
"""Characters of a key that people see."""

WHAT = {
    "draft": "a draft, unfinished or being made",
    "gone": "half removed",
    "scratch": "checkpoints of what is unfinished or being made",
    "claim": "a claim of who makes it, or made it and died",
    "lock": "an empty lock of a version of before",
    "use": "a note of who uses it, or used it and died",
    "used": "when an entry was used that is gone",
}
"""What may lie beside an entry's place, for people."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of an entry without reading its files.

    Attributes:
        bytes: of all of its files.
        used: when it was last read or made, in seconds since 1970.
        made_by: what produced it, for people; empty where that cannot be read.
    """

    kind: str
    key: str
    bytes: int
    used: float
    made_by: Mapping[str, Any]

    @property
    def name(self) -> str:
        return name_of(self.kind, self.key)

    @classmethod
    def at(cls, folder: Path) -> Entry:
        """The entry in a folder, a damaged one too."""
        made_by: Any = None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            made_by = json.loads((folder / DONE).read_bytes())["made_by"]
        return cls(
            kind=folder.parent.name,
            key=folder.name,
            bytes=bytes_of(folder),
            used=used_at(folder),
            made_by=made_by if isinstance(made_by, dict) else {},
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leftover:
    """What lies hidden beside the place of an entry.

    Attributes:
        file: its name.
        what: `draft`: half an entry, never read. `gone`: half removed. `scratch`: checkpoints, from which
            the same command goes on. Others: see `WHAT`.
        needed: whether it is a scratch folder of an entry that does not exist yet.
        used: when something in it was last written, in seconds since 1970.
    """

    kind: str
    key: str
    file: str
    what: str
    bytes: int
    used: float
    needed: bool

    @classmethod
    def all_in(cls, folder: Path) -> Iterator[Leftover]:
        """All of one kind. A claim is a leftover where it is alone: else it goes with what it is of."""
        found: dict[str, list[Leftover]] = {}
        for path in sorted(folder.glob(".*")):
            key, _, rest = path.name[1:].partition(".")
            what = rest.rpartition(".")[2]
            there = (folder / key / DONE).exists()
            if not KEY.fullmatch(key) or what not in WHAT or (what == "used" and there):
                continue
            left = cls(
                kind=folder.name,
                key=key,
                file=path.name,
                what=what,
                bytes=bytes_of(path),
                used=written_at(path),
                needed=what == "scratch" and not there,
            )
            found.setdefault(key, []).append(left)
        for each in found.values():
            yield from [left for left in each if left.what != "claim"] or each


def name_of(kind: str, key: str) -> str:
    """What people call an entry."""
    return f"{kind}/{key[:SHOWN]}{'…' * (len(key) > SHOWN)}"


def beside(place: Path, what: str, own: str = "") -> Path:
    """What belongs to the entry at `place`.

    Args:
        own: which of several; empty: there is one.
    """
    return place.with_name(f".{place.name}.{own}{'.' * bool(own)}{what}")


def all_beside(place: Path, *what: str) -> list[Path]:
    """All that is there of these, also of versions of before."""
    return [path for path in place.parent.glob(f".{place.name}.*") if path.suffix[1:] in what]


def used_at(place: Path) -> float:
    """When an entry was last read or made: its own file says so, or for who may not write that, one beside it."""
    own = stat_of(place / DONE) or stat_of(place)
    return max((stat.st_mtime for stat in (own, stat_of(beside(place, "used"))) if stat), default=0.0)


def written_at(path: Path) -> float:
    """When something in a folder was last written."""
    return max((stat.st_mtime for each in (path, *path.rglob("*")) if (stat := stat_of(each))), default=0.0)
