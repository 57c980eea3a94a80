"""Distributed training on two processes: right, whatever it costs to start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tracking.test_wandb_run import logged
from tlfw.records.metric import METRICS, measured
from tlfw.training.evaluate import predicted, predictions_of
from tlfw.training.learner import Validated

SMALL = ("+experiment=quickstart", "source.per_class=20", "pretrain.budget=640images", "adapt.budget=320images")
PROBE = ("data_mix=target_only", "freeze_policy=last_layer")
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "tracking=offline")


def validated(rank: int, place: str, batches: dict[int, list[tuple[torch.Tensor, ...]]]) -> None:
    """What one of two processes says of a validation part of which it has seen its own batches."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
    meter = Validated(4)
    for batch in batches[rank]:
        meter.update(*batch)
    (Path(place) / str(rank)).write_text(json.dumps(meter.compute()))
    torch.distributed.destroy_process_group()


def test_validation_is_of_the_whole_part_over_processes(tmp_path: Path) -> None:
    """Of eleven images one process has six in two batches, and the other five; classes are met by one alone."""
    generator = torch.Generator().manual_seed(0)
    logits_NK, labels_N = torch.randn(11, 4, generator=generator), torch.tensor([0] * 6 + [1, 2] * 2 + [1])
    parts = (labels_N, *predicted(logits_NK, labels_N))
    first, rest = [slice(0, 11, 2), slice(1, 11, 2)]
    batches = {
        0: [tuple(part[first][:4] for part in parts), tuple(part[first][4:] for part in parts)],
        1: [tuple(part[rest] for part in parts)],
    }
    torch.multiprocessing.spawn(validated, (str(tmp_path), batches), nprocs=2)
    expected = measured(predictions_of(logits_NK, labels_N))
    for rank in range(2):
        found = json.loads((tmp_path / str(rank)).read_text())
        assert found == pytest.approx(expected, rel=1e-12)


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
        last = record["stages"][-1]
        assert set(last["metrics"]) >= {metric.at("target/val") for metric in METRICS.values()}
        for name, value in last["metrics"].items():  # as one process finds it on all images at the stage's end
            assert last["curve"][-1][name] == pytest.approx(value, rel=1e-4), name
            assert sum(f"adapt/{name}" in row for row in own["history"]) == 3
        assert "target/test/acc" in own["summary"]
    two = found["target_only"]
    assert two["run_id"] != one["run_id"]
    for metric, value in one["metrics"].items():
        assert two["metrics"][metric] == (value if value is None else pytest.approx(value, rel=1e-4, abs=2e-3)), metric
