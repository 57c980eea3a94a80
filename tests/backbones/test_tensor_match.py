"""What of a file is a network's: found wherever it is, never guessed, and refused where it is of another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tlfw.backbones.tensor_match import fit
from tlfw.backbones.weights import WeightsFile
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.errors import ConfigError

WANTED = {
    "conv1.weight": torch.zeros(4, 3),
    "bn1.running_mean": torch.zeros(4),
    "bn1.running_var": torch.ones(4),
    "layer1.0.conv1.weight": torch.zeros(2, 4),
}
RAW = {name: torch.full_like(tensor, 1.0) for name, tensor in WANTED.items()}
EMA = {name: torch.full_like(tensor, 2.0) for name, tensor in WANTED.items()}
HEAD = {"fc.weight": torch.zeros(5, 2), "fc.bias": torch.zeros(5)}


def saved(folder: Path, content: object) -> WeightsFile:
    torch.save(content, folder / "w.pth")
    return WeightsFile.at(folder / "w.pth")


def chosen(file: WeightsFile, entry: str | None = None) -> float:
    """The value that all tensors have which are taken."""
    found = fit(file, WANTED, ("fc",), entry)
    assert found.whole
    (value,) = {float(file.tensors()[theirs].flatten()[0]) for theirs in found.fitted.values()}
    return value


def prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


# ---------------------------------------------------------------------------------------- several networks in one file

SEVERAL: dict[str, tuple[object, str, str]] = {
    "timm": ({"state_dict": RAW, "state_dict_ema": EMA}, "state_dict", "state_dict_ema"),
    "ema": ({"model": RAW, "ema": EMA}, "model", "ema"),
    "ema of a module": ({"model": RAW, "ema": prefixed(EMA, "module.")}, "model", "ema"),
    "torchvision": ({"model": RAW, "model_ema": prefixed(EMA, "module.")}, "model", "model_ema"),
    "averaged": ({"model_state_dict": RAW, "averaged": EMA}, "model_state_dict", "averaged"),
    "dino": ({"student": prefixed(RAW, "module.net."), "teacher": prefixed(EMA, "net.")}, "student", "teacher"),
    "moco": (
        {"state_dict": {**prefixed(RAW, "module.encoder_q."), **prefixed(EMA, "module.encoder_k.")}},
        "encoder_q", "encoder_k",
    ),
    "one within the other": ({"state_dict": RAW, "extra": {"swa": EMA}}, "state_dict", "swa"),
    "in a list": ({"networks": [RAW, EMA]}, "networks.0", "networks.1"),
    "the file's own top": ({**RAW, **prefixed(EMA, "ema.")}, "", "ema"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SEVERAL)
def test_of_several_networks_a_person_says_which(tmp_path: Path, kind: str) -> None:
    content, raw, ema = SEVERAL[kind]
    file = saved(tmp_path, content)
    with pytest.raises(ConfigError, match=r"has the network 2 times: .*Say which of them is meant\.") as caught:
        chosen(file)
    assert caught.value.field == "weights_entry"
    assert chosen(file, raw) == 1.0
    assert chosen(file, ema) == 2.0
    assert raw in str(fit(file, WANTED, ("fc",), raw))
    with pytest.raises(ConfigError, match=r"has no 'other' with tensors of this network\. The network is in "):
        chosen(file, "other")


def test_a_place_that_is_there_alone_is_said(tmp_path: Path) -> None:
    assert str(fit(saved(tmp_path, {"ema": {**RAW, **HEAD}, "epoch": 3}), WANTED, ("fc",))) == (
        "w.pth (ema): 4 tensors fitted, 2 left (ema.fc.weight, ema.fc.bias)"
    )


def test_an_entry_that_holds_other_things_is_none(tmp_path: Path) -> None:
    file = saved(tmp_path, {"model": RAW, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}})
    assert chosen(file) == 1.0
    with pytest.raises(ConfigError, match=r"no 'optimizer' with tensors of this network\. The network is in model\."):
        chosen(file, "optimizer")


def test_of_a_whole_network_and_a_part_the_whole_is_taken(tmp_path: Path) -> None:
    part = {name: tensor for name, tensor in EMA.items() if "running" not in name}
    file = saved(tmp_path, {"model": RAW, "ema": part})
    assert chosen(file) == 1.0
    assert "(model)" in str(fit(file, WANTED))
    assert fit(file, WANTED, (), "ema").missing == ("bn1.running_mean", "bn1.running_var")


# ------------------------------------------------------------------------------------------------------ other networks


def test_a_deeper_network_is_refused(tmp_path: Path) -> None:
    deeper = {**RAW, "layer1.1.conv1.weight": torch.zeros(2, 4), **HEAD}
    found = fit(saved(tmp_path, deeper), WANTED, ("fc",))
    assert not found.whole
    assert str(found) == "w.pth: 4 tensors fitted, 1 of layers that it does not have (layer1.1.conv1.weight)"


@pytest.mark.parametrize(
    ("more", "whole"),
    [
        ("layer1.0.bn1.weight", False), ("layer2.0.conv1.weight", False), ("conv1.bias", False),
        ("fc.0.weight", True), ("head.weight", True), ("aux1.fc.weight", True), ("projector.0.weight", True),
        ("layer1.0.bn1.num_batches_tracked", True), ("total_ops", True), ("conv1.total_ops", True),
    ],
)  # fmt: skip
def test_what_stands_within_the_network_and_what_stands_beside(tmp_path: Path, more: str, whole: bool) -> None:
    assert fit(saved(tmp_path, {**RAW, more: torch.zeros(2)}), WANTED, ("fc",)).whole == whole


@pytest.mark.parametrize(
    ("given", "asked"),
    [("resnet34", "resnet18"), ("densenet169", "densenet121"), ("convnext_small", "convnext_tiny"),
     ("efficientnet_v2_m", "efficientnet_v2_s"), ("vgg11_bn", "vgg11")],
)  # fmt: skip
def test_weights_of_a_larger_kin_are_refused(tmp_path: Path, given: str, asked: str) -> None:
    torch.save(TorchvisionBackbone(name=given).build(3, 64, 0).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="they do not fit") as caught:
        TorchvisionBackbone(name=asked, weights=str(tmp_path / "w.pth")).fit(64)
    if given == "resnet34":
        assert "80 of layers that it does not have (layer1.2." in caught.value.problem
        assert caught.value.remedy == "These are of a deeper network, or of another: choose its backbone."


# ---------------------------------------------------------------------------------------- values that no network has


def with_value(name: str, value: float, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    state = {each: tensor.clone().to(dtype) for each, tensor in RAW.items()}
    state[name].flatten()[1] = value
    return state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("conv1.weight", float("nan"), "conv1.weight has 1 of 12 values that are NaN or infinite"),
        ("conv1.weight", float("inf"), "conv1.weight has 1 of 12 values that are NaN or infinite"),
        ("bn1.running_mean", float("-inf"), "bn1.running_mean has 1 of 4 values that are NaN or infinite"),
        ("bn1.running_var", -0.5, "bn1.running_var has negative variances"),
    ],
)
def test_what_no_network_has_is_found_when_it_is_read(
    tmp_path: Path, name: str, value: float, said: str, dtype: torch.dtype
) -> None:
    with pytest.raises(
        ConfigError, match=rf"w\.pth is of no use: model\.{said}\. Give weights of a training that ended well"
    ):
        fit(saved(tmp_path, {"model": with_value(name, value, dtype)}), WANTED)


def test_what_is_negative_or_not_taken_may_be(tmp_path: Path) -> None:
    state: dict[str, Any] = {**with_value("bn1.running_mean", -0.5), "fc.weight": torch.full((2, 2), float("nan"))}
    assert fit(saved(tmp_path, state), WANTED, ("fc",)).whole


def test_the_other_network_of_a_file_may_have_failed(tmp_path: Path) -> None:
    file = saved(tmp_path, {"model": with_value("conv1.weight", float("nan")), "ema": EMA})
    assert chosen(file, "ema") == 2.0
    with pytest.raises(ConfigError, match="NaN"):
        chosen(file, "model")


# -------------------------------------------------------------------------------------------------------- a backbone's


@pytest.fixture
def both(tmp_path: Path) -> TorchvisionBackbone:
    """With a file that has its network twice."""
    made = TorchvisionBackbone(name="shufflenet_v2_x0_5")
    states = [made.build(3, 32, seed).state_dict() for seed in (1, 2)]
    torch.save({"state_dict": states[0], "state_dict_ema": states[1]}, tmp_path / "w.pth")
    return dataclasses.replace(made, weights=str(tmp_path / "w.pth"))


def test_a_backbone_begins_with_the_chosen_one(both: TorchvisionBackbone) -> None:
    with pytest.raises(ConfigError, match="2 times: state_dict, state_dict_ema"):
        both.trunk(32, 0)
    found = {}
    for seed, entry in ((1, "state_dict"), (2, "state_dict_ema")):
        trunk = dataclasses.replace(both, weights_entry=entry).trunk(32, 0)
        expected = both.plain.build(3, 32, seed).state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in trunk.model.state_dict().items())
        found[entry] = dataclasses.replace(both, weights_entry=entry).identity()
    assert found["state_dict"] != found["state_dict_ema"]


def test_what_training_costs_needs_no_entry(both: TorchvisionBackbone) -> None:
    from tlfw.training.cost import flops_per_image

    chosen = dataclasses.replace(both, weights_entry="state_dict_ema")
    assert flops_per_image(chosen, 32, 3) == flops_per_image(both.plain, 32, 3) > 0


@pytest.mark.parametrize("weights", [None, "DEFAULT"])
def test_an_entry_of_no_file_is_refused(weights: str | None) -> None:
    given = TorchvisionBackbone(name="shufflenet_v2_x0_5", weights=weights, weights_entry="model")
    with pytest.raises(ConfigError, match=r"weights_entry: no file is given in which it could be\. Leave it out\."):
        given.fit(32)
