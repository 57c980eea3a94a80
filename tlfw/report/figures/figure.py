"""A picture of a report: what it is called, what it says, and how it becomes a file."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from tlfw.records.metric import Metric
from tlfw.report.cells import Cell
from tlfw.report.figures.style import Marks, percent, plain, style
from tlfw.report.findings import Findings
from tlfw.report.sentences import span
from tlfw.report.verdict import Task

Section = Literal["verdict", "labels", "cost", "learning", "mistakes"]

DPI = 200

ROOM = 0.25
"""Of what an axis spans otherwise, how far random features may stretch it."""


STEPS = 4
"""Arrows in a row."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure, not yet drawn.

    Attributes:
        name: of its file, without suffix; unique in a report.
        section: where in the report it belongs.
        title: a heading.
        caption: how to read it and what it is of, in one to three sentences.
        alt: what it shows, with the main numbers, for who cannot see it.
        draw: draws it in the current style: see `style`.
    """

    name: str
    section: Section
    title: str
    caption: str
    alt: str
    draw: Callable[[], Figure]


@dataclasses.dataclass(frozen=True)
class Subject:
    """What most pictures are of: the cells of the task with the most labelled images.

    Attributes:
        position: of that task in the findings.
        marks: of all cells of the report.
    """

    findings: Findings
    position: int
    marks: Marks

    @classmethod
    def of(cls, findings: Findings) -> Subject:
        cells = [cell for task in findings.tasks for cell in task.cells]
        marks = Marks.of((cell.data_mix for cell in cells), (cell.freeze_policy for cell in cells))
        return cls(findings, len(findings.tasks) - 1, marks)

    @property
    def task(self) -> Task:
        return self.findings.tasks[self.position]

    @property
    def extent(self) -> str:
        """A sentence: how many repetitions, test images and labelled images the picture is of."""
        return extent([self.task], self.findings) + (
            f" Of the {len(self.findings.tasks)} numbers of labelled images, this is the largest."
            if len(self.findings.tasks) > 1
            else ""
        )

    @property
    def beyond(self) -> tuple[float, frozenset[int]]:
        """Where an axis of the metric ends below, and the positions of the cells beyond it: see `beyond`."""
        means = self.task.means
        lows = [mean.low for mean in means]
        if not self.metric.higher_is_better:
            return min(lows), frozenset()
        return beyond(self.task.cells, [mean.value for mean in means], lows)

    @property
    def metric(self) -> Metric:
        """What is judged by."""
        return self.findings.metric

    @property
    def axis(self) -> str:
        """What an axis of the metric is called."""
        return f"target test {self.metric.title}, {self.metric.units.unit}"

    def scaled(self, value: float) -> float:
        """A value of the metric as axes show it."""
        return self.metric.units.scale * value

    def colour(self, cell: Cell) -> str:
        return self.marks.colour(cell.data_mix)

    def marker(self, cell: Cell) -> str:
        return self.marks.marker(cell.freeze_policy)


def extent(tasks: Sequence[Task], findings: Findings) -> str:
    """A sentence: how many repetitions, test images and labelled images."""
    counts = [mean.repetitions for task in tasks for mean in task.means]
    repeated = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    images = findings.test_images
    labelled = [each for task in tasks if (each := task.labelled) is not None]
    found = f"{repeated} repetition{'s' * (max(counts) > 1)} a cell, {images:,} test image{'s' * (images > 1)}"
    if len(tasks) == 1 and labelled:
        found += f", {labelled[0]} labelled images a class"
    return f"{found}."


def beyond(cells: Sequence[Cell], values: Sequence[float], lows: Sequence[float]) -> tuple[float, frozenset[int]]:
    """Where an axis of shares ends below, so that random features do not squash what one wants to see.

    The other cells rule it. One on random features that lies further below all of them than `ROOM` of what they span,
    and than two points, is beyond it; no other cell ever is, and where there is no other, none.

    Args:
        values, lows: of each cell what is drawn, and the least of what is drawn with it: [0, 1].

    Returns:
        The least of what is on the axis, and the positions of the cells beyond it.
    """
    real = [i for i, cell in enumerate(cells) if not cell.random_features]
    least = min((lows[i] for i in real), default=0.0)
    end = least - max(ROOM * (max((values[i] for i in real), default=0.0) - least), 0.02)
    off = frozenset(i for i, cell in enumerate(cells) if real and cell.random_features and values[i] < end)
    while True:
        end = min(low for i, low in enumerate(lows) if i not in off)
        if all(values[i] < end for i in off):
            return end, off
        off = frozenset(i for i in off if values[i] < end)  # one that is on the axis reaches as far down as these


def arrow(
    axes: Axes,
    x: float,
    y: float,
    marker: str,
    colour: str,
    *,
    left: bool = False,
    below: bool = False,
    step: int = 0,
    **how: Any,
) -> None:
    """A cell beyond an axis: its marker at the edge (`left`: x is a share of the width; `below`: y of the height), and
    an arrow out of it, `step` arrows further in, as far as there is room. Does not stretch the axes.
    """
    place = blended_transform_factory(
        axes.transAxes if left else axes.transData, axes.transAxes if below else axes.transData
    )
    tip, tail = (place + _inwards(axes, left, below, 16.0 * min(step, STEPS - 1) + more) for more in (0.0, 13.0))
    axes.annotate(
        "",
        (x, y),
        (x, y),
        xycoords=tip,
        textcoords=tail,
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
    ).set_in_layout(False)
    drawn: dict[str, Any] = {"markersize": 5, "markeredgewidth": 0, "zorder": 4, "gid": "beyond"} | how
    axes.add_artist(Line2D([x], [y], color=colour, marker=marker, transform=tail, clip_on=False, **drawn))


def _inwards(axes: Axes, left: bool, below: bool, points: float) -> ScaledTranslation:
    return ScaledTranslation(left * points / 72, below * points / 72, axes.figure.dpi_scale_trans)


def arrows_said(beyond: Mapping[str, Collection[float]]) -> str:
    """The sentence that says what the arrows are: where to they point -> the values of the cells beyond, [0, 1]."""
    parts = []
    for where, values in beyond.items():
        if values:
            low, high = percent(min(values)), percent(max(values))
            parts.append(f"{where} at {low if low == high else f'{low} to {high}'} %")
    return f" Arrows: random features, {', '.join(parts)}." if parts else ""


def named(cell: Cell) -> str:
    """With the mark of random features."""
    return cell.name + "*" * cell.random_features


def starred(cells: Sequence[Cell]) -> str:
    """The sentence that says what * means, where it is used."""
    return " *: control, features are random." if any(cell.random_features for cell in cells) else ""


def spread(task: Task) -> str:
    """The best cell and the range, for an alt text."""
    metric, best, last = task.metric, task.means[0], task.means[-1]
    shown = f"{plain(task.cells[0].name, 200)} {metric.text(best.value)} ({span(metric, best.low, best.high)})"
    if len(task.cells) == 1:
        return shown
    return f"{shown}; the last is {plain(task.cells[-1].name, 200)} {metric.text(last.value)}"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A picture as it looks.

    Attributes:
        light, dark: standalone SVG on a transparent ground, for pages of either kind.
        png: `DPI`, light, on white.
    """

    picture: Picture
    light: str
    dark: str
    png: bytes


def drawing(picture: Picture) -> Drawing:
    """Draw a picture, the same each time. It is composed once, for all its files: that measures every text."""
    with style(dark=False):
        figure = picture.draw()
        light = _svg(picture, figure, "light")
        figure.set_layout_engine("none")
        png = _png(picture, figure)
    with style(dark=True):
        other = picture.draw()
        _compose_as(other, figure)
        dark = _svg(picture, other, "dark")
    return Drawing(picture=picture, light=light, dark=dark, png=png)


def _compose_as(figure: Figure, composed: Figure) -> None:
    """Put everything where it is in a figure that differs in nothing but colours. Subfigures are composed anew."""
    if figure.subfigs:
        return
    figure.set_layout_engine("none")
    for own, its in zip(figure.axes, composed.axes, strict=True):
        own.set_position(its.get_position(original=True))
    for text, its_text in zip(figure.texts, composed.texts, strict=True):
        text.set_position(its_text.get_position())


def svg(picture: Picture, *, dark: bool) -> str:
    """Standalone SVG on a transparent ground, the same text each time."""
    with style(dark=dark):
        return _svg(picture, picture.draw(), "dark" if dark else "light")


def _svg(picture: Picture, figure: Figure, kind: str) -> str:
    """Its ids start with the picture's name, so that several can stand in one page."""
    file = io.BytesIO()
    figure.set_facecolor("none")
    with _font_lacking():
        # As `savefig`, which would draw all twice.
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Title": picture.title})
    own = f"{picture.name}-{kind}-"
    return re.sub(r'(\bid="|href="#|url\(#)', lambda found: found[1] + own, file.getvalue().decode())


def _png(picture: Picture, figure: Figure) -> bytes:
    """On white."""
    file = io.BytesIO()
    figure.set_facecolor("white")
    figure.set_dpi(DPI)
    with _font_lacking():
        FigureCanvasAgg(figure).print_png(file, metadata={"Title": picture.title})
    return file.getvalue()


@contextlib.contextmanager
def _font_lacking() -> Iterator[None]:
    """No word of a class that is named in a script which the font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def leave(drawn: Drawing, folder: Path) -> None:
    """Write `NAME.svg` and `NAME.png` into a folder, light, on white, for papers."""
    folder.mkdir(parents=True, exist_ok=True)
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    text = re.sub(r"<svg [^>]*>", lambda found: f"{found[0]}\n {ground}", drawn.light, count=1)
    (folder / f"{drawn.picture.name}.svg").write_text(text, encoding="utf-8")
    (folder / f"{drawn.picture.name}.png").write_bytes(drawn.png)
