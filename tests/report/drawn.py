"""Pictures drawn, and what is in them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from tlfw.report.figures import Picture, pictures
from tlfw.report.figures.style import style
from tlfw.report.findings import Findings

BEST = {("pretrain_finetune", "full"): 0.9, ("pretrain_joint", "full"): 0.85, ("joint", "last_layer"): -0.5}


def picture(findings: Findings, name: str) -> Picture:
    return next(each for each in pictures(findings) if each.name == name)


def drawn(findings: Findings, name: str) -> Figure:
    with style(dark=False):
        return picture(findings, name).draw()


def texts(figure: Figure) -> list[Text]:
    """Those that are really drawn."""
    found: list[Text] = []
    draw = Text.draw

    def noting(self: Text, renderer: Any, *others: Any, **more: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append(self)
        draw(self, renderer, *others, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noting)
        figure.draw_without_rendering()
    return list(dict.fromkeys(found))


def faults(figure: Figure) -> list[tuple[str, ...]]:
    """Texts that are smaller than 8 points, that are cut off, and pairs that overlap."""
    found: list[tuple[str, ...]] = []
    shown = texts(figure)
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    found += [("small", text.get_text()) for text in shown if text.get_fontsize() < 8]
    inner = figure.bbox.padded(1)
    found += [("cut off", name) for name, box in boxes if not (inner.contains(*box.min) and inner.contains(*box.max))]
    found += [
        ("overlap", name, other)
        for (name, box), (other, another) in itertools.combinations(boxes, 2)
        if min(box.x1, another.x1) - max(box.x0, another.x0) > 0.5
        and min(box.y1, another.y1) - max(box.y0, another.y0) > 0.5
    ]
    return found


def lines(figure: Figure, gid: str) -> list[Line2D]:
    return [each for each in figure.findobj(Line2D) if each.get_gid() == gid]  # type: ignore[misc]
