"""Starts the ranks of a run, waits for them, and hands on what rank 0 returns, raises and prints."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tlfw.devices.agent import DEATHS
from tlfw.devices.nodes import Node
from tlfw.devices.process import ERR, FAILURE, OUT, RESULT, TASK
from tlfw.devices.settling import environment
from tlfw.errors import ConfigError, TrainingFailed
from tlfw.signals import Interrupted, deferred, forwarded

LOOK_SECONDS = 0.1
"""How often it is looked whether the ranks are done, and what rank 0 has printed."""

MEETING_SECONDS = 300
"""How long the machines of a run wait for each other."""

SHOWN_LINES = 15
"""Of what a rank wrote on standard error that ended without a word."""


class RanksFailed(TrainingFailed):
    """The ranks of a run ended, and rank 0 has left nothing of it."""


def in_ranks(work: str, *given: Any, processes: int, device: str, node: Node) -> Any:
    """What `work` returns in rank 0 of all processes that are started for it.

    Args:
        work: `module:function`.
        given: what it is given, in every process.
        processes: how many are started on this machine.
        device: the type of the devices.

    Returns:
        What rank 0 returned; on a machine that does not have rank 0, None.

    Raises:
        Interrupted: a signal asked for it, and all have saved.
        RanksFailed: a process was killed, or failed where rank 0 did not.
        BaseException: whatever rank 0 raised.
    """
    folder = Path(tempfile.mkdtemp(prefix="tlfw-ranks-"))
    try:
        task = {"work": work, "given": pickle.dumps(given), "device": device, "path": sys.path}
        (folder / TASK).write_bytes(pickle.dumps(task))
        if not (sys.stdout.isatty() and sys.stdout is sys.__stdout__):
            (folder / OUT).touch()
        code, told = _conduct(folder, _command(folder, processes, node), node)
        return _outcome(folder, node, code, told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(folder: Path, processes: int, node: Node) -> list[str]:
    where = (
        ["--standalone"]
        if node.count == 1
        else [
            *("--nnodes", str(node.count), "--node-rank", str(node.number)),
            *("--master-addr", str(node.address), "--master-port", str(node.port)),
            *("--rdzv-conf", f"timeout={MEETING_SECONDS}"),
        ]
    )
    return [
        *(sys.executable, "-m", "tlfw.devices.agent", str(folder)),
        *where,
        *("--nproc-per-node", str(processes), "--max-restarts", "0", "--monitor-interval", str(LOOK_SECONDS)),
        *("-m", "tlfw.devices.process", str(folder)),
    ]


def _conduct(folder: Path, command: list[str], node: Node) -> tuple[int, int | None]:
    """Start the agent and wait until it has ended: -> its exit code, and the signal that was handed on, if one was."""
    told: list[int] = []
    with (folder / "agent").open("wb") as log:
        # A session of its own, so that a terminal's Ctrl-C comes to this process alone.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=None, stderr=log, env=environment(), start_new_session=True
        )
    assert process.stdin is not None
    line = process.stdin

    def tell(signum: int) -> int:
        told.append(signum)
        with contextlib.suppress(OSError):  # they have just ended
            os.write(line.fileno(), bytes([signum]))
        return 1

    printed = [Printed(folder / OUT, sys.stdout), Printed(folder / ERR.format(rank=0), sys.stderr)]
    try:
        with deferred(tell), forwarded(tell):
            while True:
                ended = process.poll() is not None
                for each in printed:
                    each.pass_on()
                if ended:
                    break
                time.sleep(LOOK_SECONDS)
            if told:
                _outcome(
                    folder, node, process.returncode, told[0]
                )  # raises, before what else handles the signal ends this process
    finally:
        line.close()  # the ranks end without it, should they be there
        if process.poll() is None:
            process.kill()
        process.wait()
    return process.returncode, told[0] if told else None


class Printed:
    """What comes into a file, for a stream of this process."""

    def __init__(self, file: Path, stream: TextIO) -> None:
        self.file, self.stream, self.position = file, stream, 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def pass_on(self) -> None:
        if not self.file.exists():
            return
        with self.file.open("rb") as source:
            source.seek(self.position)
            content = source.read()
        if content:
            self.position += len(content)
            self.stream.write(self.decoder.decode(content))
            self.stream.flush()


def _outcome(folder: Path, node: Node, code: int, told: int | None) -> Any:
    """What is to be returned or raised."""
    results = sorted(_left(folder), key=lambda found: found[0])
    of_first = next((what for _, rank, what, _ in results if rank == 0), None)
    there = any(rank == 0 for _, rank, _, _ in results)
    if there and not isinstance(of_first, BaseException):
        return of_first
    if told is not None and (of_first is None or isinstance(of_first, Interrupted)):
        raise Interrupted(told)
    died = _deaths(folder)
    for rank, ended in died.items():
        if ended < 0:
            name = signal.Signals(-ended).name
            raise RanksFailed(
                f"the process of rank {rank} was killed by {name}{_guess(-ended)}. What was saved is kept; the same "
                "command goes on from there."
            )
    if results:
        _, rank, problem, trace = results[0]
        if rank == 0 or isinstance(problem, TrainingFailed | ConfigError):
            problem.add_note(f"In the process of rank {rank}:\n{trace}")
            raise problem
        raise RanksFailed(f"rank {rank} failed: {type(problem).__name__}: {problem}") from problem
    if node.number and code == 0:
        return None  # rank 0 is elsewhere
    if node.count > 1 and not died and not list(folder.glob(ERR.format(rank="*"))):
        raise RanksFailed(
            f"the {node.count} machines of the run did not meet at {node.address}:{node.port} within "
            f"{MEETING_SECONDS} s. The last lines of what waited:\n{_said(folder / 'agent')}"
        )
    rank = next(iter(died), 0)
    said = _said(folder / ERR.format(rank=rank)) or _said(folder / "agent")
    raise RanksFailed(f"the process of rank {rank} ended without a word. The last lines that it wrote:\n{said}")


def _left(folder: Path) -> Iterator[tuple[float, int, Any, str]]:
    """(when, rank, what, where it was raised) that the processes of this machine left."""
    for file in (folder / RESULT, *folder.glob(FAILURE.format(rank="*"))):
        if file.exists():
            rank = 0 if file.name == RESULT else int(file.stem.rpartition("-")[2])
            what, trace = pickle.loads(file.read_bytes())
            yield file.stat().st_mtime, rank, what, trace


def _deaths(folder: Path) -> dict[int, int]:
    """Rank -> its exit code, of those that failed, as the agent says."""
    file = folder / DEATHS
    return {rank: code for rank, code, _ in json.loads(file.read_text())} if file.exists() else {}


def _guess(signum: int) -> str:
    """What a signal that nobody told this process of usually means."""
    return ", as a machine does whose memory is full" if signum == signal.SIGKILL else ""


def _said(file: Path) -> str:
    """The end of what was written."""
    return "\n".join(file.read_text(errors="replace").splitlines()[-SHOWN_LINES:]) if file.exists() else ""
