"""Law 5 with real processes: a sweep that is killed at any moment goes on, and its numbers are an undisturbed one's."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tlfw.records.record import Record

GRID = (
    "-m", "+experiment=quickstart", "tracking=disabled", "source.per_class=10", "pretrain.budget=1920images",
    "adapt.budget=960images", "data_mix=pretrain_finetune,target_only", "freeze_policy=last_layer,full",
    "select=best_val", "checkpoint_seconds=0.2", "hydra.sweeper.report=false",
)  # fmt: skip
KILLS = (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL)


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "tlfw", *GRID, *overrides], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def results(folder: Path) -> dict[str, tuple[Record, dict[str, np.ndarray]]]:
    found = {}
    for path in folder.glob("outputs/runs/*/record.json"):
        with np.load(path.with_name("predictions.npz")) as predictions:
            found[path.parent.name] = Record.read(path), dict(predictions)
    return found


def saves(process: subprocess.Popen[str], folder: Path, times: int) -> None:
    """Wait until it has saved a stage so many times, whatever a killed one has left there, or has ended."""
    stages = folder / "outputs" / "store" / "stages"
    seen: set[tuple[str, int]] | None = None
    while process.poll() is None and times > 0:
        now = set()
        for file in stages.glob(".*/last.ckpt"):
            with contextlib.suppress(OSError):  # it has just been replaced
                now.add((str(file), file.stat().st_ino))
        times -= bool(now - seen) if seen is not None else 0
        seen = now
        time.sleep(0.01)


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again(cli, tmp_path: Path) -> None:
    code, out, err = cli(*GRID, "outputs=whole/outputs")
    assert code == 0, err
    draw, told, killed = random.Random(0), [], 0
    for signum in KILLS:
        process = start(tmp_path / "killed", *(["workers=2"] if signum == signal.SIGTERM else []))
        saves(process, tmp_path / "killed", draw.randint(1, 3))
        time.sleep(draw.uniform(0, 0.3))
        with contextlib.suppress(ProcessLookupError):  # that was the last stage
            os.killpg(process.pid, signum)  # those that load images too
        out, err = process.communicate(timeout=60)
        killed += process.returncode != 0
        if not process.returncode:
            assert "blocked" not in out
        elif signum == signal.SIGTERM:
            assert (process.returncode, err.strip()) == (143, "interrupted; the same command resumes it")
        else:
            assert not err
        told.append(out)
    assert killed > len(KILLS) / 2
    code, out, err = cli(*GRID, "outputs=killed/outputs")
    assert code == 0, err
    told.append(out)
    expected, found = results(tmp_path / "whole"), results(tmp_path / "killed")
    assert set(found) == set(expected)
    assert len(found) == 4
    for name, (record, predictions) in expected.items():
        again, answers = found[name]
        assert again.status == "done"
        assert again.metrics == record.metrics, name
        assert again.certificate == record.certificate
        for fact in ("key", "curve", "metrics"):
            assert [stage[fact] for stage in again.stages] == [stage[fact] for stage in record.stages]
        assert all(np.array_equal(predictions[key], answers[key]) for key in predictions), name
    # A stage's training ends once, but for a kill between that and its publication.
    ended = re.findall(r"^  (\w+): \d+ steps in", "".join(told), re.MULTILINE)
    assert 5 <= len(ended) <= 5 + len(KILLS)
    assert not list((tmp_path / "killed" / "outputs" / "store").rglob(".*.scratch"))
