"""What accuracy costs, and which cells no cheaper one beats."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from tlfw.report.costs import short
from tlfw.report.figures.figure import Picture, Subject, arrow, arrows_said, named, starred
from tlfw.report.figures.style import PAGE, SMALL, amounts, ink, legend, paper, plain
from tlfw.report.findings import front
from tlfw.report.number_format import sentence

MEASURES = {"images": "images seen", "flops": "training FLOPs", "seconds": "seconds"}

ROOM = (1.75, 1.75)
"""Inches of a panel, at least."""

CROWD = 30
"""Cells above which intervals, and lines from alone to shared, would hide the rest."""


def cost(subject: Subject) -> Picture | None:
    """The test value against what each cell took; None with one cell."""
    task, prices = subject.task, subject.findings.costs[subject.position]
    if len(task.cells) < 2:
        return None
    best = {
        said: [plain(task.cells[i].name, 200) for i in front(task, prices, measure)]
        for measure, said in MEASURES.items()
    }
    seconds = [price.seconds for price in prices]
    off = [task.means[i].value for i in subject.beyond[1]]
    return Picture(
        name="cost",
        section="cost",
        title=f"{sentence(subject.metric.title)} against cost",
        caption=(
            f"Target test {subject.metric.title} against what training costs: filled as if a run were alone, hollow "
            "where a stage that several runs share counts for its part. The line joins what no candidate of the "
            "same or lower cost "
            f"alone beats; the numbers are ranks.{arrows_said({'below the axis': off})} "
            f"{subject.extent}{starred(task.cells)}"
        ),
        alt=f"Three scatter plots of {subject.metric.title} against {', '.join(MEASURES.values())}. Not beaten by a "
        "cheaper cell in "
        + "; in ".join(f"{said}: {', '.join(names)}" for said, names in best.items())
        + f". Seconds reach from {short(min(seconds))} to {short(max(seconds))}.",
        draw=partial(_draw, subject),
    )


def _draw(subject: Subject) -> Figure:
    cells, prices = subject.task.cells, subject.findings.costs[subject.position]
    fronts = {measure: front(subject.task, prices, measure) for measure in MEASURES}
    said = sorted({i for found in fronts.values() for i in found})
    names = [f"{i + 1}  {plain(named(cells[i]), 42)}" for i in said]
    columns = 3 if max(map(len, names)) <= 30 else 2
    rows = -(-len(said) // columns)
    tall = 0.15 * rows + 0.12
    figure = Figure(figsize=(PAGE, 3.1 + tall))
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[3.1, tall])[:, 0]
    panels = upper.subplots(1, len(MEASURES), sharey=True, squeeze=False)[0]
    for axes, (measure, label) in zip(panels, MEASURES.items(), strict=True):
        _panel(axes, subject, measure, fronts[measure])
        axes.set_xlabel(label)
    panels[0].set_ylabel(subject.axis)
    how = {"color": ink(), "linestyle": "none", "marker": "o", "markersize": 5}
    keys = [
        *subject.marks.mix_keys(cell.data_mix for cell in cells),
        *subject.marks.policy_keys(cell.freeze_policy for cell in cells),
        Line2D([], [], label="alone", **how),  # type: ignore[arg-type]
        Line2D([], [], label="sharing stages", markerfacecolor="none", **how),  # type: ignore[arg-type]
        Line2D([], [], color=ink(), linewidth=1, label="not beaten by a cheaper cell"),
    ]
    legend(upper, keys)
    for place, name in enumerate(names):
        column, row = divmod(place, rows)
        lower.text(0.01 + column / columns, 1 - (0.15 * row + 0.02) / tall, name, fontsize=SMALL, va="top")
    return figure


def _panel(axes: Axes, subject: Subject, measure: str, best: Sequence[int]) -> None:
    task, prices = subject.task, subject.findings.costs[subject.position]
    alone = [getattr(price, measure) for price in prices]
    shared = [getattr(price, f"shared_{measure}") for price in prices]
    crowded = len(task.cells) > CROWD
    low, off = subject.beyond
    for i, (cell, mean) in enumerate(zip(task.cells, task.means, strict=True)):
        colour, marker, height = subject.colour(cell), subject.marker(cell), subject.scaled(mean.value)
        if i in off:
            axes.update_datalim([(alone[i], subject.scaled(low))])
            step = sum(k < i and abs(alone[k] - alone[i]) < 0.05 * max(alone) for k in off)
            arrow(axes, alone[i], 0, marker, colour, below=True, step=step)
            continue
        if abs(alone[i] - shared[i]) > 1e-9 * alone[i]:
            if not crowded:
                axes.plot([shared[i], alone[i]], [height, height], color=colour, linewidth=0.8, alpha=0.6, zorder=2)
            axes.plot(
                shared[i],
                height,
                marker,
                color=colour,
                markersize=3 if crowded else 4,
                markeredgewidth=0.6 if crowded else 1,
                markerfacecolor=paper(),
                zorder=2.5,
                gid="shared",
            )
        if not crowded:
            axes.plot(
                [alone[i]] * 2,
                [subject.scaled(mean.low), subject.scaled(mean.high)],
                color=colour,
                linewidth=0.8,
                alpha=0.45,
            )
        axes.plot(
            alone[i],
            height,
            marker,
            color=colour,
            markersize=4.5 if crowded else 5,
            markeredgewidth=0,
            zorder=4,
            gid="alone",
        )
    axes.plot(
        [alone[i] for i in best],
        [subject.scaled(task.means[i].value) for i in best],
        color=ink(),
        linewidth=1,
        drawstyle="steps-post",
        zorder=3,
        gid="pareto",
    )
    if off:
        highs = [mean.high for i, mean in enumerate(task.means) if i not in off]
        axes.set_ylim(bottom=subject.scaled(low - 0.06 * max(max(highs) - low, 0.01)))
    axes.grid()
    amounts(axes, [*alone, *shared])
    least = axes.get_ylim()[0]
    _ranks(axes, [(i, alone[i], least if i in off else subject.scaled(task.means[i].value)) for i in best], off)


def _ranks(axes: Axes, points: Sequence[tuple[int, float, float]], off: Collection[int]) -> None:
    """A number at each point, on the side where nothing is as cheap and better; none where it would hide another."""
    taken: list[tuple[float, float]] = []
    for i, x, y in reversed(points):
        across, up = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
        for aside, above in ((-5, 10), (5, 10), (-5, 22)) if i in off else ((-4, 4), (-4, 10), (-12, 4), (5, -11)):
            place = 72 * ROOM[0] * across + aside, 72 * ROOM[1] * up + above
            if all(abs(place[0] - x0) > 13 or abs(place[1] - y0) > 10 for x0, y0 in taken):
                taken.append(place)
                axes.annotate(
                    str(i + 1),
                    (x, y),
                    (aside, above),
                    textcoords="offset points",
                    ha="right" if aside < 0 else "left",
                    fontsize=SMALL,
                    zorder=5,
                    path_effects=[withStroke(linewidth=2.5, foreground=paper())],
                )
                break
