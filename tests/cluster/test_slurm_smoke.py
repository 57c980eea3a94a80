"""A sweep on a real Slurm: a requeue, a kill, and a run of two ranks. `faults` does all that can go wrong."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.lab import Drive, Unavailable, Watched, down, slurm, up, wait_until

SWEEP = [
    *("+experiment=quickstart", "tracking=disabled", "source.per_class=20", "validations=2"),
    *("adapt.budget=12800images", "checkpoint_seconds=0.5", "hydra.sweeper.report=false", "data_mix=target_only"),
    *("freeze_policy=full", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1,2"),
]
SLURM = ["hydra/launcher=slurm", "hydra.launcher.cpus=1", "hydra.launcher.memory=3GB", "hydra.launcher.time=20"]
PORTS = {"CTLD_PORT": "27817", "DBD_PORT": "27819", "NODE_PORT": "27820", "SQL_PORT": "23306"}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a Slurm of its own."""
    folder = tempfile.mkdtemp(prefix="lab", dir="/tmp")  # names of sockets are short
    for name in ("SLURM_CONF", "MASTER_ADDR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    try:
        env = up(SLURM_LAB=folder, NODES="2", **PORTS)
    except Unavailable as why:
        pytest.skip(f"no Slurm can be brought up here: {why}")
    yield env
    Drive.end_all()
    down(env)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_sweep_on_a_real_slurm(lab: dict[str, str], tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    assert Drive(alone, [*SWEEP, "threads=1"], "log.txt", lab).end(300) == 0, (alone / "log.txt").read_text()
    folder = tmp_path / "slurm"
    folder.mkdir()
    sweep = Watched(folder, "quickstart")
    driver = Drive(folder, [*SWEEP, *SLURM], "log.txt", lab | {"OMP_NUM_THREADS": "2"})
    plan = wait_until(lambda: len(entries := sweep.ledger.entries()) == 2 and entries, 120, "the plan")
    worlds = {entry.numerics["world_size"]: entry.key for entry in plan}
    one = wait_until(lambda: (e := sweep.ledger.entry(worlds[1])) and (e.step or e.ended) and e, 120, "steps")
    assert not one.ended
    slurm("scontrol", "requeue", str(one.job))
    killed = wait_until(
        lambda: (e := sweep.ledger.entry(worlds[2])) and e.state == "running" and e.pid and e, 120, "it"
    )
    os.kill(killed.pid, signal.SIGKILL)
    assert driver.end(240) == 1, driver.log.read_text()
    ended = sweep.ledger.entry(worlds[2])
    assert ended is not None
    assert ended.state == "failed"
    assert "Slurm: FAILED" in str(ended.error)
    assert sweep.records()[worlds[2]].status == "failed"
    assert Drive(folder, [*SWEEP, *SLURM], "again.txt", lab).end(240) == 0, (folder / "again.txt").read_text()
    again = sweep.ledger.entry(worlds[1])
    assert again is not None
    assert (again.state, again.requeues) == ("done", 1)
    numbers = {key: record.metrics for key, record in Watched(alone, "quickstart").records().items()}
    assert {key: record.metrics for key, record in sweep.records().items()} == numbers
    assert sorted(sweep.submissions().values()) == [1, 2]
    # A job's process ends a moment after its task.
    wait_until(lambda: set(slurm("squeue", "--noheader", "--format=%T").split()) <= {"COMPLETING"}, 30, "the queue")
