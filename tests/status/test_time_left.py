"""How long a sweep still takes."""

from __future__ import annotations

from tests.status.test_status_table import NOW, row
from tlfw.status.row import Row
from tlfw.status.time_left import TimeLeft, time_left


def done(key: str, seconds: float, **facts: object) -> Row:
    return row(key, "done", began=NOW - 180 - seconds, **facts)


def test_others_take_as_long_as_those_done() -> None:
    rows = [done("a", 90), done("b", 100), done("c", 1000), row("d", began=NOW - 40), row("e", "waiting")]
    found = time_left(rows, NOW)
    assert found == TimeLeft(160.0, True, "if the others take as long as the 3 done, 1 at a time")


def test_several_run_at_a_time_and_none_ends_before_its_stage() -> None:
    rows = [done("a", 100), row("b", began=NOW - 40), row("c", began=NOW - 90, seconds_left=300.0)]
    found = time_left(rows, NOW)
    assert found is not None
    assert found.seconds == 300.0
    found = time_left([*rows, *(row(str(i), "waiting") for i in range(10))], NOW)
    assert found is not None
    assert found.seconds == (60 + 300 + 1000) / 2


def test_stages_and_runs_take_their_own_time() -> None:
    rows = [done("p", 1000, until="pretrain"), row("a", began=NOW - 10, seconds_left=50.0)]
    assert time_left(rows, NOW) == TimeLeft(50.0, False, "how long the other tasks take is not known yet")


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert time_left([], NOW) is None
    assert time_left([done("a", 100)], NOW) is None
    assert time_left([row("a"), row("b", "waiting")], NOW) is None
    assert time_left([done("a", 100), row("b", "waiting")], NOW) is None  # nothing runs, and nobody knows when it will
    assert time_left([done("a", 100, reused=True), row("b")], NOW) is None  # it was there
