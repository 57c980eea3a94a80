"""That a comparison with Slurm and the records finds what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.status.agreement import disagreements, finished
from tests.status.invented import ago, entry, key, planned, record, submission, sweep
from tlfw.status.__main__ import as_json
from tlfw.status.sweep_reader import SweepReader


@pytest.fixture
def status(tmp_path: Path) -> dict[str, Any]:
    folder = sweep(tmp_path, [planned(n) for n in range(3)])
    entry(folder, 0, "running", host="node1")
    submission(folder, 0, "slurm", "10")
    entry(folder, 1, "submitted")
    submission(folder, 1, "slurm", "11_0")
    entry(folder, 2, "done")
    record(tmp_path, 2, "done", ago(200))
    return dict(json.loads(as_json(SweepReader(folder).read())))


DONE = {key(2): "done"}
NOW = {"10": "RUNNING", "11_0": "PENDING"}


@pytest.mark.parametrize(
    ("queue", "later", "records", "said"),
    [
        (NOW, NOW, DONE, []),
        (NOW, {"11_0": "RUNNING"}, DONE, []),
        ({"11_0": "PENDING"}, {"11_0": "PENDING"}, DONE, ["s0: running, but Slurm says nothing and nothing of 10"]),
        ({"10": "RUNNING"}, {"10": "RUNNING"}, DONE, ["s1: submitted, but Slurm says nothing and nothing of 11_0"]),
        (NOW, {"10": "RUNNING"}, {}, ["s2: done, but its record says none and none"]),
        (NOW, {}, DONE | {key(0): "done"}, [f"{key(0)}: running, but its record said done before"]),
        (NOW | {"12": "PENDING"}, {"12": "RUNNING"}, DONE, ["job 12: in Slurm's queue, but of no task"]),
    ],
)  # fmt: skip
def test_what_differs_is_said(
    status: dict[str, Any], queue: dict[str, str], later: dict[str, str], records: dict[str, str], said: list[str]
) -> None:
    found = disagreements(status, (queue, records), (later, records))
    assert [each.removeprefix("joint-full-resnet18-") for each in found] == said


def test_records_are_read(tmp_path: Path) -> None:
    record(tmp_path, 1, "failed")
    assert finished(tmp_path / "runs") == {key(1): "failed"}
