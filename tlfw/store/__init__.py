"""Results addressed by what produced them.

An entry is a folder `store/KIND/KEY/`. It is made in a hidden folder beside its place, each process's own, and renamed
into it whole; `done.json`, with a checksum of every file and one of itself, is written last. So what can be read is
complete, and a process that dies leaves nothing that looks like a result. Nothing here is ever unpickled.

Checksums are compared at every reading: 100 MB take less than a tenth of a second, and are about to be read anyway.
To remember what was found whole would save little, and would trust a file's time and size, which a failing disk keeps.

Who makes an entry claims it (`tlfw.records.claim`), so that others wait instead of making it too. That two processes
make it at once nevertheless can happen, where one was stopped for a minute and taken for dead. Then what was published
first stays: a folder cannot be renamed onto one that holds something.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tlfw.errors import ConfigError, TrainingFailed
from tlfw.records.claim import Claim, Held, Holder, Sight, claimed, free, look
from tlfw.signals import deferred
from tlfw.store.disk import FULL, bytes_of, chain, disk_full, has_room, remove, size
from tlfw.store.entry import KEY, SHOWN, Entry, Leftover, all_beside, beside, name_of, used_at, written_at
from tlfw.store.seal import DONE, damage, seal

__all__ = ["SHOWN", "Entry", "Held", "Leftover", "Store", "disk_full", "read_json", "size"]

TRIES = 3
"""Of a publication: each fails only if another process has put something damaged there meanwhile."""


class Store:
    """A folder of entries, shared by any number of processes, machines and users.

    Args:
        root: the folder; made when something is first put into it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sight: Sight = {}
        self._claims: dict[tuple[str, str], str] = {}
        self._made: list[contextlib.ExitStack] = []
        self._lent: set[Path] = set()

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of a whole entry, or None: it is missing or damaged. Finding it is using it, and takes no lock."""
        folder = self.place(kind, key)
        if damage(folder):
            return None
        with contextlib.suppress(OSError):  # it can be read where it cannot be written
            try:
                os.utime(folder / DONE)
            except PermissionError:  # another user's
                used = beside(folder, "used")
                remove(used)
                used.touch()
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

        Only one process makes an entry; others wait for it. What a dead process has claimed is
        free. A damaged entry is made again, and one line says so. What is asked for while another entry is
        made is in use until that is made: nobody removes it.

        Args:
            make: puts the entry's files into the empty folder that it is given. If it raises, the
                entry does not exist.
            about: what produced it, for people.
            redo: make it even if it is there.

        Raises:
            ConfigError: the store cannot be written, or its disk is full. Nothing half-written is left.
            TrainingFailed: what was unfinished was taken away, and no other process has ended it.
        """
        folder, there = self._found_or_made(kind, key, make, about, redo)
        if self._made:
            with contextlib.suppress(OSError):  # it can be read where it cannot be written
                use = beside(folder, "use", secrets.token_hex(16))
                self._made[-1].enter_context(claimed(use, f"the use of {name_of(kind, key)}"))
        return folder, there

    def _found_or_made(
        self, kind: str, key: str, make: Callable[[Path], None], about: Mapping[str, Any] | None, redo: bool
    ) -> tuple[Path, bool]:
        if not redo and (folder := self.find(kind, key)):
            return folder, True
        place = self.place(kind, key)
        with self.lock(kind, key) as claim:
            if not redo and (folder := self.find(kind, key)):
                return folder, True
            if os.path.lexists(place) and (wrong := damage(place)):
                print(f"store: {name_of(kind, key)} is damaged ({wrong}); it is made again", flush=True)
            draft, scratch = beside(place, "draft", claim.id), beside(place, "scratch", claim.id)
            begun = False
            try:
                for dead in claim.followed:
                    with contextlib.suppress(OSError):  # another user's: then it is for `gc`
                        remove(beside(place, "draft", dead))
                with self._written():
                    draft.mkdir()
                begun = True
                make(draft)
                if self._is_gone(scratch):  # and what was read from there was not whole
                    raise FileNotFoundError(f"{scratch} is gone")
                with deferred(), self._written():  # what was made is not lost any more
                    seal(draft, {"kind": kind, "key": key, **(about or {})})
                    self._publish(draft, place, redo)
                    self._clear(place)
                return place, False
            except BaseException as problem:
                full = self._full(problem, draft)
                taken = begun and (self._is_gone(scratch) or not draft.exists())
                with contextlib.suppress(OSError):
                    remove(draft)
                if full is not None:
                    raise full from problem
                if not taken or not isinstance(problem, Exception):
                    raise
                cause = problem
        return self._from_another(kind, key, cause), True

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry. It is not checked: `find` does that when it is read."""
        return (self.place(kind, key) / DONE).is_file()

    def scratch(self, kind: str, key: str) -> Path:
        """A folder for what is needed while an entry is made and may outlive the process: checkpoints.

        What a former process left is taken over under another name. So that one cannot write into it any more, should
        it have been taken for dead while it was stopped.
        """
        place = self.place(kind, key)
        folder = beside(place, "scratch", self._claims.get((kind, key)) or secrets.token_hex(16))
        with self._written():
            place.parent.mkdir(parents=True, exist_ok=True)
            for former in sorted(all_beside(place, "scratch"), key=written_at, reverse=True):
                if folder.exists():
                    break
                if os.access(former, os.W_OK | os.X_OK):  # else another user's, who does not share it
                    with contextlib.suppress(FileNotFoundError):
                        former.rename(folder)
            folder.mkdir(exist_ok=True)
        self._lent.add(folder)
        return folder

    def keys(self, kind: str) -> list[str]:
        """The keys of all entries of a kind."""
        folder = self.root / kind
        return sorted(p.name for p in folder.glob("*") if (p / DONE).exists()) if folder.exists() else []

    def entries(self, kind: str = "*") -> list[Entry]:
        """All entries, damaged ones too. What is not named like one is not the store's and never listed.

        Args:
            kind: of which kind; all by default.
        """
        return [Entry.at(path) for path in sorted(self.root.glob(f"{kind}/*")) if KEY.fullmatch(path.name)]

    def free_bytes(self) -> int:
        """What is free on the store's disk."""
        place = next(place for place in (self.root, *self.root.absolute().parents) if place.is_dir())
        return shutil.disk_usage(place).free

    def make_room(self, kind: str, needed: int, most: int, *, grows: bool = False) -> list[Entry] | None:
        """Take away what of a kind was used least recently, until so many bytes more fit in.

        Args:
            most: that all of the kind may take.
            grows: `most` is what may be added to those that are there.

        Returns:
            What was taken away; None: there is no room, and nothing was.
        """
        there = sorted(self.entries(kind), key=lambda entry: entry.used)
        taken = sum(entry.bytes for entry in there)
        most += taken if grows else 0
        gone: list[Entry] = []
        if needed > most:
            return None
        for entry in there:
            if taken + needed <= most:
                break
            with contextlib.suppress(Held):
                self.remove(kind, entry.key)
                taken -= entry.bytes
                gone.append(entry)
        return gone if taken + needed <= most else None

    def leftovers(self) -> list[Leftover]:
        """What processes left that died, and what those have that are at work."""
        return [left for folder in sorted(self.root.glob("*/")) for left in Leftover.all_in(folder)]

    def used(self, kind: str, key: str) -> float:
        """When an entry was last read or made, in seconds since 1970."""
        return used_at(self.place(kind, key))

    def remove(self, kind: str, key: str, patience: float = 0) -> None:
        """Take an entry away, and all that was left of making it.

        Args:
            patience: as for `lock`.

        Raises:
            Held: a process is making it, or makes another entry of it.
            ConfigError: the store cannot be written.
        """
        place = self.place(kind, key)
        with self.lock(kind, key, patience), self._written():
            if used := self._user(place):
                raise Held(f"{name_of(kind, key)} is being used by {used}", not used.here)
            with contextlib.suppress(FileNotFoundError):
                place.rename(beside(place, "gone", secrets.token_hex(16)))  # no one finds half of it
            for path in all_beside(place, "gone", "draft", "scratch", "lock", "used", "use"):
                remove(path)

    def sweep(self, left: Leftover) -> None:
        """Take a leftover away.

        Raises:
            Held: a process is at work on it.
            ConfigError: the store cannot be written.
        """
        path = self.root / left.kind / left.file
        with self.lock(left.kind, left.key, patience=0), self._written():
            if path != self._claim(left.kind, left.key):  # which goes with the lock
                remove(path)

    def place(self, kind: str, key: str) -> Path:
        """Where an entry is, or would be."""
        return self.root / kind / key

    @contextlib.contextmanager
    def lock(self, kind: str, key: str, patience: float = -1) -> Iterator[Claim]:
        """What making and removing an entry needs. Reading does not.

        Args:
            patience: seconds to wait for another process; negative: for as long as it lives.

        Raises:
            Held: another process has it.
            ConfigError: the store cannot be written.
        """
        with contextlib.ExitStack() as held:
            with self._written():
                self.place(kind, key).parent.mkdir(parents=True, exist_ok=True)
                claim = held.enter_context(
                    claimed(self._claim(kind, key), name_of(kind, key), patience, sight=self._sight)
                )
            self._claims[kind, key] = claim.id
            self._made.append(held)
            try:
                yield claim
            finally:
                self._made.remove(held)
                self._claims.pop((kind, key), None)

    def holder(self, kind: str, key: str) -> Holder | None:
        """Who makes or uses an entry; None: nobody who may be alive. Nothing is written."""
        path = self._claim(kind, key)
        return self._user(self.place(kind, key)) if free(path, self._sight) else look(path)

    def _user(self, place: Path) -> Holder | None:
        """Who makes another entry of this one."""
        return next((look(use) for use in all_beside(place, "use") if not free(use, self._sight)), None)

    def _claim(self, kind: str, key: str) -> Path:
        return beside(self.place(kind, key), "claim")

    def _is_gone(self, scratch: Path) -> bool:
        return scratch in self._lent and not scratch.exists()

    def _publish(self, draft: Path, place: Path, redo: bool) -> None:
        """Put a draft into its place, unless another process has put something whole there meanwhile."""
        for left in reversed(range(TRIES)):
            if os.path.lexists(place) and (redo or damage(place)):
                with contextlib.suppress(FileNotFoundError):
                    place.rename(beside(place, "gone", secrets.token_hex(16)))
            try:
                draft.rename(place)
                return
            except OSError:
                if not left and not os.path.lexists(place):
                    raise
            if not damage(place):
                print(
                    f"  {name_of(place.parent.name, place.name)}: another process was faster; that is used", flush=True
                )
                remove(draft)
                return
        raise ConfigError("store.dir", f"{place} cannot be replaced.", "See what other processes do there.")

    def _clear(self, place: Path) -> None:
        """Take away what nobody needs who finds the entry: as far as the folder lets it, the rest is for `gc`."""
        for path in all_beside(place, "scratch", "gone", "lock"):
            with contextlib.suppress(OSError):  # another user's, or a network folder's that is still being read
                remove(path)
        with contextlib.suppress(OSError):
            remove(beside(place, "draft"))  # of a version of before

    def _from_another(self, kind: str, key: str, problem: Exception) -> Path:
        """What another process makes or has made, where the files of this one are gone."""
        name = name_of(kind, key)
        print(f"  {name}: what was unfinished is gone; another process may have taken it over", flush=True)
        with self.lock(kind, key):
            if folder := self.find(kind, key):
                return folder
        raise TrainingFailed(
            f"{name}: what was unfinished was taken away, by hand, or by a process that took this one for dead while "
            "it was stopped. The same command goes on with it."
        ) from problem

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
            named = [Path(each.filename) for each in chain(problem) if isinstance(each, OSError) and each.filename]
            if named and not any(path.absolute().is_relative_to(self.root.absolute()) for path in named):
                return None
        elif has_room(self.root):  # numpy and torch do not say why they cannot write
            return None
        return self._too_full(bytes_of(draft))

    def _too_full(self, written: int) -> ConfigError:
        needs = f" (needs more than the {size(written)} that it took of this entry)" if written else ""
        return ConfigError(
            "store.dir",
            f"the disk of {self.root.absolute()} is full{needs}.",
            "Free some, python -m tlfw.store gc shows what could go, or give another folder; then the same command "
            "resumes.",
        )


def read_json(path: Path) -> Any:
    """The content of a JSON file of an entry."""
    return json.loads(path.read_text())
