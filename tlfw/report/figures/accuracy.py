"""All cells by test accuracy, with intervals: which is best, and which cannot be told from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tlfw.report.figures.figure import Picture, Subject, arrow, arrows_said, named, spread, starred
from tlfw.report.figures.style import PAGE, ink, legend, lined, muted, paper
from tlfw.report.number_format import sentence
from tlfw.report.sentences import bare
from tlfw.report.verdict import Task

MOST = 60
"""Rows; of more cells the best are shown, and the best control."""

FULL = 20
"""Rows up to which there is air between them."""


def accuracy(subject: Subject) -> Picture:
    """Each cell's test value with its interval and repetitions, best first."""
    task = subject.task
    shown = rows(subject)
    repeated = max(mean.repetitions for mean in task.means) > 1
    said = f"Target test {subject.metric.title} with its 95 % interval" + (
        "; thin ticks are the repetitions." if repeated else ", of these trained models: it covers test images only."
    )
    if judged(task):
        said += (
            f" Filled: the first, and what is not known to be worse ({len(filled(task))} of {len(task.cells)} cells); "
            f"hollow: worse (p < {task.level}, corrected by Holm, paired over repetitions and images; overlapping "
            "intervals "
            "do not contradict that)."
        )
    said += f" Dashes: {' and '.join(_floors(subject))}." if _floors(subject) else ""
    if len(shown) < len(task.cells):
        said += f" The best {len(shown)} of {len(task.cells)} cells" + (
            ", the control with them." if any(task.cells[i].control for i in shown) else "."
        )
    off = [task.means[i].value for i in shown if i in subject.beyond[1]]
    said += arrows_said({"below the axis": off})
    return Picture(
        name="accuracy",
        section="verdict",
        title=f"{sentence(subject.metric.title)} of every cell",
        caption=f"{said} {subject.extent}{starred([task.cells[i] for i in shown])}",
        alt=f"Dot plot of {len(shown)} cells by test {subject.metric.title}. Best: {spread(task)}. {task.sentence}",
        draw=partial(_draw, subject, shown),
    )


def judged(task: Task) -> bool:
    """Whether it is known of any cell how it stands to another."""
    return task.level is not None and len(task.cells) > 1 and task.kind != "nothing"


def filled(task: Task) -> tuple[int, ...]:
    """Positions of the cells whose marks are filled: those not known to be worse than the first."""
    return tuple(i for i in range(len(task.cells)) if not judged(task) or not task.worse(i, 0))


def _floors(subject: Subject) -> dict[str, float]:
    """What is drawn as a line: a name -> what is reached without learning, where that is near what is shown."""
    floor, metric = subject.task.floor, subject.metric
    named = {"chance": floor.chance, "the most frequent class": floor.majority}
    shown = [mean for i, mean in enumerate(subject.task.means) if i not in subject.beyond[1]]
    ends = [mean.low for mean in shown] + [mean.high for mean in shown]
    room = 0.25 * (max(ends) - min(ends))
    near = {name: end for name, end in named.items() if min(ends) - room <= end <= max(ends) + room}
    if len({round(metric.units.scale * end, metric.units.decimals) for end in near.values()}) < len(near):
        near = {"chance and the most frequent class": floor.chance}
    return near


def rows(subject: Subject) -> list[int]:
    """Positions of the cells that are shown."""
    cells = subject.task.cells
    shown = list(range(min(len(cells), MOST)))
    control = next((i for i, cell in enumerate(cells) if cell.control), 0)
    return shown if control in shown else [*shown[:-1], control]


def _draw(subject: Subject, shown: Sequence[int]) -> Figure:
    task = subject.task
    names = [lined(named(task.cells[i])) for i in shown]
    pitch = max(name.count("\n") + 1 for name in names) * (0.15 if len(shown) > FULL else 0.16) + (
        0.02 if len(shown) > FULL else 0.07
    )
    few = judged(task) and 2 * len(task.group) <= len(task.cells)  # much in bold is as good as nothing
    weights = ["bold" if few and i in task.group else "normal" for i in range(len(task.cells))]
    figure = Figure(figsize=(PAGE, pitch * len(shown) + 0.85))
    off, full = subject.beyond[1], filled(task)
    axes = figure.add_subplot()
    for row, i in enumerate(shown):
        cell, mean, colour = task.cells[i], task.means[i], subject.colour(task.cells[i])
        value, low, high = (subject.scaled(each) for each in (mean.value, mean.low, mean.high))
        if cell.control:
            axes.axhspan(row - 0.5, row + 0.5, color=muted(), alpha=0.13, linewidth=0)
        how: dict[str, Any] = {
            "markersize": 5.5,
            "markerfacecolor": colour if i in full else paper(),
            "markeredgewidth": 1.3,
        }
        if i in off:
            arrow(axes, 0, row, subject.marker(cell), colour, left=True, **how)
        else:
            axes.errorbar(
                value,
                row,
                xerr=[[max(value - low, 0)], [max(high - value, 0)]],
                color=colour,
                marker=subject.marker(cell),
                elinewidth=1.5,
                zorder=3,
                **how,
            )
        if mean.repetitions > 1 and i not in off:
            ticks = [subject.scaled(each) for each in mean.values]
            axes.plot(ticks, [row] * len(ticks), "|", color=colour, markersize=9, alpha=0.55, markeredgewidth=0.9)
        axes.annotate(
            "{}  [{}, {}]".format(*(bare(subject.metric, each) for each in (mean.value, mean.low, mean.high))),
            (1, row),
            (6, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=8,
            fontweight=weights[i],
        )
    control = next((i for i in shown if task.cells[i].control), None)
    for end in _floors(subject).values():
        axes.axvline(subject.scaled(end), color=ink(), linewidth=0.9, linestyle="--", zorder=1, gid="floor")
    if control is not None and len(task.cells) > 1:
        axes.axvline(
            subject.scaled(task.means[control].value), color=muted(), linewidth=0.8, linestyle=(0, (2, 2)), zorder=1
        )
    axes.set_yticks(range(len(shown)), names)
    for label, i in zip(axes.get_yticklabels(), shown, strict=True):
        label.set_fontweight(weights[i])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    low, high = axes.get_xlim()
    margin = 0.015 * subject.metric.units.scale
    ends = [-np.inf if subject.metric.low is None else subject.scaled(subject.metric.low) - margin]
    ends += [np.inf if subject.metric.high is None else subject.scaled(subject.metric.high) + margin]
    axes.set_xlim(max(low, ends[0]), min(high, ends[1]))
    axes.set_xlabel(subject.axis)
    if keys := _keys(control is not None and len(task.cells) > 1, judged(task), bool(_floors(subject))):
        legend(figure, keys)
    return figure


def _keys(control: bool, judged: bool, floors: bool) -> list[Line2D]:
    how = {"color": ink(), "marker": "o", "markersize": 5.5, "markeredgewidth": 1.3, "linewidth": 1.5}
    keys = []
    if judged:
        keys = [
            Line2D([], [], label="not known to be worse", **how),  # type: ignore[arg-type]
            Line2D([], [], label="worse", markerfacecolor=paper(), **how),  # type: ignore[arg-type]
        ]
    if floors:
        keys.append(Line2D([], [], color=ink(), linewidth=0.9, linestyle="--", label="without learning"))
    if control:
        keys.append(Line2D([], [], color=muted(), linewidth=0.8, linestyle=(0, (2, 2)), label="no transfer (control)"))
    return keys
