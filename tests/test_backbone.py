"""Law 2: the split is exact. And what a backbone refuses."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torch import nn

from tlfw.backbone import BACKBONES, Backbone, Trunk, _passes
from tlfw.errors import ConfigError

SMALLEST = {"squeezenet1_1": 17, "vit_b_16": 16, "convnext_tiny": 32}
LARGER = {"squeezenet1_1": 65, "vit_b_16": 48}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("sizes", [SMALLEST, LARGER], ids=["smallest", "larger"])
def test_blocks_and_head_are_the_whole_model(name: str, sizes: dict[str, int]) -> None:
    backbone = Backbone(name=name)
    size = sizes.get(name, 1 if sizes is SMALLEST else 65)
    whole = backbone.build(classes=7, image_size=size, seed=3).eval()
    trunk = Trunk(backbone, backbone.build(classes=7, image_size=size, seed=3)).eval()
    head = backbone.head(classes=7, image_size=size, seed=3).eval()
    x_BCHW = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(head(trunk(x_BCHW)), whole(x_BCHW), rtol=0, atol=0)
        for cut in range(1, len(trunk.blocks)):
            parted = trunk(trunk(x_BCHW, 0, cut), cut)
            torch.testing.assert_close(parted, trunk(x_BCHW), rtol=0, atol=0)
    if size > 1:
        assert not _passes(name, size - 1) or sizes is LARGER
    names = {f"model.{tensor}" for tensor in whole.state_dict() if not tensor.startswith(f"{backbone.family.head}.")}
    assert set(trunk.state_dict()) == names
    assert len(head.state_dict()) == len(whole.state_dict()) - len(names)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_tensor_belongs_to_one_block_and_every_block_has_parameters(name: str) -> None:
    with torch.device("meta"):
        trunk = Backbone(name=name).trunk_shape(224)
    owners = set(trunk.block_of.values())
    assert owners == {block.name for block in trunk.blocks} == set(Backbone(name=name).block_names())
    with_parameters = {trunk.block_of[tensor] for tensor, _ in trunk.model.named_parameters()}
    assert with_parameters == owners
    covered = {id(module) for block in trunk.blocks for module in trunk.modules_of(block)}
    with_mode = {
        tensor for tensor, module in trunk.model.named_modules()
        if isinstance(module, nn.Dropout | nn.BatchNorm2d) and id(module) not in covered
    }  # fmt: skip
    assert not with_mode


def test_first_weights_are_a_function_of_the_seed_alone() -> None:
    backbone = Backbone(name="shufflenet_v2_x0_5")
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
    whole = Backbone(name="shufflenet_v2_x0_5").build(classes=5, image_size=32, seed=9)
    path = tmp_path / f"weights.{ending}"
    save = safetensors.torch.save_file if ending == "safetensors" else torch.save
    save(whole.state_dict(), path)
    backbone = Backbone(name="shufflenet_v2_x0_5", weights=str(path))
    trunk = backbone.trunk(32, seed=0)
    assert torch.equal(trunk.model.conv1[0].weight, whole.conv1[0].weight)
    assert backbone.identity() != Backbone(name="shufflenet_v2_x0_5").identity()
    with pytest.raises(ConfigError, match=r"weights: .* does not fit resnet18"):
        Backbone(name="resnet18", weights=str(path)).trunk(32, seed=0)


def test_a_file_that_would_run_code_is_refused(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1": nn.Conv2d(1, 1, 1)}, path)
    with pytest.raises(ConfigError, match="no state_dict that can be read safely"):
        Backbone(name="resnet18", weights=str(path)).trunk(32, seed=0)


def test_published_weights_are_loaded_as_torchvision_caches_them(tmp_path, monkeypatch) -> None:
    """No network: the test puts a file where torchvision would have put its download."""
    backbone = Backbone(name="shufflenet_v2_x0_5", weights="DEFAULT")
    whole = Backbone(name="shufflenet_v2_x0_5").build(classes=1000, image_size=224, seed=4)
    name = backbone.published.url.rsplit("/", 1)[1]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(whole.state_dict(), tmp_path / "hub" / "checkpoints" / name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert torch.equal(backbone.trunk(224, seed=0).model.conv1[0].weight, whole.conv1[0].weight)
    assert backbone.identity() == ["shufflenet_v2_x0_5", "IMAGENET1K_V1"]
