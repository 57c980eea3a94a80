"""What a driver makes of how its jobs end."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.records.test_record import RECORD
from tests.sweeps.simulated import Fate, Scheduler, World, killed, look, order, world
from tests.sweeps.test_task_graph import stage
from tlfw.cluster.executor import Phase
from tlfw.errors import Diverged, LauncherFailed, Pruned
from tlfw.records.ledger import Entry
from tlfw.sweeps.launch import Given, JobFailed, JobLost
from tlfw.sweeps.order import Order
from tlfw.sweeps.queue import ANSWER_SECONDS, GRACE_SECONDS, TRIES, UNKNOWN_SECONDS

__all__ = ["world"]

A, B, C = order("a", 0), order("b", 1), order("c", 2)


def ends(world: World, *fates: Fate) -> Any:
    """How a task ends whose jobs come to these fates, one after the other."""
    world.scheduler.fates = {"a": list(fates)}
    world.enter(A)
    driver = world.queue()
    driver.submit([A])
    (found,) = world.drain(driver)
    return found["a"]


def lost(world: World, *fates: Fate, kind: type[JobFailed] = JobLost) -> str:
    """Why a task counts as failed."""
    problem = ends(world, *fates)
    assert type(problem) is kind
    assert problem.status == "failed"
    entry = world.ledger.entry("a")
    assert entry is not None
    assert (entry.state, entry.error) == ("failed", str(problem))
    return str(problem)


def test_what_is_longest_begins_first_and_so_many_at_a_time(world: World) -> None:
    weights = [1.0, 3.0, 2.0]
    driver = world.queue(at_most=2, weight=lambda task: weights[task.candidate])
    world.enter(A, B, C)
    driver.submit([A, B])
    driver.submit([C])
    assert look(driver) == []
    assert world.scheduler.submitted == ["b", "c"]
    assert driver.jobs == ["100", "101"]
    world.scheduler.fates = {}
    (found,) = world.drain(driver)
    assert world.scheduler.submitted == ["b", "c", "a"]
    assert found == dict.fromkeys("abc", (RECORD, False))
    assert driver.jobs == []


def test_a_job_is_submitted_once_and_its_task_says_so(world: World) -> None:
    world.enter(A, error="earlier", state="failed", stage="adapt", step=4, kept={"pretrain": -1})
    driver = world.queue()
    driver.submit([A])
    look(driver)
    entry, submission = world.ledger.entry("a"), world.ledger.submission("a")
    assert entry is not None
    assert submission is not None
    assert (entry.state, entry.error, entry.stage, entry.step) == ("submitted", None, None, None)
    assert entry.kept == {"pretrain": -1}
    assert (submission.number, submission.executor, submission.job) == (0, "simulated", "100")
    assert submission.kept == {"pretrain": -1}
    world.drain(driver)
    assert world.scheduler.submitted == ["a"]


def test_what_a_run_returned(world: World) -> None:
    assert ends(world, Fate(told={"state": "done", "reused": True})) == (RECORD, True)


def test_what_a_stage_returned(world: World) -> None:
    shared = order("p", step=stage("pretrain", "p"))
    world.enter(shared)
    world.scheduler.fates = {"p": [Fate(told={"state": "done", "result": {"target/val/acc": 0.5}})]}
    driver = world.queue()
    driver.submit([shared])
    assert world.drain(driver) == [{"p": {"target/val/acc": 0.5}}]
    assert world.first_asked == {}


@pytest.mark.parametrize(("state", "kind"), [("diverged", Diverged), ("pruned", Pruned)])
def test_a_result_that_is_no_success_is_returned(world: World, state: str, kind: type) -> None:
    problem = ends(world, Fate(told={"state": state, "error": "loss became NaN"}))
    assert type(problem) is kind
    assert str(problem) == "loss became NaN"


def test_what_is_returned_and_what_is_raised() -> None:
    assert isinstance(Given(Diverged("x")).return_value, Diverged)
    assert isinstance(Given(Pruned("x")).return_value, Pruned)
    with pytest.raises(JobLost):
        _ = Given(JobLost("x")).return_value


def test_a_job_that_says_why_it_failed(world: World) -> None:
    said = Fate(told={"state": "failed", "error": "no such folder"})
    assert lost(world, said, kind=JobFailed) == "no such folder"  # and its record is there
    assert world.clock.passed <= 11  # the scheduler need not be asked


def test_a_job_that_was_interrupted_has_ended_when_its_scheduler_says_so(world: World) -> None:
    """One that is preempted says so too, and is begun again by the scheduler."""
    problem = ends(world, Fate(seconds=10, told={"state": "interrupted", "error": "interrupted by SIGTERM"}))
    assert isinstance(problem, JobLost)
    assert problem.status == "interrupted"
    entry = world.ledger.entry("a")
    assert entry is not None
    assert entry.state == "interrupted"
    assert world.scheduler.submitted == ["a"]


@pytest.mark.parametrize("text", ["Slurm: FAILED, exit code 1", "Slurm: OUT_OF_MEMORY, signal 9"])
def test_a_job_that_was_killed(world: World, text: str) -> None:
    assert lost(world, killed(text=text)) == f"its job 100 ended without a result ({text})"
    assert world.scheduler.submitted == ["a"]


def test_a_job_that_was_cancelled(world: World) -> None:
    problem = ends(world, killed("cancelled", text="Slurm: CANCELLED by 0"))
    assert isinstance(problem, JobLost)
    assert problem.status == "interrupted"
    assert str(problem) == "its job 100 ended without a result (Slurm: CANCELLED by 0)"
    assert world.scheduler.submitted == ["a"]


def test_a_time_limit_in_vain_is_said(world: World) -> None:
    assert lost(world, killed("timed out")).endswith(
        "(simulated); the time limit was reached before anything was kept: give a job more time"
    )
    assert world.scheduler.submitted == ["a"]


def test_a_time_limit_is_reached_as_often_as_something_was_kept(world: World) -> None:
    steps = [killed("timed out", kept={"adapt": step}) for step in range(1, 7)]
    assert ends(world, *steps, Fate()) == (RECORD, False)
    assert world.scheduler.submitted == ["a"] * 7


def test_a_time_limit_without_progress_after_some_with_it(world: World) -> None:
    assert "give a job more time" in lost(world, killed("timed out", kept={"adapt": 1}), killed("timed out"))
    assert world.scheduler.submitted == ["a"] * 2


def test_what_is_not_its_fault_is_submitted_again_but_not_for_ever(world: World) -> None:
    assert "ended without a result" in lost(world, killed("preempted"))
    assert world.scheduler.submitted == ["a"] * TRIES


def test_progress_makes_a_job_worth_another_try(world: World) -> None:
    idle, busy = killed("preempted"), killed("preempted", kept={"adapt": 3})
    assert ends(world, idle, idle, busy, idle, idle, Fate()) == (RECORD, False)
    assert world.scheduler.submitted == ["a"] * 6


def test_a_preempted_job_that_said_that_it_was_interrupted_is_submitted_again(world: World) -> None:
    said = killed("preempted", told={"state": "interrupted", "error": "interrupted by SIGTERM"})
    assert ends(world, said, Fate()) == (RECORD, False)


@pytest.mark.parametrize(("kept", "again"), [({"adapt": 2}, True), (None, False)])
def test_a_job_that_was_to_begin_again_and_was_not(world: World, kept: dict[str, int] | None, again: bool) -> None:
    refused = killed(told={"state": "requeued"}, kept=kept)
    found = ends(world, refused, Fate())
    assert (found == (RECORD, False)) == again
    assert world.scheduler.submitted == ["a"] * (1 + again)


def test_a_scheduler_that_does_not_answer_loses_no_job(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.enter(A)
    world.scheduler.fates = {"a": [Fate(pending=500, seconds=20)]}
    driver = world.queue()
    driver.submit([A])
    look(driver)
    for silence in (ANSWER_SECONDS - 600, 400):  # each counts from its own beginning
        world.scheduler.mute = True
        for _ in range(int(silence / 10)):
            world.clock.passed += 10
            assert look(driver) == []
        world.scheduler.mute = False
        world.clock.passed += 10
        assert look(driver) == []
    assert capsys.readouterr().out.count("it does not answer: jobs go on, and it is asked again\n") == 2
    (found,) = world.drain(driver)
    assert found["a"] == (RECORD, False)
    assert world.scheduler.submitted == ["a"]


def test_a_scheduler_that_never_answers_is_not_waited_for_without_end(world: World) -> None:
    world.enter(A)
    world.scheduler.fates = {"a": [Fate(pending=1e6)]}
    driver = world.queue()
    driver.submit([A])
    look(driver)
    world.scheduler.mute = True
    world.clock.passed += 10
    look(driver)
    world.clock.passed += ANSWER_SECONDS + 10
    with pytest.raises(LauncherFailed, match="for 60 minutes"):
        driver.ended()


def test_a_scheduler_that_takes_so_many_jobs_is_asked_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.scheduler.room = 2
    world.enter(A, B, C)
    driver = world.queue(weight=lambda task: -task.candidate)
    driver.submit([A, B, C])
    (found,) = world.drain(driver)
    assert found == dict.fromkeys("abc", (RECORD, False))
    assert world.scheduler.submitted == ["a", "b", "c"]
    assert "it does not take the job; it is asked again when one of 2 has ended\n" in capsys.readouterr().out


def test_a_scheduler_that_knows_nothing_for_a_while(world: World) -> None:
    world.enter(A)
    world.scheduler.fates = {"a": [Fate(pending=500, seconds=20)]}
    driver = world.queue()
    driver.submit([A])
    look(driver)
    world.scheduler.blind = True
    for _ in range(int(UNKNOWN_SECONDS) - 10):
        world.move()
        assert look(driver) == []
    world.scheduler.blind = False
    for _ in range(10):
        world.move()
        assert look(driver) == []
    world.scheduler.blind = True  # and again: it is counted from here
    for _ in range(int(UNKNOWN_SECONDS) - 10):
        world.move()
        assert look(driver) == []
    world.scheduler.blind = False
    assert world.drain(driver) == [{"a": (RECORD, False)}]
    assert world.scheduler.submitted == ["a"]


def test_a_job_that_no_scheduler_knows_any_more_is_lost(world: World) -> None:
    world.enter(A)
    world.scheduler.fates = {"a": [killed(seconds=10)]}
    world.scheduler.lost = {"100"}
    driver = world.queue()
    driver.submit([A])
    (found,) = world.drain(driver)
    assert str(found["a"]) == "its job 100 ended without a result (no scheduler knows its job)"
    assert UNKNOWN_SECONDS <= world.clock.passed < UNKNOWN_SECONDS + 30


def test_a_job_that_beats_lives_though_its_scheduler_says_nothing(world: World) -> None:
    """Its controller is down for an hour, or accounting is missing."""
    world.enter(A)
    world.scheduler.fates = {"a": [Fate(seconds=1000)]}
    world.scheduler.blind = True
    driver = world.queue()
    driver.submit([A])
    assert world.drain(driver) == [{"a": (RECORD, False)}]
    assert world.scheduler.submitted == ["a"]


def test_a_job_that_was_last_heard_of_long_ago_is_lost_where_its_scheduler_says_nothing(world: World) -> None:
    world.scheduler.blind = True
    lost(world, killed(seconds=1000, beats=False))
    assert UNKNOWN_SECONDS <= world.clock.passed < UNKNOWN_SECONDS + 10


@pytest.mark.parametrize("late", [1.0, GRACE_SECONDS - 6])
def test_an_entry_that_arrives_late(world: World, late: float) -> None:
    assert ends(world, Fate(late=late)) == (RECORD, False)


@pytest.mark.parametrize("late", [GRACE_SECONDS - 6, UNKNOWN_SECONDS - 20])
def test_a_record_that_arrives_later_than_its_entry(world: World, late: float) -> None:
    world.record_late = {"a": late}
    assert ends(world, Fate()) == (RECORD, False)


def test_a_record_that_never_arrives(world: World) -> None:
    world.record_late = {"a": float("inf")}
    assert "ended without a result" in lost(world, Fate())


def test_a_dead_job_that_had_been_silent_is_not_waited_for(world: World) -> None:
    lost(world, killed(seconds=100, beats=False))
    assert world.clock.passed <= 100 + 2 * Scheduler.patience + 1


def test_a_dead_job_that_had_just_said_something_is_waited_for(world: World) -> None:
    lost(world, killed(seconds=100))
    assert 100 + GRACE_SECONDS <= world.clock.passed <= 100 + GRACE_SECONDS + 2 * Scheduler.patience + 1


def test_a_scheduler_is_not_asked_at_every_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    seen = world.scheduler.seen
    monkeypatch.setattr(world.scheduler, "seen", lambda jobs: asked.append(world.clock.passed) or seen(jobs))
    ends(world, Fate(seconds=60))
    assert len(asked) == 12
    assert all(later - earlier == Scheduler.patience for earlier, later in itertools.pairwise(asked))


def test_the_entry_of_an_earlier_command_is_not_the_new_jobs(world: World) -> None:
    """It failed before; the folder shows the old entry until the new job begins."""
    world.enter(A, state="failed", error="of yesterday")
    world.move(3600)
    world.scheduler.fates = {"a": [Fate(pending=50)]}
    driver = world.queue()
    driver.submit([A])
    assert world.drain(driver) == [{"a": (RECORD, False)}]


def test_a_task_without_an_entry_gets_one(world: World) -> None:
    """Trials of a search have none before."""
    driver = world.queue()
    driver.submit([A])
    look(driver)
    assert world.ledger.entry("a") == Entry(
        key="a", name="run-a", overrides=["run=a"], needs=[], state="submitted", since=world.clock.now()
    )
    assert world.drain(driver) == [{"a": (RECORD, False)}]


def test_a_trial_has_no_record_and_returns_what_validation_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes as far as its last stage; nothing has entered it before, and what it is told may hold a secret."""
    monkeypatch.setenv("WANDB_API_KEY", "abcdefgh")
    trial = Order(A.task, ("lr=0.1", "tracking.api_key=abcdefgh", "until=adapt"), "a", "trial")
    world.scheduler.fates = {"a": [Fate(told={"state": "done", "result": {"target/val/acc": 0.5}})]}
    driver = world.queue()
    driver.submit([trial])
    assert world.drain(driver) == [{"a": {"target/val/acc": 0.5}}]
    entry = world.ledger.entry("a")
    assert entry is not None
    assert entry.until == "adapt"
    assert "abcdefgh" not in str(entry.overrides)


def test_what_is_cancelled_while_it_waits_is_not_submitted(world: World) -> None:
    """As `tlfw.status --cancel` does it."""
    world.enter(A, B, C)
    driver = world.queue(at_most=1)
    driver.submit([A, B, C])
    look(driver)
    world.move()
    for key in "bc":
        entry = world.ledger.entry(key)
        assert entry is not None
        world.ledger.write(entry.changed(state="interrupted", error="cancelled by ada"))
    (found,) = world.drain(driver)
    assert found["a"] == (RECORD, False)
    assert {key: (str(found[key]), found[key].status) for key in "bc"} == dict.fromkeys(
        "bc", ("cancelled by ada", "interrupted")
    )
    assert world.scheduler.submitted == ["a"]


@pytest.mark.parametrize("phase", ["ended", "cancelled", "unknown"])
def test_what_is_cancelled_before_its_job_begins(world: World, phase: Phase) -> None:
    """`tlfw.status --cancel` writes it down, for the job never will."""
    world.enter(A)
    world.scheduler.fates = {"a": [killed(phase, pending=1000)]}
    driver = world.queue()
    driver.submit([A])
    look(driver)
    world.move(20)
    entry = world.ledger.entry("a")
    assert entry is not None
    world.ledger.write(entry.changed(state="interrupted", error="cancelled by ada"))
    world.scheduler.processes["100"].began = world.scheduler.processes["100"].ended = True
    (found,) = world.drain(driver)
    assert found["a"].status == "interrupted"
    assert world.scheduler.submitted == ["a"]
