"""A run's model, rebuilt from the run's folder alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import tlfw
from tests.records.test_record import RECORD
from tests.runs.test_run import JOB
from tests.tiny import FAMILIES_AT_32, SIZE, Tiny, experiment
from tlfw.backbones.model import Model
from tlfw.backbones.weights import CHECKPOINT
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import Preprocessing
from tlfw.errors import ConfigError
from tlfw.runs import run as fold
from tlfw.runs.trained_model import leave, load
from tlfw.training.train import weights_of

NAMES = [*FAMILIES_AT_32, "alexnet", "resnet18"]
LARGE = ("vgg11_bn", "alexnet", "vit_b_16")
CLASSES = {"source": ("x", "y"), "target": ("ant", "bee", "cow", "dog", "elk")}
STILL = Preprocessing(size=SIZE, resize=SIZE, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """One that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


RECIPE = TorchvisionBackbone(name="shufflenet_v2_x0_5").recipe()


def untrained(name: str, size: int = SIZE, stem: str = "imagenet", transform_input: bool = False) -> Model:
    """A model whose logits tell images apart: random weights, statistics of a batch."""
    model = Model(TorchvisionBackbone(name=name, stem=stem), size, seed=0)
    for head, classes in CLASSES.items():
        model.add_head(head, len(classes))
    if transform_input:
        model.trunk.model.transform_input = True
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
        if isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, size, size), "target")
    return model.eval()


def leave_untrained(folder: Path, name: str, size: int = SIZE, **how: object) -> Path:
    """A run's folder with `untrained` in it."""
    model = untrained(name, size, **how)  # type: ignore[arg-type]
    safetensors.torch.save_file(weights_of(model), folder / CHECKPOINT)
    own = dataclasses.replace(STILL, size=size, resize=size)
    leave(folder, model, run_id=RECORD.run_id, classes=CLASSES, preprocessing=own)
    RECORD.write(folder)
    return folder


def test_it_says_what_the_run_said(made: Path) -> None:
    loaded = tlfw.load(made)
    part = Tiny(image_size=SIZE).divide().test
    assert part is not None
    images = [part.images.open(i) for i in part.indices]
    with torch.inference_mode():
        log_prob_NK = loaded.model(torch.stack([loaded.transform(image) for image in images])).log_softmax(1)
    said = np.load(made / "predictions.npz")
    assert log_prob_NK.argmax(1).tolist() == said["prediction"].tolist()
    np.testing.assert_allclose(log_prob_NK.numpy()[range(30), said["label"]], said["log_prob"], rtol=0, atol=1e-6)
    assert len(set(said["log_prob"].tolist())) > 20
    assert loaded.classes == ("c0", "c1", "c2")
    assert loaded.blueprint.classes == {"source": ("c0", "c1", "c2", "c3"), "target": loaded.classes}
    assert not any(part.training for part in loaded.model.modules())
    assert json.loads((made / "model.json").read_text())["preprocessing"] == {
        "size": SIZE, "resize": SIZE, "crop": "center", "interpolation": "bilinear", "channels": "RGB",
        "dtype": "uint8", "range": "type", "background": [255, 255, 255],
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    assert loaded.transform == loaded.blueprint.preprocessing
    assert not list(made.glob(".*.json*"))


def test_the_record_is_a_run_too(made: Path) -> None:
    assert load(str(made / "record.json")).blueprint == load(made).blueprint


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in NAMES])
def test_every_family_is_the_model_that_was_trained(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("downloaded"))
    size = 64 if name == "alexnet" else SIZE
    how = {"stem": "small"} if name == "resnet18" else {"transform_input": name == "googlenet"}
    folder = leave_untrained(tmp_path, name, size, **how)
    x_BCHW = torch.randn(4, 3, size, size)
    with torch.inference_mode():
        expected, found = untrained(name, size, **how)(x_BCHW, "target"), load(folder).model(x_BCHW)
        assert expected.std(0).max() > 1e-3
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        if name == "googlenet":
            assert not torch.allclose(untrained(name, size)(x_BCHW, "target"), expected, atol=1e-3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1", "LA"])
def test_images_of_any_mode_are_seen_as_in_training(made: Path, tmp_path: Path, mode: str) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (48, 40), dtype=np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    x_CHW = load(made).transform(image)
    assert x_CHW.shape == (3, SIZE, SIZE)
    assert x_CHW.dtype == torch.float32
    if mode in ("L", "RGBA", "I;16", "LA"):
        assert torch.equal(x_CHW, load(made).transform(Image.fromarray(grey)))


def test_images_are_turned_upright(made: Path, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    transform = load(made).transform
    assert torch.equal(transform(Image.open(tmp_path / "turned.png")), transform(image.rotate(-90)))


def damage(file: str, change: dict[str, object] | None) -> object:
    def do(folder: Path) -> None:
        path = folder / file
        if change is None:
            path.unlink()
        elif not change:
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        else:
            path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    return do


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (shutil.rmtree, "there is no folder"),
        (damage("record.json", None), "no finished run"),
        (damage("record.json", {}), "is not a record that this tlfw can read"),
        (
            damage("record.json", {"status": "failed", "error": "the loss became nan"}),
            r"not done \(failed: the loss became nan",
        ),
        (damage("model.json", None), r"model\.json is missing"),
        (damage("model.json", {}), r"model\.json is damaged"),
        (damage("model.json", {"schema": 99}), r"model\.json has schema 99, where this tlfw reads 1 and 2"),
        (damage("model.json", {"preprocessing": {"size": 32}}), r"model\.json is damaged \(preprocessing.resize"),
        (damage("model.json", {"classes": 3}), r"model\.json is damaged \(classes: Input should be [^\n]*\)\. Copy"),
        (damage("model.json", {"backbone": RECIPE | {"name": "resnet17"}}), "no backbone 'resnet17'"),
        (
            damage("model.json", {"backbone": RECIPE | {"class": "os.system"}}),
            r"network is os\.system, .* runs its code\. If you trust that: --trust os,",
        ),
        (
            damage("model.json", {"backbone": RECIPE | {"class": "mine.Net"}}),
            r"network is mine\.Net, .*--trust mine, or trust=\('mine',\) in Python",
        ),
        (damage("model.json", {"backbone": RECIPE | {"depth": 3}}), "does not take it: depth: "),
        (
            damage("model.json", {"backbone": RECIPE | {"name": "resnet18"}}),
            r"checkpoint\.safetensors does not fit model\.json",
        ),
        (damage("checkpoint.safetensors", None), r"checkpoint\.safetensors cannot be read"),
        (damage("checkpoint.safetensors", {}), r"checkpoint\.safetensors is damaged"),
    ],
)
def test_what_cannot_be_loaded_says_why(copy: Path, how, said: str) -> None:
    how(copy)
    with pytest.raises(ConfigError, match=said):
        load(copy)


def test_a_flipped_bit_is_damage(copy: Path) -> None:
    whole = bytearray((copy / CHECKPOINT).read_bytes())
    whole[-1] ^= 1
    (copy / CHECKPOINT).write_bytes(whole)
    with pytest.raises(ConfigError, match="checksum"):
        load(copy)


def test_a_run_that_failed_leaves_no_blueprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlfw.runs.attempt.examine", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("power cut")))
    with pytest.raises(RuntimeError, match="power cut"):
        fold.run(experiment(tmp_path), JOB)
    (path,) = tmp_path.glob("outputs/runs/*/record.json")
    assert not (path.parent / "model.json").exists()
    with pytest.raises(ConfigError, match="power cut"):
        load(path)


def test_importing_the_package_is_quick() -> None:
    ask = "import sys, tlfw; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules); print(tlfw.load.__module__)"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "tlfw.runs.trained_model"
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = tlfw.lod
