"""What makes an entry whole: `done.json`, with a checksum of every file and one of itself."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tlfw
from tlfw.records.record import replace_text

DONE = "done.json"


def seal(draft: Path, about: Mapping[str, Any]) -> None:
    """Write what says that an entry is whole, once its files are on the disk."""
    files = [path for path in sorted(draft.rglob("*")) if path.is_file()]
    assert files, "an entry has a file"
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())  # disks that are far away say only now that they are full
    made_by = {
        **about,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "tlfw": tlfw.__version__,
        "bytes": sum(path.stat().st_size for path in files),
    }
    done = {"sha256": {path.relative_to(draft).as_posix(): checksum(path) for path in files}, "made_by": made_by}
    replace_text(draft / DONE, json.dumps({**done, "seal": _digest(done)}, indent=1))


def damage(folder: Path) -> str:
    """What is wrong with an entry; empty: nothing is. All of its files are read.

    Hidden files are not looked at: network file systems and file managers put such anywhere.
    """
    try:
        done = json.loads((folder / DONE).read_bytes())
        seal = done.pop("seal")
        sums = done["sha256"]
        if seal != _digest(done) or not sums:
            return f"{DONE}: its checksum differs"
    except FileNotFoundError:
        return f"{DONE} is missing"
    except OSError as problem:
        return f"{DONE} cannot be read: {problem.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{DONE} is garbled"
    here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")}
    if extra := sorted(here - {DONE, *sums}):
        return f"{extra[0]} does not belong to it"
    for name, total in sums.items():
        try:
            if checksum(folder / name) != total:
                return f"{name}: its checksum differs"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as problem:
            return f"{name} cannot be read: {problem.strerror}"
    return ""


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
