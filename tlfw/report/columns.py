"""The columns of the report: each is one entry of `COLUMNS`, from which CSV, JSON, W&B, page, Markdown, LaTeX and
terminal are made. A new column is written here and nowhere else.

A row is one cell of a task. The files for programs hold every column, in the order of `COLUMNS`; a table for people
holds those that say how they appear in it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tlfw.metric import METRICS, Metric
from tlfw.report.cells import SOURCE_KEPT, Cell
from tlfw.report.comparisons import Comparison, comparison, standing
from tlfw.report.costs import Cost
from tlfw.report.estimate import Mean
from tlfw.report.findings import Findings
from tlfw.report.markup import latex
from tlfw.report.number_format import NONE, chance, decimals, duration, percent, sentence, short
from tlfw.report.sentences import bare, span
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
        return self.cell.mean(METRICS[metric].at("target/test"))


def places(findings: Findings) -> list[list[Place]]:
    """Of all cells, by task and position in it."""
    return [
        [Place(findings=findings, number=number, position=position) for position in range(len(task.cells))]
        for number, task in enumerate(findings.tasks)
    ]


Text = Callable[[Any, Place], str]
"""(A column's value, the cell's place) -> what people read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Appearance:
    """How a column appears in one table for people.

    Attributes:
        head: a format string, in the table's own language, of the metric: see `_of_metric`.
        text: in the table's own language; None: the column's, escaped.
        align: None: numbers right, text left.
        note: a sentence for the table's caption, where the head needs one; a format string too. Only of LaTeX.
        wide: it holds much text. bar: it is drawn, as the value with its interval. Both only of the page.
        width: in characters; spared: left out where room is short, the first such column first. Only of the terminal.
    """

    head: str
    text: Text | None = None
    align: Literal["left", "right", "center"] | None = None
    note: str = ""
    wide: bool = False
    bar: bool = False
    width: int = 0
    spared: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
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
        order: where it stands in tables for people: those of the smallest first, of the same as in `COLUMNS`.
    """

    name: str
    meaning: str
    value: Callable[[Place], Any]
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
        return _of_metric(self.tables[table].head, metric)

    def text_in(self, table: TableName, at: Place, escape: Callable[[str], str] = str) -> str:
        """What a cell's place in a table says, in the table's own language, into which `escape` brings plain text."""
        own, value = self.tables[table].text, self.value(at)
        return escape(self.text(value, at)) if own is None else own(value, at)


def columns_of(table: TableName) -> list[Column]:
    """Those that stand in a table, from left to right."""
    return sorted((column for column in COLUMNS if table in column.tables), key=lambda column: column.order)


def notes_of(table: TableName, metric: Metric) -> list[str]:
    """What a caption says of the columns."""
    noted = [column.tables[table].note for column in columns_of(table)]
    return [_of_metric(note, metric) for note in noted if note]


def _of_metric(text: str, metric: Metric) -> str:
    """A format string with the metric's `title`, its `short_title` in LaTeX, the `unit` of a value and that of a
    `difference`, the latter also with a capital, `Difference`."""
    difference = metric.units.unit_of_difference
    return text.format(
        title=metric.title,
        short_title=latex(SHORT_TITLES.get(metric.name, metric.title)),
        unit=metric.units.unit,
        difference=difference,
        Difference=sentence(difference),
    )


def values(at: Place) -> dict[str, Any]:
    """All columns of a cell, numbers in full."""
    return {column.name: column.value(at) for column in COLUMNS}


def fields(at: Place) -> dict[str, Any]:
    """All columns of a cell, each as one field of a table holds it: mappings are JSON."""
    return {
        name: json.dumps(value, sort_keys=True, default=str) if isinstance(value, Mapping) else value
        for name, value in values(at).items()
    }


def _in(form: Callable[[Any], str]) -> Text:
    """Text that says the value alone."""
    return lambda value, _: form(value)


def _with_unit(value: float, at: Place) -> str:
    return at.metric.text(value)


def _bare(value: float | None, at: Place) -> str:
    return NONE if value is None else bare(at.metric, value)


def _interval(_: Any, at: Place) -> str:
    return span(at.metric, at.mean.low, at.mean.high)


def _signed(value: float | None, at: Place) -> str:
    """How far a cell's value is from the first one's: `−3.2`, `+0.4`; a dash for the first itself."""
    shown = _bare(value, at)
    return shown if value is None or shown.startswith("−") or float(shown) == 0 else f"+{shown}"


def _difference_interval(at: Place) -> str:
    first = at.to_first
    return "" if first is None or first.low is None or first.high is None else span(at.metric, first.low, first.high)


def _shares(_: Any, at: Place) -> str:
    """Of the variance of a mean: `71, 25, 4 %`, or `40 + 31, 25, 4 %` where seeds and draws are crossed."""
    shares = at.mean.shares
    if "images" not in shares or "rest" not in shares or (repetitions := _from_repetitions(at)) is None:
        return NONE
    repeated = [shares["seeds"], shares["draws"]] if "seeds" in shares else [repetitions]
    first = " + ".join(f"{100 * share:.0f}" for share in repeated)
    return f"{first}, {100 * shares['images']:.0f}, {100 * shares['rest']:.0f} %"


def _from_repetitions(at: Place) -> float | None:
    shares = at.mean.shares
    return shares.get("repetitions", shares["seeds"] + shares["draws"] if "seeds" in shares else None)


def _settings(value: Mapping[str, Any], _: Place) -> str:
    return ", ".join(f"{name} = {chosen}" for name, chosen in value.items()) or NONE


def _latex_p(value: float | None, _: Place) -> str:
    return latex(NONE) if value is None else f"${chance(value)}$"


COLUMNS: tuple[Column, ...] = (
    Column(
        name="rank",
        meaning="place by the metric's mean on the test, among cells with as many labelled images; 1 is the best",
        value=lambda at: at.position + 1,
        tables={"markdown": Appearance(head=""), "terminal": Appearance(head="", align="left", width=2)},
    ),
    Column(
        name="labelled",
        meaning="labelled target images a class, validation included",
        value=lambda at: at.task.labelled,
        missing="all",
    ),
    Column(
        name="cell",
        meaning="what tells it from the other cells of the report",
        value=lambda at: at.cell.name,
        tables={
            "leaderboard": Appearance(head="Cell"),
            "details": Appearance(head="Cell"),
            "markdown": Appearance(head="cell"),
            "latex": Appearance(head="Cell"),
            "terminal": Appearance(head="cell"),
        },
        numeric=False,
        names_row=True,
        bold=True,
    ),
    Column(
        name="data_mix",
        meaning="what the model was trained on: an option's name",
        value=lambda at: at.cell.data_mix,
        numeric=False,
    ),
    Column(
        name="freeze_policy",
        meaning="what the last stage could change: an option's name",
        value=lambda at: at.cell.freeze_policy,
        numeric=False,
    ),
    Column(
        name="backbone",
        meaning="the network below the head: an option's name",
        value=lambda at: at.cell.backbone,
        numeric=False,
    ),
    Column(
        name="source",
        meaning="the data set that was transferred from; empty: none",
        value=lambda at: at.cell.source,
        numeric=False,
    ),
    Column(
        name="compared",
        meaning="the fields that a person compares, with this cell's values, as JSON",
        value=lambda at: at.cell.compared,
        numeric=False,
    ),
    Column(
        name="settings",
        meaning="of its hyper-parameters that were varied, those chosen on validation data, as JSON",
        value=lambda at: at.cell.settings,
        tables={"details": Appearance(head="Settings chosen", wide=True)},
        text=_settings,
        numeric=False,
        order=2,
    ),
    Column(
        name="tried",
        meaning="from how many settings they were chosen",
        value=lambda at: at.cell.tried,
        tables={"details": Appearance(head="Settings tried")},
        small=lambda at: f"{at.cell.tied} tie" if at.cell.tied > 1 else "",
        order=1,
    ),
    Column(
        name="tied",
        meaning="how many of these validate equally well, the chosen ones included",
        value=lambda at: at.cell.tied,
    ),
    Column(
        name="repetitions",
        meaning="over how many the means are",
        value=lambda at: at.mean.repetitions,
        tables={"details": Appearance(head="Repetitions")},
        small=lambda at: f"{at.cell.diverged} diverged" if at.cell.diverged else "",
    ),
    Column(
        name="diverged",
        meaning="how many more repetitions diverged",
        value=lambda at: at.cell.diverged,
    ),
    Column(
        name="metric",
        meaning="what is judged by; value, low, high, sd, chance, majority, validation and difference are in its units",
        value=lambda at: at.metric.name,
        numeric=False,
    ),
    Column(
        name="value",
        meaning="the metric's mean on the test; shares are in [0, 1], log-loss in nats",
        value=lambda at: at.mean.value,
        tables={
            "leaderboard": Appearance(head="Test {title}"),
            "markdown": Appearance(head="test {title}, {unit}", text=_bare),
            "latex": Appearance(head="{short_title}", text=lambda value, at: latex(_bare(value, at))),
            "terminal": Appearance(head="{title}", width=10),
        },
        text=_with_unit,
        small=lambda at: _interval(None, at),
        bold=True,
    ),
    Column(
        name="low",
        meaning="lower end of the value's 95 % interval; with one repetition it covers test images only",
        value=lambda at: at.mean.low,
        tables={
            "leaderboard": Appearance(head="95 % interval", bar=True),
            "markdown": Appearance(head="95 % interval", align="center"),
            "latex": Appearance(
                head=r"95\,\% interval",
                align="center",
                text=lambda _, at: latex(_interval(_, at)).replace(" to ", "--"),
            ),
            "terminal": Appearance(head="95 % interval", width=14),
        },
        text=_interval,
        sort=lambda at: at.mean.value,
    ),
    Column(
        name="high",
        meaning="upper end of that interval",
        value=lambda at: at.mean.high,
    ),
    Column(
        name="sd",
        meaning="standard deviation of the repetitions' values",
        value=lambda at: at.mean.sd,
        tables={"details": Appearance(head="SD of repetitions, {difference}")},
        text=_bare,
    ),
    Column(
        name="from_repetitions",
        meaning="share of the value's variance that is of repetitions (seeds, draws), [0, 1]",
        value=_from_repetitions,
        tables={"details": Appearance(head="Variance: repetitions, images, rest")},
        text=_shares,
    ),
    Column(
        name="from_seeds",
        meaning="of it, the share of seeds, where seeds and draws are crossed, [0, 1]",
        value=lambda at: at.mean.shares.get("seeds"),
    ),
    Column(
        name="from_draws",
        meaning="of it, the share of draws, where seeds and draws are crossed, [0, 1]",
        value=lambda at: at.mean.shares.get("draws"),
    ),
    Column(
        name="from_images",
        meaning="share of the value's variance that is of test images, [0, 1]",
        value=lambda at: at.mean.shares.get("images"),
    ),
    Column(
        name="from_rest",
        meaning="share of the value's variance that is of repetitions and images together, [0, 1]",
        value=lambda at: at.mean.shares.get("rest"),
    ),
    Column(
        name="chance",
        meaning="the metric of guessing uniformly",
        value=lambda at: at.task.floor.chance,
    ),
    Column(
        name="majority",
        meaning="the metric of always naming the most frequent class",
        value=lambda at: at.task.floor.majority,
    ),
    Column(
        name="validation",
        meaning="the metric's mean on validation images",
        value=lambda at: at.cell.validation,
        tables={"details": Appearance(head="Validation {title}")},
        text=_with_unit,
    ),
    Column(
        name="accuracy",
        meaning="mean on the test, [0, 1]",
        value=lambda at: at.tested("accuracy"),
        tables={"details": Appearance(head="Accuracy")},
        text=_in(percent),
    ),
    Column(
        name="balanced_accuracy",
        meaning="mean on the test, [0, 1]",
        value=lambda at: at.tested("balanced_accuracy"),
        tables={"details": Appearance(head="Balanced accuracy")},
        text=_in(percent),
    ),
    Column(
        name="macro_f1",
        meaning="mean on the test, [0, 1]",
        value=lambda at: at.tested("macro_f1"),
        tables={"details": Appearance(head="Macro F1")},
        text=_in(decimals),
    ),
    Column(
        name="log_loss",
        meaning="mean on the test, nats",
        value=lambda at: at.tested("log_loss"),
        tables={"details": Appearance(head="Log-loss, nats")},
        text=_in(decimals),
    ),
    Column(
        name="ece",
        meaning="expected calibration error on the test, over all repetitions together, [0, 1]",
        value=lambda at: at.findings.mistakes[at.number][at.position].ece,
        tables={"details": Appearance(head="ECE")},
        text=_in(percent),
    ),
    Column(
        name="source_kept",
        meaning="accuracy on the source's validation images after all training, [0, 1]; empty: it never learnt of it",
        value=lambda at: at.cell.mean(SOURCE_KEPT),
        tables={
            "leaderboard": Appearance(head="Source kept"),
            "markdown": Appearance(head="source kept"),
            "latex": Appearance(
                head=r"Kept (\%)",
                text=lambda value, _: latex(percent(value).removesuffix(" %")),
                note="Kept: accuracy on the source.",
            ),
            "terminal": Appearance(head="source kept", width=11, spared=True),
        },
        text=_in(percent),
        order=4,
    ),
    Column(
        name="epochs",
        meaning="over the target's training images, as if the run had been alone",
        value=lambda at: at.cost.epochs,
        tables={"details": Appearance(head="Target epochs")},
        text=_in("{:.3g}".format),
    ),
    Column(
        name="steps",
        meaning="of the optimizer, as if the run had been alone",
        value=lambda at: at.cost.steps,
        tables={"details": Appearance(head="Steps")},
        text=_in(short),
    ),
    Column(
        name="images",
        meaning="seen in training, each time, as if the run had been alone",
        value=lambda at: at.cost.images,
        tables={"details": Appearance(head="Images seen")},
        text=_in(short),
        small=lambda at: f"{short(at.cost.shared_images)} shared",
    ),
    Column(
        name="flops",
        meaning="of training, forward and backward, multiply and add counted apart, as if the run had been alone",
        value=lambda at: at.cost.flops,
        tables={"details": Appearance(head="FLOPs")},
        text=_in(short),
        small=lambda at: f"{short(at.cost.shared_flops)} shared",
    ),
    Column(
        name="direct_flops",
        meaning="of training, if no features were stored: what a budget in FLOPs is counted in",
        value=lambda at: at.cost.direct_flops,
    ),
    Column(
        name="seconds",
        meaning="of training, validation, features and test, as if the run had been alone",
        value=lambda at: at.cost.seconds,
        tables={
            "leaderboard": Appearance(head="Time alone"),
            "markdown": Appearance(head="time alone"),
            "latex": Appearance(head="Time", text=lambda value, _: duration(value).replace(" ", r"\,")),
            "terminal": Appearance(head="time alone", width=10, spared=True),
        },
        text=_in(duration),
        order=4,
    ),
    Column(
        name="shared_images",
        meaning="its part of the images that all runs saw; what several have in common counts for its part of each",
        value=lambda at: at.cost.shared_images,
    ),
    Column(
        name="shared_flops",
        meaning="its part of the FLOPs that all runs took",
        value=lambda at: at.cost.shared_flops,
    ),
    Column(
        name="shared_seconds",
        meaning="its part of the seconds that all runs took",
        value=lambda at: at.cost.shared_seconds,
        tables={
            "leaderboard": Appearance(head="Time shared"),
            "markdown": Appearance(head="shared"),
            "terminal": Appearance(head="shared", width=8, spared=True),
        },
        text=_in(duration),
        order=4,
    ),
    Column(
        name="verdict",
        meaning="what is known of it, in a word or two",
        value=lambda at: standing(at.task, at.position),
        tables={"markdown": Appearance(head="verdict"), "terminal": Appearance(head="verdict", width=12)},
        numeric=False,
        order=3,
    ),
    Column(
        name="p_to_first",
        meaning="p value of the difference to the first, corrected for all pairs of the report (Holm); empty: no claim",
        value=lambda at: at.to_first and at.to_first.adjusted,
        tables={
            "leaderboard": Appearance(head="p, corrected"),
            "markdown": Appearance(head="p"),
            "latex": Appearance(head="$p$", text=_latex_p),
        },
        text=_in(chance),
        order=2,
    ),
    Column(
        name="difference",
        meaning="to the first, over the repetitions that both have; empty: it is the first, or they share none",
        value=lambda at: at.to_first and at.to_first.difference,
        tables={
            "leaderboard": Appearance(
                head="{Difference} to the first",
                text=lambda value, at: _signed(value, at) if at.position else "first",
            ),
            "markdown": Appearance(head="to the first"),
            "latex": Appearance(head="Gap", note="Gap: {difference} to the first."),
        },
        text=_signed,
        small=_difference_interval,
        sort=lambda at: at.to_first.difference if at.to_first else 0.0,
        order=1,
    ),
    Column(
        name="difference_low",
        meaning="lower end of the difference's 95 % interval, for this pair alone",
        value=lambda at: at.to_first and at.to_first.low,
    ),
    Column(
        name="difference_high",
        meaning="upper end of that interval",
        value=lambda at: at.to_first and at.to_first.high,
    ),
    Column(
        name="random_features",
        meaning="whether nothing below its trained layers ever learnt: a control",
        value=lambda at: at.cell.random_features,
        numeric=False,
    ),
    Column(
        name="control",
        meaning="whether nothing was transferred",
        value=lambda at: at.cell.control,
        numeric=False,
    ),
)
"""In the order of the files for programs."""
