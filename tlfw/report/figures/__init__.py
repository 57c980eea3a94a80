"""Pictures of the findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tlfw.report.findings import Findings


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One drawing, and what is said of it.

    Attributes:
        name: of its files, without suffix.
        section: where on the page it stands.
        title: a heading. caption: how to read it. alt: what it shows, for who cannot see it.
        draw: -> a Matplotlib figure in the current style.
    """

    name: str
    section: Literal["verdict", "labels", "cost", "learning", "mistakes"]
    title: str
    caption: str
    alt: str
    draw: Callable[[], Any]


def pictures(findings: Findings) -> list[Picture]:
    """Those that make sense for these findings, in the page's order."""
    return []


def svg(picture: Picture, *, dark: bool) -> str:
    """Standalone SVG text on a transparent background, the same each time."""
    raise NotImplementedError


def leave(picture: Picture, folder: Path) -> None:
    """Write NAME.svg and NAME.png, for papers."""
    raise NotImplementedError
