"""Runs on several devices, whoever launches them: right, restartable, and ended together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
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
    told = finished(start(folder, *sweep))
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("adapt: 10 steps in") == 2
    assert not told.stderr
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
    for ours, theirs in zip(one["stages"][-1]["curve"], two["stages"][-1]["curve"], strict=True):
        assert theirs["train/loss"] == pytest.approx(ours["train/loss"], abs=1e-5)


LAUNCHERS = {
    "basic": [],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=20"],
    "slurm_local": ["hydra/launcher=slurm_local", "hydra.launcher.cpus=1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_runs_of_one_and_of_two_devices_mix_in_a_sweep(tmp_path: Path, launcher: str) -> None:
    if launcher != "basic":
        pytest.importorskip("submitit" if launcher == "slurm_local" else f"hydra_plugins.hydra_{launcher}_launcher")
    own = ("tracking=disabled", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1,2")
    process = start(tmp_path, "-m", *SMALL, *PROBE, *own, "hydra.sweeper.report=false", *LAUNCHERS[launcher])
    told = finished(process)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "2 done (2 trained now, 0 were there), 0 failed" in told.stdout
    found = {}
    for place in tmp_path.glob("outputs/runs/*/record.json"):
        record = json.loads(place.read_text())
        with np.load(place.with_name("predictions.npz")) as predictions:
            found[record["environment"]["numerics"]["world_size"]] = (
                record,
                predictions["index"],
                predictions["log_prob"],
            )
    assert set(found) == {1, 2}
    (one, index, log_prob), (two, same_index, same_log_prob) = found[1], found[2]
    assert one["status"] == two["status"] == "done"
    assert len(set(index)) == len(index) == one["images"]["target"]["test"]  # each once
    assert index.tolist() == same_index.tolist()
    assert same_log_prob == pytest.approx(log_prob, abs=1e-4)
    assert two["metrics"]["target/test/acc"] == pytest.approx(one["metrics"]["target/test/acc"], abs=2e-3)
    if launcher == "basic":
        again = finished(start(tmp_path, "-m", *SMALL, *PROBE, *own, "hydra.sweeper.report=false"))
        assert "2 done (0 trained now, 2 were there)" in again.stdout


LONG = (*SMALL, *TWO[:-1], *PROBE, "tracking=disabled", "adapt.budget=16000images", "checkpoint_seconds=0.5")


def saved(folder: Path) -> int:
    """When a stage was saved last; whoever goes on with it moves what there is."""
    with contextlib.suppress(FileNotFoundError):
        return max(
            (file.stat().st_mtime_ns for file in folder.glob("outputs/store/stages/.*.scratch/last.ckpt")), default=0
        )
    return 0


def trains(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until a stage has saved."""
    began = time.monotonic()
    while not saved(folder):
        assert process.poll() is None
        assert time.monotonic() - began < 240
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_rank_ends_its_run_and_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert finished(start(whole, *LONG)).returncode == 0
    (expected,) = records(whole).values()
    folder = tmp_path / "killed"
    folder.mkdir()
    process = start(folder, *LONG)
    trains(process, folder)
    began = time.monotonic()
    os.kill(rank_of(folder, 1), signal.SIGKILL)
    told = finished(process)
    assert time.monotonic() - began < 60  # 4 s where nobody else is at work
    assert told.returncode == 1
    assert "the process of rank 1 was killed by SIGKILL" in told.stderr
    assert "Traceback" not in told.stderr
    (record,) = records(folder).values()
    assert record["status"] == "failed"
    assert "rank 1 was killed by SIGKILL" in record["error"]
    before = saved(folder)
    process = start(folder, *LONG)
    while saved(folder) <= before:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    told = finished(process)
    assert (told.returncode, told.stderr.strip()) == (143, "interrupted; the same command resumes it")
    assert "adapt: resumes from step" in told.stdout
    (record,) = records(folder).values()
    assert (record["status"], record["error"]) == ("interrupted", "Interrupted: SIGTERM")
    told = finished(start(folder, *LONG))
    assert told.returncode == 0
    assert "adapt: resumes from step" in told.stdout
    (found,) = records(folder).values()
    assert found["metrics"] == expected["metrics"]
    for fact in ("key", "curve", "metrics", "certificate"):
        assert [stage.get(fact) for stage in found["stages"]] == [stage.get(fact) for stage in expected["stages"]]
    assert not list(folder.glob("outputs/store/stages/.*.scratch"))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tlfw", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env=os.environ | {"TLFW_TEST_MARK": str(folder)},
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What it said, when it has ended and has left no process behind."""
    mark = Path(f"/proc/{process.pid}/environ").read_bytes().partition(b"TLFW_TEST_MARK=")[2].partition(b"\0")[0]
    try:
        out, err = process.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert not list(marked(mark))
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def marked(mark: bytes) -> Iterator[tuple[int, bytes]]:
    """The processes that were started with a mark in their environment, and that environment."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended, or is another's
            found = (place / "environ").read_bytes()
            if (
                b"TLFW_TEST_MARK=" + mark + b"\0" in found + b"\0"
                and b"resource_tracker" not in (place / "cmdline").read_bytes()
            ):
                yield int(place.name), found


def rank_of(folder: Path, rank: int) -> int:
    """The process of a rank of what runs in a folder."""
    wanted = f"\0RANK={rank}\0".encode()
    return next(pid for pid, found in marked(str(folder).encode()) if wanted in b"\0" + found)
