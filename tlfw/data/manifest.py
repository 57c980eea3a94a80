"""What is known of image files: found out once by all cores, and kept in one file of arrays for each folder.

A file is looked at again when it changes. What is known of a content holds in every folder: a copy, or what was moved,
is read and not decoded.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tlfw.data.pictures.decoding import BY_ENDING, content_of, picture_in, reader
from tlfw.data.pictures.fingerprint import exact, looks
from tlfw.data.pictures.picture import Span
from tlfw.identity.names import digest
from tlfw.limits import cores
from tlfw.records.record import replacing
from tlfw.signals import Interrupted, asked, heeded_by_loader

VERSION = "pixels 3"
"""Raised whenever something else comes to be found out about a file."""

MANY = 10_000
"""Files that are looked at for the first time take so long from here on that it is said."""

SAID_SECONDS = 10.0
"""How often it is said how many of many are looked at."""

SHARED = 1_000
"""Files from which on processes that look at them gain more than their start takes."""

AT_ONCE = 32
"""Files that a process looks at before it says what it found."""

ROW = np.dtype(
    [
        ("state", "<i8", 4),
        ("content", "u1", 16),
        ("sum", "u1", 32),
        ("looks", "u1", 16),
        ("low", "<f8"),
        ("high", "<f8"),
        ("kind", "<i4"),
    ]
)
"""What is known of one file; `kind` is a place in a list of `Kind`."""


class Kind(NamedTuple):
    """What is known of a file and is the same for most: a `Span` without its numbers, or why there is no image.

    Attributes:
        number: the kind of number; empty: the file cannot be read.
        looks: whether there is something that it looks like.
        why: it cannot be read, by the `reader`.
    """

    number: str
    black: float | None = None
    white: float | None = None
    several: bool = False
    lost: bool = False
    looks: bool = False
    why: str = ""
    reader: str = ""


class Look(NamedTuple):
    """What was found in one file: the name of its bytes, and all else if that name was not known.

    Attributes:
        failed: what the file system said, which is nothing about the image.
    """

    content: bytes = bytes(16)
    kind: Kind | None = None
    sum: bytes = bytes(32)
    looks: bytes = bytes(16)
    low: float = 0.0
    high: float = 0.0
    failed: str = ""


class Unread(Exception):
    """The file system does not let a file be read.

    Args:
        name: of the file.
        why: what it said.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why


class Facts:
    """What is known of some files, in their order.

    Attributes:
        rows_N: `ROW` `[N]`.
        kinds: what `kind` is a place in.
    """

    def __init__(self, rows_N: np.ndarray, kinds: Sequence[Kind]) -> None:
        self.rows_N, self.kinds = rows_N, tuple(kinds)

    @functools.cached_property
    def sums(self) -> list[str]:
        """The name of each one's pixels (`fingerprint.exact`); of no meaning where there are none."""
        return _hexadecimal(self.rows_N["sum"])

    @functools.cached_property
    def looks(self) -> list[str | None]:
        """What each looks like (`fingerprint.looks`)."""
        known = [kind.looks for kind in self.kinds]
        found = _hexadecimal(self.rows_N["looks"])
        return [text if known[kind] else None for text, kind in zip(found, self.rows_N["kind"].tolist(), strict=True)]

    @functools.cached_property
    def spans(self) -> list[Span | None]:
        """What is known of each one's numbers, one object for all that are equal; None where it cannot be read."""
        found: dict[tuple[float, float, int], Span | None] = {}
        columns = (self.rows_N[name].tolist() for name in ("low", "high", "kind"))
        return [
            found[each] if each in found else found.setdefault(each, _span(self.kinds[each[2]], each[0], each[1]))
            for each in zip(*columns, strict=True)
        ]

    @property
    def unreadable(self) -> dict[int, str]:
        """Place -> why, of files that hold no image that can be read."""
        without = [place for place, kind in enumerate(self.kinds) if not kind.number]
        places = np.flatnonzero(np.isin(self.rows_N["kind"], without)).tolist()
        return {place: self.kinds[self.rows_N["kind"][place]].why for place in places}

    def holds(self, reader: str) -> np.ndarray:
        """Of which this is still known, bool `[N]`: another reader may read more."""
        stays = np.asarray([bool(kind.number) or kind.reader == reader for kind in self.kinds], dtype=bool)
        return stays[self.rows_N["kind"]] if len(self.kinds) else np.zeros(len(self.rows_N), dtype=bool)


NOTHING = Facts(np.zeros(0, ROW), ())


class Manifest:
    """What is known of the files below a folder.

    Args:
        root: the folder.
        folder: where manifests are kept; None: they are not.
        largest: pixels that an image may have.
    """

    def __init__(self, root: Path, folder: Path | None, largest: int) -> None:
        self.root, self.folder, self.largest = root, folder, largest
        self._suffix = f".{digest([VERSION, largest])[:12]}.npz"

    def facts(self, names: Sequence[str]) -> Facts:
        """What is known of files by name. Each is read and decoded once, and again when it changes.

        Raises:
            Unread: one cannot be read.
        """
        states_N4 = _states(self.root, names)
        book = self.folder / f"{digest(str(self.root.resolve()))}{self._suffix}" if self.folder else None
        there, known = _read(book) if book else ([], NOTHING)
        place = {name: i for i, name in enumerate(there)}
        at_N = np.fromiter((place.get(name, -1) for name in names), np.int64, len(names))
        if there:
            same_N = (known.rows_N["state"][at_N] == states_N4).all(axis=1) & known.holds(reader())[at_N]
            at_N[~same_N] = -1
        rows_N, kinds = np.zeros(len(names), ROW), [*known.kinds]
        rows_N["kind"] = -1  # not known
        rows_N[at_N >= 0] = known.rows_N[at_N[at_N >= 0]]
        rows_N["state"] = states_N4
        if (at_N < 0).any():
            try:
                self._find_out(names, rows_N, kinds)
            except RuntimeError as problem:  # PyTorch's, wherever it learns that a signal ended one of its processes
                if (signum := asked()) is None:
                    raise
                raise Interrupted(signum) from problem
            finally:  # also where a signal ends it
                if book:
                    _keep(book, there, known.rows_N, names, rows_N, kinds)
        return Facts(rows_N, kinds)

    def _find_out(self, names: Sequence[str], rows_N: np.ndarray, kinds: list[Kind]) -> None:
        """Look at the files that are not known, and fill in their rows, and the kinds that come with them."""
        places = {kind: i for i, kind in enumerate(kinds)}
        news = np.flatnonzero(rows_N["kind"] < 0).tolist()
        contents = _Contents(self.folder, self._suffix)
        for i, look in zip(news, self._look([names[i] for i in news], contents.names), strict=True):
            if look.failed:
                raise Unread(names[i], look.failed)
            if look.kind is None:
                row, kind = contents.row(look.content)
                for name in ("content", "sum", "looks", "low", "high"):
                    rows_N[name][i] = row[name]
            else:
                kind = look.kind
                for name in ("content", "sum", "looks"):
                    rows_N[name][i] = np.frombuffer(getattr(look, name), np.uint8)
                rows_N["low"][i], rows_N["high"][i] = look.low, look.high
            if kind not in places:
                places[kind] = len(kinds)
                kinds.append(kind)
            rows_N["kind"][i] = places[kind]

    def _look(self, names: Sequence[str], known: Set[bytes]) -> Iterator[Look]:
        """Look at files, by several processes if they are many."""
        if len(names) >= MANY:
            print(f"{self.root}: {len(names):,} images are looked at for the first time", flush=True)
        parts = _Parts(str(self.root), names, self.largest, known)
        workers = cores() if len(names) >= SHARED else 0
        loader = DataLoader(
            parts,
            batch_size=None,
            num_workers=workers if workers > 1 else 0,
            collate_fn=_as_it_is,
            worker_init_fn=heeded_by_loader,
            generator=torch.Generator(),  # nobody's numbers depend on whether files were new
        )
        done, said = 0, time.monotonic()
        for part in loader:
            yield from part
            done += len(part)
            if done < len(names) and time.monotonic() - said > SAID_SECONDS:
                said = time.monotonic()
                print(f"{self.root}: {done:,} of {len(names):,} images are looked at", flush=True)


class _Parts(Dataset[list[Look]]):
    """Item `i` is what was found in the `i`-th few of some files."""

    def __init__(self, root: str, names: Sequence[str], largest: int, known: Set[bytes]) -> None:
        self.root, self.names, self.largest, self.known = root, names, largest, known

    def __len__(self) -> int:
        return -(-len(self.names) // AT_ONCE)

    def __getitem__(self, i: int) -> list[Look]:
        some = self.names[i * AT_ONCE : (i + 1) * AT_ONCE]
        return [_look(Path(self.root) / name, self.largest, self.known) for name in some]


def _as_it_is(item: list[Look]) -> list[Look]:
    return item


def _look(path: Path, largest: int, known: Set[bytes]) -> Look:
    name = bytes(16)
    try:
        content, ending = content_of(path), path.suffix.lower()
        name = hashlib.blake2b(content, digest_size=16, person=BY_ENDING.get(ending, "").encode()).digest()
        if name in known:
            return Look(name)
        picture = picture_in(content, ending, largest)
        seen, span = looks(picture.shown()), picture.span
        kind = Kind(span.kind, span.black, span.white, span.several, span.lost, seen is not None)
        return Look(name, kind, bytes.fromhex(exact(picture)), bytes.fromhex(seen or "00" * 16), span.low, span.high)
    except MemoryError:  # says nothing about the image
        raise
    except Exception as problem:  # Pillow raises many kinds for what it cannot read
        # Pillow asks for places that a cut file does not have, which the system calls invalid.
        if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):
            return Look(failed=str(problem))
        return Look(name, Kind("", why=str(problem) or type(problem).__name__, reader=reader()))


class _Contents:
    """What is known by the names of contents, in all manifests of a folder that are as this one.

    Attributes:
        names: of the contents.
    """

    def __init__(self, folder: Path | None, suffix: str) -> None:
        self._facts = [_read(book)[1] for book in sorted(folder.glob(f"*{suffix}"))] if folder else []
        self._places: dict[bytes, tuple[int, int]] = {}
        now = reader()
        for k, facts in enumerate(self._facts):
            data, holds = facts.rows_N["content"].tobytes(), facts.holds(now).tolist()
            self._places |= {data[16 * i : 16 * i + 16]: (k, i) for i, stays in enumerate(holds) if stays}
        self._places.pop(bytes(16), None)  # of what had no content that could be read

    @property
    def names(self) -> Set[bytes]:
        return self._places.keys()

    def row(self, name: bytes) -> tuple[np.void, Kind]:
        k, i = self._places[name]
        row = self._facts[k].rows_N[i]
        return row, self._facts[k].kinds[row["kind"]]


def _states(root: Path, names: Sequence[str]) -> np.ndarray:
    """What tells whether files may be others than before, int64 `[N, 4]`.

    Archives and copying programs set a file's time as they like, and equal sizes are common; when a file's entry was
    changed last (its ctime) and which one it is (its inode) nobody sets.

    Raises:
        Unread: one is not there.
    """
    found, place, stat = [], f"{root}/", os.stat
    for name in names:
        try:
            now = stat(place + name)
        except OSError as problem:
            raise Unread(name, str(problem)) from problem
        found.append((now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino & 2**63 - 1))
    return np.asarray(found, dtype=np.int64).reshape(-1, 4)


def _span(kind: Kind, low: float, high: float) -> Span | None:
    if not kind.number:
        return None
    return Span(kind.number, low, high, kind.black, kind.white, kind.several, kind.lost)


def _hexadecimal(bytes_NB: np.ndarray) -> list[str]:
    width, text = 2 * bytes_NB.shape[1], bytes_NB.tobytes().hex()
    return [text[i : i + width] for i in range(0, len(text), width)]


def _read(book: Path) -> tuple[list[str], Facts]:
    """The names of files, and what is known of each; nothing where that was never written, or is damaged."""
    try:
        with book.open("rb") as file, np.load(file) as held:  # which leaves open what it cannot read
            names = held["names"].tobytes().decode(errors="surrogateescape").split("\0") if len(held["rows"]) else []
            facts = Facts(held["rows"], [Kind(*kind) for kind in json.loads(held["kinds"].tobytes())])
        kinds_N = facts.rows_N["kind"]
        if facts.rows_N.dtype != ROW or len(names) != len(kinds_N) or kinds_N.max(initial=-1) >= len(facts.kinds):
            return [], NOTHING
        return names, facts
    except (OSError, ValueError, TypeError, KeyError, EOFError, IndexError, zipfile.BadZipFile):
        return [], NOTHING


def _keep(
    book: Path,
    there: Sequence[str],
    known_N: np.ndarray,
    names: Sequence[str],
    rows_N: np.ndarray,
    kinds: Sequence[Kind],
) -> None:
    """Write down what was found out, beside what is known of other files of the folder.

    Args:
        there: of which files `known_N` is.
        kinds: of both, first those of `known_N`.
    """
    found = np.flatnonzero(rows_N["kind"] >= 0)
    new = [names[i] for i in found.tolist()]
    replaced = set(new)
    others = [i for i, name in enumerate(there) if name not in replaced]
    with contextlib.suppress(OSError):  # a store that can only be read; it is found out again then
        book.parent.mkdir(parents=True, exist_ok=True)
        _write(book, [*(there[i] for i in others), *new], np.concatenate([known_N[others], rows_N[found]]), kinds)


def _write(book: Path, names: Sequence[str], rows_N: np.ndarray, kinds: Sequence[Kind]) -> None:
    names_B, kinds_B = (
        np.frombuffer(text, np.uint8)
        for text in ("\0".join(names).encode(errors="surrogateescape"), json.dumps(kinds).encode())
    )
    with replacing(book) as draft, draft.open("wb") as file:
        np.savez(file, rows=rows_N, names=names_B, kinds=kinds_B)
