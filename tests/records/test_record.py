"""The record's schema, and that it is written whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tlfw.records.record import Record, replace_text, replacing

RECORD = Record(
    run_id="k", setting="s", status="done", experiment="e", sweep=None, seed=0,
    paradigm={"data_mix": "joint", "freeze_policy": "full"}, backbone="resnet18", source="s", target="t", labels=[],
    images={"target": {"train": 8, "val": 2, "test": 9}}, content={"target": {"test": "9f"}}, settings={"seed": 0},
    metrics={"target/test/acc": 0.5, "source/val/acc": None},
    stages=[], certificate=None, wandb={}, cost={}, environment={},
)  # fmt: skip


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = RECORD.write(tmp_path)
    assert Record.read(tmp_path) == Record.read(path) == RECORD
    assert json.loads(path.read_text())["schema"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_record_of_before_a_field_was_there_is_read(tmp_path: Path) -> None:
    path = RECORD.write(tmp_path)
    facts = json.loads(path.read_text())
    del facts["ended"]
    path.write_text(json.dumps(facts))
    assert Record.read(path) == RECORD
    assert RECORD.ended is None


def test_nan_is_no_number_of_a_record(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dataclasses.replace(RECORD, metrics={"target/test/acc": float("nan")}).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["", "{", '{"schema": 1}', '{"schema": 99}', "[]"])
def test_a_damaged_record_is_not_read(tmp_path: Path, damage: str) -> None:
    (tmp_path / "record.json").write_text(damage)
    with pytest.raises(ValueError, match=r"record\.json is not a record"):
        Record.read(tmp_path)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        replace_text(tmp_path / "f", "new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"f": "old"}


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_are_for_whom_the_umask_says(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        replace_text(tmp_path / "f", "x")
        replace_text(tmp_path / "f", "y")
        with replacing(tmp_path / "w.safetensors") as draft:
            safetensors.torch.save_file({"a": torch.zeros(1)}, draft)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "f": 0o666 & ~mask,
        "w.safetensors": 0o666 & ~mask,
    }


def test_a_name_may_be_as_long_as_can_be(tmp_path: Path) -> None:
    replace_text(tmp_path / ("x" * 255), "y")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["y"]
