"""Operations, counted by hand and by torch."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.tiny import FULL, LAST_LAYER, LAST_LAYERS
from tlfw.backbones.model import Model
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.methods.freeze import FreezePolicy, Freezing
from tlfw.training.cost import _conv_backward, flops_per_image, peak_memory_bytes, stage_flops, start_measuring_memory


def model(backbone: str = "resnet18") -> Model:
    made = Model(TorchvisionBackbone(name=backbone), 64, seed=0)
    made.add_head("target", 10)
    return made


def test_resnet18_costs_what_its_paper_says() -> None:
    """He et al. (2016): 1.8e9 multiply-adds at 224 px; here at 64 px, by area."""
    found = flops_per_image(TorchvisionBackbone(name="resnet18"), 64, 10, train=False)
    assert 0.9 < found / (2 * 1.82e9 * (64 / 224) ** 2) < 1.1


def test_a_linear_probe_on_features_costs_its_matrix_products() -> None:
    freezing = Freezing(LAST_LAYER, model(), ["target"])
    backbone = freezing.model.backbone
    assert flops_per_image(backbone, 64, 10, start=5) == 2 * (2 * 512 * 10)
    alone, direct = stage_flops(freezing, start=5, head="target", images_seen=100, images_stored=0)
    forward = flops_per_image(backbone, 64, 10, stop=5, train=False)
    stored = stage_flops(freezing, start=5, head="target", images_seen=100, images_stored=7)
    assert stored == (alone + 7 * forward, direct)
    assert direct == alone + 100 * forward


@pytest.mark.parametrize(
    ("name", "policy"),
    [("resnet18", LAST_LAYERS), ("shufflenet_v2_x0_5", FULL), ("vit_b_16", LAST_LAYER), ("squeezenet1_1", LAST_LAYERS)],
)
def test_operations_are_those_of_the_model_that_trains(name: str, policy: FreezePolicy) -> None:
    backbone = TorchvisionBackbone(name=name, head_classes=20)
    trained = Model(backbone, 32, seed=1)
    trained.add_head("target", 7)
    freezing = Freezing(policy, trained, ["target"])
    freezing.set_modes(True)
    mapping = {torch.ops.aten.convolution_backward: _conv_backward}
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not know the CPU's kernels for attention
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            trained(torch.zeros(2, 3, 32, 32), "target").sum().backward()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    _, direct = stage_flops(freezing, start=0, head="target", images_seen=3, images_stored=0)
    assert 2 * direct == 3 * counter.get_total_flops() > 0
    assert flops_per_image(backbone, 32, 7, policy.trained_blocks(backbone.block_names())) * 3 == direct


@pytest.mark.parametrize("backbone", ["resnet18", "shufflenet_v2_x0_5", "efficientnet_b0"])
def test_training_everything_costs_about_three_forward_passes(backbone: str) -> None:
    """Also where convolutions are in groups, of whose backward pass torch's own count makes many times too much."""
    net = model(backbone)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    full, direct = stage_flops(Freezing(FULL, net, ["target"]), start=0, head="target", images_seen=1, images_stored=0)
    assert full == direct
    assert 2.6 < full / flops_per_image(net.backbone, 64, 10, train=False) < 3.0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_memory_is_the_peak_since_the_measurement_began() -> None:
    held = torch.ones(10**8, dtype=torch.uint8)
    high = peak_memory_bytes()
    del held
    assert 1.5e8 < high < 1e11
    start_measuring_memory()
    if sys.platform == "linux":
        assert peak_memory_bytes() < high - 5e7
