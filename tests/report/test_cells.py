"""Settings are chosen on validation data, and what is compared is named by what differs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.report import invented
from tlfw.report.cells import Cell, cells_of
from tlfw.report.gather import gather

RIGHT = np.arange(20) % 3 > 0
WRONG = ~RIGHT


def cells(outputs: Path) -> list[Cell]:
    return cells_of(gather([outputs]).runs)[0]


def test_the_settings_that_validate_best_are_chosen_whatever_the_test_says(tmp_path: Path) -> None:
    for seed in (0, 1):
        invented.run(tmp_path, "joint", "full", seed, RIGHT, val=(0.5, 0.9)[seed], lr=0.1)  # mean 0.7
        invented.run(tmp_path, "joint", "full", seed, WRONG, val=(0.75, 0.75)[seed], lr=0.01)  # mean 0.75
    (cell,) = cells(tmp_path)
    assert (cell.tried, cell.incomplete, cell.settings) == (2, 0, {"freeze_policy.lr_head": 0.01})
    assert cell.val_accuracy == 0.75
    assert {run.record.settings["freeze_policy"]["lr_head"] for run in cell.runs.values()} == {0.01}
    assert [replicate[0] for replicate in cell.runs] == [0, 1]


def test_no_test_number_is_read_to_choose(tmp_path: Path) -> None:
    record = invented.run(tmp_path, "joint", "full", 0, RIGHT)
    path = next(tmp_path.glob("runs/*/record.json"))
    (path.parent / "predictions.npz").unlink()
    record.metrics.pop("target/test/acc")
    record.write(path.parent)
    assert len(cells(tmp_path)) == 1


def test_settings_with_fewer_seeds_are_not_considered(tmp_path: Path) -> None:
    for seed in (0, 1):
        invented.run(tmp_path, "joint", "full", seed, RIGHT, val=0.5, lr=0.1)
    invented.run(tmp_path, "joint", "full", 0, RIGHT, val=0.99, lr=0.01)
    (cell,) = cells(tmp_path)
    assert (cell.tried, cell.incomplete, len(cell.runs)) == (1, 1, 2)


def test_of_equals_always_the_same_is_chosen(tmp_path: Path) -> None:
    for lr in (0.3, 0.1, 0.2):
        invented.run(tmp_path, "joint", "full", 0, RIGHT, val=0.5, lr=lr)
    assert cells(tmp_path)[0].settings == {"freeze_policy.lr_head": 0.1}


def test_cells_are_named_by_what_differs(tmp_path: Path) -> None:
    invented.run(tmp_path, "joint", "full", 0, RIGHT)
    assert [cell.name for cell in cells(tmp_path)] == ["joint / full"]
    invented.run(tmp_path, "joint", "full", 0, RIGHT, backbone="vgg11")
    invented.run(tmp_path, "target_only", "full", 0, RIGHT)
    assert {cell.name for cell in cells(tmp_path)} == {
        "joint / full, resnet18", "joint / full, vgg11", "target_only / full, resnet18",
    }  # fmt: skip


def test_other_sources_weights_and_labelled_images_are_other_cells(tmp_path: Path) -> None:
    invented.run(tmp_path, "joint", "full", 0, RIGHT)
    invented.run(
        tmp_path, "joint", "full", 0, RIGHT, source="other", settings={"source": {"split_seed": 0, "root": "o"}}
    )
    published = {"backbone": {"name": "resnet18", "weights": "DEFAULT"}}
    invented.run(tmp_path, "joint", "full", 0, RIGHT, settings=published)
    invented.run(tmp_path, "joint", "full", 0, RIGHT, labelled=50)
    found = cells(tmp_path)
    assert len(found) == 4
    assert {(cell.source, cell.labelled) for cell in found} == {("general", 10), ("other", 10), ("general", 50)}
    assert any("resnet18 (DEFAULT)" in cell.name for cell in found)


def test_fields_that_decide_nothing_do_not_divide_a_cell(tmp_path: Path) -> None:
    invented.run(
        tmp_path, "joint", "full", 0, RIGHT, settings={"outputs": "a", "workers": 0, "tracking": {"mode": "x"}}
    )
    invented.run(
        tmp_path, "joint", "full", 1, RIGHT, settings={"outputs": "b", "workers": 2, "tracking": {"mode": "y"}}
    )
    (cell,) = cells(tmp_path)
    assert (len(cell.runs), cell.tried) == (2, 1)


def test_who_made_a_run_first_does_not_divide_a_cell(tmp_path: Path) -> None:
    """A run that two sweeps share has the fields of the first, also those that decided nothing for it."""
    for seed, fields in enumerate(({"threads": 1}, {"checkpoint_seconds": 30.0}, {"joint": {"target_share": 0.3}})):
        invented.run(tmp_path, "target_only", "full", seed, RIGHT, settings=fields, setting="equal")
    (cell,) = cells(tmp_path)
    assert (len(cell.runs), cell.tried, cell.settings) == (3, 1, {})


def test_other_training_images_are_not_mixed(tmp_path: Path) -> None:
    new = {"target": {"train": "new", "val": "new", "test": invented.content_of(20)}}
    for seed in (0, 1, 2):
        invented.run(tmp_path, "joint", "full", seed, RIGHT)
    for seed, run_id in ((0, "a" * 32), (1, "b" * 32)):
        invented.run(tmp_path, "joint", "full", seed, RIGHT, content=new, run_id=run_id)
    for path in tmp_path.glob("runs/*/record.json"):
        later = path.parent.name.endswith(("a" * 12, "b" * 12))
        os.utime(path, (later, later))
    found, notes = cells_of(gather([tmp_path]).runs)
    assert {run.record.content["target"]["train"] for run in found[0].runs.values()} == {"new"}
    assert len(found[0].runs) == 2
    assert notes[0].startswith("3 runs learnt from other images than later ones")


def test_one_seeds_splits_are_no_repetitions(tmp_path: Path) -> None:
    """They share the start, and would make a difference look surer than it is. A split of each seed's own is one."""
    for seed in (0, 1):
        for split in (0, 1, 2):
            settings = {"target": {"train_per_class": 10, "split_seed": split}}
            invented.run(tmp_path / "crossed", "joint", "full", seed, RIGHT, settings=settings)
            if split == seed:
                invented.run(tmp_path / "tied", "joint", "full", seed, RIGHT, settings=settings)
    (cell,), notes = cells_of(gather([tmp_path / "crossed"]).runs)
    assert [replicate[0] for replicate in cell.runs] == [0, 1]
    assert notes[0].startswith("4 runs repeat a seed with another split_seed")
    (cell,), notes = cells_of(gather([tmp_path / "tied"]).runs)
    assert (len(cell.runs), notes) == (2, [])


def test_cells_with_and_without_a_source_have_names_of_their_own(tmp_path: Path) -> None:
    for source in ("general", None):
        invented.run(tmp_path, "pretrain_finetune", "full", 0, RIGHT, source=source, settings={"lr": str(source)})
    assert {cell.name for cell in cells(tmp_path)} == {
        "pretrain_finetune / full, from general", "pretrain_finetune / full, without source",
    }  # fmt: skip


def test_fields_that_go_together_are_named_once(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        settings = {"data_mix": {"stages": {"adapt": {"lr": lr}}}, "lr": lr}
        invented.run(tmp_path, "joint", "full", 0, RIGHT, val=lr, settings=settings, lr=0.001)
    assert cells(tmp_path)[0].settings == {"lr": 0.2}


def test_a_mean_of_what_does_not_apply_is_none(tmp_path: Path) -> None:
    invented.run(tmp_path, "target_only", "full", 0, RIGHT)
    (cell,) = cells(tmp_path)
    assert cell.mean("source/val/acc") is None
    assert cell.mean("target/test/acc") == pytest.approx(RIGHT.mean())
