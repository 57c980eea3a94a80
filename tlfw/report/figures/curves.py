"""How cells learnt: validation accuracy and training loss against images seen, stage after stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlfw.records.metric import METRICS, TARGET_VAL
from tlfw.report.cells import SOURCE_KEPT, Cell
from tlfw.report.figures.figure import Picture, Subject, arrow, arrows_said, beyond, named, starred
from tlfw.report.figures.style import PAGE, SMALL, amounts, legend, muted, percent, plain, said
from tlfw.report.runs import Run

MOST = 12
"""Cells; of more the best are shown."""

ROWS = 6
"""Rows of panels; of cells that need more the best are shown."""

TARGET_ACCURACY = METRICS["accuracy"].at(TARGET_VAL)

COLUMNS = {
    TARGET_ACCURACY: "target val. accuracy, %",
    SOURCE_KEPT: "source val. accuracy, %",
    "train/loss": "training loss",
}


@dataclasses.dataclass(frozen=True)
class Curve:
    """One measure of a cell over its repetitions, float `[P]` each: mean, least and most at the images seen."""

    images: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclasses.dataclass(frozen=True)
class Learning:
    """What is known of a cell: a curve a stage and measure, and where each stage ends, in images seen."""

    position: int
    stages: tuple[str, ...]
    ends: tuple[float, ...]
    curves: dict[str, list[Curve]]


def curves(subject: Subject) -> Picture | None:
    """Validation over the steps of each stage; None where no curve was kept."""
    task = subject.task
    shown = _shown(task.cells)
    found = [each for i in range(shown) if (each := learning(task.cells[i], i)).curves]
    if not found:
        return None
    cells = [task.cells[each.position] for each in found]
    some = f" The best {shown} of {len(task.cells)} cells." if len(task.cells) > shown else ""
    off = [
        float(found[k].curves[measure][-1].mean[-1]) for measure in COLUMNS for k in _beyond(subject, found, measure)
    ]
    seen = [each.ends[-1] for each in found]
    finals = {
        each.position: float(each.curves[TARGET_ACCURACY][-1].mean[-1])
        for each in found
        if TARGET_ACCURACY in each.curves
    }
    return Picture(
        name="curves",
        section="learning",
        title="Learning curves",
        caption=(
            "Validation accuracy and training loss against images seen, of all stages; the mean over repetitions, and "
            f"from the least to the most as a band. A row a data mix; dotted: where a stage ends.{some} "
            f"{subject.extent}{arrows_said({'below the axis': off})}{starred(cells)}"
        ),
        alt=(
            f"Learning curves of {len(found)} cells over up to {max(seen):,.0f} images."
            + (
                f" Target validation accuracy ends between {percent(min(finals.values()))} and "
                f"{said(max(finals.values()))}; that of {plain(task.cells[min(finals)].name, 200)} at "
                f"{said(finals[min(finals)])}."
                if finals
                else ""
            )
        ),
        draw=partial(_draw, subject, found),
    )


def _beyond(subject: Subject, found: Sequence[Learning], measure: str) -> frozenset[int]:
    """Positions in `found` of the curves that are wholly below the axis of a measure; none of a loss."""
    known = [k for k, each in enumerate(found) if measure in each.curves]
    if measure == "train/loss" or not known:
        return frozenset()
    off = beyond(
        [subject.task.cells[found[k].position] for k in known],
        [max(float(curve.mean.max()) for curve in found[k].curves[measure]) for k in known],
        [min(float(curve.low.min()) for curve in found[k].curves[measure]) for k in known],
    )[1]
    return frozenset(known[k] for k in off)


def _row(cell: Cell) -> tuple[str, str, str | None]:
    return cell.data_mix, cell.backbone, cell.source


def _shown(cells: Sequence[Cell]) -> int:
    """How many, from the best on, there is room for."""
    rows: set[tuple[str, str, str | None]] = set()
    for count, cell in enumerate(cells[:MOST]):
        rows.add(_row(cell))
        if len(rows) > ROWS:
            return count
    return min(len(cells), MOST)


def learning(cell: Cell, position: int) -> Learning:
    """Of the cell's runs, which have the same stages."""
    runs = list(cell.runs.values())
    stages = tuple(str(stage["name"]) for stage in runs[0].record.stages)
    starts = [_starts(run) for run in runs]
    found: dict[str, list[Curve]] = {}
    for measure in COLUMNS:
        for place, _ in enumerate(stages):
            lines = [
                line for run, start in zip(runs, starts, strict=True) if (line := _line(run, place, start, measure))
            ]
            if lines:
                found.setdefault(measure, []).append(_together(lines))
    return Learning(position, stages, tuple(float(end) for end in np.mean(starts, axis=0)[1:]), found)


def _starts(run: Run) -> list[float]:
    """Images seen before each stage, and after the last."""
    seen = [float(stage["images_seen"]) for stage in run.record.stages]
    return [0.0, *np.cumsum(seen).tolist()]


def _line(run: Run, place: int, starts: Sequence[float], measure: str) -> list[tuple[float, float]]:
    stage = run.record.stages[place]
    each = sum(stage["per_batch"].values())
    points = [(point["step"], point.get(measure)) for point in stage.get("curve") or ()]
    return [
        (starts[place] + step * each, float(value)) for step, value in points if value is not None and value == value
    ]


def _together(lines: Sequence[Sequence[tuple[float, float]]]) -> Curve:
    """At all places where any seed was looked at; between its own a seed is on a straight line."""
    images = np.unique([x for line in lines for x, _ in line])
    values = np.full((len(lines), len(images)), np.nan)
    for row, line in enumerate(lines):
        xs, ys = np.asarray(line).T
        values[row] = np.interp(images, xs, ys, left=np.nan, right=np.nan)
    return Curve(images, np.nanmean(values, 0), np.nanmin(values, 0), np.nanmax(values, 0))


def _draw(subject: Subject, found: Sequence[Learning]) -> Figure:
    cells, marks = subject.task.cells, subject.marks
    rows: dict[tuple[str, str, str | None], list[Learning]] = {}
    for each in found:
        rows.setdefault(_row(cells[each.position]), []).append(each)
    order = sorted(rows, key=lambda row: (marks.mixes.index(row[0]), rows[row][0].position))
    several = [len({row[part] for row in rows} - {None}) > 1 for part in range(3)]
    columns = [measure for measure in COLUMNS if any(measure in each.curves for each in found)]
    figure = Figure(figsize=(PAGE if len(columns) > 1 else PAGE * 0.6, 1.3 * len(rows) + 1))
    ends = [each.ends[-1] for each in found]
    below = {measure: {found[k].position for k in _beyond(subject, found, measure)} for measure in columns}
    alike = max(ends) < 4 * min(ends)
    panels = figure.subplots(len(rows), len(columns), squeeze=False, sharex="all" if alike else "row", sharey="col")
    for line, row in zip(panels, order, strict=True):
        for axes, measure in zip(line, columns, strict=True):
            off = [each.position for each in rows[row] if each.position in below[measure]]
            drawn = sum(_curve(axes, subject, each, measure, off) for each in rows[row])
            if not drawn:
                axes.text(
                    0.5,
                    0.5,
                    "no source" if measure.startswith("source") else "none",
                    transform=axes.transAxes,
                    ha="center",
                    va="center",
                    color=muted(),
                )
            _boundaries(axes, rows[row])
            axes.grid(axis="y")
            amounts(axes, [max(each.ends[-1] for each in rows[row])])
        title = [row[0], *[row[1]] * several[1], *([f"from {row[2]}"] if several[2] and row[2] else [])]
        line[0].set_ylabel("\n".join(plain(each, 18) for each in title), fontsize=SMALL)
        _stages(line[0], rows[row])
    for axes, measure in zip(panels[0], columns, strict=True):
        axes.set_title(COLUMNS[measure], pad=14)
    for axes in panels.flat:
        axes.set_xlim(0, (max(ends) if alike else axes.get_xlim()[1]) * 1.02)
    figure.supxlabel("images seen", fontsize=8.5)
    legend(figure, marks.policy_keys((cells[each.position].freeze_policy for each in found), lines=True))
    return figure


def _curve(axes: Axes, subject: Subject, each: Learning, measure: str, off: Sequence[int]) -> bool:
    cell = subject.task.cells[each.position]
    colour, times = subject.colour(cell), 1 if measure == "train/loss" else 100
    if each.position in off:
        step = off.index(each.position)
        arrow(axes, each.ends[-1], 0, subject.marker(cell), colour, below=True, step=step, markersize=4)
        return True
    for curve in each.curves.get(measure, ()):
        axes.fill_between(curve.images, times * curve.low, times * curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            curve.images,
            times * curve.mean,
            color=colour,
            linestyle=subject.marks.line(cell.freeze_policy),
            linewidth=1.2,
            marker=subject.marker(cell),
            markersize=3,
            markevery=[-1],
            gid=named(cell),
        )
    return measure in each.curves


def _boundaries(axes: Axes, row: Sequence[Learning]) -> None:
    for end in {round(end) for each in row for end in each.ends[:-1]}:
        axes.axvline(end, color=muted(), linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1)


def _stages(axes: Axes, row: Sequence[Learning]) -> None:
    """Name the stages above a panel: the first at its left, the last at its right."""
    stages = row[0].stages
    for place, stage in enumerate(stages):
        where = 0.0 if place == 0 else 1.0 if place == len(stages) - 1 else place / (len(stages) - 1)
        axes.text(
            where,
            1.03,
            plain(stage, 14),
            transform=axes.transAxes,
            ha="left" if place == 0 else "right" if where == 1 else "center",
            va="bottom",
            fontsize=SMALL,
            color=muted(),
        )
