"""The tables of the page: the leaderboard's two, made of the report's columns, and those of each section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlfw.report.cells import SOURCE_KEPT, Cell
from tlfw.report.comparisons import Comparison, budgets, compared, comparisons, standing
from tlfw.report.costs import MEASURES
from tlfw.report.documents.column_type import Column, Place, TableName
from tlfw.report.documents.columns import columns_of
from tlfw.report.documents.html_table import Entry, Head, Table, number
from tlfw.report.figures.figure import beyond
from tlfw.report.findings import Findings, front, rival
from tlfw.report.mistakes import called
from tlfw.report.number_format import NONE, chance, duration, percent, points, sentence, short
from tlfw.report.sentences import bare, span
from tlfw.report.statistics.score_tables import Repetition
from tlfw.report.verdict import Task

PARETO = {"flops": "FLOPs of training", "seconds": "seconds, as if alone", "shared_seconds": "seconds, shared"}
"""Which costs the page sets accuracy against."""

MOST_NAMES = 12
"""Of cells in one place of a table."""

MOST_PAIRS_SHOWN = 24
"""Of near copies; all are in report.json."""


def leaderboard(task: Task, members: Sequence[Place], caption: str) -> Table:
    """What one has to see to choose."""
    columns = columns_of("leaderboard")
    bar_of, off = _bars(task)
    rows = [
        [
            Entry(bar=bar_of[at.position], value=_sorted_by(column, at))
            if column.tables["leaderboard"].bar
            else _entry(column, "leaderboard", at)
            for column in columns
        ]
        for at in members
    ]
    caption += " An arrow: further left than there is room for." if off else ""
    by_value = [column.name for column in columns].index("value")
    return Table(caption, _heads_of("leaderboard", task), rows, ordered=(by_value, False))


def details(task: Task, members: Sequence[Place], caption: str) -> Table:
    """All the other numbers of the leaderboard."""
    rows = [[_entry(column, "details", at) for column in columns_of("details")] for at in members]
    return Table(caption, _heads_of("details", task), rows)


def _heads_of(table: TableName, task: Task) -> list[Head]:
    found = []
    for column in columns_of(table):
        how = column.tables[table]
        found.append(Head(column.head_in(table, task.metric), numeric=column.numeric, sorts=not how.bar, wide=how.wide))
    return found


def _entry(column: Column, table: TableName, at: Place) -> Entry:
    return Entry(
        text=column.text_in(table, at),
        small=column.small(at),
        value=_sorted_by(column, at) if column.numeric else "",
        badge=standing(at.task, at.position) if column.names_row and table == "leaderboard" else "",
        star=column.names_row and at.cell.random_features,
        strong=column.bold and at.leads,
    )


def _sorted_by(column: Column, at: Place) -> Any:
    return (column.sort or column.value)(at)


def _bars(task: Task) -> tuple[list[tuple[float, float, float]], bool]:
    """Each cell's interval, in [0, 1] of the column's width, and whether any is beyond it."""
    means, off = task.means, frozenset[int]()
    low = min(mean.low for mean in means)
    if task.metric.higher_is_better:
        low, off = beyond(task.cells, [mean.value for mean in means], [mean.low for mean in means])
    width = max(max(mean.high for mean in means) - low, 1e-9)

    def share(i: int, end: float) -> float:
        return -1.0 if i in off else (end - low) / width

    return [(share(i, m.low), share(i, m.value), share(i, m.high)) for i, m in enumerate(means)], bool(off)


def floors(task: Task, caption: str) -> Table:
    """What is reached without learning, and which cells are known to be better."""
    metric, floor = task.metric, task.floor
    above = sum(task.learnt(i) for i in range(len(task.cells)))
    rows = [
        [Entry(text="Guessing uniformly (chance)"), number(metric.text(floor.chance), floor.chance)],
        [Entry(text="Always naming the most frequent class"), number(metric.text(floor.majority), floor.majority)],
        [
            Entry(text="Cells whose interval is better than both"),
            number(f"{above} of {len(task.cells)}", float(above)),
        ],
    ]
    return Table(
        caption,
        [Head("Without learning", numeric=False, sorts=False), Head(sentence(metric.title), sorts=False)],
        rows,
    )


def against_best(task: Task, caption: str) -> Table:
    """The first cell against each other."""
    found = compared(task, [(0, i) for i in range(1, len(task.cells))])
    rows = [[_of(task.cells[each.other]), *_compared(task, each)] for each in found]
    return Table(caption, [Head(f"{task.cells[0].name} minus", numeric=False), *_heads(task)], rows)


def all_pairs(task: Task, caption: str) -> Table:
    """Every two cells."""
    rows = [
        [Entry(text=f"{task.cells[e.one].name} minus {task.cells[e.other].name}"), *_compared(task, e)]
        for e in comparisons(task)
    ]
    return Table(caption, [Head("Pair", numeric=False), *_heads(task)], rows)


def _heads(task: Task) -> list[Head]:
    return [
        Head(f"Difference, {task.metric.units.unit_of_difference}"),
        Head("95 % interval", sorts=False),
        Head("p"),
        Head("p, corrected"),
        Head("Shared repetitions"),
        Head("Known to differ", numeric=False),
    ]


def _compared(task: Task, each: Comparison) -> list[Entry]:
    difference = NONE if each.difference is None else bare(task.metric, each.difference)
    return [
        number(difference, each.difference),
        number(NONE if each.low is None or each.high is None else span(task.metric, each.low, each.high), each.low),
        number(chance(each.p), each.p),
        number(chance(each.adjusted), each.adjusted),
        number(str(each.repetitions), each.repetitions),
        Entry(text="yes" if each.apart else "no" if each.adjusted is not None else "not answered", strong=each.apart),
    ]


def _of(cell: Cell, **more: Any) -> Entry:
    return Entry(text=cell.name, star=cell.random_features, **more)


def equal_budgets(task: Task, prices: Sequence[Any], caption: str) -> Table | None:
    """Which cells were given as much, and which of those is best; None where no two were."""
    rows = []
    for each in budgets(task, prices):
        best = task.cells[each.best[0]]
        level, others = len(each.best) - 1, len(each.cells) - 1
        which = "the others" if level == others else f"{level} of the {others} others"
        said = f"not known to be better than {'the other' if others == 1 else which}"
        given = (
            short(each.least) if short(each.least) == short(each.most) else f"{short(each.least)} to {short(each.most)}"
        )
        rows.append(
            [
                Entry(text=sentence(MEASURES[each.measure])),
                number(given, each.most),
                number(str(len(each.cells)), len(each.cells)),
                _of(best, strong=not level, small=said if level else "the others are worse"),
                Entry(text=_names(task, each.cells)),
            ]
        )
    heads = [
        Head("Equal in", numeric=False),
        Head("Each was given"),
        Head("Cells"),
        Head("Best mean of them", numeric=False, wide=True),
        Head("Which", numeric=False, wide=True),
    ]
    return Table(caption, heads, rows) if rows else None


def _names(task: Task, cells: Sequence[int]) -> str:
    more = len(cells) - MOST_NAMES
    names = ", ".join(task.cells[i].name for i in cells[:MOST_NAMES])
    return names + (f" and {more} more" if more > 0 else "")


def pareto_front(task: Task, prices: Sequence[Any], caption: str) -> Table:
    """For each cost, the cells that no other beats at the same or a lower cost."""
    fronts = {measure: front(task, prices, measure) for measure in PARETO}
    cells = sorted({i for found in fronts.values() for i in found})
    rows = []
    for i in cells:
        places = [
            number(
                ("● " if i in found else "") + _cost(measure, getattr(prices[i], measure)), getattr(prices[i], measure),
                strong=i in found,
            )
            for measure, found in fronts.items()
        ]  # fmt: skip
        value = task.means[i].value
        rows.append([_of(task.cells[i]), number(task.metric.text(value), value), *places])
    heads = [
        Head("Cell", numeric=False),
        Head(f"Test {task.metric.title}"),
        *(Head(sentence(said)) for said in PARETO.values()),
    ]
    return Table(caption, heads, rows)


def _cost(measure: str, amount: float) -> str:
    return duration(amount) if "seconds" in measure else short(amount)


def forgetting(task: Task, caption: str) -> Table | None:
    """What is left of the source; None where no cell learnt of it."""
    rows = []
    for cell in task.cells:
        after, before = cell.mean(SOURCE_KEPT), cell.before_last_stage(SOURCE_KEPT)
        if after is None:
            continue
        change = None if before is None else after - before
        rows.append(
            [
                _of(cell),
                number(percent(before), before),
                number(percent(after), after),
                number(points(change), change),
            ]
        )
    heads = [
        Head("Cell", numeric=False),
        Head("Before the last stage"),
        Head("After it"),
        Head("Change, points"),
    ]
    return Table(caption, heads, rows) if rows else None


def calibration(findings: Findings, t: int, caption: str) -> Table:
    """How far what each cell says of its own sureness is off."""
    rows = []
    for i, found in enumerate(findings.mistakes[t]):
        there = found.share_B > 0
        sure = float((found.share_B[there] * found.confidence_B[there]).sum())
        right = float((found.share_B[there] * found.right_B[there]).sum())
        rows.append(
            [
                _of(findings.tasks[t].cells[i]),
                number(percent(found.ece), found.ece),
                number(percent(sure), sure),
                number(percent(right), right),
                number(points(sure - right), sure - right),
            ]
        )
    heads = [
        Head("Cell", numeric=False),
        Head("ECE"),
        Head("Mean confidence"),
        Head("Accuracy"),
        Head("Over-confident by, points"),
    ]
    return Table(caption, heads, rows)


def confused(findings: Findings, t: int, i: int, caption: str) -> Table | None:
    """The classes that a cell takes for others; None where it makes no mistake."""
    names = findings.classes
    rows = [
        [Entry(text=names[one]), Entry(text=called(names, other)), number(percent(share), share)]
        for one, other, share in findings.mistakes[t][i].confused
    ]
    heads = [Head("Images of", numeric=False), Head("were called", numeric=False), Head("Share of that class")]
    return Table(caption, heads, rows) if rows else None


def looked_at(task: Task) -> list[int]:
    """The cells whose confusions are shown: the first, and whom it is looked at beside."""
    other = rival(task)
    return [0] if other is None else [0, other]


def hard_images(findings: Findings, t: int, caption: str) -> Table:
    """Images that no cell gets right."""
    rows = [[Entry(text=e.name), Entry(text=e.label), Entry(text=e.called)] for e in findings.hard[t][1]]
    heads = [
        Head("Image", numeric=False),
        Head("Its label", numeric=False),
        Head("Most often called", numeric=False),
    ]
    return Table(caption, heads, rows)


def near_copies(findings: Findings, caption: str) -> Table:
    """The likest pairs, those of which pictures were kept first."""
    pairs = findings.near_copies[:MOST_PAIRS_SHOWN]
    rows = [
        [
            Entry(text=each.tested, picture=each.pictures[0] if each.pictures else ""),
            Entry(text=each.other, picture=each.pictures[1] if each.pictures else ""),
            Entry(text=each.part),
            number(f"{each.correlation:.3f}", each.correlation),
        ]
        for each in pairs
    ]
    heads = [
        Head("Test image", numeric=False),
        Head("Looks like", numeric=False),
        Head("Which is of", numeric=False),
        Head("Correlation"),
    ]
    return Table(caption, heads, rows)


def made_of(task: Task, caption: str) -> Table:
    """The runs behind the numbers."""
    rows = [
        [
            Entry(text=run.folder.name),
            _of(cell),
            number(str(repetition.seed), repetition.seed),
            Entry(text=_draw(repetition)),
            Entry(text=run.record.run_id),
        ]
        for cell in task.cells
        for repetition, run in cell.runs.items()
    ]
    heads = [
        Head("Folder", numeric=False),
        Head("Cell", numeric=False),
        Head("Seed"),
        Head("Draw, or fold", numeric=False),
        Head("Run", numeric=False, wide=True),
    ]
    return Table(caption, heads, rows)


def _draw(repetition: Repetition) -> str:
    """Which images were labelled, or tested on."""
    if repetition.fold is not None:
        return f"fold {repetition.fold}"
    return NONE if not repetition.draw or repetition.draw[-1] is None else str(repetition.draw[-1])
