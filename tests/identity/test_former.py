"""Runs that earlier versions left still load, predict, export, and give their weights."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from tests.records.test_record import RECORD
from tests.runs.test_trained_model import CLASSES, untrained
from tests.tiny import SIZE
from tlfw import export, predict
from tlfw.backbones.input_spec import InputSpec
from tlfw.backbones.recipe import OWN
from tlfw.backbones.weights import CHECKPOINT
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.identity import former
from tlfw.runs.trained_model import load
from tlfw.training.train import weights_of

NAME = "shufflenet_v2_x0_5"
NOTE = {
    "tlfw": json.dumps(
        {"class": "tlfw.zoo.TorchvisionBackbone", "name": NAME, "stem": "imagenet", "transform_input": False}
    )
}
"""As the first version wrote it into the header of weights."""

BLUEPRINT = """{
 "run_id": "RUN_ID",
 "backbone": {"class": "tlfw.zoo.TorchvisionBackbone", "name": "shufflenet_v2_x0_5", "stem": "imagenet"},
 "transform_input": false,
 "classes": {"source": ["x", "y"], "target": ["ant", "bee", "cow", "dog", "elk"]},
 "view": {"size": 32, "resize": 40, "interpolation": "bicubic", "mean": [0.3, 0.4, 0.5], "std": [0.2, 0.2, 0.2]},
 "checkpoint_sha256": "SHA256",
 "schema": 1
}
"""
"""As the first version wrote it as `model.json`."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A run's folder in the words of the first version."""
    folder = tmp_path / "target_only-full-shufflenet_v2_x0_5-s0-e2fcd17cbb33"
    folder.mkdir()
    safetensors.torch.save_file(weights_of(untrained(NAME)), folder / CHECKPOINT, NOTE)
    sha256 = hashlib.sha256((folder / CHECKPOINT).read_bytes()).hexdigest()
    text = BLUEPRINT.replace("RUN_ID", RECORD.run_id).replace("SHA256", sha256)
    (folder / "model.json").write_text(text)
    RECORD.write(folder)
    return folder


def test_every_name_of_before_has_one_of_today() -> None:
    assert set(former.NAMES.values()) <= set(OWN)
    assert former.today("tlfw.zoo.TorchvisionBackbone") == TorchvisionBackbone(name=NAME).recipe()["class"]
    assert former.today("mine.Net") == "mine.Net"


def test_it_loads_and_says_what_it_said(old: Path) -> None:
    loaded = load(old)
    assert loaded.classes == CLASSES["target"]
    x_BCHW = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(x_BCHW), untrained(NAME)(x_BCHW, "target"), rtol=0, atol=1e-5)


def test_it_predicts(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save("a.png")
    monkeypatch.setattr(sys, "argv", ["predict", str(old), "a.png", "--device", "cpu"])
    predict.main()
    assert Path("predictions.csv").read_text().count("\n") == 2


def test_it_is_exported(old: Path, tmp_path: Path) -> None:
    export.main([str(old), "--format", "safetensors", "--out", str(tmp_path / "m.safetensors")])
    assert json.loads((tmp_path / "m.safetensors.json").read_text())["classes"] == list(CLASSES["target"])


def test_its_weights_fit_and_bring_how_they_saw_images(old: Path) -> None:
    given = TorchvisionBackbone(name=NAME, weights=str(old))
    fit = given.fit(SIZE)
    assert fit is not None
    assert fit.whole
    assert given.input_spec == InputSpec(
        size=32, resize=40, interpolation="bicubic", mean=(0.3, 0.4, 0.5), std=(0.2, 0.2, 0.2)
    )
    (old / "model.json").unlink()
    assert TorchvisionBackbone(name=NAME, weights=str(old)).input_spec is None


def test_settings_name_what_is_made_where_it_lies_today() -> None:
    """So that runs of before and of today are not said to differ in it."""
    before = {
        "freeze_policy": {"_target_": "tlfw.freeze.LastBlocks", "n": 1},
        "stages": [{"_target_": "tlfw.mix.Stage"}, {"_target_": "own.freeze.Mine"}],
        "note": "tlfw.zoo.TorchvisionBackbone",
    }
    assert former.targets_today(before) == {
        "freeze_policy": {"_target_": "tlfw.methods.freeze.LastBlocks", "n": 1},
        "stages": [{"_target_": "tlfw.methods.mix.Stage"}, {"_target_": "own.freeze.Mine"}],
        "note": "tlfw.zoo.TorchvisionBackbone",
    }


@pytest.mark.parametrize("place", former.MOVED.values())
def test_what_moved_is_there(place: str) -> None:
    room, _, name = place.rpartition(".")  # of what ends with a dot, all of a module moved
    assert not name or hasattr(importlib.import_module(room), name)
    assert importlib.import_module(room)
