"""All cells by test accuracy, with intervals: which is best, and which cannot be told from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tlfw.report.figures.picture import Picture, Subject, arrow, arrows_said, named, spread, starred
from tlfw.report.figures.style import CONTROL, PAGE, ink, legend, lined, muted, paper, percent
from tlfw.report.statistics import LEVEL

MOST = 60
"""Rows; of more cells the best are shown, and the best control."""

FULL = 20
"""Rows up to which there is air between them."""


def accuracy(subject: Subject) -> Picture:
    task = subject.task
    shown = rows(subject)
    repeated = max(one.seeds for one in task.accuracies) > 1
    said = "Target test accuracy with its 95 % interval" + (
        "; thin ticks are the seeds." if repeated else ", which with one seed covers test images only."
    )
    if len(task.cells) > 1:
        said += (
            f" Filled: cannot be told from the best ({len(task.group)} of {len(task.cells)} cells); hollow: worse "
            f"(Holm-adjusted p < {LEVEL}, paired over {'seeds and ' * repeated}images, which overlapping intervals do "
            "not contradict)."
        )
    if len(shown) < len(task.cells):
        said += f" The best {len(shown)} of {len(task.cells)} cells" + (
            ", the control with them." if any(task.cells[i].data_mix == CONTROL for i in shown) else "."
        )
    off = [task.accuracies[i].mean for i in shown if i in subject.beyond[1]]
    said += arrows_said({"below the axis": off})
    return Picture(
        name="accuracy",
        section="verdict",
        title="Accuracy of every cell",
        caption=f"{said} {subject.extent}{starred([task.cells[i] for i in shown])}",
        alt=f"Dot plot of {len(shown)} cells by test accuracy. Best: {spread(task)}. {task.sentence}",
        draw=partial(_draw, subject, shown),
    )


def rows(subject: Subject) -> list[int]:
    """Positions of the cells that are shown."""
    cells = subject.task.cells
    shown = list(range(min(len(cells), MOST)))
    control = next((i for i, cell in enumerate(cells) if cell.data_mix == CONTROL), 0)
    return shown if control in shown else [*shown[:-1], control]


def _draw(subject: Subject, shown: Sequence[int]) -> Figure:
    task = subject.task
    names = [lined(named(task.cells[i])) for i in shown]
    pitch = max(name.count("\n") + 1 for name in names) * (0.15 if len(shown) > FULL else 0.16) + (
        0.02 if len(shown) > FULL else 0.07
    )
    few = len(task.cells) > 1 and 2 * len(task.group) <= len(task.cells)  # much in bold is as good as nothing
    weights = ["bold" if few and i in task.group else "normal" for i in range(len(task.cells))]
    figure = Figure(figsize=(PAGE, pitch * len(shown) + 0.85))
    off = subject.beyond[1]
    axes = figure.add_subplot()
    for row, i in enumerate(shown):
        cell, one, colour = task.cells[i], task.accuracies[i], subject.colour(task.cells[i])
        if cell.data_mix == CONTROL:
            axes.axhspan(row - 0.5, row + 0.5, color=muted(), alpha=0.13, linewidth=0)
        how: dict[str, Any] = {
            "markersize": 5.5,
            "markerfacecolor": colour if i in task.group else paper(),
            "markeredgewidth": 1.3,
        }
        if i in off:
            arrow(axes, 0, row, subject.marker(cell), colour, left=True, **how)
        else:
            axes.errorbar(
                100 * one.mean,
                row,
                xerr=[[100 * max(one.mean - one.low, 0)], [100 * max(one.high - one.mean, 0)]],
                color=colour,
                marker=subject.marker(cell),
                elinewidth=1.5,
                zorder=3,
                **how,
            )
        if one.seeds > 1 and i not in off:
            by_seed = [100 * float(np.mean(each)) for each in task.correct[i].values()]
            axes.plot(by_seed, [row] * len(by_seed), "|", color=colour, markersize=9, alpha=0.55, markeredgewidth=0.9)
        axes.annotate(
            f"{percent(one.mean)}  [{percent(one.low)}, {percent(one.high)}]",
            (1, row),
            (6, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=8,
            fontweight=weights[i],
        )
    control = next((i for i in shown if task.cells[i].data_mix == CONTROL), None)
    if control is not None and len(task.cells) > 1:
        axes.axvline(100 * task.accuracies[control].mean, color=muted(), linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    axes.set_yticks(range(len(shown)), names)
    for label, i in zip(axes.get_yticklabels(), shown, strict=True):
        label.set_fontweight(weights[i])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -1.5), min(high, 101.5))
    axes.set_xlabel("target test accuracy, %")
    if len(task.cells) > 1:
        legend(figure, _keys(control is not None))
    return figure


def _keys(control: bool) -> list[Line2D]:
    how = {"color": ink(), "marker": "o", "markersize": 5.5, "markeredgewidth": 1.3, "linewidth": 1.5}
    keys = [
        Line2D([], [], label="not told from the best", **how),  # type: ignore[arg-type]
        Line2D([], [], label="worse", markerfacecolor=paper(), **how),  # type: ignore[arg-type]
    ]
    if control:
        keys.append(Line2D([], [], color=muted(), linewidth=0.8, linestyle=(0, (2, 2)), label="no transfer (control)"))
    return keys
