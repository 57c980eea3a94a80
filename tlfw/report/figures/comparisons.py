"""Which pairs of cells can be told apart, and by how much."""

from __future__ import annotations

import itertools
from functools import partial

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tlfw.report.figures.accuracy import judged
from tlfw.report.figures.figure import Picture, Subject, named, starred
from tlfw.report.figures.style import PAGE, SMALL, ink, lined, muted, on, shades
from tlfw.report.verdict import Task, gain

MOST = 30
"""Cells; of more the best are shown."""

WRITTEN = 12
"""Cells up to which there is room for the differences in numbers."""


def comparisons(subject: Subject) -> Picture | None:
    """Differences of all pairs of cells, as a matrix; None with one cell, or where no difference is judged."""
    task = subject.task
    if len(task.cells) < 2 or not judged(task):
        return None
    count = min(len(task.cells), MOST)
    upper = np.triu_indices(count, 1)
    apart, pairs = int(_apart(task, count)[upper].sum()), len(upper[0])
    most, larger = _most(subject, count)
    unit = subject.metric.units.unit_of_difference
    darkest = f" Colours end at {most:.{subject.metric.units.decimals}f} {unit}." if larger else ""
    some = f"The best {count} of {len(task.cells)} cells. " if count < len(task.cells) else ""
    return Picture(
        name="comparisons",
        section="verdict",
        title="Which differences are real",
        caption=(
            f"{some}By how many {unit} of {subject.metric.title} the cell of a row is better than that of a column (by "
            f"number). Coloured: the two can be told apart (p < {task.level}, corrected by Holm for "
            f"{subject.findings.comparisons:,} comparisons); grey: they cannot.{darkest} "
            f"{subject.extent}{starred(task.cells[:count])}"
        ),
        alt=(
            f"Triangular matrix of the differences between {count} cells, best first: {apart} of {pairs} "
            f"pairs can be told apart. {task.sentence}"
        ),
        draw=partial(_draw, subject, count),
    )


def _apart(task: Task, count: int) -> np.ndarray:
    """Which of the first cells are known to differ, bool `[count, count]`."""
    return np.array([[task.apart(i, j) for j in range(count)] for i in range(count)])


def _most(subject: Subject, count: int) -> tuple[float, bool]:
    """The difference, as it is shown, from which on the colour is the darkest, and whether there are larger ones: pairs
    without random features rule it.
    """
    cells = subject.task.cells[:count]
    points = np.abs(subject.metric.units.scale * subject.task.estimate.difference[:count, :count])
    apart = np.triu(_apart(subject.task, count), 1)
    learnt = ~np.array([cell.random_features for cell in cells])
    real = apart & learnt & learnt[:, None]
    largest = float(points[apart].max(initial=0))
    most = float(points[real].max()) if real.any() else largest
    return most, largest > 1.25 * most


def _draw(subject: Subject, count: int) -> Figure:
    task = subject.task
    points = subject.metric.units.scale * gain(task.estimate, task.metric)[:count, :count]
    apart = _apart(task, count)
    names = [lined(named(cell)) for cell in task.cells[:count]]
    lines = max(name.count("\n") + 1 for name in names)
    few = 2 * len(task.group) <= len(task.cells)
    pitch = max(0.28 if count <= WRITTEN else 0.17, 0.13 * lines + 0.03)
    figure = Figure(figsize=(PAGE, pitch * count + 0.75))
    axes = figure.add_subplot()
    colours = shades()
    most, larger = _most(subject, count)
    for row, column in itertools.combinations(range(count), 2):
        place = (column - 0.47, row - 0.47)
        value = points[row, column]
        if apart[row, column]:
            face = colours(min(abs(value) / most, 1.0) if most else 0.0)
            axes.add_patch(Rectangle(place, 0.94, 0.94, facecolor=face, linewidth=0))
        else:
            face = None
            axes.add_patch(Rectangle(place, 0.94, 0.94, facecolor=muted(), alpha=0.12, linewidth=0))
        if count <= WRITTEN:
            axes.text(
                column,
                row,
                "–" if np.isnan(value) else f"{value:.{subject.metric.units.decimals}f}",
                ha="center",
                va="center",
                fontsize=SMALL,
                color=muted() if face is None else on(face),
            )
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    for row, name in enumerate(names):
        axes.annotate(
            name,
            (row - 0.5, row),
            (-3, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=SMALL,
            annotation_clip=False,
            fontweight="bold" if few and row in task.group else "normal",
        )
        axes.text(row, row, str(row + 1), ha="center", va="center", fontsize=SMALL, fontweight="bold", color=ink())
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if apart.any() and count > WRITTEN:
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, most), colours)
        inset = axes.inset_axes((-0.33, 0.09, 0.36, 0.03))
        bar = figure.colorbar(scale, cax=inset, orientation="horizontal", extend="max" if larger else "neither")
        bar.set_label(f"{subject.metric.units.unit_of_difference} ahead, where told apart")
        bar.outline.set_visible(False)
        bar.locator = matplotlib.ticker.MaxNLocator(4)
        bar.update_ticks()
    return figure
