"""Rows as people read them: a table on a terminal, and lines in a log."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tlfw.escape import printable
from tlfw.records.secret import masked
from tlfw.status.row import Row
from tlfw.status.sweep_reader import Overview
from tlfw.status.time_left import time_left

STYLES = {
    "running": "cyan",
    "done": "green",
    "failed": "bold red",
    "dead": "bold red",
    "interrupted": "red",
    "blocked": "red",
    "unknown": "red",
    "silent": "yellow",
    "requeued": "yellow",
    "diverged": "magenta",
}
"""How a state is coloured; the others are plain."""

FIRST = ("failed", "dead", "unknown", "silent", "running", "requeued", "submitted", "interrupted", "blocked")
"""What is shown where not all rows have a place, the first first."""

ORDER = (
    *("done", "diverged", "failed", "dead", "interrupted", "blocked", "pruned", "unknown"),
    *("running", "silent", "requeued", "submitted", "waiting"),
)
"""In which order states are counted, the first first."""


def table(rows: Sequence[Row], most: int | None = None, now: float | None = None) -> RenderableType:
    """A row a task.

    Args:
        most: how many lines there is place for; None: for all. What has ended well or waits is left out first.
        now: seconds since 1970; None: this moment.
    """
    now = time.time() if now is None else now
    shown, hidden = _that_fit(rows, most)
    made = Table(title=None)
    for column in ("task", "state", "since", "job", "host", "stage", "images/s", "left", "requeued"):
        right = column in ("since", "images/s", "left", "requeued")
        made.add_column(column, justify="right" if right else "left", overflow="fold")
    for row, name in zip(shown, masked([row.name for row in shown]), strict=True):
        state = f"silent {span(row.silent)}" if row.word == "silent" and row.silent is not None else row.word
        cells = (
            name,
            state,
            "" if row.since is None else span(now - row.since),
            row.job or "",
            row.host or "",
            _stage(row) if row.going else "",
            _speed(row),
            _left(row),
            str(row.requeues or ""),
        )
        texts = [Text(printable(cell)) for cell in cells]  # names may hold what rich would take for its markup
        texts[1].stylize(STYLES.get(row.word, ""))
        made.add_row(*texts)
    return Group(made, Text(f"and {len(hidden)} more: {_counted(hidden)}")) if hidden else made


def _that_fit(rows: Sequence[Row], most: int | None) -> tuple[list[Row], list[Row]]:
    """Rows that have a place, in their order, and the others; a table has five lines beside its rows."""
    room = len(rows) if most is None else max(most - 5, 1)
    if len(rows) <= room:
        return list(rows), []
    rank = {word: place for place, word in enumerate(FIRST)}
    order = sorted(range(len(rows)), key=lambda i: rank.get(rows[i].word, len(FIRST)))
    kept = set(order[:room])
    return [row for i, row in enumerate(rows) if i in kept], [row for i, row in enumerate(rows) if i not in kept]


def line(row: Row, now: float | None = None) -> str:
    """All that is known of a task in one line."""
    now = time.time() if now is None else now
    passed = "" if row.since is None else span(now - row.since)
    if row.word == "silent" and row.silent is not None:
        state = f"silent {span(row.silent)}"
    elif row.going or row.dead:
        state = f"{row.word} for {passed}" if passed else row.word
    else:
        state = f"{row.word} {passed} ago" if passed and row.state != "waiting" else row.word
    where = " on ".join(filter(None, (f"job {row.job}" if row.job else "", row.host or "")))
    speed, left = _speed(row), _left(row)
    parts = [
        state,
        where if row.job or not where else f"on {where}",
        _stage(row) if row.going else "",
        f"{speed} images/s" if speed else "",
        f"{left} left" if left else "",
        f"requeued {row.requeues} {'time' if row.requeues == 1 else 'times'}" if row.requeues else "",
    ]
    why = f": {row.error}" if row.error else ""
    return _plain(f"{row.name}: {', '.join(filter(None, parts))}{why}")


def lines(before: Sequence[Row], after: Sequence[Row], now: float | None = None) -> list[str]:
    """A line for each task whose state changed, or that is new.

    Args:
        before: rows as they were; empty: a line for each.
    """
    known = {row.key: (row.word, row.requeues) for row in before}
    return [line(row, now) for row in after if known.get(row.key) != (row.word, row.requeues)]


def failures(rows: Sequence[Row]) -> list[str]:
    """Why tasks ended without a result: a line a reason."""
    why: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row.error and not row.going:
            why[row.word, row.error].append(row.name)
    return [
        _plain(f"{word}: {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {error}")
        for (word, error), names in why.items()
    ]


def summary(rows: Sequence[Row], now: float | None = None) -> str:
    """How far all is, and how long it takes yet, in one line."""
    now = time.time() if now is None else now
    runs = [row for row in rows if row.until is None]
    done = sum(row.state == "done" for row in runs)
    text = f"{done} of {len(runs)} {'run' if len(runs) == 1 else 'runs'} done"
    if len(runs) < len(rows):
        shared = [row for row in rows if row.until is not None]
        text += f", {sum(row.state == 'done' for row in shared)} of {len(shared)} that they share"
    others = _counted([row for row in rows if row.state != "done"])
    estimate = time_left(rows, now)
    about = "about" if estimate and estimate.whole else "at least"
    left = f"; {about} {span(estimate.seconds)} left ({estimate.said})" if estimate else ""
    return f"{text}{f', {others}' if others else ''}{left}"


def below(overview: Overview, *, why: bool) -> list[str]:
    """What stands under the tasks: notes on them, and last the summary.

    Args:
        why: whether first it is said why tasks ended without a result, as lines of tasks do themselves.
    """
    own = failures(overview.rows) if why else []
    return [*own, *map(_plain, overview.notes), summary(overview.rows, overview.at)]


def screen(overview: Overview, console: Console) -> RenderableType:
    """As much of a sweep as a terminal has place for, to be shown live."""
    texts = below(overview, why=True)
    lines_below = sum(1 + len(text) // max(console.width, 1) for text in texts)
    room = max(console.height - lines_below - 1, 1)
    return Group(table(overview.rows, room, overview.at), *map(Text, texts))


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """State -> how many tasks are in it; `done` first."""
    count = Counter(row.word for row in rows)
    return {word: count[word] for word in sorted(count, key=lambda word: (word != "done", word))}


def _counted(rows: Sequence[Row]) -> str:
    count = counts(rows)
    order = sorted(count, key=lambda word: ORDER.index(word) if word in ORDER else -1)
    return ", ".join(f"{count[word]} {word}" for word in order)


def span(seconds: float) -> str:
    """A duration for people."""
    seconds = max(seconds, 0.0)
    for size, unit, digits in ((86400, "d", 1), (3600, "h", 1), (60, "min", 0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def _stage(row: Row) -> str:
    steps = "" if row.step is None else str(row.step) if row.steps is None else f"{row.step}/{row.steps}"
    return " ".join(filter(None, (row.stage or row.until or "", steps)))


def _speed(row: Row) -> str:
    return f"{row.images_per_second:,.0f}" if row.images_per_second is not None and _runs(row) else ""


def _left(row: Row) -> str:
    return span(row.seconds_left) if row.seconds_left is not None and _runs(row) else ""


def _runs(row: Row) -> bool:
    return row.word == "running"


def _plain(text: str) -> str:
    """A text in one line, as it may stand in a log: without secrets and without what a terminal would act on."""
    return printable(masked(" ".join(str(text).split())))
