"""Numbers as people read them: as many digits as are known, and a dash where there is none."""

from __future__ import annotations

import re

NONE = "–"

UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def percent(share: float | None) -> str:
    """Of a share in [0, 1]: `85.3 %`."""
    return NONE if share is None else f"{100 * share:.1f} %"


def points(difference: float | None) -> str:
    """Of shares, in percentage points: `+3.2`, `−0.4`."""
    if difference is None:
        return NONE
    shown = f"{100 * difference:+.1f}".replace("-", "−")
    return "0.0" if shown in ("+0.0", "−0.0") else shown


def chance(p: float | None) -> str:
    """A p value: `0.012`, `< 0.001`."""
    if p is None:
        return NONE
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def decimals(value: float | None, digits: int = 3) -> str:
    """A plain number: `0.412`."""
    return NONE if value is None else f"{value:.{digits}f}"


def short(amount: float) -> str:
    """A number for people: `9.6 k`, `1.2 T`."""
    for size, letter in ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= 0.9995 * size:  # three digits round it up to 1
            return f"{amount / size:.3g} {letter}"
    return f"{amount:.3g}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `26 s`, `4.3 min`, `2.1 h`, `1.5 d`."""
    if seconds is None:
        return NONE
    for size, unit in UNITS:
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def labelled(count: int | None) -> str:
    """What a task is known by."""
    if count is None:
        return "all labelled images"
    return f"{count} labelled {'image' if count == 1 else 'images'} a class"


def counted(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def between(low: int, high: int) -> str:
    """`5`, or `3 to 5`."""
    return str(low) if low == high else f"{low} to {high}"


def sentence(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def tight(text: str) -> str:
    """A sentence in which no unit is parted from its number."""
    return re.sub(
        r"(?<=\d) (?=(%|[kMGTPEZ]|seeds?|points?)(\W|$))|(?<=\bp) (?=[<=] )|(?<=[<=]) (?=0\.)",
        "\N{NO-BREAK SPACE}",
        text,
    )
