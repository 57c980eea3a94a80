"""From folders to everything that a report says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.report import invented
from tlfw.errors import ConfigError
from tlfw.records.record import Record
from tlfw.report.findings import find_out, rival


def test_a_grid_becomes_one_task_with_everything_about_each_cell(tmp_path: Path) -> None:
    found = find_out([invented.sweep(tmp_path, seeds=5, images=900, best={("pretrain_finetune", "full"): 1.5})])
    (task,) = found.tasks
    assert (found.title, found.target, found.test_images, found.classes) == ("invented", "mine", 900, invented.CLASSES)
    assert task.kind == "best"
    assert task.cells[0].name == "pretrain_finetune / full"
    assert len(task.cells) == len(found.costs[0]) == len(found.mistakes[0]) == 10
    assert found.comparisons == 28  # of the eight that are no controls on random features
    assert set(found.confusions[0]) == {0, rival(task)}
    assert task.cells[rival(task) or 0].data_mix == "target_only"
    values = [mean.value for mean in task.means]
    assert values == sorted(values, reverse=True)
    for cell, mean in zip(task.cells, task.means, strict=True):
        assert mean.value == pytest.approx(cell.mean("target/test/acc"))
        assert mean.low < mean.value < mean.high


def test_labelled_images_make_tasks_fewest_first(tmp_path: Path) -> None:
    found = find_out([invented.sweep(tmp_path, labelled=(50, None, 10))])
    assert [task.labelled for task in found.tasks] == [10, 50, None]
    assert found.comparisons == 3 * 28


def test_what_is_unequal_is_said_once_with_where_else_it_is_so(tmp_path: Path) -> None:
    right = invented.labels_of(20) > 0
    for labelled, rates in ((10, (0.1, 0.2, 0.3)), (50, (0.1, 0.2)), (None, (0.1,))):
        for policy in ("last_layers", "full"):
            for lr in rates if policy == "full" else (0.1,):
                invented.run(tmp_path, "joint", policy, 0, right, lr=lr, labelled=labelled)
    (said,) = find_out([tmp_path]).unequal
    assert said.startswith(
        "With 10 labelled images a class: Not all cells were tuned alike: joint / full was chosen from 3"
    )
    assert said.endswith(" Similarly with 50 labelled images a class.")


def test_predictions_of_other_images_than_the_record_says_are_refused(tmp_path: Path) -> None:
    folder = invented.sweep(tmp_path, seeds=1)
    path = next(tmp_path.glob("runs/target_only*/predictions.npz"))
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, "label": arrays["label"][::-1]})
    with pytest.raises(ConfigError, match=r"target_only-.*another label"):
        find_out([folder])


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    folder = invented.sweep(tmp_path, seeds=2)
    next(tmp_path.glob("runs/joint-full-*-s1-*/record.json")).unlink()
    found = find_out([folder])
    assert found.notes[0] == "19 of 20 runs are done (1 not there yet): what follows may change."
    assert any(said.startswith("joint / full lacks some of the 2 repetitions") for said in found.tasks[0].remarks)


def stages_on(folder: Path, processors: Callable[[Record], list[str]]) -> None:
    """Have runs computed on other hardware."""
    for file in folder.glob("runs/*/record.json"):
        record = Record.read(file)
        for stage in record.stages:
            stage["hardware"] = processors(record)
        record.write(file.parent)


def test_mixed_hardware_within_a_cell_is_said(tmp_path: Path) -> None:
    folder = invented.sweep(tmp_path, seeds=2)

    def said() -> list[str]:
        return [note for note in find_out([folder]).notes if "hardware" in note]

    assert said() == []
    stages_on(tmp_path, lambda record: ["A"] if record.paradigm["data_mix"] == "joint" else ["B"])
    assert said() == []  # each cell on one of its own
    stages_on(tmp_path, lambda record: ["A"] if record.paradigm["data_mix"] == "joint" and record.seed else ["B"])
    assert said() == [
        "3 of 10 cells mix hardware (A and B), which rounds differently: a part of the spread over repetitions may "
        "come of that. exact=true keeps it apart."
    ]
    stages_on(tmp_path, lambda record: ["A", "B"] if record.seed else ["A"])
    assert said()[0].startswith("10 of 10 cells mix hardware (A and B)")


def test_a_report_needs_no_torch() -> None:
    rooms = "tlfw.report, tlfw.report.findings"
    code = f"import sys, {rooms}; print(sorted({{'torch', 'lightning', 'wandb', 'hydra'}} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
