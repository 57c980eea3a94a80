"""Several drivers of one sweep, at once or one after the other's death: no job is submitted twice."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from tests.records.test_record import RECORD
from tests.sweeps.simulated import Fate, World, killed, look, order, world
from tlfw.errors import LauncherFailed
from tlfw.sweeps.launch import JobFailed
from tlfw.sweeps.order import Order
from tlfw.sweeps.queue import GRACE_SECONDS, SUBMITTING_SECONDS, TRIES, UNKNOWN_SECONDS

__all__ = ["world"]

A, B = order("a", 0), order("b", 1)
DONE = (RECORD, False)


def dead_driver(world: World, *orders: Order, job: bool = True, written: bool = True) -> None:
    """A driver claims tasks and dies: before it asks the scheduler, before it writes the id down, or after that."""
    for each in orders:
        world.enter(each)
        number = world.ledger.listed()[1].get(each.key, -1) + 1
        assert world.ledger.claim_submission(each.key, number, "simulated")
        entry = world.ledger.entry(each.key)
        assert entry is not None
        world.ledger.write(entry.changed(state="submitted"))
        if job:
            submitted = world.scheduler.submit(lambda key=each.key: key, each.name)  # type: ignore[misc]
            if written:
                world.ledger.submitted(each.key, number, submitted)


def test_a_living_job_of_a_dead_driver_is_waited_for(world: World) -> None:
    world.scheduler.fates = {"a": [Fate(seconds=200)]}
    dead_driver(world, A)
    world.move(100)
    driver = world.queue()
    driver.submit([A])
    assert look(driver) == []
    assert driver.jobs == ["100"]
    assert world.drain(driver) == [{"a": DONE}]
    assert world.scheduler.submitted == ["a"]


def test_a_dead_job_of_a_dead_driver_is_submitted_again(world: World) -> None:
    world.scheduler.fates = {"a": [killed(), Fate()]}
    dead_driver(world, A)
    world.move(300)
    driver = world.queue()
    driver.submit([A])
    assert world.drain(driver) == [{"a": DONE}]
    assert world.scheduler.submitted == ["a", "a"]
    last = world.ledger.submission("a")
    assert last is not None
    assert (last.number, last.job) == (1, "101")


def test_a_job_of_another_scheduler_is_not_waited_for(world: World) -> None:
    world.scheduler.fates = {"a": [Fate(seconds=1000), Fate()]}
    dead_driver(world, A)
    file = world.ledger.folder / "a.0.job"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"executor": "another"}))
    driver = world.queue()
    driver.submit([A])
    look(driver)
    assert world.scheduler.submitted == ["a", "a"]


@pytest.mark.parametrize("soon", [True, False])
def test_a_job_whose_id_was_not_written_down_is_found_by_its_name(world: World, soon: bool) -> None:
    world.scheduler.fates = {"a": [Fate(seconds=400)]}
    dead_driver(world, A, written=False)
    world.move(1 if soon else 300)
    driver = world.queue()
    driver.submit([A])
    look(driver)
    assert driver.jobs == ["100"]
    submission = world.ledger.submission("a")
    assert submission is not None
    assert submission.job == "100"
    assert world.drain(driver) == [{"a": DONE}]
    assert world.scheduler.submitted == ["a"]


def test_a_claim_without_a_job_is_respected_for_a_while(world: World) -> None:
    """The driver that made it may be about to ask the scheduler."""
    dead_driver(world, A, job=False)
    driver = world.queue()
    driver.submit([A])
    while world.clock.passed < UNKNOWN_SECONDS - 5:
        assert look(driver) == []
        world.move()
    assert world.scheduler.submitted == []
    assert driver.jobs == []
    assert world.drain(driver) == [{"a": DONE}]
    assert world.scheduler.submitted == ["a"]
    assert world.clock.passed < UNKNOWN_SECONDS + 60


def test_a_claim_of_long_ago_without_a_job_is_not_waited_for(world: World) -> None:
    dead_driver(world, A, job=False)
    world.move(SUBMITTING_SECONDS + 1)
    driver = world.queue()
    driver.submit([A])
    look(driver)
    assert world.scheduler.submitted == ["a"]


def test_a_claim_whose_job_is_written_down_at_last(world: World) -> None:
    dead_driver(world, A, job=False)
    driver = world.queue()
    driver.submit([A])
    look(driver)
    world.move(20)
    world.scheduler.fates = {"a": [Fate(seconds=300)]}
    world.ledger.submitted("a", 0, world.scheduler.submit(lambda: "a", A.name))
    assert world.drain(driver) == [{"a": DONE}]
    assert world.scheduler.submitted == ["a"]


def test_an_old_entry_is_not_taken_while_another_driver_submits(world: World) -> None:
    """It has claimed the task, and the entry is still the one of a job that failed."""
    world.enter(A, state="failed", error="of an earlier job")
    world.ledger.claim_submission("a", 0, "simulated")
    world.ledger.submitted("a", 0, "7")
    assert world.ledger.claim_submission("a", 1, "simulated")
    driver = world.queue()
    driver.submit([A])
    for _ in range(20):
        assert look(driver) == []
        world.move()
    world.enter(A, state="submitted")
    world.ledger.submitted("a", 1, world.scheduler.submit(lambda: "a", A.name))
    assert world.drain(driver) == [{"a": DONE}]


def test_two_drivers_claim_one_task_and_one_submits_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the submissions and the claim the other one is quicker."""
    world.enter(A)
    first, second = world.queue(), world.queue()
    submission = world.ledger.submission
    turn = itertools.count()

    def other_is_quicker(key, number=None):
        if next(turn) == 0:
            second.submit([A])
            look(second)
            return None
        return submission(key, number)

    monkeypatch.setattr(world.ledger, "submission", other_is_quicker)
    first.submit([A])
    look(first)
    assert world.drain(first, second) == [{"a": DONE}, {"a": DONE}]
    assert world.scheduler.submitted == ["a"]


def test_a_late_driver_sees_that_a_preempted_job_was_submitted_again(world: World) -> None:
    """It was asleep when the job ended and the other one submitted the next, which has kept nothing yet."""
    world.scheduler.fates = {"a": [killed("timed out", kept={"adapt": 1}), Fate(seconds=200)]}
    world.enter(A)
    quick, slow = world.queue(), world.queue()
    for driver in (quick, slow):
        driver.submit([A])
        look(driver)
    for _ in range(60):
        world.move()
        look(quick)
    assert world.scheduler.submitted == ["a", "a"]
    assert world.drain(quick, slow) == [{"a": DONE}, {"a": DONE}]
    assert world.scheduler.submitted == ["a", "a"]


def test_what_another_driver_has_made_meanwhile_is_not_made_again(world: World) -> None:
    world.enter(A, B)
    world.scheduler.fates = {"a": [Fate(seconds=500)], "b": [Fate(seconds=5)]}
    busy, other = world.queue(at_most=1), world.queue()
    busy.submit([A, B])
    other.submit([B])
    look(busy)
    for _ in range(20):
        world.move()
        look(other)
    assert world.drain(busy) == [{"a": DONE, "b": DONE}]
    assert world.scheduler.submitted == ["a", "b"]


def test_what_another_driver_has_made_and_left_no_record_of_yet(world: World) -> None:
    world.enter(A, B)
    world.scheduler.fates = {"a": [Fate(seconds=60)], "b": [Fate(seconds=5)]}
    busy, other = world.queue(at_most=1), world.queue()
    busy.submit([A, B])
    other.submit([B])
    look(busy)
    for _ in range(55):
        world.move()
        look(other)
    world.record_late = {"b": world.clock.passed + 12}
    world.first_asked = {"b": 0.0}
    assert world.drain(busy) == [{"a": DONE, "b": DONE}]
    assert world.scheduler.submitted == ["a", "b"]


def test_a_job_that_ended_before_its_id_was_written_down_counts(world: World) -> None:
    """The driver died at once, the job was short, and the scheduler has forgotten it."""
    dead_driver(world, A, written=False)
    driver = world.queue()
    world.scheduler.lost = {"100"}
    driver.submit([A])
    assert world.drain(driver) == [{"a": DONE}]
    assert world.scheduler.submitted == ["a"]


def test_a_refusal_is_an_error_and_leaves_no_claim(world: World) -> None:
    """The same command submits the task at once, and is not kept waiting for a job that nobody submits."""
    world.enter(A)
    world.scheduler.refuses = True
    driver = world.queue()
    driver.submit([A])
    with pytest.raises(LauncherFailed, match="does not take the job"):
        driver.ended()
    entry = world.ledger.entry("a")
    assert entry is not None
    assert entry.state == "waiting"
    world.scheduler.refuses = False
    world.move(GRACE_SECONDS)
    again = world.queue()
    again.submit([A])
    look(again)
    assert world.scheduler.submitted == ["a"]
    assert world.drain(again) == [{"a": DONE}]


@pytest.mark.parametrize("seed", range(8))
def test_two_drivers_share_a_sweep(world: World, seed: int) -> None:
    """Each looks when it likes; jobs die of what is not their fault, are timed out, and fail."""
    dice = random.Random(seed)
    orders = [order(f"k{number}", number) for number in range(8)]
    fates = {
        "k0": [Fate(seconds=30)],
        "k1": [killed("preempted"), Fate()],
        "k2": [killed("timed out", kept={"adapt": 1}), killed("timed out", kept={"adapt": 2}), Fate()],
        "k3": [Fate(told={"state": "failed", "error": "bad"})],
        "k4": [killed("cancelled")],
        "k5": [Fate(pending=40, late=8)],
        "k6": [killed(text="out of memory")],
        "k7": [Fate(seconds=1)],
    }
    world.scheduler.fates = fates
    world.enter(*orders)
    drivers = [world.queue(at_most=3), world.queue(at_most=3)]
    ended: list[dict[str, object]] = [{}, {}]
    for driver in drivers:
        driver.submit(orders)
    for _ in range(2000):
        for found, driver in zip(ended, drivers, strict=True):
            if (driver.waiting or driver.at_work) and dice.random() < 0.6:
                found |= {each.key: result for each, result in look(driver)}
        if not any(driver.waiting or driver.at_work for driver in drivers):
            break
        world.move(dice.choice([1.0, 1.0, 4.0]))
    counts = {key: world.scheduler.submitted.count(key) for key in fates}
    assert counts == {key: len(each) for key, each in fates.items()}
    assert all(set(found) == set(fates) for found in ended)
    for key in fates:
        values = [found[key].value for found in ended]  # type: ignore[attr-defined]
        lost = [isinstance(value, JobFailed) for value in values]  # who comes later is told so by the entry
        assert all(lost) or len({type(value) for value in values}) == 1, key
        assert len({str(value) for value in values}) == 1 or not any(lost), key


def test_what_a_job_of_before_this_driver_has_made_since_and_left_no_record_of_yet(world: World) -> None:
    world.enter(A)
    world.scheduler.fates = {"a": [Fate(seconds=5)]}
    first = world.queue()
    first.submit([A])
    look(first)
    world.move(2)
    second = world.queue()
    world.move(10)
    world.first_asked, world.record_late = {"a": 0.0}, {"a": 20.0}
    second.submit([A])
    assert world.drain(second) == [{"a": DONE}]
    assert world.scheduler.submitted == ["a"]


def test_a_job_whose_id_was_not_written_down_is_found_when_its_scheduler_answers_again(world: World) -> None:
    world.scheduler.fates = {"a": [Fate(seconds=400)]}
    dead_driver(world, A, written=False)
    world.scheduler.blind = True
    driver = world.queue()
    driver.submit([A])
    look(driver)
    assert driver.jobs == []
    world.scheduler.blind = False
    world.move(10)
    look(driver)
    assert driver.jobs == ["100"]
    assert world.drain(driver) == [{"a": DONE}]
    assert world.scheduler.submitted == ["a"]


def test_a_claim_that_is_not_written_yet_says_nothing_of_its_job(world: World) -> None:
    world.enter(A, state="failed", error="of an earlier job")
    (world.ledger.folder / "a.0.job").touch()
    driver = world.queue()
    driver.submit([A])
    for _ in range(10):
        assert look(driver) == []
        world.move()


def test_two_drivers_together_try_as_often_as_one(world: World) -> None:
    """Each submits what the other one has submitted before."""
    world.enter(A)
    world.scheduler.fates = {"a": [killed("preempted")]}
    drivers = [world.queue(), world.queue()]
    for driver in drivers:
        driver.submit([A])
        look(driver)
    for _ in range(200):
        driver = drivers[len(world.scheduler.submitted) % 2]
        if driver.at_work:
            look(driver)
        world.move()
    assert world.scheduler.submitted == ["a"] * TRIES
