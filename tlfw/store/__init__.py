"""Results addressed by what produced them.

An entry is a folder `store/KIND/KEY/`. It is made in a hidden folder beside its place and renamed into it whole;
`done.json`, with a checksum of every file and one of itself, is written last. So what can be read is complete, and a
process that dies leaves nothing that looks like a result. Nothing here is ever unpickled.

Checksums are compared at every reading: 100 MB take less than a tenth of a second, and are about to be read anyway.
To remember what was found whole would save little, and would trust a file's time and size, which a failing disk keeps.

Locks are the operating system's (flock), so a dead process holds none. On network folders they reach as far as the
file system carries them; one without any is an error, for a lock that is a mere file would outlive its process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tlfw.errors import ConfigError, TrainingFailed
from tlfw.signals import deferred
from tlfw.store.seal import DONE, damage, seal

KEY = re.compile(r"[0-9a-f]{32}")
SHOWN = 12
"""Characters of a key that people see."""

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_SAID = re.compile(r"no space left|disk quota exceeded|not enough space", re.IGNORECASE)
PROBE_BYTES = 1 << 20


class Held(Exception):
    """A process is making the entry."""


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
        return _name(self.kind, self.key)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leftover:
    """A hidden folder of an entry that was not finished.

    Attributes:
        what: `draft`: half an entry, never read. `gone`: half removed. `scratch`: checkpoints, from which
            the same command goes on.
        needed: whether it is a scratch folder of an entry that does not exist yet.
        used: when something in it was last written, in seconds since 1970.
    """

    kind: str
    key: str
    what: str
    bytes: int
    used: float
    needed: bool


class Store:
    """A folder of entries, shared by any number of processes.

    Args:
        root: the folder; made when something is first put into it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of a whole entry, or None: it is missing or damaged. Finding it is using it, and takes no lock."""
        folder = self.place(kind, key)
        if damage(folder):
            return None
        with contextlib.suppress(OSError):  # it can be read where it cannot be written
            os.utime(folder / DONE)
        return folder

    def get_or_make(
        self,
        kind: str,
        key: str,
        make: Callable[[Path], None],
        *,
        about: Mapping[str, Any] | None = None,
        redo: bool = False,
    ) -> tuple[Path, bool]:
        """The folder of an entry, and whether it was there before.

        Only one process makes an entry; others wait for it. The operating system gives a dead
        process's lock back. A damaged entry is made again, and one line says so.

        Args:
            make: puts the entry's files into the empty folder that it is given. If it raises, the
                entry does not exist.
            about: what produced it, for people.
            redo: make it even if it is there.

        Raises:
            ConfigError: the store cannot be written, or its disk is full. Nothing half-written is left.
        """
        if not redo and (folder := self.find(kind, key)):
            return folder, True
        place = self.place(kind, key)
        with self.lock(kind, key):
            if not redo and (folder := self.find(kind, key)):
                return folder, True
            if os.path.lexists(place) and (wrong := damage(place)):
                print(f"store: {_name(kind, key)} is damaged ({wrong}); it is made again", flush=True)
            draft, gone = self._beside(kind, key, "draft"), self._beside(kind, key, "gone")
            try:
                with self._written():
                    _remove(draft)
                    draft.mkdir()
                make(draft)
                with deferred(), self._written():  # what was made is not lost any more
                    seal(draft, {"kind": kind, "key": key, **(about or {})})
                    _remove(gone)
                    if os.path.lexists(place):
                        place.rename(gone)
                    draft.rename(place)
                    _remove(self._beside(kind, key, "scratch"))
            except BaseException as problem:
                full = self._full(problem, draft)
                with contextlib.suppress(OSError):
                    _remove(draft)
                if full is not None:
                    raise full from problem
                raise
            with contextlib.suppress(OSError):  # a network folder may still hold what another process reads
                _remove(gone)
        return place, False

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry. It is not checked: `find` does that when it is read."""
        return (self.place(kind, key) / DONE).is_file()

    def scratch(self, kind: str, key: str) -> Path:
        """A folder for what is needed while an entry is made and may outlive the process: checkpoints."""
        folder = self._beside(kind, key, "scratch")
        with self._written():
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keys(self, kind: str) -> list[str]:
        """The keys of all entries of a kind."""
        folder = self.root / kind
        return sorted(p.name for p in folder.glob("*") if (p / DONE).exists()) if folder.exists() else []

    def entries(self) -> list[Entry]:
        """All entries, damaged ones too. What is not named like one is not the store's and never listed."""
        return [_entry(path) for path in sorted(self.root.glob("*/*")) if KEY.fullmatch(path.name)]

    def leftovers(self) -> list[Leftover]:
        """What processes left that died, and what those have that are at work."""
        found = []
        for path in sorted(self.root.glob("*/.*")):
            key, _, what = path.name[1:].partition(".")
            if KEY.fullmatch(key) and what in ("draft", "gone", "scratch"):
                needed = what == "scratch" and not (path.parent / key / DONE).exists()
                files = [s for p in (path, *path.rglob("*")) if (s := _stat(p))]
                found.append(
                    Leftover(
                        kind=path.parent.name,
                        key=key,
                        what=what,
                        bytes=_bytes(path),
                        used=max((s.st_mtime for s in files), default=0.0),
                        needed=needed,
                    )
                )
        return found

    def remove(self, kind: str, key: str) -> None:
        """Take an entry away, and all that was left of making it.

        Raises:
            Held: a process is making it.
            ConfigError: the store cannot be written.
        """
        with self.lock(kind, key, patience=0), self._written():
            gone = self._beside(kind, key, "gone")
            _remove(gone)
            with contextlib.suppress(FileNotFoundError):
                self.place(kind, key).rename(gone)  # no one finds half of it
            for what in ("gone", "draft", "scratch"):
                _remove(self._beside(kind, key, what))

    def sweep(self, left: Leftover) -> None:
        """Take a leftover away.

        Raises:
            Held: a process is at work on it.
            ConfigError: the store cannot be written.
        """
        with self.lock(left.kind, left.key, patience=0), self._written():
            _remove(self._beside(left.kind, left.key, left.what))

    def place(self, kind: str, key: str) -> Path:
        """Where an entry is, or would be."""
        return self.root / kind / key

    def _beside(self, kind: str, key: str, what: str) -> Path:
        return self.root / kind / f".{key}.{what}"

    @contextlib.contextmanager
    def lock(self, kind: str, key: str, patience: float = -1) -> Iterator[None]:
        """What making and removing an entry needs. Reading does not.

        Args:
            patience: seconds to wait for another process; negative: without end.

        Raises:
            Held: another process has it.
            ConfigError: the store cannot be written.
        """
        lock = FileLock(self._beside(kind, key, "lock"), fallback_to_soft=False)
        with self._written():
            self.place(kind, key).parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=patience)
            except Timeout as problem:
                raise Held(f"{_name(kind, key)} is being made") from problem
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """What goes wrong inside is about the store's folder."""
        try:
            yield
        except OSError as problem:
            if problem.errno in FULL:
                raise self._too_full(0) from problem
            raise ConfigError(
                "store.dir",
                f"cannot write in {self.root.absolute()} ({problem.strerror or problem}).",
                "Give a folder that can be written.",
            ) from problem

    def _full(self, problem: BaseException, draft: Path) -> ConfigError | None:
        """What to say if `problem` came of a full disk under the store. Asked before the draft is removed."""
        if isinstance(problem, ConfigError | TrainingFailed) or not isinstance(problem, Exception):
            return None
        if disk_full(problem):  # safetensors has taken its half away by now: to ask for room would say nothing
            named = [Path(each.filename) for each in _chain(problem) if isinstance(each, OSError) and each.filename]
            if named and not any(path.absolute().is_relative_to(self.root.absolute()) for path in named):
                return None
        elif _has_room(self.root):  # numpy and torch do not say why they cannot write
            return None
        return self._too_full(_bytes(draft))

    def _too_full(self, written: int) -> ConfigError:
        needs = f" (needs more than the {size(written)} that it took of this entry)" if written else ""
        return ConfigError(
            "store.dir",
            f"the disk of {self.root.absolute()} is full{needs}.",
            "Free some, python -m tlfw.store gc shows what could go, or give another folder; then the same command "
            "resumes.",
        )


def disk_full(problem: BaseException) -> bool:
    """Whether a full disk is behind an exception. safetensors and others say so in words alone."""
    return any(
        (isinstance(each, OSError) and each.errno in FULL) or FULL_SAID.search(str(each)) for each in _chain(problem)
    )


def read_json(path: Path) -> Any:
    """The content of a JSON file of an entry."""
    return json.loads(path.read_text())


def size(count: int) -> str:
    """Bytes for people: `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    amount, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if amount >= 1000:
            amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}"


def _entry(folder: Path) -> Entry:
    made_by: Any = None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        made_by = json.loads((folder / DONE).read_bytes())["made_by"]
    stat = _stat(folder / DONE) or _stat(folder)
    return Entry(
        kind=folder.parent.name,
        key=folder.name,
        bytes=_bytes(folder),
        used=stat.st_mtime if stat else 0.0,
        made_by=made_by if isinstance(made_by, dict) else {},
    )


def _name(kind: str, key: str) -> str:
    return f"{kind}/{key[:SHOWN]}{'…' * (len(key) > SHOWN)}"


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it came of."""
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        yield problem
        problem = problem.__cause__ or problem.__context__


def _has_room(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        return problem.errno not in FULL
    return True


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:  # another process has just taken it away
        return None


def _bytes(path: Path) -> int:
    return sum(stat.st_size for p in (path, *path.rglob("*")) if not p.is_dir() and (stat := _stat(p)))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
