"""How all pictures look: one style, light or dark, a colour a data mix, a marker and a line a freeze policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib import style as styles
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from tlfw.report.costs import short

SMALL, TEXT = 8.0, 8.5
"""Points, at the size that a figure is made for."""

COLUMN, PAGE = 5.5, 6.5
"""Inches: a paper's text is one of them wide."""

MIXES = ("pretrain_finetune", "joint", "pretrain_joint", "target_only")
POLICIES = ("full", "last_layers", "last_layer")

# Near Okabe and Ito's, 2008: apart for the colour-blind, and in lightness too, for print without colour.
LIGHT = ("#0b62a8", "#de8f05", "#029e73", "#222222", "#cc78bc", "#ca9161", "#d55e00", "#56b4e9")
DARK = ("#56b4e9", "#f2b134", "#2fc79b", "#f5f5f5", "#e09ad3", "#dcb083", "#ff8a4c", "#a5d8f5")
MARKERS = ("D", "s", "o", "^", "v", "P", "X", "<", ">", "h")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)), (0, (8, 2, 1, 2, 1, 2)))

CONTROL = "target_only"


def style(*, dark: bool) -> AbstractContextManager[None]:
    """While it is entered, figures are drawn so; nothing of a person's own settings has a part in it.

    `figure.facecolor` is the paper that a figure will lie on, itself not drawn.
    """
    ink, paper, faint = ("#e8e8e8", "#111111", "#3d3d3d") if dark else ("#1a1a1a", "#ffffff", "#dcdcdc")
    own = {
        "font.family": "DejaVu Sans",
        "font.size": TEXT,
        "axes.labelsize": TEXT,
        "axes.titlesize": TEXT,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "legend.handletextpad": 0.5,
        "legend.columnspacing": 1.4,
        "legend.borderaxespad": 0.2,
        "text.color": ink,
        "text.parse_math": False,  # a class may be called $
        "axes.labelcolor": ink,
        "axes.titlecolor": ink,
        "axes.edgecolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "axes.linewidth": 0.7,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=DARK if dark else LIGHT),
        "grid.color": faint,
        "grid.linewidth": 0.6,
        "figure.facecolor": paper,
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.w_pad": 0.03,
        "figure.constrained_layout.h_pad": 0.03,
        "savefig.facecolor": "none",
        "svg.fonttype": "path",
        "svg.hashsalt": "tlfw",
    }
    return styles.context(own, after_reset=True)


def ink() -> str:
    """The colour of text."""
    return str(matplotlib.rcParams["text.color"])


def paper() -> str:
    """The colour behind everything."""
    return str(matplotlib.rcParams["figure.facecolor"])


def faint() -> str:
    """The colour of grid lines."""
    return str(matplotlib.rcParams["grid.color"])


def muted() -> tuple[float, float, float]:
    """Between ink and paper, and still legible on it."""
    one, other = (np.asarray(matplotlib.colors.to_rgb(each)) for each in (ink(), paper()))
    red, green, blue = (0.6 * one + 0.4 * other).tolist()
    return red, green, blue


def on(colour: Any) -> str:
    """Black or white, whichever can be read on a colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)]
    return "#000000" if float(np.dot((0.2126, 0.7152, 0.0722), linear)) > 0.18 else "#ffffff"


def shades() -> Colormap:
    """For amounts: the more, the further from the paper. ColorBrewer's YlGnBu, which the colour-blind and printers can
    do with (Brewer, 2003).
    """
    name = "YlGnBu_r" if on(paper()) == "#ffffff" else "YlGnBu"
    return ListedColormap(matplotlib.colormaps[name](np.linspace(0.06, 0.96, 256)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Marks:
    """What stands for what, the same in all pictures of a report.

    Attributes:
        mixes, policies: the names of all there are, the known ones first.
    """

    mixes: tuple[str, ...]
    policies: tuple[str, ...]

    @classmethod
    def of(cls, mixes: Iterable[str], policies: Iterable[str]) -> Marks:
        return cls(mixes=_ordered(mixes, MIXES), policies=_ordered(policies, POLICIES))

    def colour(self, mix: str) -> str:
        """In the current style."""
        colours = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        place = _place(mix, self.mixes, MIXES)
        own = len(MIXES)
        return str(colours[place if place < own else own + (place - own) % (len(colours) - own)])

    def marker(self, policy: str) -> str:
        return MARKERS[_place(policy, self.policies, POLICIES) % len(MARKERS)]

    def line(self, policy: str) -> Any:
        return LINES[_place(policy, self.policies, POLICIES) % len(LINES)]

    def mix_keys(self, mixes: Iterable[str]) -> list[Line2D]:
        """For a legend: a patch of colour a data mix."""
        return [
            Line2D([], [], color=self.colour(mix), linewidth=5, solid_capstyle="butt", label=plain(mix))
            for mix in _ordered(mixes, MIXES)
        ]

    def policy_keys(self, policies: Iterable[str], *, lines: bool = False) -> list[Line2D]:
        """For a legend: a marker a freeze policy, on its line if `lines`."""
        return [
            Line2D(
                [],
                [],
                color=ink(),
                marker=self.marker(policy),
                markersize=4.5,
                linewidth=1.2,
                linestyle=self.line(policy) if lines else "none",
                label=plain(policy),
            )
            for policy in _ordered(policies, POLICIES)
        ]


def _ordered(names: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Each once, the known ones first."""
    there = set(names)
    return (*(name for name in known if name in there), *sorted(there - set(known)))


def _place(name: str, names: Sequence[str], known: Sequence[str]) -> int:
    return known.index(name) if name in known else len(known) + [n for n in names if n not in known].index(name)


def plain(text: str, most: int = 60) -> str:
    """A name that any file can hold, no longer than `most` characters."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    half = most // 2
    return (
        shown if len(shown) <= most else f"{shown[:half]}…{shown[half + 1 - most :]}"
    )  # names often differ at the end


def lined(name: str) -> str:
    """A cell's name, a long one on two lines."""
    first, comma, rest = name.partition(", ")
    return f"{plain(first, 44)},\n{plain(rest, 44)}" if comma and len(name) > 44 else plain(name, 44)


def percent(share: float) -> str:
    """Without its sign, which an axis or a caption has."""
    return f"{100 * share:.1f}"


def said(share: float) -> str:
    """In a sentence."""
    return f"{percent(share)} %"


def legend(figure: FigureBase, keys: Sequence[Line2D]) -> None:
    """Above all axes, in as many columns as there is room for."""
    widths = [0.066 * len(str(key.get_label())) + 0.5 for key in keys]

    def needed(columns: int) -> float:
        rows = -(-len(widths) // columns)
        return sum(max(widths[i : i + rows]) for i in range(0, len(widths), rows))

    width = figure.get_figure(root=True).get_size_inches()[0]
    columns = next((count for count in range(len(keys), 1, -1) if needed(count) <= width), 1)
    figure.legend(handles=list(keys), loc="outside upper left", ncols=columns)


def amounts(axes: Axes, values: Sequence[float]) -> None:
    """The scale of an x axis of amounts, drawn already: logarithmic where they span more than a factor of ten."""
    least, most = min(values), max(values)
    if least > 0 and most / least > 10:
        axes.set_xscale("log")
        axes.set_xlim(least / 1.25, most * 1.25)
        steps = (1.0, 3.0) if most / least < 300 else (1.0,)
        ticks = [
            step * 10.0**k for k in range(-3, 25) for step in steps if least / 1.25 <= step * 10.0**k <= most * 1.25
        ]
        ticks = ticks[:: -(-len(ticks) // 5)]
        fixed(axes, ticks, [short(tick) for tick in ticks])
    else:
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def fixed(axes: Axes, values: Sequence[float], labels: Sequence[str]) -> None:
    """Ticks of a logarithmic x axis at these values only."""
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: labels[int(np.abs(np.subtract(values, value)).argmin())])
    )
