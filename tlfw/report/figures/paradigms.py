"""Data mix by freeze policy: a map of accuracies, the best and those not told from it outlined."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tlfw.report.figures.figure import Picture, Subject, beyond, extent, spread, starred
from tlfw.report.figures.style import CONTROL, PAGE, SMALL, faint, ink, muted, on, plain, shades
from tlfw.report.number_format import sentence
from tlfw.report.sentences import bare
from tlfw.report.verdict import Task, leads

FEW = 4
"""Numbers of labelled images, and backbones, of which all are shown."""


@dataclasses.dataclass(frozen=True)
class Place:
    """One map: a task on a backbone and a source."""

    task: Task
    title: str
    members: tuple[int, ...]


def paradigms(subject: Subject) -> Picture | None:
    """The test value by data mix and freeze policy; None with one cell."""
    findings = subject.findings
    tasks = findings.tasks if len(findings.tasks) <= FEW else findings.tasks[-1:]
    if len(tasks[-1].cells) < 2:
        return None
    grounds = grounds_of(tasks[-1])
    maps = [place for task in tasks for place in places(task, grounds, labelled=len(tasks) > 1)]
    shown = {i for place in maps for i in place.members}
    hidden = (
        " Grey: random features, below the scale of colours."
        if any(place.task.means[i].value < _scale(maps)[0] for place in maps for i in place.members)
        else ""
    )
    some = f" The {FEW} backbones with the most accurate cells, of {len(grounds)}." if len(grounds) > FEW else ""
    whole = subject.extent if len(tasks) == 1 else extent(tasks, findings)
    return Picture(
        name="paradigms",
        section="verdict",
        title="Data mix by freeze policy",
        caption=(
            f"{sentence(subject.axis)}, with its 95 % interval. Outlined: {_outlined(tasks)}"
            f"{' with as many labelled images' if len(tasks) > 1 else ''}; a dash: was not run.{hidden}{some} "
            f"{whole}{starred([tasks[-1].cells[i] for i in shown if i < len(tasks[-1].cells)])}"
        ),
        alt=f"Heat map of {subject.metric.title} by data mix and freeze policy. "
        + " ".join(
            (f"{task.labelled or 'All'} labelled images a class: best" if len(tasks) > 1 else "Best:")
            + f" {spread(task)}."
            for task in tasks
        ),
        draw=partial(_draw, subject, maps, len(tasks)),
    )


Ground = tuple[str, str | None]


def grounds_of(task: Task) -> list[Ground]:
    """The backbones and sources of a task's cells, those with the most accurate cell first. What has no source is with
    all of its backbone, and apart only where there is no other.
    """
    sourced = {cell.backbone for cell in task.cells if cell.source is not None}
    return list(
        dict.fromkeys(
            (cell.backbone, cell.source)
            for cell in task.cells
            if cell.source is not None or cell.backbone not in sourced
        )
    )


def places(task: Task, grounds: Sequence[Ground], *, labelled: bool) -> list[Place]:
    """The task's cells on the first few grounds."""
    backbones, sources = ({ground[part] for ground in grounds} for part in (0, 1))
    found = []
    for backbone, source in grounds[:FEW]:
        said = [f"{task.labelled} labelled a class" if task.labelled else "all labelled"] if labelled else []
        said += [backbone] * (len(backbones) > 1) + [f"from {source or 'no source'}"] * (len(sources) > 1)
        members = [
            i for i, cell in enumerate(task.cells) if cell.backbone == backbone and cell.source in (source, None)
        ]
        found.append(Place(task, ", ".join(said), tuple(members)))
    return found


def _outlined(tasks: Sequence[Task]) -> str:
    if not any(map(leads, tasks)):
        return "nothing, for no way is known to be better"
    return "the best" if all(task.kind == "best" for task in tasks) else "the first and what is not known to be worse"


def _scale(maps: Sequence[Place]) -> tuple[float, float]:
    """The ends of the scale of colours, [0, 1]."""
    cells = [place.task.cells[i] for place in maps for i in place.members]
    means = [place.task.means[i].value for place in maps for i in place.members]
    low = beyond(cells, means, means)[0] if maps[0].task.metric.higher_is_better else min(means)
    return low, max(*means, low + 0.01)


def _draw(subject: Subject, maps: Sequence[Place], tasks: int) -> Figure:
    cells = [place.task.cells[i] for place in maps for i in place.members]
    marks = subject.marks
    mixes = [mix for mix in marks.mixes if mix in {cell.data_mix for cell in cells}]
    policies = [policy for policy in marks.policies if policy in {cell.freeze_policy for cell in cells}]
    policies = policies[::-1] if len(policies) <= 3 else policies
    across = _across(len(maps), len(maps) // tasks, len(policies))
    down = -(-len(maps) // across)
    wide = PAGE if across > 1 or len(policies) > 2 else PAGE * 0.75
    figure = Figure(figsize=(wide, down * (0.4 * len(mixes) + 0.55 * bool(maps[0].title) + 0.25) + 0.65))
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    low, high = (subject.scaled(end) for end in _scale(maps))
    scale = matplotlib.colors.Normalize(low, high)
    off = any(subject.scaled(place.task.means[i].value) < low for place in maps for i in place.members)
    for axes, place in zip(panels.flat, maps, strict=False):
        _map(axes, subject, place, mixes, policies, scale)
        axes.set_title(plain(place.title, 66 // across))
    for axes in list(panels.flat)[len(maps) :]:
        axes.set_visible(False)
    for axes in panels.flat:
        axes.tick_params(labelbottom=axes in panels[-1] or len(maps) % across != 0)
    bar = figure.colorbar(
        matplotlib.cm.ScalarMappable(scale, _colours()),
        ax=panels,
        extend="min" if off else "neither",
        orientation="vertical",
        aspect=16 * down,
        pad=0.02,
        shrink=0.95,
    )
    bar.set_label(subject.axis if down * len(mixes) > 1 else subject.axis.removeprefix("target test "))
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2)
    return figure


def _colours() -> matplotlib.colors.Colormap:
    return shades().with_extremes(under=faint())


def _across(maps: int, grounds: int, policies: int) -> int:
    """Panels beside each other: those of a task in a row where they are several, as far as their text has room."""
    room = max(1, int(4.85 / (0.7 * policies)))
    return min(grounds if grounds > 1 else maps, room)


def _map(
    axes: Axes,
    subject: Subject,
    place: Place,
    mixes: Sequence[str],
    policies: Sequence[str],
    scale: matplotlib.colors.Normalize,
) -> None:
    there = {(place.task.cells[i].data_mix, place.task.cells[i].freeze_policy): i for i in reversed(place.members)}
    colours = _colours()
    for row, mix in enumerate(mixes):
        for column, policy in enumerate(policies):
            corner = (column - 0.46, row - 0.44)
            i = there.get((mix, policy))
            if i is None:
                axes.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor=faint(), linestyle=(0, (2, 2))))
                axes.text(column, row, "–", ha="center", va="center", fontsize=SMALL, color=muted())
                continue
            mean, metric = place.task.means[i], subject.metric
            face = colours(scale(subject.scaled(mean.value)))
            axes.add_patch(Rectangle(corner, 0.92, 0.88, facecolor=face, linewidth=0))
            if i in leads(place.task):
                axes.add_patch(
                    Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ink(), linewidth=1.6, gid="group")
                )
            star = "*" * place.task.cells[i].random_features
            how: dict[str, Any] = {"ha": "center", "color": on(face)}
            axes.text(
                column, row + 0.02, bare(metric, mean.value) + star, va="bottom", fontsize=9.5, fontweight="bold", **how
            )
            ends = f"{bare(metric, mean.low)}–{bare(metric, mean.high)}"
            axes.text(column, row + 0.06, ends, va="top", fontsize=SMALL, **how)
    axes.set_xlim(-0.53, len(policies) - 0.47)
    axes.set_ylim(len(mixes) - 0.46, -0.54)
    axes.set_xticks(range(len(policies)), [plain(policy, 16) for policy in policies])
    axes.set_yticks(range(len(mixes)), [plain(mix, 24) + "\n(control)" * (mix == CONTROL) for mix in mixes])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
