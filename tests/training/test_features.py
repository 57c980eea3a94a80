"""Law 4: training on stored features is training through the frozen blocks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import FAMILIES_AT_32, FULL, LAST_LAYER, LAST_LAYERS, MIXES, TRAINER, Tiny, experiment
from tests.training.test_train import DIVISION, SIZE, TRAIN, VIEW
from tlfw.backbones.model import Model
from tlfw.backbones.network import network_of
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import Pixels, View
from tlfw.methods.freeze import FreezePolicy, LastBlocks, frozen_first
from tlfw.numerics.tag import Numerics
from tlfw.numerics.trainer import DELIVERED
from tlfw.runs import run as fold
from tlfw.runs.job import Job
from tlfw.store import Store
from tlfw.training.evaluate import validate
from tlfw.training.features import heads_alone, stored, stored_blocks

JOB = Job(choices={}, config={}, folder=None, sweep=None)
SMALL = TorchvisionBackbone(name="shufflenet_v2_x0_5")


def blocks(policy: FreezePolicy, backbone: TorchvisionBackbone, size: int, views: list[View]) -> int:
    """How many a stage takes from stored features."""
    net = network_of(backbone, size)
    return stored_blocks(policy, frozen_first(net.blocks, policy.trained_blocks(net.blocks)), net, views)


def test_legal_only_where_features_are_functions_of_unchanging_images() -> None:
    assert blocks(LAST_LAYER, SMALL, SIZE, [VIEW]) == 5
    assert blocks(LAST_LAYERS, SMALL, SIZE, [VIEW]) == 4
    assert blocks(FULL, SMALL, SIZE, [VIEW]) == 0
    assert blocks(LastBlocks(n=0, lr_head=0.1, batch_norm="train"), SMALL, SIZE, [VIEW]) == 0
    moving = dataclasses.replace(VIEW, augmentation=("flip",))
    assert blocks(LAST_LAYER, SMALL, SIZE, [VIEW, moving]) == 0
    mixing = dataclasses.replace(VIEW, augmentation=("cutmix",))
    assert blocks(LAST_LAYER, SMALL, SIZE, [mixing]) == 0


def test_only_features_that_take_little_are_stored() -> None:
    assert blocks(LAST_LAYERS, TorchvisionBackbone(name="resnet18"), 224, [VIEW]) == 0
    assert blocks(LAST_LAYER, TorchvisionBackbone(name="resnet18"), 224, [VIEW]) == 5


TAG = {"world_size": 1, "precision": "32-true"}


@pytest.mark.parametrize(
    ("name", "stored", "tag", "trainer", "alone"),
    [
        ("shufflenet_v2_x0_5", 5, {}, {}, True),
        ("mobilenet_v2", None, {}, {"deterministic": "warn", "gradient_clip_val": 1.0}, True),
        ("shufflenet_v2_x0_5", 4, {}, {}, False),
        ("shufflenet_v2_x0_5", 0, {}, {}, False),
        ("squeezenet1_1", None, {}, {}, False),
        ("shufflenet_v2_x0_5", 5, {"world_size": 2}, {}, False),
        ("shufflenet_v2_x0_5", 5, {"precision": "bf16-mixed"}, {}, False),
        ("shufflenet_v2_x0_5", 5, {}, {"limit_val_batches": 2}, False),
        ("shufflenet_v2_x0_5", 5, {}, {"made_by": "a person"}, False),
    ],
)
def test_where_heads_are_trained_alone(name: str, stored: int | None, tag: dict, trainer: dict, alone: bool) -> None:
    network = network_of(TorchvisionBackbone(name=name), 64)
    blocks = len(network.blocks) if stored is None else stored
    assert heads_alone(network, blocks, Numerics({**TAG, **tag}, trainer, 1)) == alone


@pytest.mark.parametrize("name", FAMILIES_AT_32)
def test_features_are_what_the_blocks_say(tmp_path: Path, name: str) -> None:
    model = Model(TorchvisionBackbone(name=name), SIZE, seed=0)
    model.add_head("target", 3)
    cut = len(model.trunk.blocks) - 1
    features = stored(Store(tmp_path), TRAINER, model, TRAIN, cut, "k", "title")
    model.eval()
    with torch.no_grad():
        direct = model(TRAIN.batch(range(5), None, 0), "target")
        through = model(features.batch(range(5), None, 0), "target", start=cut)
    torch.testing.assert_close(through, direct, rtol=1e-4, atol=1e-5)
    assert torch.equal(features.labels_N, TRAIN.labels_N)


@pytest.mark.parametrize("name", FAMILIES_AT_32)
def test_what_a_head_takes_says_what_the_images_say(tmp_path: Path, name: str) -> None:
    """To the last bit where it takes vectors, so that a head that was trained alone is judged without its network."""
    model = Model(TorchvisionBackbone(name=name), SIZE, seed=0)
    model.add_head("target", 3)
    cut = len(model.trunk.blocks)
    features = stored(Store(tmp_path), TRAINER, model, TRAIN, cut, "k", "title", precision=DELIVERED)
    said = validate(TRAINER, model, "target", TRAIN)
    if features.z_N.ndim > 2:  # SqueezeNet's head convolves
        said = pytest.approx(said, rel=1e-5)
    assert validate(TRAINER, model, "target", features, None, cut) == said


def test_features_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(SMALL, SIZE, seed=0)
    first = stored(Store(tmp_path), TRAINER, model, TRAIN, 4, "k", "adapt/features")
    monkeypatch.setattr("tlfw.training.evaluate.outputs", lambda *_: pytest.fail("made again"))
    again = stored(Store(tmp_path), TRAINER, model, Pixels(DIVISION.train, VIEW), 4, "k", "adapt/features")
    assert np.array_equal(first.z_N, again.z_N)
    assert len(Store(tmp_path).keys("features")) == 1


@pytest.mark.parametrize("mix", ["pretrain_finetune", "joint"])
@pytest.mark.parametrize("policy", [LAST_LAYER, LAST_LAYERS], ids=["last_layer", "last_layers"])
def test_a_run_is_the_same_computed_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mix: str, policy
) -> None:
    settings = {"data_mix": MIXES[mix], "freeze_policy": policy, "target": Tiny(count=20, image_size=SIZE)}
    cached, _ = fold.run(experiment(tmp_path / "cached", **settings), JOB)
    monkeypatch.setattr("tlfw.runs.look.stored_blocks", lambda *_: 0)
    direct, _ = fold.run(experiment(tmp_path / "direct", **settings), JOB)
    assert cached.stages[-1]["stored_blocks"] > direct.stages[-1]["stored_blocks"] == 0
    assert cached.run_id != direct.run_id
    log_probs = [
        np.load(next((tmp_path / side).glob("outputs/runs/*/predictions.npz")))["log_prob"]
        for side in ("cached", "direct")
    ]
    np.testing.assert_allclose(*log_probs, rtol=1e-3, atol=1e-4)
    assert cached.metrics["target/test/loss"] == pytest.approx(direct.metrics["target/test/loss"], rel=1e-4)
    assert cached.metrics["target/test/acc"] == direct.metrics["target/test/acc"]
