"""A picture of a report: what it is called, what it says, and how it becomes a file."""

from __future__ import annotations

import dataclasses
import io
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from tlfw.report.cells import Cell
from tlfw.report.figures.style import Marks, percent, plain, said, style
from tlfw.report.findings import Findings
from tlfw.report.verdict import Task

Section = Literal["verdict", "labels", "cost", "learning", "mistakes"]

DPI = 200


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
        """A sentence: how many seeds, test images and labelled images the picture is of."""
        return extent([self.task], self.findings) + (
            f" Of the {len(self.findings.tasks)} numbers of labelled images, this is the largest."
            if len(self.findings.tasks) > 1
            else ""
        )

    def colour(self, cell: Cell) -> str:
        return self.marks.colour(cell.data_mix)

    def marker(self, cell: Cell) -> str:
        return self.marks.marker(cell.freeze_policy)


def extent(tasks: Sequence[Task], findings: Findings) -> str:
    """A sentence: how many seeds, test images and labelled images."""
    seeds = [one.seeds for task in tasks for one in task.accuracies]
    repeated = f"{min(seeds)}" if min(seeds) == max(seeds) else f"{min(seeds)} to {max(seeds)}"
    images = findings.test_images
    labelled = [each for task in tasks if (each := task.labelled) is not None]
    found = f"{repeated} seed{'s' * (max(seeds) > 1)} a cell, {images:,} test image{'s' * (images > 1)}"
    if len(tasks) == 1 and labelled:
        found += f", {labelled[0]} labelled images a class"
    return f"{found}."


def named(cell: Cell) -> str:
    """With the mark of random features."""
    return cell.name + "*" * cell.random_features


def starred(cells: Sequence[Cell]) -> str:
    """The sentence that says what * means, where it is used."""
    return " *: nothing below the trained layers ever learnt." if any(cell.random_features for cell in cells) else ""


def spread(task: Task) -> str:
    """The best cell and the range, for an alt text."""
    best, last = task.accuracies[0], task.accuracies[-1]
    shown = f"{plain(task.cells[0].name, 200)} {said(best.mean)} ({percent(best.low)} to {said(best.high)})"
    return (
        shown if len(task.cells) == 1 else f"{shown}; the last is {plain(task.cells[-1].name, 200)} {said(last.mean)}"
    )


def _drawn(picture: Picture, figure: Figure, file: io.BytesIO | Path, **how: object) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a class named in a script that the font lacks
        kind = "svg" if isinstance(file, io.BytesIO) else file.suffix[1:]
        metadata = {"Date": None, "Title": picture.title} if kind == "svg" else {"Title": picture.title}
        figure.savefig(file, format=kind, metadata=metadata, **how)  # type: ignore[arg-type]


def svg(picture: Picture, *, dark: bool) -> str:
    """Standalone SVG on a transparent ground, the same text each time.

    Its ids start with the picture's name, so that several can stand in one page.
    """
    file = io.BytesIO()
    with style(dark=dark):
        _drawn(picture, picture.draw(), file)
    own = f"{picture.name}-{'dark' if dark else 'light'}-"
    return re.sub(r'(\bid="|href="#|url\(#)', lambda found: found[1] + own, file.getvalue().decode())


def leave(picture: Picture, folder: Path) -> None:
    """Write `NAME.svg` and `NAME.png` (200 dpi) into a folder, light, on white, for papers."""
    folder.mkdir(parents=True, exist_ok=True)
    with style(dark=False):
        figure = picture.draw()
        for kind in ("svg", "png"):
            _drawn(picture, figure, folder / f"{picture.name}.{kind}", dpi=DPI, facecolor="white")
