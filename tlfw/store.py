"""Results addressed by what produced them.

An entry is a folder `store/KIND/KEY/`. It is made in a hidden folder beside its place and
renamed into it whole; `done.json`, with a checksum of every file, is written last. So what
can be read is complete, and a process that dies leaves nothing that looks like a result.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from tlfw.record import replace_text

DONE = "done.json"


class Store:
    """A folder of entries, shared by any number of processes.

    Args:
        root: the folder; made when something is first put into it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of a whole entry, or None. A damaged entry is removed and counts as missing."""
        folder = self._place(kind, key)
        try:
            sums = json.loads((folder / DONE).read_text())["sha256"]
            if all(checksum(folder / name) == total for name, total in sums.items()):
                return folder
        except (OSError, ValueError, KeyError):
            if not folder.exists():
                return None
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def get_or_make(
        self, kind: str, key: str, make: Callable[[Path], None], *, redo: bool = False
    ) -> tuple[Path, bool]:
        """The folder of an entry, and whether it was there before.

        Only one process makes an entry; others wait for it. The operating system gives a dead
        process's lock back.

        Args:
            make: puts the entry's files into the empty folder that it is given. If it raises, the
                entry does not exist.
            redo: make it even if it is there.
        """
        if not redo and (folder := self.find(kind, key)):
            return folder, True
        place = self._place(kind, key)
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.parent / f".{key}.lock"):
            if not redo and (folder := self.find(kind, key)):
                return folder, True
            draft = place.parent / f".{key}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            make(draft)
            sums = {str(p.relative_to(draft)): checksum(p) for p in sorted(draft.rglob("*")) if p.is_file()}
            replace_text(draft / DONE, json.dumps({"sha256": sums}, indent=1))
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        return place, False

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry. It is not checked: `find` does that when it is read."""
        return (self._place(kind, key) / DONE).is_file()

    def scratch(self, kind: str, key: str) -> Path:
        """A folder for what is needed while an entry is made and may outlive the process: checkpoints."""
        folder = self._place(kind, key).parent / f".{key}.scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keys(self, kind: str) -> list[str]:
        """The keys of all entries of a kind."""
        folder = self.root / kind
        return sorted(p.name for p in folder.glob("*") if (p / DONE).exists()) if folder.exists() else []

    def _place(self, kind: str, key: str) -> Path:
        return self.root / kind / key


def read_json(path: Path) -> Any:
    """The content of a JSON file of an entry."""
    return json.loads(path.read_text())


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
