"""A column of the report: what it is called and means, its value for one cell, and how it appears in each table."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tlfw.records.metric import METRICS, TARGET_TEST, Metric
from tlfw.report.cells import Cell
from tlfw.report.comparisons import Comparison, comparison
from tlfw.report.costs import Cost
from tlfw.report.documents.markup import latex
from tlfw.report.findings import Findings
from tlfw.report.number_format import NONE, sentence
from tlfw.report.statistics.estimate import Mean
from tlfw.report.verdict import Task, leads

SHORT_TITLES = {
    "accuracy": "Acc. (%)",
    "balanced_accuracy": "Bal. acc. (%)",
    "macro_f1": "F1 (%)",
    "log_loss": "Log-loss",
}
"""Of a metric, with its unit, where there is little room."""

TableName = Literal["leaderboard", "details", "markdown", "latex", "terminal"]
"""Tables for people: the page's two, those of leaderboard.md and leaderboard.tex, and the terminal's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Of one cell: where it is in the findings.

    Attributes:
        number: of its task. position: in it, the first being 0.
    """

    findings: Findings
    number: int
    position: int

    @property
    def task(self) -> Task:
        return self.findings.tasks[self.number]

    @property
    def metric(self) -> Metric:
        return self.task.metric

    @property
    def cell(self) -> Cell:
        return self.task.cells[self.position]

    @property
    def mean(self) -> Mean:
        return self.task.means[self.position]

    @property
    def cost(self) -> Cost:
        return self.findings.costs[self.number][self.position]

    @property
    def leads(self) -> bool:
        """Whether it is of what stands out."""
        return self.position in leads(self.task)

    @functools.cached_property
    def to_first(self) -> Comparison | None:
        """Of this cell and the first; None: it is the first."""
        return comparison(self.task, self.position, 0) if self.position else None

    def tested(self, metric: str) -> float | None:
        """Another metric's mean on the test."""
        return self.cell.mean(METRICS[metric].at(TARGET_TEST))


def places(findings: Findings) -> list[list[Place]]:
    """Of all cells, by task and position in it."""
    return [
        [Place(findings=findings, number=number, position=position) for position in range(len(task.cells))]
        for number, task in enumerate(findings.tasks)
    ]


Text = Callable[[Any, Place], str]
"""(A column's value, the cell's place) -> what people read."""


@dataclasses.dataclass(frozen=True)
class Appearance:
    """How a column appears in one table for people.

    Attributes:
        head: a format string, in the table's own language, of the metric: see `of_metric`.
        text: in the table's own language; None: the column's, escaped.
        align: None: numbers right, text left.
        note: a sentence for the table's caption, where the head needs one; a format string too. Only of LaTeX.
        wide: it holds much text. bar: it is drawn, as the value with its interval. Both only of the page.
        width: in characters; spared: left out where room is short, the first such column first. Only of the terminal.
    """

    head: str
    _: dataclasses.KW_ONLY
    text: Text | None = None
    align: Literal["left", "right", "center"] | None = None
    note: str = ""
    wide: bool = False
    bar: bool = False
    width: int = 0
    spared: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: in CSV, JSON and W&B.
        meaning: with its unit, in one line.
        value: of a cell; None where it does not apply.
        missing: what CSV says where it does not apply.
        tables: for people, in which it stands.
        text: for people.
        small: what the page has below the text; empty: nothing.
        sort: what the page sorts by; None: the value.
        numeric: whether it is right-aligned, and sorted by number, the largest first.
        names_row: whether it is the name of its row, which is never left out and bears the mark of random features.
        bold: whether it is in bold type where the cell is of what stands out.
        order: where it stands in tables for people: those of the smallest first, of the same as in `columns.COLUMNS`.
    """

    name: str
    meaning: str
    value: Callable[[Place], Any]
    _: dataclasses.KW_ONLY
    missing: str = ""
    tables: Mapping[TableName, Appearance] = dataclasses.field(default_factory=dict)
    text: Text = lambda value, _: NONE if value is None else str(value)
    small: Callable[[Place], str] = lambda _: ""
    sort: Callable[[Place], Any] | None = None
    numeric: bool = True
    names_row: bool = False
    bold: bool = False
    order: int = 0

    def align(self, table: TableName) -> Literal["left", "right", "center"]:
        return self.tables[table].align or ("right" if self.numeric else "left")

    def head_in(self, table: TableName, metric: Metric) -> str:
        """Its head in a table, in the table's own language."""
        return of_metric(self.tables[table].head, metric)

    def text_in(self, table: TableName, at: Place, escape: Callable[[str], str] = str) -> str:
        """What a cell's place in a table says, in the table's own language, into which `escape` brings plain text."""
        own, value = self.tables[table].text, self.value(at)
        return escape(self.text(value, at)) if own is None else own(value, at)


def of_metric(text: str, metric: Metric) -> str:
    """A format string with the metric's `title`, its `short_title` in LaTeX, the `unit` of a value and that of a
    `difference`, the latter also with a capital, `Difference`.
    """
    difference = metric.units.unit_of_difference
    return text.format(
        title=metric.title,
        short_title=latex(SHORT_TITLES.get(metric.name, metric.title)),
        unit=metric.units.unit,
        difference=difference,
        Difference=sentence(difference),
    )
