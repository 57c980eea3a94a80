"""What the command that conducts a sweep shows of it meanwhile: the table of `tlfw.status`, live, or lines in a log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live

from tlfw.status import Row, SweepReader, lines, screen

LOOK_SECONDS = 2.0


class Watch:
    """Shows a sweep while it lasts.

    Args:
        folder: the sweep's.
    """

    def __init__(self, folder: Path) -> None:
        self.reader, self.console = SweepReader(folder), Console()
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        self.rows: Sequence[Row] = self.reader.read().rows
        self.looked = time.monotonic()

    def __enter__(self) -> Watch:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.look(last=True)
        if self.live:
            self.live.stop()

    def look(self, *, last: bool = False) -> None:
        """Show what has changed, if it is time for that.

        Args:
            last: whether there is no other time.
        """
        if not last and time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        overview = self.reader.read()
        if self.live:
            self.live.update(screen(overview, self.console), refresh=True)
            return
        for line in lines(self.rows, overview.rows):
            print(line, flush=True)
        self.rows = overview.rows
