"""Law 2: the split is exact. And what a backbone refuses."""

from __future__ import annotations

import re

import pytest
import safetensors.torch
import torch
import torchvision.models
from torch import nn
from torchvision.ops import StochasticDepth

from tlfw.backbones.backbone import Trunk, _passes
from tlfw.backbones.families import FAMILIES, all_names, family_of
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.errors import ConfigError

SMALLEST = {
    "alexnet": 63, "vgg": 32, "densenet": 29, "googlenet": 15, "inception_v3": 75, "squeezenet1_0": 21,
    "squeezenet1_1": 17, "convnext": 32, "vit_b_16": 16, "vit_b_32": 32, "vit_l_16": 16, "vit_l_32": 32, "vit_h_14": 14,
    "swin": 4, "maxvit": 221,
}  # fmt: skip
"""The smallest legal size by the start of a name; 1 for all others."""

GIANTS = (
    "vit_h_14",
    "vit_l",
    "regnet_y_128gf",
    "regnet_y_32gf",
    "regnet_x_32gf",
    "efficientnet_b7",
    "efficientnet_v2_l",
)


def smallest(name: str) -> int:
    return next((size for start, size in SMALLEST.items() if name.startswith(start)), 1)


def larger(name: str) -> int:
    """One that leaves no 1x1 map unseen as larger, and that the architecture can take."""
    size = smallest(name)
    return 224 if name == "maxvit_t" else 2 * size if family_of(name).size_option else max(size + 33, 65)


NAMES = [pytest.param(name, marks=[pytest.mark.slow] * name.startswith(GIANTS)) for name in all_names()]


def test_every_classification_model_of_torchvision_is_here() -> None:
    offered = torchvision.models.list_models(module=torchvision.models)
    assert sorted(all_names()) == sorted(offered)
    assert len(all_names()) == 80
    for name in all_names():
        assert len([family for family in FAMILIES if re.match(family.pattern, name)]) == 1


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size_of", [smallest, larger])
def test_blocks_and_head_are_the_whole_model(name: str, size_of) -> None:
    backbone, size = TorchvisionBackbone(name=name), size_of(name)
    whole = backbone.build(classes=7, image_size=size, seed=3).eval()
    tensors = set(whole.state_dict())
    x_BCHW = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = whole(x_BCHW)
        assert expected.isfinite().all()
        assert (expected != 0).any(1).all()  # a squeezenet ends with a ReLU
        head = backbone.family.head_of(whole)
        trunk = Trunk(backbone, whole)
        found = trunk(x_BCHW)
        torch.testing.assert_close(head(found.clone()), expected, rtol=0, atol=0)
        z = x_BCHW
        for i in range(len(trunk.blocks)):
            z = trunk(z, i, i + 1)
        torch.testing.assert_close(z, found, rtol=0, atol=0)
    in_head = {tensor for tensor in tensors if tensor.startswith(tuple(f"{part}." for part in backbone.family.head))}
    assert set(trunk.state_dict()) == {f"model.{tensor}" for tensor in tensors - in_head}
    assert len(head.state_dict()) == len(in_head) > 0
    assert not any(tensor.startswith(("aux1", "aux2", "AuxLogits")) for tensor in tensors)


@pytest.mark.parametrize("name", all_names())
def test_the_smallest_legal_size_is_that(name: str) -> None:
    assert _passes(TorchvisionBackbone(name=name), smallest(name))
    if smallest(name) > 1:
        assert not _passes(TorchvisionBackbone(name=name), smallest(name) - 1)


@pytest.mark.parametrize("name", all_names())
def test_every_tensor_belongs_to_one_block_and_every_block_has_parameters(name: str) -> None:
    trunk = TorchvisionBackbone(name=name).shape(224)
    owners = set(trunk.block_of.values())
    assert owners == {block.name for block in trunk.blocks} == set(TorchvisionBackbone(name=name).block_names())
    assert {trunk.block_of[tensor] for tensor, _ in trunk.model.named_parameters()} == owners
    covered = {id(module) for block in trunk.blocks for module in trunk.modules_of(block)}
    noisy = (nn.Dropout, nn.BatchNorm2d, StochasticDepth)
    assert not [m for m in trunk.model.modules() if isinstance(m, noisy) and id(m) not in covered]
    for name_, part in trunk.model.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            assert id(part) in covered, name_


@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2"])
def test_a_stem_for_small_images_keeps_their_size(name: str) -> None:
    trunk = TorchvisionBackbone(name=name, stem="small").trunk(32, seed=0)
    assert trunk(torch.zeros(2, 3, 32, 32), 0, 1).shape[2:] == (32, 32)
    usual = TorchvisionBackbone(name=name).trunk(32, seed=0)
    assert trunk(torch.zeros(2, 3, 32, 32)).shape == usual(torch.zeros(2, 3, 32, 32)).shape
    with pytest.raises(ConfigError, match="stem"):
        TorchvisionBackbone(name=name, stem="small", weights="DEFAULT")
    with pytest.raises(ConfigError, match="stem"):
        TorchvisionBackbone(name="vgg11", stem="small")


def test_first_weights_are_a_function_of_the_seed_alone() -> None:
    backbone = TorchvisionBackbone(name="shufflenet_v2_x0_5")
    torch.manual_seed(1)
    first = backbone.trunk(32, seed=5).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = backbone.trunk(32, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = backbone.trunk(32, seed=6).state_dict()
    assert not torch.equal(first["model.conv1.0.weight"], other["model.conv1.0.weight"])


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_from_a_file(tmp_path, ending: str) -> None:
    whole = TorchvisionBackbone(name="shufflenet_v2_x0_5").build(classes=5, image_size=32, seed=9)
    path = tmp_path / f"weights.{ending}"
    save = safetensors.torch.save_file if ending == "safetensors" else torch.save
    save(whole.state_dict(), path)
    backbone = TorchvisionBackbone(name="shufflenet_v2_x0_5", weights=str(path))
    trunk = backbone.trunk(32, seed=0)
    assert torch.equal(trunk.model.conv1[0].weight, whole.conv1[0].weight)
    assert backbone.identity() != TorchvisionBackbone(name="shufflenet_v2_x0_5").identity()
    with pytest.raises(ConfigError, match=r"weights: they do not fit resnet18 \(.* another architecture"):
        TorchvisionBackbone(name="resnet18", weights=str(path)).trunk(32, seed=0)


def test_weights_of_another_stem_or_size_are_told(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(TorchvisionBackbone(name="resnet18").build(5, 32, seed=0).state_dict(), path)
    small = TorchvisionBackbone(name="resnet18", stem="small", weights=str(path))
    with pytest.raises(ConfigError, match=r"conv1.weight is 64x3x7x7, not 64x3x3x3\).*Perhaps .*stem=imagenet"):
        small.fit(32)
    note = TorchvisionBackbone(name="resnet18").trunk(32, seed=0).note()
    safetensors.torch.save_file(TorchvisionBackbone(name="resnet18").build(5, 32, seed=0).state_dict(), path, note)
    with pytest.raises(ConfigError, match=r"weights of backbone.stem=imagenet, not small. Use backbone.stem=imagenet"):
        small.fit(32)
    torch.save(TorchvisionBackbone(name="vit_b_32").build(5, 64, seed=0).state_dict(), path)
    with pytest.raises(ConfigError, match=r"encoder.pos_embedding is 1x5x768, not 1x2x768\).*another image_size"):
        TorchvisionBackbone(name="vit_b_32", weights=str(path)).fit(32)


@pytest.mark.parametrize("name", ["mnasnet0_5", "densenet121", "googlenet", "mobilenet_v3_small"])
def test_weights_come_back_from_a_file_without_versions(tmp_path, name: str) -> None:
    first = TorchvisionBackbone(name=name).trunk(64, seed=1)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(first.state_dict(), path, first.note())
    again = TorchvisionBackbone(name=name, weights=str(path)).trunk(64, seed=2)
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in first.state_dict().items())
    again.load_state_dict(safetensors.torch.load_file(path))


def test_an_input_that_is_transformed_stays_so_from_run_to_run(tmp_path, published) -> None:
    published("googlenet")
    first = TorchvisionBackbone(name="googlenet", weights="DEFAULT").trunk(64, seed=0)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(first.state_dict(), path, first.note())
    assert first.model.transform_input
    assert TorchvisionBackbone(name="googlenet", weights=str(path)).trunk(64, seed=0).model.transform_input
    assert not TorchvisionBackbone(name="googlenet").trunk(64, seed=0).model.transform_input


def test_a_key_that_looks_like_a_number() -> None:
    assert TorchvisionBackbone(name="resnet18", weights=123456789012).weights == "123456789012"
    with pytest.raises(ConfigError, match="give the run's folder"):
        TorchvisionBackbone(name="resnet18", weights=float("12e45678"))


def test_published_weights_are_loaded_as_torchvision_caches_them(published) -> None:
    whole = published("shufflenet_v2_x0_5")
    backbone = TorchvisionBackbone(name="shufflenet_v2_x0_5", weights="DEFAULT")
    assert torch.equal(backbone.trunk(224, seed=0).model.conv1[0].weight, whole.conv1[0].weight)
    assert backbone.identity()[-1] == "IMAGENET1K_V1"
    assert str(backbone.fit(224)).endswith("336 tensors fitted, 2 left (fc.weight, fc.bias)")
