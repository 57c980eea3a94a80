"""The verdict in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlfw.report.documents.column_type import Column, places
from tlfw.report.documents.columns import columns_of
from tlfw.report.documents.tables import RANDOM_FEATURES, said
from tlfw.report.findings import Findings
from tlfw.report.number_format import labelled, tight

ROWS = 12
"""Of each task; the files hold them all."""

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
    for task, members in zip(findings.tasks, places(findings), strict=True):
        say()
        say(Text(f"{labelled(task.labelled).capitalize()}:", "dim"))
        tell(task.sentence, "bold")
        for text in (task.advice, *task.remarks, said(task)):
            if text:
                tell(text)
        shown = members[:ROWS]
        starred |= any(at.cell.random_features for at in shown)
        texts = {
            column.name: [
                column.text_in("terminal", at) + "*" * (column.names_row and at.cell.random_features) for at in shown
            ]
            for column in columns_of("terminal")
        }
        fitting = _fitting(texts, console.width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
        for column in fitting:
            table.add_column(
                column.head_in("terminal", task.metric),
                justify=column.align("terminal"),
                no_wrap=not column.names_row,
                overflow="fold",
                min_width=column.tables["terminal"].width,
            )
        for i, at in enumerate(shown):
            # Names may hold what rich would take for its markup.
            row = [Text(texts[column.name][i]) for column in fitting]
            table.add_row(*row, style="bold" if at.leads else "")
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


def _fitting(texts: Mapping[str, Sequence[str]], width: int) -> list[Column]:
    """Columns for which there is room beside names on one line; those that may be spared go one after the other.

    Args:
        texts: of each column, by its name.
        width: of the terminal, in characters.
    """
    widths = {
        column.name: max(map(len, texts[column.name])) if column.names_row else column.tables["terminal"].width
        for column in columns_of("terminal")
    }
    shown = columns_of("terminal")
    for column in columns_of("terminal"):
        room = sum(widths[each.name] for each in shown) + GAP * (len(shown) - 1)
        if column.tables["terminal"].spared and room > width:
            shown.remove(column)
    return shown


def _wrapped(sentence: str, width: int) -> str:
    """In lines that part no cell's name and no number from its unit, where they have room."""
    tied = tight(sentence).replace(" / ", "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(tied, width, break_on_hyphens=False)  # rich would part them
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
