"""The disk under the store: what lies on it, and whether it is full."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tlfw.records.folder import FULL

FULL_SAID = re.compile(r"no space left|disk quota exceeded|not enough space", re.IGNORECASE)
PROBE_BYTES = 1 << 20


def disk_full(problem: BaseException) -> bool:
    """Whether a full disk is behind an exception. safetensors and others say so in words alone."""
    return any(
        (isinstance(each, OSError) and each.errno in FULL) or FULL_SAID.search(str(each)) for each in chain(problem)
    )


def chain(problem: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it came of."""
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        yield problem
        problem = problem.__cause__ or problem.__context__


def has_room(folder: Path) -> bool:
    """Whether a little more can be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        return problem.errno not in FULL
    return True


def size(count: int) -> str:
    """Bytes for people: `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    amount, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if amount >= 1000:
            amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}"


def stat_of(path: Path) -> os.stat_result | None:
    """Facts of a file; None: it is not there any more."""
    try:
        return path.lstat()
    except OSError:  # another process has just taken it away
        return None


def bytes_of(path: Path) -> int:
    """What a file takes, or all files of a folder."""
    return sum(stat.st_size for p in (path, *path.rglob("*")) if not p.is_dir() and (stat := stat_of(p)))


def remove(path: Path) -> None:
    """Take a file or a folder away, if it is there."""
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
