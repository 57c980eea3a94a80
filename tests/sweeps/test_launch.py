"""A sweep goes on past what failed, and records what could not be made."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.records.test_record import RECORD
from tests.sweeps.test_task_graph import job, stage
from tests.test_main import SMOKE
from tlfw.errors import Diverged, TrainingFailed
from tlfw.records.metric import METRICS
from tlfw.records.plan_file import read
from tlfw.records.record import Record
from tlfw.store import Store
from tlfw.sweeps.launch import (
    Waves,
    announce,
    conduct,
    leave_summary,
    metrics_of,
    rows,
    shared_keys,
    shared_summary,
    summary,
)
from tlfw.sweeps.task_graph import Key, Step, make_agenda


class Returned:
    def __init__(self, value: object) -> None:
        self.value = value

    @property
    def return_value(self) -> object:
        if isinstance(self.value, Exception) and not isinstance(self.value, Diverged):  # which a job returns
            raise self.value
        return self.value


def asked(words: list[str]) -> list[str]:
    """A job's overrides without the key that it has to come to, which every job is told."""
    assert words[-1].startswith("planned='")
    return words[:-1]


def runs_of(left: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Of what word was left of, the runs."""
    return [(task.candidate, *why) for task, *why in left if task.step is None]


def test_a_failed_step_blocks_what_needs_it_and_nothing_else() -> None:
    grid = [
        job("a", stage("pretrain", "p"), stage("adapt", "a")),
        job("b", stage("pretrain", "p"), stage("adapt", "b")),
        job("c", stage("adapt", "c")),
        job("d", stage("adapt", "d")),
    ]
    agenda = make_agenda(grid, lambda key: False)
    launched: list[tuple[int, list[list[str]]]] = []

    def launch(batch, first):
        launched.append((first, [asked(each) for each in batch]))
        bad = ("until=pretrain", "run=d")
        return [Returned(ValueError("no luck") if set(bad) & set(each) else (RECORD, False)) for each in batch]

    left: list[tuple[object, ...]] = []
    outcomes = conduct(agenda, Waves(launch), said=str, leave=lambda task, *why: left.append((task, *why)))
    assert launched == [(0, [["run=a", "until=pretrain"], ["run=c"], ["run=d"]])]
    assert outcomes == {
        **dict.fromkeys((0, 1), "blocked: pretrain failed: no luck"),
        2: (RECORD, False),
        3: "no luck",
    }
    assert runs_of(left) == [(run, "blocked", "pretrain failed: no luck") for run in (0, 1)]
    assert summary(rows(agenda, {}, outcomes)) == "1 done (1 trained now, 0 were there), 1 failed, 2 blocked"


def test_what_needs_a_stage_that_diverged_has_diverged_too() -> None:
    """One diverges by itself, one did so in an earlier sweep, one needs features of what diverged, and one fails."""
    p = stage("pretrain", "p")
    features = Step("adapt/features", (("features", "f"),), 1, trains=False)
    grid = [
        *(job(run, p, features, stage("adapt", run)) for run in "ab"),
        *(job(run, stage("adapt", run)) for run in "cd"),
        job("e", stage("adapt", "e"), done=True),
    ]
    agenda = make_agenda(grid, lambda key: False)
    results = {
        "until=pretrain": Diverged("pretrain: the loss became nan"),
        "run=c": Diverged("inf"),
        "run=d": ValueError("no luck"),
    }

    def launch(batch, first):
        return [Returned(results[asked(each)[-1]]) for each in batch]

    left: list[tuple[object, ...]] = []
    outcomes = conduct(agenda, Waves(launch), said=str, leave=lambda task, *why: left.append((task, *why)))
    why = "pretrain: the loss became nan"
    assert outcomes == {**dict.fromkeys((0, 1), f"diverged: {why}"), 2: "diverged: inf", 3: "no luck"}
    assert runs_of(left) == [(run, "diverged", why) for run in (0, 1)]
    assert [task.step.until for task, *_ in left if task.step] == ["adapt/features"]
    before = dataclasses.replace(RECORD, status="diverged", error="the loss became inf")
    found = rows(agenda, {"e": before}, outcomes)
    assert found[-1] == (("run=e",), "diverged: the loss became inf", True)
    assert summary(found) == "0 done (0 trained now, 0 were there), 1 failed, 4 diverged"


def test_equal_runs_and_finished_ones_have_a_row_each() -> None:
    grid = [job("a", stage("adapt", "a")), job("a", stage("adapt", "a")), job("b", stage("adapt", "b"), done=True)]
    agenda = make_agenda(grid, lambda key: False)
    found = rows(agenda, {"b": RECORD}, conduct(agenda, Waves(lambda *_: [Returned((RECORD, False))]), str, print))
    assert [(outcome, there) for _, outcome, there in found] == [(RECORD, False), (RECORD, True), (RECORD, True)]


def test_a_row_has_the_names_that_were_asked_for_here() -> None:
    names = {"data_mix": "mine", "freeze_policy": "probe/wide", "backbone": "small"}
    grid = [job("a", stage("adapt", "a")), dataclasses.replace(job("a", stage("adapt", "a")), names=names)]
    found = rows(make_agenda(grid, lambda key: False), {}, {0: (RECORD, False)})
    called = [(outcome.paradigm, outcome.backbone) for _, outcome, _ in found if isinstance(outcome, Record)]
    assert called == [
        (RECORD.paradigm, RECORD.backbone),
        ({"data_mix": "mine", "freeze_policy": "probe/wide"}, "small"),
    ]


def test_of_several_metrics_the_first_judges_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = [job(name, stage("adapt", name), metric=name) for name in ("accuracy", "log_loss")]
    announce(make_agenda(grid, lambda key: False), tmp_path, "")
    assert "  a report judges by one metric: by accuracy, the first of accuracy, log_loss\n" in capsys.readouterr().out
    announce(make_agenda(grid[:1], lambda key: False), tmp_path, "")
    assert "judges" not in capsys.readouterr().out


def test_what_was_made_before_the_runs_is_said_with_its_time(tmp_path: Path) -> None:
    """The features of a shared stage are in that stage's seconds already."""
    store = Store(tmp_path)

    def put(key: Key, seconds: float) -> None:
        name = "stage.json" if key[0] == "stages" else "features.json"
        store.get_or_make(*key, lambda draft: (draft / name).write_text(json.dumps({"seconds": seconds})))

    keys = {name: (kind, name * 32) for name, kind in zip("abcdef", ["features", "stages"] * 3, strict=True)}
    before = [Step("pretrain/features", (keys["a"],), 1, trains=False), Step("pretrain", (keys["b"],), 1, trains=True)]
    own = Step("adapt/features", (keys["c"], keys["e"]), 1, trains=False)
    grid = [job(run, *before, own, stage("adapt", run)) for run in ("x", "y")]
    put(keys["e"], 1000)
    agenda = make_agenda(grid, lambda key: store.has(*key))
    shared = shared_keys(agenda, lambda key: store.has(*key))
    assert shared == [keys["a"], keys["b"], keys["c"]]
    assert shared_summary(agenda, shared, store) is None
    for name, seconds in (("a", 5), ("b", 20), ("c", 7)):
        put(keys[name], seconds)
    assert shared_summary(agenda, shared, store) == "shared before them: 1 stage, 2 features, 27 s"
    assert shared_keys(agenda, lambda key: store.has(*key)) == []


def test_a_sweeps_summary_has_all_that_validation_said_and_nothing_of_the_test(tmp_path: Path) -> None:
    found = {metric.at(f"{name}/val"): 0.5 for name in ("source", "target") for metric in METRICS.values()}
    done = dataclasses.replace(RECORD, metrics={**found, "target/test/acc": 0.9}, cost={"seconds_spent": 2})
    leave_summary(tmp_path, [(("a=1",), done, False), (("a=2",), "blocked: no luck", False), (("a=3",), "bad", False)])
    with (tmp_path / "summary.csv").open() as file:
        first, second, third = csv.DictReader(file)
    assert set(first) == {"overrides", "status", "run_id", "seed", "seconds", "error", *found}
    assert {name: float(first[name]) for name in found} == found
    assert (second["status"], second["error"], second["target/val/loss"]) == ("blocked", "no luck", "")
    assert (third["status"], third["error"], third["seconds"]) == ("failed", "bad", "")


def test_a_sweep_is_shown_by_the_metric_of_its_jobs() -> None:
    def of(*named: str | None) -> list[str]:
        jobs = [job(str(i), stage("adapt", str(i)), **({"metric": n} if n else {})) for i, n in enumerate(named)]
        return [metric.name for metric in metrics_of(make_agenda(jobs, lambda key: False), "macro_f1")]

    assert of("log_loss", "log_loss") == ["log_loss"]
    assert of("log_loss", "accuracy", "log_loss") == ["log_loss", "accuracy"]
    assert of(None, None) == ["macro_f1"]


GRID = (
    "-m", *SMOKE, "source.per_class=10", "freeze_policy=last_layer,last_layers",
    'hydra.sweeper.also=[["data_mix=target_only"]]',
)  # fmt: skip


def test_a_sweep_with_a_stage_that_diverges(cli, tmp_path: Path) -> None:
    """The pretraining of two runs becomes NaN, which is a result; others need none."""
    code, out, err = cli(*GRID, "pretrain.lr=1e30")
    assert code == 0, err
    assert "2 done (2 trained now, 0 were there), 0 failed, 2 diverged" in out
    assert "diverged: pretrain: the" in out
    found = [Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    assert sorted(record.status for record in found) == ["diverged", "diverged", "done", "done"]
    assert all("pretrain: the " in record.error for record in found if record.status == "diverged")
    with (tmp_path / "outputs" / "sweeps" / "run" / "summary.csv").open() as file:
        assert sorted(row["status"] for row in csv.DictReader(file)) == ["diverged", "diverged", "done", "done"]
    code, out, err = cli(*GRID, "pretrain.lr=1e30")
    assert code == 0, err
    assert "steps in" not in out
    assert "2 done (0 trained now, 2 were there), 0 failed, 2 diverged" in out


def test_a_run_that_diverges_alone_ends_with_its_message(cli) -> None:
    """And again, when nothing is trained."""
    given = (*SMOKE, "data_mix=target_only", "freeze_policy.lr_backbone=1e30")
    for once, said in (
        (True, "try a lower learning rate\n"),
        (False, "(of an earlier try, which force=true repeats)\n"),
    ):
        code, out, err = cli(*given)
        assert code == 1
        assert ("target: 80 train" in out) == once
        assert "loss became" in err
        assert said in err
        assert "Traceback" not in err


def test_a_sweep_with_a_stage_that_fails(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = importlib.import_module("tlfw.runs.fold").train

    def fails(freezing, mixture, lesson, **given):
        if lesson.title == "pretrain":
            raise TrainingFailed("the optimizer does not train what it should")
        return train(freezing, mixture, lesson, **given)

    monkeypatch.setattr("tlfw.runs.fold.train", fails)
    code, out, err = cli(*GRID)
    assert code == 1, err
    assert "2 blocked" in out
    assert "blocked: pretrain failed: the" in out
    found = [Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    blocked = [record for record in found if record.status == "blocked"]
    assert len(blocked) == 2
    assert all("pretrain failed" in record.error for record in blocked)
    assert {record.status for record in found} <= {"done", "blocked"}
    with (tmp_path / "outputs" / "sweeps" / "run" / "summary.csv").open() as file:
        assert sorted(row["status"] for row in csv.DictReader(file)) == ["blocked", "blocked", "done", "done"]


def test_a_launcher_that_loses_its_jobs_is_one_message(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loses:
        def launch(self, *_: object, **__: object) -> None:
            raise RuntimeError(
                "Job 6_0 has not produced any output (state: CANCELLED by 0)\nError stream produced:\n..."
            )

    monkeypatch.setattr("hydra.core.plugins.Plugins.instantiate_launcher", lambda *_, **__: Loses())
    code, out, err = cli("-m", *SMOKE, "data_mix=target_only")
    assert code == 1
    assert out.count("Job 6_0") == 1
    assert (
        "hydra/launcher=basic ended without the results of its jobs (RuntimeError: Job 6_0 has not produced any output "
        "(state: CANCELLED by 0) Error stream produced: ...). What they finished is kept, and what does not need the "
        "others goes on.\n"
    ) in out
    assert "its job ended without a result (hydra/launcher=basic)" in out
    assert "0 done (0 trained now, 0 were there), 1 failed" in out
    assert "Traceback" not in err
    (record,) = [Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    assert (record.status, record.error) == ("failed", "its job ended without a result (hydra/launcher=basic)")


def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(cli, tmp_path: Path) -> None:
    given = ("-m", *SMOKE, "source.per_class=10", "freeze_policy=last_layer,last_layers,full")
    code, out, err = cli(*given, "hydra.sweeper.dry_run=true")
    assert code == 0, err
    assert "plan: 3 runs, 0 done, 3 to do\n  4 stages to train (6 if every run were alone)" in out
    assert "wave 1: 1 x pretrain\n" in out
    assert "steps in" not in out
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
def test_a_changed_setting_redoes_what_it_touches(cli) -> None:
    given = ("-m", *SMOKE, "source.per_class=10", "freeze_policy=last_layers,full")
    assert cli(*given)[0] == 0
    code, out, err = cli(*given, "adapt.batch_size=20")
    assert code == 0, err
    assert "plan: 2 runs, 0 done, 2 to do\n  2 stages to train (4 if every run were alone)" in out
    assert "2 of these runs because a setting changed: adapt.batch_size: 64 -> 20" in out
    assert out.count("pretrain: reused") == 2
    code, out, _ = cli(*given, "adapt.batch_size=20", "freeze_policy=full,last_layers,last_layer")
    assert code == 0
    assert "plan: 3 runs, 2 done, 1 to do" in out


def test_only_parts_that_a_run_has_can_be_asked_for(cli) -> None:
    code, _, err = cli(*SMOKE, "source.per_class=10", "until=pretraining")
    assert code == 1
    assert "until: this run has no 'pretraining'. It has pretrain, adapt" in err


GIVEN = (
    *SMOKE,
    "source.per_class=10",
    "threads=1",
    "freeze_policy=last_layer,full",
    "data_mix=pretrain_finetune,joint",
)


def numbers(outputs: Path) -> dict[str, object]:
    records = [Record.read(path) for path in outputs.glob("runs/*/record.json")]
    assert all(record.status == "done" for record in records)
    return {record.run_id: (record.metrics, record.certificate) for record in records}


@pytest.mark.slow
def test_however_a_sweep_is_launched_its_numbers_are_the_same(cli, tmp_path: Path) -> None:
    """One after the other; by two processes that start the same sweep at once in one folder; and two at a time,
    interrupted in both ways: from a terminal, which tells all processes, and by a signal to the first one alone."""
    code, out, err = cli("-m", *GIVEN, "outputs=serial")
    assert code == 0, err
    stages = out.count(" steps in ")
    assert stages == 5
    command = [sys.executable, "-m", "tlfw", "-m", *GIVEN, "hydra.sweeper.report=false", "outputs=both"]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(text.count(" steps in ") for text in said) == stages
    two = [word for word in command if not word.startswith("outputs=")]
    two += ["outputs=parallel", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    for tell, signum, code in ((os.killpg, signal.SIGINT, 1), (os.kill, signal.SIGTERM, 143)):
        stages = tmp_path / "parallel" / "store" / "stages"
        there = len(list(stages.glob("[!.]*")))
        process = subprocess.Popen(
            two, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        while not list(stages.glob(".*.draft")) or len(list(stages.glob("[!.]*"))) > there:
            assert process.poll() is None
            time.sleep(0.01)
        tell(process.pid, signum)
        out, err = process.communicate(timeout=60)  # which ends with the last process that could write there
        assert process.returncode == code, out + err
        assert err.strip() == "interrupted; the same command resumes it"
    subprocess.run(two, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    serial = numbers(tmp_path / "serial")
    assert len(serial) == 4
    assert numbers(tmp_path / "both") == serial
    assert numbers(tmp_path / "parallel") == serial
    for place, commands in (("serial", 1), ("both", 2), ("parallel", 3)):  # all are remembered, also what was stopped
        plan = read(tmp_path / place / "sweeps" / "run")
        assert plan is not None
        assert [run["asked"] for run in plan["runs"]] == [list(range(commands))] * 4
        assert {run["run_id"] for run in plan["runs"]} == set(serial)
