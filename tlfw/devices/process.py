"""`python -m tlfw.devices.process FOLDER`: one rank of a run, as the agent starts it.

The folder has what is to be done, and gets what came of it. Its standard input is the line to the process that waits.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from tlfw.signals import heeded_by_rank

TASK, RESULT, FAILURE, OUT, ERR = "task.pkl", "result.pkl", "failure-{rank}.pkl", "out", "err-{rank}"


def main() -> None:
    """Do this rank's part of the task, leave what came of it, and end."""
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    _redirect(folder, rank)
    line = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if rank:
        os.close(line)  # rank 0 alone reads it
    heeded_by_rank(line if rank == 0 else None, lambda: shutil.rmtree(folder, ignore_errors=True))
    code = 1
    try:
        code = _work(folder, rank)
    except BaseException as problem:
        _leave(folder / (FAILURE.format(rank=rank) if rank else RESULT), problem)
        if rank == 0 and not folder.exists():
            raise
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what libraries do at an end may wait for processes that are gone


def _work(folder: Path, rank: int) -> int:
    """Do what the task says: -> the exit code."""
    task = pickle.loads((folder / TASK).read_bytes())
    sys.path += [place for place in task["path"] if place not in sys.path]  # a person's own modules
    module, _, function = task["work"].partition(":")
    from tlfw.devices.ranks import meet

    work = getattr(importlib.import_module(module), function)
    place = {name: int(os.environ[of]) for name, of in (("local", "LOCAL_RANK"), ("count", "WORLD_SIZE"))}
    ranks = meet(rank=rank, device=task["device"], **place)
    found: Any = work(*pickle.loads(task["given"]))
    if rank:
        return 0
    _leave(folder / RESULT, found)
    return int(ranks.apart)


def _leave(file: Path, what: Any) -> None:
    """Put what came of it into a file, whole; of an exception also where it was raised."""
    trace = "".join(traceback.format_exception(what)) if isinstance(what, BaseException) else None
    try:
        content = pickle.dumps((what, trace))
        pickle.loads(content)
    except Exception:  # some exceptions cannot be made again from what they hold
        content = pickle.dumps((RuntimeError(f"{type(what).__name__}: {what}"), trace))
    draft = file.with_suffix(".draft")
    with contextlib.suppress(FileNotFoundError):  # nobody waits any more
        draft.write_bytes(content)
        draft.rename(file)


def _redirect(folder: Path, rank: int) -> None:
    """What rank 0 prints, the process that waits repeats; or it goes to the terminal, which shows a bar then."""
    os.dup2(os.open(folder / ERR.format(rank=rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    if rank:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    elif (folder / OUT).exists():
        os.dup2(os.open(folder / OUT, os.O_WRONLY | os.O_APPEND), 1)


if __name__ == "__main__":
    main()
