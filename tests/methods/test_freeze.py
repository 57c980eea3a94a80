"""Law 1, by itself: what is frozen, what trains, and in which mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tlfw.backbones.model import Model
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.errors import ConfigError
from tlfw.methods.freeze import Freezing, LastBlocks


def model(name: str = "shufflenet_v2_x0_5") -> Model:
    made = Model(TorchvisionBackbone(name=name), 32, seed=0)
    made.add_head("source", 4)
    made.add_head("target", 3)
    return made


@pytest.mark.parametrize("n", [0, 1, 3, "all"])
@pytest.mark.parametrize("heads", [["target"], ["source", "target"]])
def test_every_tensor_is_trainable_or_frozen(n, heads: list[str]) -> None:
    net = model()
    freezing = Freezing(LastBlocks(n=n, lr_head=0.1, lr_backbone=None if n == 0 else 0.01), net, heads)
    parts = freezing.partition
    groups = [parts.backbone, parts.heads, parts.frozen, parts.moving]
    assert sorted(name for group in groups for name in group) == sorted(net.state_dict())
    assert {name for name, p in net.named_parameters() if p.requires_grad} == set(parts.trainable)
    assert {name.split(".")[1] for name in parts.heads} == set(heads)
    assert len(parts.blocks) == (5 if n == "all" else n)
    held = [p for group in freezing.parameter_groups() for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in net.parameters() if p.requires_grad}
    assert len(held) == len(parts.trainable)


def test_frozen_blocks_are_in_evaluation_and_others_in_training() -> None:
    net = model("mobilenet_v3_small")
    freezing = Freezing(LastBlocks(n=2, lr_head=0.1, lr_backbone=0.1), net, ["target"])
    freezing.set_modes(True)
    frozen = [m for block in net.trunk.blocks[:-2] for m in net.trunk.modules_of(block)]
    training = [m for block in net.trunk.blocks[-2:] for m in net.trunk.modules_of(block)]
    assert frozen
    assert not any(m.training for m in frozen)
    assert all(m.training for m in training)
    assert net.heads["target"].training
    assert not any(m.training for m in net.heads["source"].modules())
    freezing.set_modes(False)
    assert not any(m.training for m in net.modules())


def test_batch_norm_of_frozen_blocks_may_be_asked_to_drift() -> None:
    net = model()
    freezing = Freezing(LastBlocks(n=0, lr_head=0.1, batch_norm="train"), net, ["target"])
    freezing.set_modes(True)
    modes = {isinstance(m, nn.BatchNorm2d): m.training for m in net.trunk.model.stage2.modules()}
    assert modes == {True: True, False: False}


def test_frozen_blocks_do_not_move_in_a_step() -> None:
    net = model()
    freezing = Freezing(LastBlocks(n=1, lr_head=0.1, lr_backbone=0.1), net, ["target"])
    freezing.set_modes(True)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = torch.optim.SGD(freezing.parameter_groups())
    net(torch.randn(4, 3, 32, 32), "target").sum().backward()
    optimizer.step()
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not changed & set(freezing.partition.frozen)
    assert changed & set(freezing.partition.backbone)
    assert changed & set(freezing.partition.moving)


def test_rates_are_the_policys_own() -> None:
    groups = Freezing(LastBlocks(n=1, lr_head=0.3, lr_backbone=0.2), model(), ["target"]).parameter_groups()
    assert {group["name"]: group["lr"] for group in groups} == {"heads": 0.3, "backbone": 0.2}


def test_more_blocks_than_there_are() -> None:
    with pytest.raises(ConfigError, match=r"n: 6 blocks .* has 5: stem, .* Use at most 5"):
        LastBlocks(n=6, lr_head=1.0, lr_backbone=1.0).trained_blocks(("stem", "1", "2", "3", "4"))


@pytest.mark.parametrize(("n", "rate"), [(0, 0.1), (1, None), ("all", None)])
def test_the_backbones_rate_is_null_exactly_where_none_trains(n, rate) -> None:
    with pytest.raises(ConfigError, match="lr_backbone"):
        LastBlocks(n=n, lr_head=0.1, lr_backbone=rate)
