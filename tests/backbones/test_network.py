"""What is known of a network without data or weights."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn

from tests.tiny import FAMILIES_AT_32, SIZE
from tlfw.backbones.network import Network, linear_layer, network_of
from tlfw.backbones.zoo import TorchvisionBackbone


@pytest.mark.parametrize("name", FAMILIES_AT_32)
def test_what_is_known_is_what_its_blocks_give(name: str) -> None:
    backbone = TorchvisionBackbone(name=name)
    network, trunk = network_of(backbone, SIZE), backbone.shape(SIZE)
    assert network.blocks == backbone.block_names()
    for blocks, size in enumerate(network.feature_bytes):
        z_1 = trunk(torch.empty(1, 3, SIZE, SIZE, device="meta"), 0, blocks)
        assert size == z_1.numel() * z_1.element_size()


@pytest.mark.parametrize(("name", "size", "share"), [("resnet18", 5, (11, 17)), ("shufflenet_v2_x0_5", 16, (12, 20))])
def test_an_image_size_that_leaves_single_pixels_is_said(name: str, size: int, share: tuple[int, int]) -> None:
    backbone = TorchvisionBackbone(name=name)
    assert network_of(backbone, size).remarks == [
        f"image_size={size} is too small for {name}: {share[0]} of its {share[1]} convolutions that look at neighbours "
        "get maps of 1 x 1 pixel"
    ]
    assert network_of(backbone, 32).remarks == network_of(backbone, 64).remarks == []


def test_which_heads_are_linear() -> None:
    layer = nn.Linear(3, 2)
    assert linear_layer(nn.Sequential(layer)) is layer
    assert linear_layer(nn.Sequential(nn.Dropout(0.5), layer)) is layer
    for other in (
        nn.Sequential(layer, nn.Flatten()), nn.Sequential(nn.LayerNorm(3), layer), nn.Conv2d(3, 2, 1),
        nn.Sequential(nn.Linear(3, 2, bias=False)), nn.Sequential(layer, nn.Linear(2, 2)),
    ):  # fmt: skip
        assert linear_layer(other) is None


def test_what_a_network_knows_of_its_head() -> None:
    linear = {name: network_of(TorchvisionBackbone(name=name), 64).linear_head for name in ("resnet18", "mobilenet_v2")}
    assert linear == {"resnet18": True, "mobilenet_v2": True}
    assert not network_of(TorchvisionBackbone(name="squeezenet1_1"), 64).linear_head


def test_what_is_written_of_a_network_is_all_that_is_known() -> None:
    found = network_of(TorchvisionBackbone(name="resnet18"), 32)
    assert Network.of(json.loads(json.dumps(dataclasses.asdict(found)))) == found
