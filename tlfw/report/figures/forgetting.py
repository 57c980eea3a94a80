"""What of the source a cell still knows after adaptation."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tlfw.report.cells import SOURCE_KEPT
from tlfw.report.figures.figure import Picture, Subject, arrow, arrows_said, beyond, starred
from tlfw.report.figures.style import COLUMN, ink, legend, paper, plain, said


def forgetting(subject: Subject) -> Picture | None:
    """Source accuracy before and after the last stage; None where nothing was learnt of the source."""
    cells = [cell for cell in subject.task.cells if cell.mean(SOURCE_KEPT) is not None]
    if not cells:
        return None
    left, below = _beyond(subject)
    arrows = arrows_said(
        {
            "left of the axis": [subject.task.cells[i].mean(SOURCE_KEPT) or 0.0 for i in left],
            "below the axis" if not left else "below it": [subject.task.means[i].value for i in below],
        }
    )
    least, most = (choose(cells, key=lambda cell: cell.mean(SOURCE_KEPT) or 0.0) for choose in (min, max))
    return Picture(
        name="forgetting",
        section="learning",
        title="What is kept of the source",
        caption=(
            f"Target test {subject.metric.title} against validation accuracy on the source: hollow at the end of "
            "pretraining, filled after adaptation; where there is no hollow mark, no stage came before. "
            f"{subject.extent}{arrows}{starred(cells)}"
        ),
        alt=(
            f"Scatter plot of {len(cells)} cells, target test {subject.metric.title} against source validation "
            f"accuracy after adaptation, which reaches from {said(least.mean(SOURCE_KEPT) or 0.0)} "
            f"({plain(least.name, 200)}) to "
            f"{said(most.mean(SOURCE_KEPT) or 0.0)} ({plain(most.name, 200)})."
        ),
        draw=partial(_draw, subject),
    )


def _beyond(subject: Subject) -> tuple[frozenset[int], frozenset[int]]:
    """Positions of the cells left of the x axis, and below the y axis."""
    known = [i for i, cell in enumerate(subject.task.cells) if cell.mean(SOURCE_KEPT) is not None]
    cells = [subject.task.cells[i] for i in known]
    kept = [cell.mean(SOURCE_KEPT) or 0.0 for cell in cells]
    means = [subject.task.means[i] for i in known]
    least = [min(after, cell.before_last_stage(SOURCE_KEPT) or after) for cell, after in zip(cells, kept, strict=True)]
    left = beyond(cells, kept, least)[1]
    below: frozenset[int] = frozenset()
    if subject.metric.higher_is_better:
        below = beyond(cells, [mean.value for mean in means], [mean.low for mean in means])[1]
    return frozenset(known[k] for k in left), frozenset(known[k] for k in below)


def _draw(subject: Subject) -> Figure:
    figure = Figure(figsize=(COLUMN, 3.6))
    axes = figure.add_subplot()
    drawn = []
    left, below = _beyond(subject)
    corner = 0
    for i, (cell, mean) in enumerate(zip(subject.task.cells, subject.task.means, strict=True)):
        if (kept := cell.mean(SOURCE_KEPT)) is None:
            continue
        drawn.append(cell)
        colour, marker, height = subject.colour(cell), subject.marker(cell), subject.scaled(mean.value)
        if i in left or i in below:
            both = i in left and i in below
            arrow(
                axes,
                0 if i in left else 100 * kept,
                0 if i in below else height,
                marker,
                colour,
                left=i in left,
                below=i in below,
                step=corner * both,
                markersize=6,
            )
            corner += both
            continue
        if (start := cell.before_last_stage(SOURCE_KEPT)) is not None:
            axes.plot([100 * start, 100 * kept], [height] * 2, color=colour, linewidth=0.9, alpha=0.6, zorder=2)
            axes.plot(100 * start, height, marker, color=colour, markersize=4.5, markerfacecolor=paper(), gid="before")
        axes.plot(
            [100 * kept] * 2,
            [subject.scaled(mean.low), subject.scaled(mean.high)],
            color=colour,
            linewidth=0.8,
            alpha=0.45,
        )
        axes.plot(100 * kept, height, marker, color=colour, markersize=6, markeredgewidth=0, zorder=3, gid="after")
    axes.set_xlabel("source validation accuracy, %")
    axes.set_ylabel(subject.axis)
    axes.grid()
    axes.margins(x=0.08)
    how = {"color": ink(), "linestyle": "none", "marker": "o", "markersize": 5}
    legend(
        figure,
        [
            *subject.marks.mix_keys(cell.data_mix for cell in drawn),
            *subject.marks.policy_keys(cell.freeze_policy for cell in drawn),
            Line2D([], [], label="before adaptation", markerfacecolor="none", **how),  # type: ignore[arg-type]
            Line2D([], [], label="after", **how),  # type: ignore[arg-type]
        ],
    )
    return figure
