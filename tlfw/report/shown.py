"""The tables of the page: what each cell of them shows, and by what it is sorted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tlfw.report.costs import MEASURES, short
from tlfw.report.digits import (
    NONE,
    chance,
    decimals,
    duration,
    percent,
    points,
    sentence,
)
from tlfw.report.figures.picture import beyond
from tlfw.report.findings import Findings, front, rival
from tlfw.report.leaderboard import Comparison, Row, budgets, compared, comparisons, source_before
from tlfw.report.score_tables import Repetition
from tlfw.report.sentences import bare, span
from tlfw.report.tables import called, to_first
from tlfw.report.verdict import Task, leads

PARETO = {"flops": "FLOPs of training", "seconds": "seconds, as if alone", "shared_seconds": "seconds, shared"}
"""Which costs the page sets accuracy against."""

MOST_NAMES = 12
"""Of cells in one place of a table."""

MOST_PAIRS_SHOWN = 24
"""Of near copies; all are in report.json."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """What one place of a table says.

    Attributes:
        text: large; small: below it.
        value: what it is sorted by, if not by its text; None: last, always.
        badge: a word that marks it.
        star: whether the text has the mark of random features.
        strong: whether it is of the best.
        bar: low, middle and high of an interval, in [0, 1] of the column's width; all below 0 is drawn as an arrow.
        picture: a PNG in base64.
    """

    text: str = ""
    small: str = ""
    value: float | str | None = ""
    badge: str = ""
    star: bool = False
    strong: bool = False
    bar: tuple[float, float, float] | None = None
    picture: str = ""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's head; `numeric` ones are on the right, and are sorted largest first; `wide` ones hold much text."""

    title: str
    numeric: bool = True
    sorts: bool = True
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the page: its caption, its columns, and rows whose first place names them.

    Attributes:
        ordered: by which column it is sorted as it comes, and whether the smallest comes first.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Shown]]
    ordered: tuple[int, bool] | None = None

    @property
    def narrow(self) -> bool:
        """Whether it is no wider than the text."""
        return len(self.columns) <= 4 and not any(column.wide for column in self.columns)


def _number(text: str, value: float | None, **more: Any) -> Shown:
    return Shown(text=text, value=value, **more)


def _name(row: Row, **more: Any) -> Shown:
    return Shown(text=row.cell, value=row.cell, star=row.random_features, **more)


def leaderboard(task: Task, members: Sequence[Row], caption: str) -> Table:
    """What one has to see to choose."""
    metric = task.metric
    low, off = min(row.low for row in members), frozenset[int]()
    if metric.higher_is_better:
        low, off = beyond(task.cells, [row.value for row in members], [row.low for row in members])
    high = max(row.high for row in members)
    width = max(high - low, 1e-9)
    shown = []
    for i, row in enumerate(members):
        bar = tuple(-1.0 if i in off else (each - low) / width for each in (row.low, row.value, row.high))
        shown.append(
            [
                _name(row, badge=row.verdict, strong=i in leads(task)),
                _number(
                    metric.text(row.value), row.value, small=span(metric, row.low, row.high), strong=i in leads(task)
                ),
                Shown(bar=(bar[0], bar[1], bar[2]), value=row.value),
                _number(to_first(row, task), row.difference, small=_span(task, row.difference_low, row.difference_high))
                if i
                else Shown(text="first", value=0.0),
                _number(chance(row.p_to_first), row.p_to_first) if i else Shown(text=NONE, value=None),
                _number(percent(row.source_kept), row.source_kept),
                _number(duration(row.seconds), row.seconds),
                _number(duration(row.shared_seconds), row.shared_seconds),
            ]
        )
    caption += " An arrow: further left than there is room for." if off else ""
    columns = [
        Column("Cell", numeric=False),
        Column(f"Test {metric.title}"),
        Column("95 % interval", sorts=False),
        Column(f"{sentence(metric.units.unit_of_difference)} to the first"),
        Column("p, corrected"),
        Column("Source kept"),
        Column("Time alone"),
        Column("Time shared"),
    ]
    return Table(caption, columns, shown, ordered=(1, False))


def _span(task: Task, low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else span(task.metric, low, high)


def details(task: Task, members: Sequence[Row], caption: str) -> Table:
    """All the other numbers of the leaderboard."""
    shown = [
        [
            _name(row, strong=i in leads(task)),
            _number(str(row.repetitions), row.repetitions, small=f"{row.diverged} diverged" if row.diverged else ""),
            _number(NONE if row.sd is None else bare(task.metric, row.sd), row.sd),
            _number(_shares(row), row.from_repetitions),
            _number(task.metric.text(row.validation), row.validation),
            _number(percent(row.accuracy), row.accuracy),
            _number(percent(row.balanced_accuracy), row.balanced_accuracy),
            _number(decimals(row.macro_f1), row.macro_f1),
            _number(decimals(row.log_loss), row.log_loss),
            _number(percent(row.ece), row.ece),
            _number(f"{row.epochs:.3g}", row.epochs),
            _number(short(row.steps), row.steps),
            _number(short(row.images), row.images, small=f"{short(row.shared_images)} shared"),
            _number(short(row.flops), row.flops, small=f"{short(row.shared_flops)} shared"),
            _number(str(row.tried), row.tried, small=f"{row.tied} tie" if row.tied > 1 else ""),
            Shown(text=", ".join(f"{name} = {value}" for name, value in row.settings.items()) or NONE),
        ]
        for i, row in enumerate(members)
    ]
    titles = (
        "Repetitions", f"SD of repetitions, {task.metric.units.unit_of_difference}",
        "Variance: repetitions, images, rest",
        f"Validation {task.metric.title}",
        "Accuracy", "Balanced accuracy", "Macro F1", "Log-loss, nats", "ECE",
        "Target epochs", "Steps", "Images seen", "FLOPs", "Settings tried",
    )  # fmt: skip
    columns = [Column("Cell", numeric=False), *map(Column, titles), Column("Settings chosen", numeric=False, wide=True)]
    return Table(caption, columns, shown)


def _shares(row: Row) -> str:
    """Of the variance of a mean: `71, 25, 4 %`, or `40 + 31, 25, 4 %` where seeds and draws are crossed."""
    if row.from_repetitions is None or row.from_images is None or row.from_rest is None:
        return NONE
    repeated = [row.from_repetitions]
    if row.from_seeds is not None and row.from_draws is not None:
        repeated = [row.from_seeds, row.from_draws]
    first = " + ".join(f"{100 * share:.0f}" for share in repeated)
    return f"{first}, {100 * row.from_images:.0f}, {100 * row.from_rest:.0f} %"


def floors(task: Task, caption: str) -> Table:
    """What is reached without learning, and which cells are known to be better."""
    metric, floor = task.metric, task.floor
    above = sum(task.learnt(i) for i in range(len(task.cells)))
    rows = [
        [Shown(text="Guessing uniformly (chance)"), _number(metric.text(floor.chance), floor.chance)],
        [Shown(text="Always naming the most frequent class"), _number(metric.text(floor.majority), floor.majority)],
        [
            Shown(text="Cells whose interval is better than both"),
            _number(f"{above} of {len(task.cells)}", float(above)),
        ],
    ]
    return Table(
        caption,
        [Column("Without learning", numeric=False, sorts=False), Column(sentence(metric.title), sorts=False)],
        rows,
    )


def against_best(task: Task, caption: str) -> Table:
    """The first cell against each other."""
    found = compared(task, [(0, i) for i in range(1, len(task.cells))])
    rows = [[_of(task, each.other), *_compared(task, each)] for each in found]
    return Table(caption, [Column(f"{task.cells[0].name} minus", numeric=False), *_heads(task)], rows)


def all_pairs(task: Task, caption: str) -> Table:
    """Every two cells."""
    rows = [
        [Shown(text=f"{task.cells[e.one].name} minus {task.cells[e.other].name}"), *_compared(task, e)]
        for e in comparisons(task)
    ]
    return Table(caption, [Column("Pair", numeric=False), *_heads(task)], rows)


def _heads(task: Task) -> list[Column]:
    return [
        Column(f"Difference, {task.metric.units.unit_of_difference}"),
        Column("95 % interval", sorts=False),
        Column("p"),
        Column("p, corrected"),
        Column("Shared repetitions"),
        Column("Known to differ", numeric=False),
    ]


def _compared(task: Task, each: Comparison) -> list[Shown]:
    difference = NONE if each.difference is None else bare(task.metric, each.difference)
    return [
        _number(difference, each.difference),
        _number(_span(task, each.low, each.high) or NONE, each.low),
        _number(chance(each.p), each.p),
        _number(chance(each.adjusted), each.adjusted),
        _number(str(each.repetitions), each.repetitions),
        Shown(text="yes" if each.apart else "no" if each.adjusted is not None else "not answered", strong=each.apart),
    ]


def _of(task: Task, i: int, **more: Any) -> Shown:
    cell = task.cells[i]
    return Shown(text=cell.name, star=cell.random_features, **more)


def equal_budgets(task: Task, prices: Sequence[Any], caption: str) -> Table | None:
    """Which cells were given as much, and which of those is best; None where no two were."""
    rows = []
    for each in budgets(task, prices):
        best = task.cells[each.best[0]].name
        level, others = len(each.best) - 1, len(each.cells) - 1
        which = "the others" if level == others else f"{level} of the {others} others"
        said = f"not known to be better than {'the other' if others == 1 else which}"
        given = (
            short(each.least) if short(each.least) == short(each.most) else f"{short(each.least)} to {short(each.most)}"
        )
        rows.append(
            [
                Shown(text=sentence(MEASURES[each.measure])),
                _number(given, each.most),
                _number(str(len(each.cells)), len(each.cells)),
                Shown(
                    text=best,
                    star=task.cells[each.best[0]].random_features,
                    strong=not level,
                    small=said if level else "the others are worse",
                ),
                Shown(text=_names(task, each.cells)),
            ]
        )
    columns = [
        Column("Equal in", numeric=False),
        Column("Each was given"),
        Column("Cells"),
        Column("Best mean of them", numeric=False, wide=True),
        Column("Which", numeric=False, wide=True),
    ]
    return Table(caption, columns, rows) if rows else None


def _names(task: Task, cells: Sequence[int]) -> str:
    more = len(cells) - MOST_NAMES
    names = ", ".join(task.cells[i].name for i in cells[:MOST_NAMES])
    return names + (f" and {more} more" if more > 0 else "")


def pareto_front(task: Task, prices: Sequence[Any], caption: str) -> Table:
    """The cells that no other beats at the same or a lower cost, for each kind of cost."""
    fronts = {measure: front(task, prices, measure) for measure in PARETO}
    cells = sorted({i for found in fronts.values() for i in found})
    rows = []
    for i in cells:
        places = [
            _number(
                ("● " if i in found else "") + _cost(measure, getattr(prices[i], measure)), getattr(prices[i], measure),
                strong=i in found,
            )
            for measure, found in fronts.items()
        ]  # fmt: skip
        value = task.means[i].value
        rows.append([_of(task, i), _number(task.metric.text(value), value), *places])
    columns = [
        Column("Cell", numeric=False),
        Column(f"Test {task.metric.title}"),
        *(Column(sentence(said)) for said in PARETO.values()),
    ]
    return Table(caption, columns, rows)


def _cost(measure: str, amount: float) -> str:
    return duration(amount) if "seconds" in measure else short(amount)


def forgetting(task: Task, caption: str) -> Table | None:
    """What is left of the source; None where no cell learnt of it."""
    rows = []
    for cell in task.cells:
        after, before = cell.mean("source/val/acc"), source_before(cell)
        if after is None:
            continue
        change = None if before is None else after - before
        rows.append(
            [
                Shown(text=cell.name, star=cell.random_features),
                _number(percent(before), before),
                _number(percent(after), after),
                _number(points(change), change),
            ]
        )
    columns = [
        Column("Cell", numeric=False),
        Column("Before the last stage"),
        Column("After it"),
        Column("Change, points"),
    ]
    return Table(caption, columns, rows) if rows else None


def calibration(findings: Findings, t: int, caption: str) -> Table:
    """How far what each cell says of its own sureness is off."""
    rows = []
    for i, found in enumerate(findings.mistakes[t]):
        there = found.share_B > 0
        sure = float((found.share_B[there] * found.confidence_B[there]).sum())
        right = float((found.share_B[there] * found.right_B[there]).sum())
        rows.append(
            [
                _of(findings.tasks[t], i),
                _number(percent(found.ece), found.ece),
                _number(percent(sure), sure),
                _number(percent(right), right),
                _number(points(sure - right), sure - right),
            ]
        )
    columns = [
        Column("Cell", numeric=False),
        Column("ECE"),
        Column("Mean confidence"),
        Column("Accuracy"),
        Column("Over-confident by, points"),
    ]
    return Table(caption, columns, rows)


def confused(findings: Findings, t: int, i: int, caption: str) -> Table | None:
    """The classes that a cell takes for others; None where it makes no mistake."""
    names = findings.classes
    rows = [
        [Shown(text=names[one]), Shown(text=called(names, other)), _number(percent(share), share)]
        for one, other, share in findings.mistakes[t][i].confused
    ]
    columns = [Column("Images of", numeric=False), Column("were called", numeric=False), Column("Share of that class")]
    return Table(caption, columns, rows) if rows else None


def looked_at(task: Task) -> list[int]:
    """The cells whose confusions are shown: the first, and whom it is looked at beside."""
    other = rival(task)
    return [0] if other is None else [0, other]


def hard_images(findings: Findings, t: int, caption: str) -> Table:
    """Images that no cell gets right."""
    rows = [[Shown(text=e.name), Shown(text=e.label), Shown(text=e.called)] for e in findings.hard[t][1]]
    columns = [
        Column("Image", numeric=False),
        Column("Its label", numeric=False),
        Column("Most often called", numeric=False),
    ]
    return Table(caption, columns, rows)


def near_copies(findings: Findings, caption: str) -> Table:
    """The likest pairs, those of which pictures were kept first."""
    pairs = findings.near_copies[:MOST_PAIRS_SHOWN]
    rows = [
        [
            Shown(text=each.tested, picture=each.pictures[0] if each.pictures else ""),
            Shown(text=each.other, picture=each.pictures[1] if each.pictures else ""),
            Shown(text=each.part),
            _number(f"{each.correlation:.3f}", each.correlation),
        ]
        for each in pairs
    ]
    columns = [
        Column("Test image", numeric=False),
        Column("Looks like", numeric=False),
        Column("Which is of", numeric=False),
        Column("Correlation"),
    ]
    return Table(caption, columns, rows)


def made_of(task: Task, caption: str) -> Table:
    """The runs behind the numbers."""
    rows = [
        [
            Shown(text=run.folder.name),
            Shown(text=cell.name, star=cell.random_features),
            _number(str(repetition.seed), repetition.seed),
            Shown(text=_draw(repetition)),
            Shown(text=run.record.run_id),
        ]
        for cell in task.cells
        for repetition, run in cell.runs.items()
    ]
    columns = [
        Column("Folder", numeric=False),
        Column("Cell", numeric=False),
        Column("Seed"),
        Column("Draw, or fold", numeric=False),
        Column("Run", numeric=False, wide=True),
    ]
    return Table(caption, columns, rows)


def _draw(repetition: Repetition) -> str:
    """Which images were labelled, or tested on."""
    if repetition.fold is not None:
        return f"fold {repetition.fold}"
    return NONE if not repetition.draw or repetition.draw[-1] is None else str(repetition.draw[-1])
