"""A table of the page: its heads, and what each place of it shows and is sorted by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What one place of a table says.

    Attributes:
        text: large; small: below it.
        value: what it is sorted by, if not by its text; None: last, always.
        badge: a word that marks it.
        star: whether the text has the mark of random features.
        strong: whether it is of the best.
        bar: low, middle and high of an interval, in [0, 1] of the column's width; all below 0 is drawn as an arrow.
        picture: a PNG in base64.
    """

    text: str = ""
    small: str = ""
    value: float | str | None = ""
    badge: str = ""
    star: bool = False
    strong: bool = False
    bar: tuple[float, float, float] | None = None
    picture: str = ""


@dataclasses.dataclass(frozen=True)
class Head:
    """A column's head; `numeric` ones are on the right, and are sorted largest first; `wide` ones hold much text."""

    title: str
    numeric: bool = True
    sorts: bool = True
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the page: its caption, its heads, and rows whose first place names them.

    Attributes:
        ordered: by which column it is sorted as it comes, and whether the smallest comes first.
    """

    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Entry]]
    ordered: tuple[int, bool] | None = None

    @property
    def narrow(self) -> bool:
        """Whether it is no wider than the text."""
        return len(self.heads) <= 4 and not any(head.wide for head in self.heads)


def number(text: str, value: float | None, **more: Any) -> Entry:
    """An entry that is sorted by a number, and last where there is none."""
    return Entry(text=text, value=value, **more)
