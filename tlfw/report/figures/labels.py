"""How many labelled images each paradigm needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tlfw.report.cells import Cell
from tlfw.report.figures.figure import Picture, Subject, arrow, arrows_said, beyond, extent, spread, starred
from tlfw.report.figures.style import CONTROL, PAGE, fixed, legend, plain
from tlfw.report.number_format import sentence
from tlfw.report.sentences import amount, bare
from tlfw.report.verdict import Task

FEW = 4
"""Backbones of which all are shown."""


def labels(subject: Subject) -> Picture | None:
    """The test value over the number of labelled images; None with one number."""
    findings = subject.findings
    if len(findings.tasks) < 2:
        return None
    facets = _facets(subject)
    grounds = list(dict.fromkeys(ground for ground, _ in facets))
    some = f" The {FEW} backbones with the most accurate cells, of {len(grounds)}." if len(grounds) > FEW else ""
    off = [findings.tasks[t].means[i].value for t, i in _beyond(findings.tasks)]
    control = (
        " Without colour, in each panel: no transfer."
        if any(_is_control(c) for t in findings.tasks for c in t.cells)
        else ""
    )
    return Picture(
        name="labels",
        section="labels",
        title=f"{sentence(subject.metric.title)} against labelled images",
        caption=(
            f"Target test {subject.metric.title} with 95 % intervals against labelled target images a class, "
            "validation "
            f"included (logarithmic).{control}{_gain(findings.tasks)}{some} {extent(findings.tasks, findings)}"
            f"{arrows_said({'below the axis': off})}{starred([c for t in findings.tasks for c in t.cells])}"
        ),
        alt=f"Lines of {subject.metric.title} against labelled images a class.{_gain(findings.tasks)} "
        + " ".join(f"With {task.labelled or 'all'}: best {spread(task)}." for task in findings.tasks),
        draw=partial(_draw, subject, facets, grounds[:FEW]),
    )


Ground = tuple[str, str | None]


def _facets(subject: Subject) -> dict[tuple[Ground, str], None]:
    """What panels there are: of a backbone and source, and of a data mix (of a policy, where there is one only)."""
    found: dict[tuple[Ground, str], None] = {}
    cells = [cell for task in reversed(subject.findings.tasks) for cell in task.cells]
    alone = all(_is_control(cell) for cell in cells)
    for cell in cells:
        if alone or not _is_control(cell):
            found[(cell.backbone, cell.source), _by(subject, cell)] = None
    return found


def _by(subject: Subject, cell: Cell) -> str:
    return cell.data_mix if len(subject.marks.policies) > 1 else cell.freeze_policy


def _is_control(cell: Cell) -> bool:
    return cell.control


def _gain(tasks: Sequence[Task]) -> str:
    """The sentence that says which cell gains most from the fewest to the most labelled images."""
    first, last = (
        {c.name: mean.value for c, mean in zip(t.cells, t.means, strict=True)} for t in (tasks[0], tasks[-1])
    )
    metric = tasks[0].metric
    sign = 1 if metric.higher_is_better else -1
    gains = {name: sign * (last[name] - first[name]) for name in last if name in first}
    if len(gains) < 2:
        return ""
    most = max(gains, key=lambda name: gains[name])
    least = min(gains, key=lambda name: gains[name])
    ends = f"{tasks[0].labelled} to {tasks[-1].labelled or 'all'}"
    return (
        f" From {ends}, {plain(most, 200)} gains most ({amount(metric, gains[most])} in the mean), "
        f"{plain(least, 200)} least ({bare(metric, gains[least])})."
    )


def images(tasks: Sequence[Task], classes: int) -> list[float]:
    """Labelled images a class, validation included; all there are, last, in the mean, and apart from the others."""
    found: list[float] = []
    for task in tasks:
        if task.labelled is not None:
            found.append(float(task.labelled))
            continue
        counted = next(iter(task.cells[0].runs.values())).record.images["target"]
        found.append(max([(counted["train"] + counted["val"]) / classes, *(1.5 * each for each in found)]))
    return found


def _beyond(tasks: Sequence[Task]) -> frozenset[tuple[int, int]]:
    """Tasks, and positions in them, of the cells below the axis."""
    places = [(t, i) for t, task in enumerate(tasks) for i in range(len(task.cells))]
    if not tasks[0].metric.higher_is_better:
        return frozenset()
    means = [tasks[t].means[i] for t, i in places]
    cells = [tasks[t].cells[i] for t, i in places]
    off = beyond(cells, [mean.value for mean in means], [mean.low for mean in means])[1]
    return frozenset(places[k] for k in off)


def _draw(subject: Subject, facets: dict[tuple[Ground, str], None], grounds: Sequence[Ground]) -> Figure:
    marks, tasks = subject.marks, subject.findings.tasks
    columns = [each for each in (*marks.mixes, *marks.policies) if any(each == column for _, column in facets)]
    across = min(len(columns), 3)
    down = -(-len(columns) // across) * len(grounds)
    figure = Figure(figsize=(PAGE if across > 1 else PAGE * 0.7, 1.95 * down + 0.75))
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    order = [(ground, column) for ground in grounds for column in [*columns, *[None] * (-len(columns) % across)]]
    xs = images(tasks, len(subject.findings.classes))
    several = len(grounds) > 1
    drawn: list[Cell] = []
    for axes, (ground, column) in zip(panels.flat, order, strict=True):
        if column is None or (ground, column) not in facets:
            axes.set_visible(False)
            continue
        drawn += _panel(axes, subject, ground, column, xs)
        said = f", {plain(ground[0], 28)}" + (f" from {ground[1]}" if len({g[1] for g in grounds}) > 1 else "")
        axes.set_title(plain(column) + (said if several else ""), fontsize=8)
    for axes in panels.flat:
        axes.set_xscale("log")
        fixed(axes, xs, ["all" if task.labelled is None else str(task.labelled) for task in tasks])
        axes.grid()
    reach = (xs[-1] / xs[0]) ** 0.08
    panels[0, 0].set_xlim(xs[0] / reach, xs[-1] * reach)
    figure.supxlabel("labelled images a class", fontsize=8.5)
    figure.supylabel(subject.axis, fontsize=8.5)
    keys: list[Line2D] = marks.policy_keys((c.freeze_policy for c in drawn if not _is_control(c)), lines=True)
    if any(map(_is_control, drawn)):
        keys += marks.mix_keys([CONTROL])
        keys[-1].set_label("no transfer (control)")
    if len(marks.policies) == 1:
        keys += marks.mix_keys(c.data_mix for c in drawn if not _is_control(c))
    legend(figure, keys)
    return figure


def _panel(axes: Axes, subject: Subject, ground: Ground, column: str, xs: Sequence[float]) -> list[Cell]:
    """Draw the lines of a panel: -> the cells whose they are."""
    tasks = subject.findings.tasks
    lines: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for t, task in enumerate(tasks):
        for i, cell in enumerate(task.cells):
            here = cell.backbone == ground[0] and (cell.source == ground[1] or cell.source is None)
            if here and (_is_control(cell) or _by(subject, cell) == column):
                lines.setdefault((cell.data_mix, cell.freeze_policy), []).append((t, i))
    marks, off = subject.marks, _beyond(tasks)
    order = sorted(lines, key=lambda line: (line[0] == CONTROL, marks.policies.index(line[1]), line[0]))
    for place, line in enumerate(order):
        aside = 1 + 0.02 * (place - (len(order) - 1) / 2) * np.log10(xs[-1] / xs[0])
        for t, i in lines[line]:
            if (t, i) in off:
                arrow(axes, xs[t] * aside, 0, marks.marker(line[1]), marks.colour(line[0]), below=True, markersize=4)
        there = [(t, i) for t, i in lines[line] if (t, i) not in off]
        means = [tasks[t].means[i] for t, i in there]
        axes.errorbar(
            [xs[t] * aside for t, _ in there],
            [subject.scaled(mean.value) for mean in means],
            yerr=[
                [subject.scaled(max(mean.value - mean.low, 0)) for mean in means],
                [subject.scaled(max(mean.high - mean.value, 0)) for mean in means],
            ],
            color=marks.colour(line[0]),
            linestyle=marks.line(line[1]),
            marker=marks.marker(line[1]),
            markersize=4,
            linewidth=1.3,
            elinewidth=0.9,
            zorder=2 if line[0] == CONTROL else 3,
        )[0].set_gid("/".join(line))
        if there and tasks[there[-1][0]].cells[there[-1][1]].random_features:
            axes.annotate(
                "*", (xs[there[-1][0]] * aside, subject.scaled(means[-1].value)), (4, -3), textcoords="offset points"
            )
    return [tasks[t].cells[i] for found in lines.values() for t, i in found]
