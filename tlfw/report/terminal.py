"""The verdict in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlfw.report.digits import duration, labelled, percent, tight
from tlfw.report.findings import Findings
from tlfw.report.leaderboard import rows
from tlfw.report.sentences import span
from tlfw.report.tables import RANDOM_FEATURES, said
from tlfw.report.verdict import leads

ROWS = 12
"""Of each task; the files hold them all."""

COLUMNS = {
    "": 2,
    "cell": 0,
    "value": 10,
    "95 % interval": 14,
    "verdict": 12,
    "source kept": 11,
    "time alone": 10,
    "shared": 8,
}
"""Of the table, with their widths; that of `cell` is its names'."""

SPARED = ("source kept", "time alone", "shared")
"""Columns that are left out, one after the other, where the terminal is too narrow for names on one line."""

GAP = 2


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

    def tell(sentence: str, style: str = "") -> None:
        say(Text(_wrapped(sentence, console.width), style))

    for sentence in findings.unequal:
        tell(sentence, "yellow")
    starred = False
    for task, members in zip(findings.tasks, rows(findings), strict=True):
        say()
        say(Text(f"{labelled(task.labelled).capitalize()}:", "dim"))
        tell(task.sentence, "bold")
        for text in (task.advice, *task.remarks, said(task)):
            if text:
                tell(text)
        names = [row.cell + "*" * row.random_features for row in members[:ROWS]]
        columns = _columns(max(map(len, names)), console.width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
        for column in columns:
            left = column in ("cell", "", "verdict")
            table.add_column(
                task.metric.title if column == "value" else column,
                justify="left" if left else "right",
                no_wrap=column != "cell",
                overflow="fold",
                min_width=COLUMNS[column],
            )
        for i, row in enumerate(members[:ROWS]):
            starred |= row.random_features
            cells = {
                "": str(row.rank),
                "cell": names[i],
                "value": task.metric.text(row.value),
                "95 % interval": span(task.metric, row.low, row.high),
                "verdict": row.verdict,
                "source kept": percent(row.source_kept),
                "time alone": duration(row.seconds),
                "shared": duration(row.shared_seconds),
            }
            # Names may hold what rich would take for its markup.
            table.add_row(*(Text(cells[column]) for column in columns), style="bold" if i in leads(task) else "")
        say()
        say(table)
        if len(members) > ROWS:
            say(Text(f"and {len(members) - ROWS} more", "dim"))
    say()
    if starred:
        tell(f"* {RANDOM_FEATURES}", "dim")
    for note in findings.notes:
        tell(note)
    for file in files:
        say(Text(str(file)), soft_wrap=True)


def _columns(name: int, width: int) -> list[str]:
    """Those for which there is room beside names so long."""
    shown = list(COLUMNS)
    for spared in SPARED:
        if name + sum(COLUMNS[each] for each in shown) + GAP * (len(shown) - 1) > width:
            shown.remove(spared)
    return shown


def _wrapped(sentence: str, width: int) -> str:
    """In lines that part no cell's name and no number from its unit, where they have room."""
    tied = tight(sentence).replace(" / ", "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(tied, width, break_on_hyphens=False)  # rich would part them
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
