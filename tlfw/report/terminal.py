"""The verdict in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlfw.report.digits import duration, labelled, percent, percents
from tlfw.report.findings import Findings
from tlfw.report.leaderboard import leads, rows, standing
from tlfw.report.tables import RANDOM_FEATURES

ROWS = 12
"""Of each task; the files hold them all."""


def show(findings: Findings, files: Sequence[Path], console: Console | None = None) -> None:
    """Print what has to be known first, the verdict, a short leaderboard, and where the rest is.

    Args:
        files: that were written, the most important first.
        console: where to; None: standard output, 140 columns wide and plain where that is no terminal.
    """
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=140, file=console.file)
    say = console.print
    for sentence in findings.unequal:
        say(Text(sentence, "yellow"))
    starred = False
    for task, members in zip(findings.tasks, rows(findings), strict=True):
        say()
        say(Text(f"{labelled(task.labelled).capitalize()}:", "dim"))
        say(Text(task.sentence, "bold"))
        if task.advice:
            say(Text(task.advice))
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("", "cell", "accuracy", "95 % interval", "", "source kept", "time alone", "shared"):
            left = column in ("cell", "")
            table.add_column(column, justify="left" if left else "right", overflow="fold" if left else "ellipsis")
        for i, row in enumerate(members[:ROWS]):
            starred |= row.random_features
            cells = [
                str(row.rank),
                row.cell + ("*" if row.random_features else ""),
                percent(row.test_accuracy),
                percents(row.low, row.high),
                standing(task, i),
                percent(row.source_kept),
                duration(row.seconds),
                duration(row.shared_seconds),
            ]
            # Names may hold what rich would take for its markup.
            table.add_row(*map(Text, cells), style="bold" if i in leads(task) else "")
        say()
        say(table)
        if len(members) > ROWS:
            say(Text(f"and {len(members) - ROWS} more", "dim"))
    say()
    if starred:
        say(Text(f"* {RANDOM_FEATURES}", "dim"))
    for note in findings.notes:
        say(Text(note))
    for file in files:
        say(Text(str(file)), soft_wrap=True)
