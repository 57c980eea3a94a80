"""A sweep's folder remembers all that was asked under its name."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tlfw.errors import ConfigError
from tlfw.records.plan_file import Ask, add, read, repetitions
from tlfw.records.record import Record

JOINT = {"data_mix": "joint", "freeze_policy": "full", "backbone": "resnet18"}
MINE = {**JOINT, "freeze_policy": "mine/probe"}


def run(run_id: str, names: dict[str, str] = JOINT, **facts: Any) -> dict[str, Any]:
    return {"run_id": run_id, **names, "settings": {"seed": 0}, **facts}


def facts(*runs: dict[str, Any]) -> dict[str, Any]:
    """Of a command, with one wave of all its runs."""
    return {
        "sweep": "s",
        "records": "../../runs",
        "runs": list(runs),
        "waves": [[{"run": i, "until": None} for i in range(len(runs))]],
    }


def test_a_later_command_adds_and_takes_nothing_away(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert add(tmp_path, facts(run("a"), run("b")), Ask(repetitions=2, margin=0.01, compare=["freeze_policy.n"]))
    assert add(tmp_path, facts(run("c"), run("a")), Ask(repetitions=3, note="best of 3"))
    plan = read(tmp_path)
    assert plan is not None
    assert plan["schema"] == 2
    assert [(each["run_id"], each["asked"]) for each in plan["runs"]] == [("a", [0, 1]), ("b", [0]), ("c", [1])]
    assert [set(each) for each in plan["asked"]] == [{"at", "repetitions", "compare", "metric", "margin", "note"}] * 2
    assert [(each["repetitions"], each["margin"], each["compare"]) for each in plan["asked"]] == [
        (2, 0.01, ["freeze_policy.n"]), (3, None, []),
    ]  # fmt: skip
    assert (plan["note"], plan["asked"][0]["note"]) == ("best of 3", None)
    assert [task["run"] for task in plan["waves"][0]] == [2, 0]  # by their place in the list as it is now


def test_the_same_command_again_is_a_command_and_asks_for_nothing_new(tmp_path: Path) -> None:
    assert add(tmp_path, facts(run("a")), Ask(repetitions=1))
    assert not add(tmp_path, facts(run("a", done=True)), Ask(repetitions=1))
    plan = read(tmp_path)
    assert plan is not None
    assert len(plan["asked"]) == 2
    assert [(each["asked"], each["done"]) for each in plan["runs"]] == [([0, 1], True)]


def test_an_equal_run_under_another_name_is_an_entry_of_its_own(tmp_path: Path) -> None:
    """Also in one command; of two that are equal in names too, the first says what is missing."""
    add(tmp_path, facts(run("a", missing=["adapt"]), run("a", missing=[]), run("a", MINE)), Ask(repetitions=1))
    add(tmp_path, facts(run("a", MINE)), Ask(repetitions=1))
    plan = read(tmp_path)
    assert plan is not None
    assert [(each["freeze_policy"], each["asked"], each["same_as"]) for each in plan["runs"]] == [
        ("full", [0], None), ("mine/probe", [0, 1], 0),
    ]  # fmt: skip
    assert plan["runs"][0]["missing"] == ["adapt"]


def test_a_plan_without_names_is_one_earlier_command(tmp_path: Path) -> None:
    """Schema 1 knew neither names nor times; whoever asks for such a run first gives it its name."""
    runs = [
        {"run_id": id, "overrides": [], "same_as": None, "settings": {"seed": seed, "target.split_seed": 0}}
        for id, seed in (("a", 0), ("b", 1), ("a", 0))
    ]
    old = {"schema": 1, "sweep": "s", "records": "../../runs", "note": "best of 9", "runs": runs, "waves": []}
    (tmp_path / "plan.json").write_text(json.dumps(old))
    plan = read(tmp_path)
    assert plan is not None
    assert plan["asked"] == [
        {"at": None, "repetitions": 2, "compare": [], "metric": "accuracy", "margin": None, "note": "best of 9"}
    ]
    assert [(each["run_id"], each["freeze_policy"], each["asked"]) for each in plan["runs"]] == [
        ("a", None, [0]), ("b", None, [0]),
    ]  # fmt: skip
    add(tmp_path, facts(run("b", MINE), run("b"), run("c")), Ask(repetitions=1))
    plan = read(tmp_path)
    assert plan is not None
    assert plan["schema"] == 2
    assert [(each["run_id"], each["freeze_policy"], each["asked"]) for each in plan["runs"]] == [
        ("a", None, [0]), ("b", "mine/probe", [0, 1]), ("b", "full", [1]), ("c", "full", [1]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [
        "", "{", "[]", "null", '{"schema": 3, "runs": [], "asked": []}', '{"schema": 2, "runs": []}',
        '{"schema": 2, "asked": [], "runs": [{"run_id": "a"}]}', '{"schema": 2, "asked": [], "runs": 5}',
        json.dumps({"schema": 2, "asked": [], "runs": [run("a", asked=[0])]}), "\x00\xff",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_not_written_over(tmp_path: Path, damage: str) -> None:
    (tmp_path / "plan.json").write_text(damage)
    for act in (lambda: read(tmp_path), lambda: add(tmp_path, facts(run("a")), Ask(repetitions=1))):
        with pytest.raises(ConfigError, match=r"plan.json: it cannot be read .* Move it away to start again"):
            act()
    assert (tmp_path / "plan.json").read_text() == damage


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path, facts(run("a")), Ask(repetitions=1))
    before = read(tmp_path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConfigError, match=r"outputs: cannot write in .*No space left"):
        add(tmp_path, facts(run("b")), Ask(repetitions=1))
    assert read(tmp_path) == before


def _add_many(folder: Path, process: int) -> None:
    for i in range(20):
        add(folder, facts(run(f"{process}-{i}")), Ask(repetitions=1))


def test_two_processes_at_a_time_lose_nothing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_add_many, [tmp_path / "s"] * 2, (0, 1)))
    plan = read(tmp_path / "s")
    assert plan is not None
    assert {each["run_id"] for each in plan["runs"]} == {f"{process}-{i}" for process in (0, 1) for i in range(20)}
    assert len(plan["asked"]) == 40
    assert sorted(number for each in plan["runs"] for number in each["asked"]) == list(range(40))


def test_repetitions_are_counted_where_nothing_says_them() -> None:
    seeds = [{"seed": seed, "target.split_seed": 0, "freeze_policy.n": n} for seed in (0, 1, 2) for n in (1, 2)]
    assert repetitions(seeds) == 3
    assert repetitions([*seeds, {"seed": 0, "target.split_seed": 1}]) == 4
    assert repetitions([{"seed": 0, "fold": fold} for fold in range(5)]) == 5
    assert repetitions([{}]) == 1


def test_a_moment_is_in_utc_and_to_the_second() -> None:
    assert Ask(repetitions=1).at is not None
    assert Record.__dataclass_fields__["ended"].default is None
    assert len(str(Ask(repetitions=1).at)) == len("2026-11-27T16:07:00Z")
