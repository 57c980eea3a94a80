"""Distributed training on two processes: right, whatever it costs to start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_tracking import logged

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def run(folder: Path, *overrides: str) -> list[dict[str, Any]]:
    """Records of a run or a sweep in a process of its own, by seed."""
    folder.mkdir()
    command = [
        sys.executable, "-m", "tlfw", "+experiment=quickstart", "source.per_class=20", "pretrain.budget.amount=640",
        "adapt.budget.amount=320", *overrides,
    ]  # fmt: skip
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stdout + told.stderr
    records = [json.loads(path.read_text()) for path in folder.glob("outputs/runs/*/record.json")]
    return sorted(records, key=lambda record: record["seed"])


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """A linear probe has no BatchNorm to see half a batch: the gradients' mean is the whole batch's."""
    probe = ("data_mix=target_only", "freeze_policy=last_layer", "tracking=disabled")
    (one,) = run(tmp_path / "one", *probe)
    (two,) = run(tmp_path / "two", *probe, *TWO)
    assert two["environment"]["numerics"]["world_size"] == 2
    assert two["run_id"] != one["run_id"]
    for metric, value in one["metrics"].items():
        assert two["metrics"][metric] == (value if value is None else pytest.approx(value, rel=1e-4, abs=2e-3)), metric
    assert two["certificate"]["holds"]


@pytest.mark.slow
def test_a_sweep_of_distributed_runs(tmp_path: Path) -> None:
    records = run(tmp_path / "sweep", *TWO, "tracking=offline", "seed=0,1", "-m")
    assert [record["status"] for record in records] == ["done", "done"]
    assert all(record["environment"]["numerics"]["world_size"] == 2 for record in records)
    assert all(record["certificate"]["holds"] for record in records)
    found = logged(tmp_path / "sweep")
    for record in records:
        history = found[record["wandb"]["id"]]["history"]
        assert sum("adapt/target/val/acc" in row for row in history) == 3
        assert "target/test/acc" in found[record["wandb"]["id"]]["summary"]
