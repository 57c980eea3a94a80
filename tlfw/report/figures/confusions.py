"""What the best cell and its rival get wrong: confusions, accuracy by class, and how sure they were."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tlfw.report.figures.figure import Picture, Subject, named, starred
from tlfw.report.figures.style import PAGE, SMALL, faint, legend, lined, muted, on, paper, plain, said, shades
from tlfw.report.mistakes import BINS

ALL = 20
"""Classes of which all are shown, and how many of more."""

WRITTEN = 10
"""Classes up to which shares are written in numbers."""

ROWS = 30
"""Classes in the comparison by class."""

NAME = 18
"""Letters of a class's name."""


def pair(subject: Subject) -> list[int]:
    """Positions of the best cell and of its rival, where it has one."""
    return sorted(subject.findings.confusions[subject.position])


def _both(subject: Subject) -> str:
    return " and ".join(plain(subject.task.cells[i].name, 200) for i in pair(subject))


def confusion(subject: Subject) -> Picture | None:
    """Which classes are taken for which; None with one class."""
    classes = subject.findings.classes
    if len(classes) < 2:
        return None
    shown = chosen(subject)
    some = (
        f" The {len(shown)} of {len(classes)} classes that are most often confused."
        if len(shown) < len(classes)
        else ""
    )
    looked = subject.findings.mistakes[subject.position]
    most = "; ".join(
        f"{plain(subject.task.cells[i].name, 200)}: "
        + (
            ", ".join(f"{_name(classes, a)} called {_name(classes, b)} {said(share)}" for a, b, share in found)
            if (found := looked[i].confused[:3])
            else "nothing confused"
        )
        for i in pair(subject)
    )
    cells = [subject.task.cells[i] for i in pair(subject)]
    return Picture(
        name="confusion",
        section="mistakes",
        title="What is taken for what",
        caption=(
            f"Of each class (row), the share in % that is called each class (column), over all repetitions.{some} "
            f"{subject.extent}{starred(cells)}"
        ),
        alt=f"Confusion matrices of {_both(subject)}. Most frequent: {most}.",
        draw=partial(_draw_confusion, subject, shown),
    )


def chosen(subject: Subject) -> list[int]:
    """All classes where they are few, else those of the most frequent confusions of the two cells, in order."""
    classes = subject.findings.classes
    if len(classes) <= ALL:
        return list(range(len(classes)))
    looked = [subject.findings.mistakes[subject.position][i] for i in pair(subject)]
    found = sorted((entry for each in looked for entry in each.confused), key=lambda entry: -entry[2])
    ranked = [k for label, called, _ in found for k in (label, called) if k < len(classes)]
    worst = np.argsort(np.nan_to_num(looked[0].accuracy_K, nan=2.0), kind="stable").tolist()
    return sorted(list(dict.fromkeys([*ranked, *worst]))[:WRITTEN])


def _name(classes: Sequence[str], k: int) -> str:
    return plain(classes[k], 40) if k < len(classes) else "no class"


def _draw_confusion(subject: Subject, shown: Sequence[int]) -> Figure:
    classes, cells = subject.findings.classes, pair(subject)
    counts = [subject.findings.confusions[subject.position][i] for i in cells]
    other = any(count[:, len(classes) :].any() for count in counts)
    names = [plain(classes[k], NAME) for k in shown]
    columns = [*names, *["no class"] * other]
    pitch = 2.35 / len(columns)
    figure = Figure(
        figsize=(
            PAGE if len(cells) > 1 else PAGE * 0.6,
            max(pitch, 0.17) * len(names) + 0.065 * max(map(len, columns)) + 0.75,
        )
    )
    panels = figure.subplots(1, len(cells), squeeze=False, sharey=True)[0]
    for axes, i, count in zip(panels, cells, counts, strict=True):
        with np.errstate(invalid="ignore"):
            share = 100 * count / count.sum(1, keepdims=True)
        share = np.column_stack([share[:, list(shown)], *[share[:, len(classes) :].sum(1)] * other])[list(shown)]
        axes.pcolormesh(share, cmap=shades(), vmin=0, vmax=100, edgecolors=paper(), linewidth=0.5)
        if len(columns) <= WRITTEN + 1:
            _write(axes, share)
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90 if max(map(len, columns)) > 2 else 0)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.set_ylim(len(names), 0)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(lined(named(subject.task.cells[i])))
        axes.set_xlabel("called")
    panels[0].set_ylabel("class")
    bar = figure.colorbar(ScalarMappable(Normalize(0, 100), shades()), ax=panels, aspect=22, pad=0.02)
    bar.set_label("share of the class, %")
    bar.outline.set_visible(False)
    return figure


def _write(axes: Axes, share_KL: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(share_KL):
        if np.isnan(value):
            axes.text(column + 0.5, row + 0.5, "–", ha="center", va="center", fontsize=SMALL, color=muted())
        elif value >= 0.5:
            colour = on(shades()(value / 100))
            axes.text(column + 0.5, row + 0.5, f"{value:.0f}", ha="center", va="center", fontsize=SMALL, color=colour)


def classes(subject: Subject) -> Picture | None:
    """Recall by class, in the two cells that are looked at where it differs most; None where no class was tested."""
    found, shown = differing(subject)
    if not len(found):
        return None
    names, cells = subject.findings.classes, [subject.task.cells[i] for i in pair(subject)]
    missing = len(names) - len(found)
    told = (
        f"Accuracy on each class of {_both(subject)}, over all repetitions, sorted by the difference."
        if len(cells) > 1
        else f"Accuracy on each class of {_both(subject)}, over all repetitions."
    )
    if len(shown) < len(found):
        told += (
            f" The {len(shown)} of {len(found)} classes with the largest difference."
            if len(cells) > 1
            else (f" The {len(shown)} of {len(found)} classes with the lowest accuracy.")
        )
    if missing:
        told += f" The test has no image of {missing} more."
    by_class = _by_class(subject)
    first, last = shown[0], shown[-1]

    def values(k: int) -> str:
        return f"{plain(names[k], 40)} " + " against ".join(said(value) for value in by_class[:, k])

    return Picture(
        name="classes",
        section="mistakes",
        title="Accuracy by class",
        caption=f"{told} {subject.extent}{starred(cells)}",
        alt=(
            f"Dot plot of accuracy by class of {_both(subject)}, {len(shown)} classes, from {values(first)} to "
            f"{values(last)}."
        ),
        draw=partial(_draw_classes, subject, shown),
    )


def _by_class(subject: Subject) -> np.ndarray:
    looked = subject.findings.mistakes[subject.position]
    return np.stack([looked[i].accuracy_K for i in pair(subject)])


def differing(subject: Subject) -> tuple[list[int], list[int]]:
    """The classes that were tested, and those that are shown: those with the largest difference between the two cells,
    from the first's best to the second's; of one cell alone the lowest, highest first.
    """
    by_class = _by_class(subject)
    found = np.flatnonzero(~np.isnan(by_class).any(0)).tolist()
    value = by_class[0] - by_class[1] if len(by_class) > 1 else by_class[0]
    rank = (lambda k: -abs(value[k])) if len(by_class) > 1 else (lambda k: value[k])
    return found, sorted(sorted(found, key=rank)[:ROWS], key=lambda k: -value[k])


def _draw_classes(subject: Subject, shown: Sequence[int]) -> Figure:
    names, cells, by_class = subject.findings.classes, pair(subject), 100 * _by_class(subject)
    figure = Figure(figsize=(PAGE * 0.85, 0.19 * len(shown) + 0.6 + 0.17 * len(cells)))
    axes = figure.add_subplot()
    rows = np.arange(len(shown))
    keys = []
    for order, (i, values) in enumerate(zip(cells, by_class, strict=True)):
        cell = subject.task.cells[i]
        colour = subject.colour(cell)
        how = {
            "color": colour,
            "linestyle": "none",
            "marker": subject.marker(cell),
            "markersize": 5.5,
            "markerfacecolor": paper() if order else colour,
            "label": plain(named(cell), 56),
        }
        axes.plot(values[list(shown)], rows, zorder=3 - 0.1 * order, **how)  # type: ignore[arg-type]
        keys.append(Line2D([], [], **how))  # type: ignore[arg-type]
    if len(cells) > 1:
        axes.hlines(rows, *by_class[:, list(shown)], color=muted(), linewidth=1, zorder=2)
    axes.set_yticks(rows, [plain(names[k], 28) for k in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    low = min(float(by_class[:, list(shown)].min()), 100.0)
    axes.set_xlim(max(low - 5, 0) - 1.5 * (low < 5), 101.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid()
    axes.set_xlabel("accuracy on the class, %")
    legend(figure, keys)
    return figure


def calibration(subject: Subject) -> Picture:
    """Confidence against accuracy, a reliability diagram a cell."""
    looked, cells = subject.findings.mistakes[subject.position], [subject.task.cells[i] for i in pair(subject)]
    errors = " and ".join(f"{plain(subject.task.cells[i].name, 200)} {said(looked[i].ece)}" for i in pair(subject))
    return Picture(
        name="calibration",
        section="mistakes",
        title="How sure, and how right",
        caption=(
            f"Share of right predictions against the probability they were made with, in {BINS} bins; on the diagonal "
            "a cell is as often right as it says. Below: the share of images in each bin. ECE: the expected "
            f"calibration error. {subject.extent}{starred(cells)}"
        ),
        alt=f"Reliability diagrams; expected calibration error of {errors}.",
        draw=partial(_draw_calibration, subject),
    )


def _draw_calibration(subject: Subject) -> Figure:
    cells = pair(subject)
    figure = Figure(figsize=(PAGE if len(cells) > 1 else PAGE * 0.55, 3.6))
    panels = figure.subplots(2, len(cells), squeeze=False, sharex=True, sharey="row", height_ratios=(3.2, 1))
    for upper, lower, i in zip(*panels, cells, strict=True):
        cell, found = subject.task.cells[i], subject.findings.mistakes[subject.position][i]
        colour = subject.colour(cell)
        there = np.flatnonzero(found.share_B > 0)
        sure, right = 100 * found.confidence_B[there], 100 * found.right_B[there]
        upper.plot([0, 100], [0, 100], color=muted(), linewidth=0.8, linestyle=(0, (3, 2)))
        upper.vlines(sure, sure, right, color=colour, alpha=0.35, linewidth=3)
        upper.plot(sure, right, color=colour, marker=subject.marker(cell), markersize=4.5, linewidth=1.2, gid="bins")
        upper.set_title(f"{lined(named(cell))}\nECE {100 * found.ece:.1f} %")
        bins = len(found.share_B)
        lower.bar((np.arange(bins) + 0.5) * 100 / bins, 100 * found.share_B, width=86 / bins, color=colour)
        lower.set_xlabel("probability of the prediction, %")
        upper.grid()
        lower.grid(axis="y", color=faint())
    panels[0, 0].set_ylabel("right, %")
    panels[1, 0].set_ylabel("images, %")
    panels[0, 0].set_ylim(-2, 102)
    panels[0, 0].set_xlim(0, 100)
    return figure
