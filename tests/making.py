"""What other processes make in a store. They start in no time: no torch is needed for it."""

from __future__ import annotations

import time
from pathlib import Path

from tlfw.store import Store


def slowly(root: Path, mark: Path) -> None:
    """Begin, leave a mark, and take a minute."""

    def make(folder: Path) -> None:
        (folder / "value").write_text("half")
        mark.touch()
        time.sleep(60)

    Store(root).get_or_make("stages", "k", make)


def counted(root: Path, log: Path) -> None:
    """With a line in a log for each time that it is made."""

    def make(folder: Path) -> None:
        with log.open("a") as file:
            file.write("made\n")
        time.sleep(0.2)
        (folder / "value").write_text("x")

    Store(root).get_or_make("stages", "k", make)
