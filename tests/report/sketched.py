"""Simple pictures in place of the report's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tlfw.report import figures
from tlfw.report.figures import Drawing, Picture
from tlfw.report.findings import Findings


def _draw() -> Figure:
    made = Figure(figsize=(4, 2))
    made.subplots().plot([0, 1])
    return made


def pictures(findings: Findings) -> list[Picture]:
    """Two, one of them with what would be markup."""
    return [
        Picture(name="one", section="verdict", title="One", caption="The first.", alt="A line", draw=_draw),
        Picture(name="two", section="mistakes", title="<i>Two</i>", caption="a < b & c", alt='"<x>"', draw=_draw),
    ]


def svg(picture: Picture, *, dark: bool) -> str:
    colour = "#ddd" if dark else "#222"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="450pt" height="225pt" viewBox="0 0 450 225">'
        f"<title>{'dark' if dark else 'light'}</title>"
        f'<path d="M75 75 375 150" stroke="{colour}" stroke-width="8"/></svg>'
    )


def drawing(picture: Picture) -> Drawing:
    return Drawing(picture=picture, light=svg(picture, dark=False), dark=svg(picture, dark=True), png=b"")


def drawings(findings: Findings) -> list[Drawing]:
    return [drawing(each) for each in pictures(findings)]


def leave(drawn: Drawing, folder: Path) -> None:
    (folder / f"{drawn.picture.name}.svg").write_text(drawn.light)


def instead(patch: pytest.MonkeyPatch) -> None:
    """The report draws these."""
    for each in (pictures, drawing, leave):
        patch.setattr(figures, each.__name__, each)
