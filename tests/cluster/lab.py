"""A real Slurm on this machine, and sweeps upon it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from tlfw.records.ledger import Entry, Ledger
from tlfw.records.record import Record

HERE = Path(__file__).parent


class Unavailable(Exception):
    """This machine cannot have a Slurm of its own; the text says why."""


def up(**own: str) -> dict[str, str]:
    """Bring Slurm up: -> the environment in which its commands find it.

    Args:
        own: what `slurm.sh` takes from its environment, for a Slurm beside another one.
    """
    command = ["bash", str(HERE / "slurm.sh"), "up"]
    told = subprocess.run(
        command,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if told.returncode:
        raise Unavailable(told.stderr.strip()[-300:])
    file = Path(told.stdout.split()[-1])
    lines = [line.removeprefix("export ") for line in file.read_text().splitlines()]
    given = dict(line.partition("=")[::2] for line in lines)
    os.environ |= given  # for the commands that are run from here
    return {**os.environ, **given, **own}


def down(env: dict[str, str]) -> None:
    """End the Slurm of an environment."""
    subprocess.run(["bash", str(HERE / "slurm.sh"), "down"], env=env, timeout=60, check=True)


def slurm(*command: str) -> str:
    """What one of Slurm's commands prints."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def wait_until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """What comes to be true within so many seconds.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.5)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}")


class Drive:
    """The command of a sweep, at work.

    Args:
        folder: where it is run.
        words: what it is told.
        log: the file, in `folder`, of what it prints.
    """

    all: ClassVar[list[Drive]] = []

    def __init__(self, folder: Path, words: list[str], log: str, env: dict[str, str]) -> None:
        self.log = folder / log
        with self.log.open("a") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tlfw", "-m", *words],
                cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

        self.all.append(self)

    @classmethod
    def end_all(cls) -> None:
        """Kill what a test that failed has left at work."""
        for drive in cls.all:
            if drive.process.poll() is None:
                drive.kill()

    def end(self, seconds: float) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Watched:
    """A sweep's folder, from outside.

    Args:
        folder: where its command is run.
        name: the sweep's.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.sweep = folder, folder / "outputs" / "sweeps" / name
        self.ledger = Ledger(self.sweep)

    def entry(self, name: str) -> Entry | None:
        """The entry of the task whose name begins so."""
        return next((entry for entry in self.ledger.entries() if entry.name.startswith(name)), None)

    def running(self, name: str, steps: int = 0) -> Entry | None:
        """The entry of a task that runs and has taken so many steps; None: it does not."""
        entry = self.entry(name)
        return entry if entry and entry.state == "running" and (entry.step or 0) >= steps else None

    def submissions(self) -> dict[str, int]:
        """A task's name -> how often it was submitted."""
        keys, _ = self.ledger.listed()
        names = {key: entry.name for key in keys if (entry := self.ledger.entry(key))}
        return {name: len(list(self.ledger.folder.glob(f"{key}.*.job"))) for key, name in names.items()}

    def records(self) -> dict[str, Record]:
        """Run id -> record."""
        found = [Record.read(path) for path in (self.folder / "outputs" / "runs").glob("*/record.json")]
        return {record.run_id: record for record in found}

    def printed(self) -> str:
        """All that jobs printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.sweep.glob("logs/*/*.out")))

    def stages(self) -> int:
        """How many are in the store."""
        return len(list((self.folder / "outputs" / "store" / "stages").glob("*/done.json")))

    def status(self, *words: str) -> tuple[int, dict[str, Any]]:
        """What `tlfw.status` says: its exit code, and all of it."""
        told = subprocess.run(
            [sys.executable, "-m", "tlfw.status", str(self.sweep), "--json", *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return told.returncode, json.loads(told.stdout)
