"""What a folder has to be able to do that results are kept in, and that processes share."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


def fault(folder: Path) -> str:
    """What a folder cannot do of what claims, drafts and their publication rest on; empty: nothing. It is tried.

    Whether files can be locked is not asked: nothing needs it. A full disk is no fault of the folder.

    Raises:
        OSError: nothing can be written there at all.
    """
    place = folder / f".{secrets.token_hex(8)}.probe"
    try:
        place.mkdir()
        return _tried(place)
    except OSError as problem:
        if problem.errno in FULL:
            return ""
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _tried(place: Path) -> str:
    one, other = place / "one", place / "other"
    _create(one)
    with contextlib.suppress(FileExistsError):
        _create(one)
        return "a file is created there that exists already (O_EXCL does not work)"
    other.write_bytes(b"other")
    try:
        os.replace(other, one)
    except OSError as problem:
        return f"a file cannot take another one's place there ({problem.strerror})"
    if other.exists() or one.read_bytes() != b"other":
        return "a file that takes another one's place is not whole there"
    draft, entry, newer = place / "draft", place / "entry", place / "newer"
    for each in (draft, newer):
        each.mkdir()
        _create(each / "file")
    try:
        draft.rename(entry)
    except OSError as problem:
        return f"a folder cannot be renamed there ({problem.strerror})"
    if draft.exists() or not (entry / "file").exists():
        return "a folder that is renamed is not whole there"
    with contextlib.suppress(OSError):
        newer.rename(entry)
        return "a folder is renamed there onto one that holds something"
    return ""


def _create(file: Path) -> None:
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
