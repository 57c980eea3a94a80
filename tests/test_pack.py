"""Runs whose heads are trained at once are what they are alone, and end each for itself."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.sweeps.test_task_graph import features, job, stage
from tests.tracking.test_wandb_run import logged
from tlfw.records.ledger import Ledger
from tlfw.sweeps.order import order_of
from tlfw.sweeps.task_graph import Candidate, Speeds, make_agenda

SMALL = (
    *("+experiment=quickstart", "source.per_class=20", "pretrain.budget=640images", "adapt.budget=320images"),
    *("freeze_policy=last_layer", "pretrain.seed=0", "threads=1", "select=best_val"),
)
SWEPT = ("freeze_policy.lr_head=0.01,0.1", "seed=0,1")


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Run id -> record, with what was predicted."""
    found = {}
    for path in folder.glob("outputs/runs/*/record.json"):
        record = json.loads(path.read_text())
        with np.load(path.with_name("predictions.npz")) as predictions:
            record["predictions"] = {name: predictions[name].tolist() for name in predictions.files}
        found[record["run_id"]] = record
    return found


def result(record: dict[str, Any]) -> dict[str, Any]:
    """What is the same whoever made it."""
    stages = [{name: s[name] for name in ("key", "curve", "metrics")} for s in record["stages"]]
    return {name: record[name] for name in ("metrics", "certificate", "predictions", "labels")} | {"stages": stages}


@pytest.mark.slow
def test_a_run_in_company_is_the_run_alone(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = cli("-m", *SMALL, *SWEPT, "tracking=offline")
    assert code == 0, err
    assert "wave 3: 4 runs in 1 job" in out
    assert "4 done (4 trained now, 0 were there), 0 failed" in out
    assert out.count("a share of those of 4 runs together") == 4
    assert out.count("test images of 10 classes") == 1  # what they have in common is said once
    together = records(tmp_path)
    assert len(together) == 4
    folder = tmp_path / "alone"
    folder.mkdir()
    for seed in (0, 1):
        words = [*SMALL, "freeze_policy.lr_head=0.1", f"seed={seed}", "tracking=disabled"]
        told = subprocess.run(
            [sys.executable, "-m", "tlfw", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        assert "together" not in told.stdout
    alone = records(folder)
    assert len(alone) == 2
    for run_id, record in alone.items():
        assert result(together[run_id]) == result(record)
    history = logged(tmp_path)
    for record in together.values():
        own = history[record["wandb"]["id"]]
        assert sum("adapt/target/val/acc" in row for row in own["history"]) == 3
        assert any("adapt/train/loss" in row for row in own["history"])
        (place,) = (tmp_path / "outputs" / "runs").glob(f"*-{record['run_id'][:12]}")
        overrides = (place / ".hydra" / "overrides.yaml").read_text()
        assert f"seed={record['seed']}" in overrides
        assert "together" not in overrides + json.dumps(record["settings"]).replace('"together": null', "")
    entries = Ledger(tmp_path / "outputs" / "sweeps" / "quickstart").entries()
    assert {entry.key: entry.state for entry in entries if not entry.until} == dict.fromkeys(together, "done")
    _, again, _ = cli("-m", *SMALL, *SWEPT, "tracking=offline")
    assert "4 done (0 trained now, 4 were there)" in again


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ("hydra/launcher=slurm_local", "hydra.launcher.cpus=1"),
    ],
    ids=["joblib", "slurm_local"],
)
def test_one_that_diverges_leaves_the_others_alone(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    """In another process too, where the runs' settings come as text."""
    pytest.importorskip("submitit" if "slurm_local" in launcher[0] else "hydra_plugins.hydra_joblib_launcher")
    rates = "freeze_policy.lr_head=0.01,3e38,0.1"
    words = [*SMALL, rates, "seed=0", "tracking=disabled", "hydra.sweeper.report=false", *launcher]
    told = subprocess.run(
        [sys.executable, "-m", "tlfw", "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0  # that it diverges is a result
    assert "2 done (2 trained now, 0 were there), 0 failed, 1 diverged" in told.stdout, told.stdout + told.stderr
    by_rate = {
        record["settings"]["freeze_policy"]["lr_head"]: record["status"]
        for record in (json.loads(path.read_text()) for path in tmp_path.glob("outputs/runs/*/record.json"))
    }
    assert by_rate == {0.01: "done", 3e38: "diverged", 0.1: "done"}
    states = [e.state for e in Ledger(tmp_path / "outputs" / "sweeps" / "quickstart").entries() if not e.until]
    assert sorted(states) == ["diverged", "done", "done"]


@pytest.mark.slow
def test_what_is_interrupted_goes_on_to_the_same_numbers(cli, tmp_path: Path) -> None:
    words = [*SMALL, *SWEPT, "adapt.budget=96000images", "checkpoint_seconds=0.2", "tracking=disabled"]
    assert cli("-m", *words, f"outputs={tmp_path / 'whole' / 'outputs'}")[0] == 0
    folder = tmp_path / "broken"
    folder.mkdir()
    command = [sys.executable, "-m", "tlfw", "-m", *words, "hydra.sweeper.report=false"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    began = time.monotonic()
    while len(list(folder.glob("outputs/store/stages/.*.scratch/last.ckpt"))) < 4:
        assert process.poll() is None
        assert time.monotonic() - began < 240
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err.strip()) == (143, "interrupted; the same command resumes it"), out
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("adapt: resumes from step") == 4
    found, expected = records(folder), records(tmp_path / "whole")
    assert {key: result(record) for key, record in found.items()} == {
        key: result(record) for key, record in expected.items()
    }
    assert not list(folder.glob("outputs/store/stages/.*.scratch"))


def company(*names: str | None, force: bool = False) -> list[Candidate]:
    """Runs that train on the same features, with these companies."""
    made = [job(f"r{i}", features("adapt", "z"), stage("adapt", f"s{i}"), force=force) for i in range(len(names))]
    return [dataclasses.replace(each, company=name) for each, name in zip(made, names, strict=True)]


def test_runs_of_one_company_are_one_task() -> None:
    agenda = make_agenda(company("a", None, "a", "b", "b", "c"), lambda key: False)
    *_, last = agenda.waves
    assert [[each.candidate for each in task.runs] for task in last] == [[0, 2], [1], [3, 4], [5]]
    assert len({task.needs for task in last}) == 1
    facts = agenda.facts("name", Speeds({}, {}))
    assert sorted(run["run"] for run in facts["waves"][-1]) == list(range(6))
    apart = make_agenda(company("a", "a"), lambda key: False, together=False)
    assert [task.others for task in apart.waves[-1]] == [(), ()]
    forced = make_agenda(company("a", "a", force=True), lambda key: False)
    assert [task.others for task in forced.waves[-1]] == [(), ()]


@pytest.mark.parametrize(
    "word", ["name='it''s'", r"target.root='a\\b'", "x='a,b'", "x=[1,'é {}$']", "x=${oc.env:HOME}/y", 'x="q"']
)
def test_words_arrive_as_they_were_sent(word: str) -> None:
    first, other = company("a", "a")
    agenda = make_agenda([first, dataclasses.replace(other, overrides=(word,))], lambda key: False)
    order = order_of(agenda, agenda.waves[-1][0])
    parsed = OverridesParser.create().parse_override(order.words[-1])
    assert parsed.key_or_group == "together"
    assert [[str(each) for each in run] for run in parsed.value()] == [[word, "planned='r1'"]]
