"""What people read of a sweep."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tlfw.status.row import Row
from tlfw.status.status_table import failures, line, lines, screen, span, summary, table
from tlfw.status.sweep_reader import Overview

NOW = 1_000_000.0


def row(key: str, state: str = "running", **facts: object) -> Row:
    going = state in ("waiting", "submitted", "running", "requeued")
    return Row(**{"key": key, "name": key, "state": state, "going": going, "since": NOW - 180, **facts})  # type: ignore[arg-type]


RUNNING = row(
    "a", job="12", host="node1", stage="adapt", step=120, steps=400, images_per_second=1234.5, seconds_left=150.0,
    requeues=1,
)  # fmt: skip


def printed(rows: list[Row], most: int | None = None, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(rows, most, NOW))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_row_has_all_that_is_known() -> None:
    (found,) = [each for each in printed([RUNNING]).splitlines() if "node1" in each]
    cells = [cell.strip() for cell in found.strip("│").split("│")]
    assert cells == ["a", "running", "3 min", "12", "node1", "adapt 120/400", "1,234", "2 min", "1"]


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (RUNNING, "a: running for 3 min, job 12 on node1, adapt 120/400, 1,234 images/s, 2 min left, requeued 1 time"),
        (row("a", host="node1", step=3), "a: running for 3 min, on node1, 3"),
        (row("a", "waiting", since=None), "a: waiting"),
        (row("a", "submitted", job="7", until="pretrain"), "a: submitted for 3 min, job 7, pretrain"),
        (row("a", "done", job="7", host="node1", stage="adapt", seconds_left=3.0), "a: done 3 min ago, job 7 on node1"),
        (row("a", "failed", error="no\n  memory"), "a: failed 3 min ago: no memory"),
        (row("a", host="node1", silent=240.0, images_per_second=5.0), "a: silent 4 min, on node1"),
        (row("a", dead=True, going=False), "a: dead for 3 min"),
        (row("a", since=NOW + 50), "a: running for 0 s"),
    ],
)
def test_a_line_says_all_that_is_known(one: Row, said: str) -> None:
    assert line(one, NOW) == said


def test_lines_are_of_what_changed() -> None:
    before = [row("a", "waiting"), row("b"), row("c")]
    after = [row("a", "running"), row("b", step=7), row("c", silent=61.0), row("d", "waiting")]
    assert [each.partition(":")[0] for each in lines(before, after, NOW)] == ["a", "c", "d"]
    assert len(lines([], after, NOW)) == 4
    assert lines(after, after, NOW) == []


ODD = "[bold]b[/bold] \x1b[31m\u202e\ud800 " + "x" * 300


def test_names_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter22hunter22")
    found = row(ODD, "failed", error="https://me:hunter22hunter22@there \x1b[2J", job="[red]", host="\x07")
    texts = [printed([found]), line(found, NOW), *failures([found])]
    for text in texts:
        text.encode()
        assert not set(text) & set("\x1b\u202e\x07")
        assert "hunter22" not in text
    assert "[bold]b[/bold]" in texts[0].replace("│", "")
    assert ODD[-300:] in texts[1]


def test_what_has_no_place_is_counted() -> None:
    rows = [row(f"n{i}", state) for i, state in enumerate(["done"] * 20 + ["waiting"] * 20 + ["running", "failed"])]
    text = printed(rows, most=8)
    assert "n40" in text
    assert "n41" in text
    assert "n0 " in text
    assert "n1 " not in text
    assert "and 39 more: 19 done, 20 waiting" in text
    assert "more" not in printed(rows, most=60)


def test_a_screen_has_no_more_lines_than_the_terminal() -> None:
    rows = [row(f"n{i}", "failed", error=f"why {i % 2}") for i in range(40)]
    console = Console(file=io.StringIO(), width=100, height=20)
    overview = Overview(name="mine", at=NOW, rows=rows, notes=["a note " * 30], driven=None)
    console.print(screen(overview, console))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert 15 <= len(text.splitlines()) <= 20
    assert "failed: n0 and 19 more: why 0" in text
    assert text.splitlines()[-1].strip() == "0 of 40 runs done, 40 failed"


def test_equal_reasons_are_one_line() -> None:
    rows = [row("a", "blocked", error="e"), row("b", "failed", error="e"), row("c", "blocked", error="e")]
    assert failures([*rows, row("d", error="of before")]) == ["blocked: a and 1 more: e", "failed: b: e"]


def test_the_summary_counts() -> None:
    rows = [row("p", "done", until="pretrain"), row("a", "done"), row("b", "failed"), row("c", "waiting"), row("d")]
    assert summary(rows, NOW) == "1 of 4 runs done, 1 of 1 that they share, 1 failed, 1 running, 1 waiting"
    assert summary([row("a", "done")], NOW) == "1 of 1 run done"
    assert summary([], NOW) == "0 of 0 runs done"
    rows = [row("a", "done", began=NOW - 280), row("b", began=NOW - 40), row("c", "waiting")]
    left = "about 3 min left (if the others take as long as the 1 done, 1 at a time)"
    assert summary(rows, NOW) == f"1 of 3 runs done, 1 running, 1 waiting; {left}"
    rows = [row("a", seconds_left=300.0), row("b", "waiting")]
    assert "; at least 5 min left (how long the other tasks take is not known yet)" in summary(rows, NOW)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (9000, "2.5 h"), (200_000, "2.3 d")],
)
def test_durations_are_for_people(seconds: float, said: str) -> None:
    assert span(seconds) == said
