"""What is ordered, what is entered into the ledger, and that a task begins as soon as what it needs is there."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tests.records.test_record import RECORD
from tests.sweeps.simulated import MOST_LOOKS, Fate, World, killed, world
from tests.sweeps.test_task_graph import features, job, stage
from tlfw.cluster import executor as cluster
from tlfw.records.ledger import Entry
from tlfw.records.record import Status
from tlfw.sweeps.launch import JobLost, conduct
from tlfw.sweeps.order import enter, order_of
from tlfw.sweeps.queue import weights
from tlfw.sweeps.task_graph import Agenda, Candidate, Task, make_agenda

__all__ = ["world"]

NAMES = {"data_mix": "pretrain_finetune", "freeze_policy": "full", "backbone": "resnet18"}


def named(run_id: str, *steps: Any, **settings: Any) -> Candidate:
    return dataclasses.replace(job(run_id, *steps, seed=3, **settings), names=NAMES)


def agenda_of(*candidates: Candidate) -> Agenda:
    return make_agenda(candidates, lambda key: False)


def shared() -> Agenda:
    """Two runs that share a stage and features, and one that needs nothing of others."""
    return agenda_of(
        named("a" * 32, stage("pretrain", "p" * 32), features("adapt", "f" * 32), stage("adapt", "x")),
        named("b" * 32, stage("pretrain", "p" * 32), features("adapt", "f" * 32), stage("adapt", "y")),
        named("c" * 32, stage("adapt", "z")),
    )


def tasks(agenda: Agenda) -> list[Task]:
    return [task for wave in agenda.waves for task in wave]


def test_what_is_ordered_of_a_run_a_stage_and_features() -> None:
    agenda = shared()
    orders = {order.key[0]: order for order in (order_of(agenda, task) for task in tasks(agenda))}
    assert set(orders) == set("abcpf")
    assert orders["a"].words == [f"run={'a' * 32}", f"planned='{'a' * 32}'"]
    assert orders["a"].name == "pretrain_finetune-full-resnet18-s3-aaaaaaaaaaaa"
    assert orders["a"].until is None
    assert orders["p"].words == [f"run={'a' * 32}", "until=pretrain", f"planned='{'p' * 32}'"]
    assert orders["p"].name == "pretrain-resnet18-s3-pppppppppppp"
    assert orders["p"].until == "pretrain"
    assert orders["f"].words[1] == "until=adapt/features"
    assert orders["f"].name == "adapt.features-resnet18-s3-ffffffffffff"
    assert orders["f"].until == "adapt/features"


def test_what_is_ordered_of_a_trial_is_its_last_stage() -> None:
    agenda = shared()
    (task,) = [task for task in tasks(agenda) if task.candidate == 2]
    order = order_of(agenda, task, lambda task: ["run=c", "until=adapt", f"trial={task.candidate}"])
    assert order.words == ["run=c", "until=adapt", "trial=2", "planned='z'"]
    assert (order.key, order.name, order.until) == ("z", "pretrain_finetune-full-resnet18-s3-z", "adapt")
    shared_task = next(task for task in tasks(agenda) if task.step)
    assert order_of(agenda, shared_task, lambda task: ["never"]).overrides[0] == f"run={'a' * 32}"


def test_a_cell_of_no_option_has_a_name(world: World) -> None:
    agenda = agenda_of(job("a" * 32, stage("adapt", "x"), seed=0))
    assert order_of(agenda, tasks(agenda)[0]).name == "custom-custom-custom-s0-aaaaaaaaaaaa"


def test_each_task_is_entered_with_what_it_needs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "abcdefgh")
    secret = dataclasses.replace(
        named("s" * 32, stage("adapt", "s")), overrides=("key=abcdefgh",), numerics={"threads": 2}
    )
    agenda = agenda_of(*shared().candidates, secret)
    enter(agenda, world.ledger)
    entries = {entry.key[0]: entry for entry in world.ledger.entries()}
    assert set(entries) == set("abcpfs")
    assert all(entry.state == "waiting" for entry in entries.values())
    needs = {key: [need[0] for need in entry.needs] for key, entry in entries.items()}
    assert needs == {"p": [], "f": ["p"], "a": ["f", "p"], "b": ["f", "p"], "c": [], "s": []}
    assert {key: entry.until for key, entry in entries.items() if entry.until} == {
        "p": "pretrain",
        "f": "adapt/features",
    }
    assert entries["s"].overrides == ["key=***"]
    assert entries["s"].numerics == {"threads": 2}
    assert {entry.key: entry.name for entry in entries.values()} == {
        order.key: order.name for order in (order_of(agenda, task) for task in tasks(agenda))
    }


def test_features_that_one_task_makes_are_needed_by_its_key() -> None:
    """A step of several keys is entered under the first; who needs the second needs that task."""
    agenda = agenda_of(
        named("a", features("adapt", "1", "2"), stage("adapt", "x")),
        named("b", features("adapt", "2"), stage("adapt", "y")),
        named("c", features("adapt", "1", "2"), stage("adapt", "z")),
    )
    written: list[Entry] = []
    ledger: Any = type("Written", (), {"entry": lambda *_: None, "write": lambda _, entry: written.append(entry)})()
    enter(agenda, ledger)
    assert {entry.key: list(entry.needs) for entry in written} == {"1": [], "a": ["1"], "b": ["1"], "c": ["1"]}


@pytest.mark.parametrize("state", ["submitted", "running", "requeued"])
def test_what_another_driver_has_made_of_a_task_is_left_alone(world: World, state: Any) -> None:
    agenda = agenda_of(named("a", stage("adapt", "x")))
    before = Entry(key="a", name="n", state=state, job="7", kept={"adapt": 3}, numerics={})
    world.ledger.write(before)
    enter(agenda, world.ledger)
    found = world.ledger.entry("a")
    assert found is not None
    assert (found.name, found.state, found.job) == ("n", state, "7")


@pytest.mark.parametrize("state", ["waiting", "done", "diverged", "failed", "interrupted", "blocked", "pruned"])
def test_what_has_ended_is_entered_anew_and_what_it_kept_stays(world: World, state: Any) -> None:
    agenda = agenda_of(named("a", stage("adapt", "x")))
    world.ledger.write(Entry(key="a", name="n", state=state, error="earlier", step=4, kept={"adapt": 3}))
    enter(agenda, world.ledger)
    found = world.ledger.entry("a")
    assert found is not None
    assert (found.state, found.error, found.step, found.kept) == ("waiting", None, None, {"adapt": 3})
    assert found.name != "n"


def test_a_task_weighs_as_much_as_the_longest_way_from_it_to_the_end() -> None:
    agenda = shared()
    cost = {"p": 100.0, "f": 10.0, "a": 5.0, "b": 7.0, "c": 50.0}
    found = weights(agenda, lambda task: cost[order_of(agenda, task).key[0]])
    assert {order_of(agenda, task).key[0]: weight for task, weight in found.items()} == {
        "p": 117.0, "f": 17.0, "a": 5.0, "b": 7.0, "c": 50.0,
    }  # fmt: skip


Left = list[tuple[int, str | None, Status, str]]


def conducted(
    world: World, monkeypatch: pytest.MonkeyPatch, agenda: Agenda, at_most: int, seconds: Mapping[str, float]
) -> tuple[dict[int, Any], Left]:
    """Let a queue make an agenda: -> how its runs ended, and of which tasks word was left.

    Args:
        seconds: of a task's job, by its key, where its fate does not say otherwise.
    """
    looks = iter(range(MOST_LOOKS))

    def wait(time: float) -> None:
        assert next(looks, None) is not None, "it is waited for in vain"
        world.move(time)

    monkeypatch.setattr(cluster, "wait", wait)
    enter(agenda, world.ledger)
    for key, duration in seconds.items():
        world.scheduler.fates.setdefault(key, [Fate(seconds=duration)])
    longest = weights(agenda, lambda task: seconds[order_of(agenda, task).key])
    driver = world.queue(at_most, lambda task: longest[task])
    left: Left = []
    outcomes = conduct(
        agenda,
        driver,
        said=str,
        leave=lambda task, status, why: left.append((task.candidate, task.step and task.step.until, status, why)),
    )
    assert not driver.waiting
    assert not driver.at_work
    return outcomes, left


def test_a_task_begins_when_what_it_needs_is_there_while_others_of_its_wave_are_at_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agenda = agenda_of(
        named("a", stage("pretrain", "p"), stage("adapt", "1")),
        named("b", stage("pretrain", "p"), stage("adapt", "2")),
        named("c", stage("pretrain", "q"), stage("adapt", "3")),
        named("d", stage("pretrain", "q"), stage("adapt", "4")),
    )
    seconds = {"p": 10.0, "q": 100.0, "a": 10.0, "b": 10.0, "c": 10.0, "d": 10.0}
    outcomes, left = conducted(world, monkeypatch, agenda, 4, seconds)
    assert outcomes == dict.fromkeys(range(4), (RECORD, False))
    assert left == []
    asked = {each.key: each.asked for each in world.scheduler.processes.values()}
    assert max(asked["a"], asked["b"]) <= 12
    assert min(asked["c"], asked["d"]) >= 100
    assert world.scheduler.submitted.count("p") == 1


@pytest.mark.parametrize(
    ("fate", "status", "said"),
    [
        (killed(text="out of memory"), "failed", "its job 100 ended without a result (out of memory)"),
        (killed("cancelled", text="CANCELLED by 0"), "interrupted", "its job 100 ended .* (CANCELLED by 0)"),
    ],
)
def test_a_lost_run_leaves_word_and_the_others_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch, fate: Fate, status: Status, said: str
) -> None:
    agenda = agenda_of(named("a", stage("adapt", "1")), named("b", stage("adapt", "2")))
    world.scheduler.fates = {"a": [fate]}
    outcomes, left = conducted(world, monkeypatch, agenda, 2, {"a": 20.0, "b": 10.0})
    why = said.replace(".*", "without a result")
    assert left == [(0, None, status, why)]
    assert outcomes == {0: why if status == "failed" else f"interrupted: {why}", 1: (RECORD, False)}


def test_a_run_that_said_why_it_failed_has_left_its_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    agenda = agenda_of(named("a", stage("adapt", "1")), named("b", stage("adapt", "2")))
    world.scheduler.fates = {"a": [Fate(told={"state": "failed", "error": "bad"})]}
    outcomes, left = conducted(world, monkeypatch, agenda, 2, {"a": 20.0, "b": 10.0})
    assert left == []
    assert outcomes == {0: "bad", 1: (RECORD, False)}


def test_a_lost_stage_blocks_what_needs_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    agenda = agenda_of(
        named("a", stage("pretrain", "p"), stage("adapt", "1")),
        named("b", stage("pretrain", "p"), stage("adapt", "2")),
        named("c", stage("adapt", "3")),
    )
    world.scheduler.fates = {"p": [killed(text="node burnt")]}
    outcomes, left = conducted(world, monkeypatch, agenda, 2, dict.fromkeys("pabc", 10.0))
    why = "its job 100 ended without a result (node burnt)"
    assert left == [
        (0, "pretrain", "failed", why),
        *((run, None, "blocked", f"pretrain failed: {why}") for run in (0, 1)),
    ]
    assert outcomes == {**dict.fromkeys((0, 1), f"blocked: pretrain failed: {why}"), 2: (RECORD, False)}
    assert set(world.scheduler.submitted) == {"p", "c"}


def test_what_is_lost_is_recorded_as_failed_unless_it_is_said_otherwise() -> None:
    assert JobLost("x").status == "failed"
    assert JobLost("x", "interrupted").status == "interrupted"


def list_scheduled(agenda: Agenda, seconds: Callable[[Task], float], slots: int) -> float:
    """How long it takes where of what can begin the task with the longest way to the end begins on the next free slot.

    Graham (1969), with critical paths as priorities.
    """
    makers = {key: task for task in tasks(agenda) if task.step for key in task.step.keys}
    needs = {task: {makers[key] for key in task.needs} for task in tasks(agenda)}
    way: dict[Task, float] = {}

    def longest(task: Task) -> float:
        if task not in way:
            way[task] = seconds(task) + max((longest(other) for other in needs if task in needs[other]), default=0.0)
        return way[task]

    ends: dict[Task, float] = {}
    at_work: dict[Task, float] = {}
    moment = 0.0
    while len(ends) < len(needs):
        ready = [task for task in needs if task not in ends and task not in at_work and needs[task] <= set(ends)]
        for task in sorted(ready, key=longest, reverse=True)[: slots - len(at_work)]:
            at_work[task] = moment + seconds(task)
        moment = min(at_work.values())
        for task in [task for task, end in at_work.items() if end <= moment]:
            ends[task] = at_work.pop(task)
    return max(ends.values())


def quickstart() -> list[Candidate]:
    """As in `quickstart_grid`: pretraining, features of it where only the head trains, joint training, a control."""
    found = []
    for policy in ("head", "last", "full"):
        for mix in ("finetune", "both"):
            steps = [stage("pretrain", "p")] + [features("adapt", "fp")] * (policy == "head")
            found.append(named(f"{mix}-{policy}", *steps, stage("adapt", f"{mix}-{policy}-stage")))
        found.append(named(f"joint-{policy}", stage("adapt", f"joint-{policy}-stage")))
        found.append(named(f"alone-{policy}", stage("adapt", f"alone-{policy}-stage")))
    return found


def grown(dice: random.Random) -> list[Candidate]:
    """Some pretrainings, features of some of them, and many runs."""
    found = []
    for number in range(36):
        first = dice.randrange(7)
        steps = [stage("pretrain", f"p{first}")] * (first < 5)
        steps += [features("adapt", f"f{first}.{dice.randrange(2)}")] * (first < 4 and dice.random() < 0.5)
        found.append(named(f"r{number}", *steps, stage("adapt", f"s{number}")))
    return found


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_sweep_takes_as_long_as_list_scheduling_says(
    world: World, monkeypatch: pytest.MonkeyPatch, seed: int | None
) -> None:
    """Within a tenth, on six slots."""
    dice = random.Random(seed or 0)
    agenda = agenda_of(*(quickstart() if seed is None else grown(dice)))
    orders: Sequence[Any] = [order_of(agenda, task) for task in tasks(agenda)]
    assert len({order.key for order in orders}) == len(orders)
    seconds = {order.key: float(dice.randrange(10, 60) if order.until is None else 70) for order in orders}
    best = list_scheduled(agenda, lambda task: seconds[order_of(agenda, task).key], slots=6)
    outcomes, left = conducted(world, monkeypatch, agenda, 6, seconds)
    assert left == []
    assert outcomes == dict.fromkeys(range(len(agenda.candidates)), (RECORD, False))
    assert sorted(world.scheduler.submitted) == sorted(seconds)
    assert best <= world.clock.passed <= 1.1 * best
