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
    percents,
    pointed,
    points,
    sentence,
)
from tlfw.report.figures.picture import beyond
from tlfw.report.findings import Findings, front, rival
from tlfw.report.leaderboard import (
    Comparison,
    Row,
    budgets,
    comparison,
    comparisons,
    leads,
    source_before,
    standing,
)
from tlfw.report.statistics import LEVEL
from tlfw.report.tables import called
from tlfw.report.verdict import Task

PARETO = {"flops": "FLOPs of training", "seconds": "seconds, as if alone", "shared_seconds": "seconds, shared"}
"""Which costs the page sets accuracy against."""


MOST_NAMES = 12
"""Of cells in one place of a table."""


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
    """

    text: str = ""
    small: str = ""
    value: float | str | None = ""
    badge: str = ""
    star: bool = False
    strong: bool = False
    bar: tuple[float, float, float] | None = None


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
    low, off = beyond(task.cells, [row.test_accuracy for row in members], [row.low for row in members])
    high = max(row.high for row in members)
    width = max(high - low, 1e-9)
    shown = []
    for i, row in enumerate(members):
        bar = tuple(-1.0 if i in off else (each - low) / width for each in (row.low, row.test_accuracy, row.high))
        shown.append(
            [
                _name(row, badge=standing(task, i), strong=i in leads(task)),
                _number(
                    percent(row.test_accuracy),
                    row.test_accuracy,
                    small=percents(row.low, row.high),
                    strong=i in leads(task),
                ),
                Shown(bar=(bar[0], bar[1], bar[2]), value=row.test_accuracy),
                _number(
                    points(row.difference), row.difference, small=_if(pointed(row.difference_low, row.difference_high))
                )
                if i
                else Shown(text="first", value=0.0),
                _number(chance(row.p_against_best), row.p_against_best) if i else Shown(text=NONE, value=None),
                _number(percent(row.source_kept), row.source_kept),
                _number(duration(row.seconds), row.seconds),
                _number(duration(row.shared_seconds), row.shared_seconds),
            ]
        )
    caption += " An arrow: further left than there is room for." if off else ""
    columns = [
        Column("Cell", numeric=False),
        Column("Test accuracy"),
        Column("95 % interval", sorts=False),
        Column("Points to the first"),
        Column("p, corrected"),
        Column("Source kept"),
        Column("Time alone"),
        Column("Time shared"),
    ]
    return Table(caption, columns, shown, ordered=(1, False))


def _if(text: str) -> str:
    return "" if text == NONE else text


def details(task: Task, members: Sequence[Row], caption: str) -> Table:
    """All the other numbers of the leaderboard."""
    shown = [
        [
            _name(row, strong=i in leads(task)),
            _number(str(row.seeds), row.seeds),
            _number(decimals(None if row.seed_sd is None else 100 * row.seed_sd, 2), row.seed_sd),
            _number(percent(row.val_accuracy), row.val_accuracy),
            _number(percent(row.balanced_accuracy), row.balanced_accuracy),
            _number(decimals(row.macro_f1), row.macro_f1),
            _number(decimals(row.log_loss), row.log_loss),
            _number(percent(row.ece), row.ece),
            _number(f"{row.epochs:.3g}", row.epochs),
            _number(short(row.steps), row.steps),
            _number(short(row.images), row.images, small=f"{short(row.shared_images)} shared"),
            _number(short(row.flops), row.flops, small=f"{short(row.shared_flops)} shared"),
            _number(str(row.tried), row.tried),
            Shown(text=", ".join(f"{name} = {value}" for name, value in row.settings.items()) or NONE),
        ]
        for i, row in enumerate(members)
    ]
    titles = (
        "Seeds", "SD of seeds, points", "Validation accuracy", "Balanced accuracy", "Macro F1", "Log-loss, nats", "ECE",
        "Target epochs", "Steps", "Images seen", "FLOPs", "Settings tried",
    )  # fmt: skip
    columns = [Column("Cell", numeric=False), *map(Column, titles), Column("Settings chosen", numeric=False, wide=True)]
    return Table(caption, columns, shown)


def against_best(task: Task, caption: str) -> Table:
    """The first cell against each other."""
    found = [comparison(task, 0, i) for i in range(1, len(task.cells))]
    rows = [[_of(task, each.other), *_compared(each)] for each in found]
    return Table(caption, [Column(f"{task.cells[0].name} minus", numeric=False), *COMPARED], rows)


def all_pairs(task: Task, caption: str) -> Table:
    """Every two cells."""
    rows = [
        [Shown(text=f"{task.cells[e.one].name} minus {task.cells[e.other].name}"), *_compared(e)]
        for e in comparisons(task)
    ]
    return Table(caption, [Column("Pair", numeric=False), *COMPARED], rows)


COMPARED = (
    Column("Difference, points"),
    Column("95 % interval", sorts=False),
    Column("p"),
    Column("p, corrected"),
    Column("Shared seeds"),
    Column("Only the one right"),
    Column("Only the other right"),
    Column("Known to differ", numeric=False),
)


def _compared(each: Comparison) -> list[Shown]:
    real = each.adjusted is not None and each.adjusted < LEVEL
    return [
        _number(points(each.difference), each.difference),
        _number(pointed(each.low, each.high), each.low),
        _number(chance(each.p), each.p),
        _number(chance(each.adjusted), each.adjusted),
        _number(str(each.seeds), each.seeds),
        _number(NONE if each.ahead is None else f"{each.ahead:,}", each.ahead),
        _number(NONE if each.behind is None else f"{each.behind:,}", each.behind),
        Shown(text="yes" if real else "no" if each.adjusted is not None else "share no seed", strong=real),
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
        said = f"not told apart from {'the other' if others == 1 else which}"
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
                    small=said if level else "known to be best",
                ),
                Shown(text=_names(task, each.cells)),
            ]
        )
    columns = [
        Column("Equal in", numeric=False),
        Column("Each was given"),
        Column("Cells"),
        Column("Most accurate of them", numeric=False, wide=True),
        Column("Which", numeric=False, wide=True),
    ]
    return Table(caption, columns, rows) if rows else None


def _names(task: Task, cells: Sequence[int]) -> str:
    more = len(cells) - MOST_NAMES
    names = ", ".join(task.cells[i].name for i in cells[:MOST_NAMES])
    return names + (f" and {more} more" if more > 0 else "")


def pareto_front(task: Task, prices: Sequence[Any], caption: str) -> Table:
    """The cells that none at most as dear beats, for each cost."""
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
        rows.append([_of(task, i), _number(percent(task.accuracies[i].mean), task.accuracies[i].mean), *places])
    columns = [
        Column("Cell", numeric=False),
        Column("Test accuracy"),
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


def made_of(task: Task, caption: str) -> Table:
    """The runs behind the numbers."""
    rows = [
        [
            Shown(text=run.folder.name),
            Shown(text=cell.name, star=cell.random_features),
            _number(str(run.record.seed), run.record.seed),
            Shown(text=run.record.run_id),
        ]
        for cell in task.cells
        for run in cell.runs.values()
    ]
    columns = [
        Column("Folder", numeric=False),
        Column("Cell", numeric=False),
        Column("Seed"),
        Column("Run", numeric=False, wide=True),
    ]
    return Table(caption, columns, rows)
