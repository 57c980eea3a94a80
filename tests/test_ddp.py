"""Distributed training on two processes: right, whatever it costs to start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_tracking import logged

SMALL = ("+experiment=quickstart", "source.per_class=20", "pretrain.budget=640images", "adapt.budget=320images")
PROBE = ("data_mix=target_only", "freeze_policy=last_layer")
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "tracking=offline")


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """By data mix."""
    found = [json.loads(path.read_text()) for path in folder.glob("outputs/runs/*/record.json")]
    return {record["paradigm"]["data_mix"]: record for record in found}


@pytest.mark.slow
def test_a_sweep_on_two_processes_learns_what_one_learns(cli, tmp_path: Path) -> None:
    """A linear probe has no BatchNorm to see half a batch: the gradients' mean is the whole batch's."""
    assert cli(*SMALL, *PROBE, "tracking=disabled")[0] == 0
    (one,) = records(tmp_path).values()
    folder = tmp_path / "two"
    folder.mkdir()
    sweep = ["-m", *SMALL, *TWO, f"hydra.sweeper.also=[{json.dumps(PROBE)}]", "hydra.sweeper.report=false"]
    told = subprocess.run(
        [sys.executable, "-m", "tlfw", *sweep], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    found = records(folder)
    assert set(found) == {"pretrain_finetune", "target_only"}
    history = logged(folder)
    for record in found.values():
        assert record["status"] == "done"
        assert record["environment"]["numerics"]["world_size"] == 2
        assert record["certificate"]["holds"]
        assert record["wandb"]["id"] in history, (record["wandb"], sorted(history), told.stdout)
        own = history[record["wandb"]["id"]]
        assert sum("adapt/target/val/acc" in row for row in own["history"]) == 3
        assert "target/test/acc" in own["summary"]
    two = found["target_only"]
    assert two["run_id"] != one["run_id"]
    for metric, value in one["metrics"].items():
        assert two["metrics"][metric] == (value if value is None else pytest.approx(value, rel=1e-4, abs=2e-3)), metric
