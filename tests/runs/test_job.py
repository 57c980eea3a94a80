"""A job makes what its sweep planned, or refuses before it trains."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny import experiment
from tlfw.errors import ConfigError
from tlfw.records.ledger import VARIABLE, Entry, Ledger
from tlfw.records.record import Record
from tlfw.runs import run as fold
from tlfw.runs.job import Job, check_planned
from tlfw.runs.plan import Plan

JOB = Job(choices={"data_mix": "m", "freeze_policy": "f", "backbone": "b"}, config={"a": 1}, folder=None, sweep="s")


def entered(folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, numerics: Any) -> None:
    """This process makes a task that was planned with these numerics."""
    ledger = Ledger(folder)
    ledger.write(Entry(key=key, name="n", numerics=json.loads(json.dumps(numerics))))
    monkeypatch.setenv(VARIABLE, str(ledger.path(key)))


def job(planned: str | None, until: str | None = None) -> Any:
    """What an experiment says of what it is to make."""
    return SimpleNamespace(planned=planned, until=until)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A plan for tests that only compare."""
    return experiment(tmp_path_factory.mktemp("one")).plan()


@pytest.fixture(autouse=True)
def _no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def keys(plan: Plan) -> dict[str | None, str]:
    """What a job can be asked for -> its key."""
    stages = {stage.name: stage.key for stage in plan.stages}
    parts = {f"{stage.name}/features": next(iter(stage.features.values())) for stage in plan.stages if stage.features}
    return {None: plan.key, **stages, **parts}


def test_what_was_planned_is_made(one: Plan) -> None:
    plan = one
    assert set(keys(plan)) == {None, "pretrain", "adapt", "adapt/features"}
    for until, key in keys(plan).items():
        check_planned(job(until=until, planned=key), plan)
    check_planned(job(planned=None), plan)
    for stage in plan.stages:
        for key in stage.features.values():
            check_planned(job(until=f"{stage.name}/features", planned=key), plan)


def test_another_part_of_the_same_run_is_not_what_was_planned(one: Plan) -> None:
    plan = one
    for until in keys(plan):
        for other, key in keys(plan).items():
            if other != until:
                with pytest.raises(ConfigError, match=f"^planned: the sweep planned {key[:12]}, and on this machine"):
                    check_planned(job(until=until, planned=key), plan)


@pytest.mark.parametrize(
    ("name", "was", "said"),
    [
        ("threads", 96, "threads is {} where 96 was planned"),
        ("device", "cuda: NVIDIA H100", "device is {} where 'cuda: NVIDIA H100' was planned"),
    ],
)
def test_what_differs_on_this_machine_is_said(
    one: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, was: Any, said: str
) -> None:
    plan = one
    numerics = dict(plan.numerics)
    assert name in numerics
    here = numerics[name]
    entered(tmp_path, monkeypatch, "k" * 32, numerics | {name: was})
    with pytest.raises(ConfigError) as problem:
        check_planned(job(planned="k" * 32), plan)
    assert str(problem.value) == (
        "planned: the sweep planned kkkkkkkkkkkk, and on this machine it would be another result: here "
        f"{said.format(repr(here))}. Let jobs have what the sweep says of them (threads, trainer.accelerator, "
        "trainer.devices), or run the command again where they run."
    )


def test_where_the_machine_is_the_same_it_is_the_data_or_the_code(
    one: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = one
    for numerics in (dict(plan.numerics), {}):
        entered(tmp_path, monkeypatch, "k" * 32, numerics)
        with pytest.raises(ConfigError, match="images, code or weights are others here, or have changed since"):
            check_planned(job(planned="k" * 32), plan)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigError, match="images, code or weights are others here"):
        check_planned(job(planned="k" * 32), plan)


@pytest.mark.parametrize("until", [None, "pretrain"])
def test_a_job_refuses_before_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: str | None) -> None:
    def trains(*_: object, **__: object) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr("tlfw.runs.fold.train", trains)
    made = experiment(tmp_path, planned="k" * 32, until=until)
    with pytest.raises(ConfigError, match=r"^planned: "):
        (fold.prepare if until else fold.run)(made, JOB)
    assert not list((tmp_path / "outputs").glob("runs/*/record.json"))
    assert not list((tmp_path / "outputs").glob("store/stages/*"))


def test_what_was_planned_trains_and_its_record_does_not_say_so(cli: Any, tmp_path: Path) -> None:
    """It is a matter of the sweep: the record of a run alone says the same."""
    code, _, err = cli(
        "-m", "trainer=smoke", "tracking=disabled", "backbone=shufflenet_v2_x0_5", "image_size=32",
        "target.train_per_class=10", "data_mix=target_only", "threads=1",
    )  # fmt: skip
    assert code == 0, err
    (path,) = (tmp_path / "outputs" / "runs").glob("*/record.json")
    assert Record.read(path).settings["planned"] is None
    (entry,) = Ledger(tmp_path / "outputs" / "sweeps" / "run").entries()
    assert entry.state == "done"
    assert entry.numerics["threads"] == 1
