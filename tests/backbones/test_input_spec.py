"""Weights bring how their images were prepared: by name, as a file, and as a run of ours alike."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from tests.runs.test_run import JOB
from tests.tiny import MIXES, SIZE, Tiny, experiment
from tlfw.backbones.input_spec import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.errors import ConfigError
from tlfw.runs.experiment_data import size_for, view
from tlfw.runs.run import run


def test_every_published_one_is_read() -> None:
    """Equal to what torchvision's own transforms say, of every weights of every architecture that is offered."""
    from tlfw.backbones.families import all_names

    count = 0
    for name in all_names():
        for weights in torchvision.models.get_model_weights(name):
            theirs = weights.transforms()
            found = TorchvisionBackbone(name=name, weights=weights.name).input_spec
            assert found is not None
            assert (found.size, found.resize) == (theirs.crop_size[0], theirs.resize_size[0])
            assert found.interpolation == theirs.interpolation.value
            assert (found.mean, found.std) == (tuple(theirs.mean), tuple(theirs.std))
            assert found.transform_input == (name in ("googlenet", "inception_v3"))
            count += 1
    assert count > 100


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "efficientnet_b3", "googlenet"])
def test_a_published_file_is_known_by_its_checksum(published, tmp_path: Path, name: str) -> None:
    """As by name, whatever the file is called."""
    published(name)
    (file,) = (tmp_path / "hub" / "checkpoints").glob("*.pth")
    mine = shutil.copy(file, tmp_path / "mine.pth")
    by_name = TorchvisionBackbone(name=name, weights="DEFAULT")
    by_file = TorchvisionBackbone(name=name, weights=str(mine))
    assert by_file.input_spec == by_name.input_spec is not None
    assert by_file.transforms_input == by_name.transforms_input == (name == "googlenet")
    unset = Tiny()
    assert size_for(by_file, {"target": unset}) == size_for(by_name, {"target": unset})
    assert view(unset, by_file, 64) == view(unset, by_name, 64)
    if name == "googlenet":
        assert by_file.trunk(64, 0).model.transform_input
    other = torch.load(mine, weights_only=True)
    torch.save(other | {"more": torch.zeros(1)}, mine)
    assert TorchvisionBackbone(name=name, weights=str(mine)).input_spec is None


def saved(folder: Path, **fields: Any) -> TorchvisionBackbone:
    made = TorchvisionBackbone(name="shufflenet_v2_x0_5")
    torch.save(made.build(3, SIZE, 1).state_dict(), folder / "w.pth")
    return dataclasses.replace(made, weights=str(folder / "w.pth"), **fields)


def test_where_nobody_knows_it_is_said_and_can_be_set(tmp_path: Path) -> None:
    plan = experiment(tmp_path, backbone=saved(tmp_path), data_mix=MIXES["joint"]).plan()
    (said,) = (remark for remark in plan.remarks if "prepared" in remark)
    assert said == (
        "it is not known how images were prepared where w.pth was learnt; they are taken at 32 px, bilinear, "
        "ImageNet's mean and std, where source and target do not say otherwise: backbone.preprocessing says it"
    )
    spec = InputSpec(size=64, resize=72, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    for given in (spec, dataclasses.asdict(spec)):
        told = saved(tmp_path, preprocessing=given)
        assert told.input_spec == spec
        plan = experiment(tmp_path, backbone=told, data_mix=MIXES["joint"]).plan()
        assert not any("prepared" in remark for remark in plan.remarks)
        seen = plan.views["target"]
        assert (seen.size, seen.resize, seen.interpolation) == (SIZE, 36, "bicubic")
        assert (seen.mean, seen.std) == (spec.mean, spec.std)
    by_name = saved(tmp_path, preprocessing="IMAGENET1K_V1")
    assert by_name.input_spec == TorchvisionBackbone(name="shufflenet_v2_x0_5", weights="IMAGENET1K_V1").input_spec


def test_random_weights_need_none(tmp_path: Path) -> None:
    assert not any("prepared" in remark for remark in experiment(tmp_path, data_mix=MIXES["joint"]).plan().remarks)


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"size": 64}, "preprocessing.resize", "it is not given"),
        ({"size": 64, "resize": 32}, "preprocessing.resize", "32 px is less than the size of 64 px"),
        ({"size": "big", "resize": 32}, "preprocessing.size", "valid integer, and it is 'big'"),
        ({"size": 32, "resize": 32, "mean": [127, 127, 127]}, "preprocessing.mean, std", "Divide them by 255"),
        ({"size": 32, "resize": 32, "std": [0, 0, 0]}, "preprocessing.mean, std", "Divide them by 255"),
        ({"size": 32, "resize": 32, "depth": 1}, "preprocessing.depth", "nexpected"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        InputSpec.read(given)
    assert caught.value.field.startswith(field.partition(",")[0])
    assert said in str(caught.value)


def test_a_name_that_is_not_published_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no published weights 'V9'.*Use IMAGENET1K_V1, .*or give size"):
        _ = saved(tmp_path, preprocessing="V9").input_spec


def test_a_runs_weights_bring_its_own(tmp_path: Path) -> None:
    """Size, mean, std and interpolation, from the run's folder, its checkpoint alone, and the store's weights."""
    odd = {"mean": [0.3, 0.4, 0.5], "std": [0.2, 0.25, 0.3]}
    told = InputSpec(size=SIZE, resize=SIZE + 8, interpolation="bicubic", mean=(0.1,) * 3, std=(0.9,) * 3)
    begun = {"backbone": saved(tmp_path, preprocessing=told), "target": Tiny(image_size=SIZE, **odd)}
    record, _ = run(experiment(tmp_path / "a", data_mix=MIXES["joint"], **begun), JOB)
    (folder,) = (tmp_path / "a" / "outputs" / "runs").glob(f"*-{record.run_id[:12]}")
    alone = shutil.copy(folder / "checkpoint.safetensors", tmp_path / "alone.safetensors")
    (stored,) = (tmp_path / "a" / "outputs" / "store" / "stages").glob("*/weights.safetensors")
    expected = dataclasses.replace(told, mean=(0.3, 0.4, 0.5), std=(0.2, 0.25, 0.3))
    for place in (folder, alone, stored):
        given = TorchvisionBackbone(name="shufflenet_v2_x0_5", weights=str(place))
        assert given.input_spec == expected
        plain = {"target": Tiny(), "source": Tiny(classes=4, first=500)}
        again = experiment(tmp_path / "b", backbone=given, **plain).plan()
        assert [InputSpec(**again.views[name].prepared) for name in plain] == [expected, expected]
        assert not any("prepared" in remark for remark in again.remarks)
        own = view(Tiny(mean=[0.6] * 3, std=[0.7] * 3), given, SIZE)  # what a data set says comes first
        assert (own.mean, own.std) == ((0.6,) * 3, (0.7,) * 3)


def test_it_is_said_for_people() -> None:
    assert str(InputSpec(size=224, resize=256)) == "224 of 256 px, bilinear, ImageNet's mean and std"
    assert (InputSpec(size=1, resize=1).mean, InputSpec(size=1, resize=1).std) == (IMAGENET_MEAN, IMAGENET_STD)
    odd = InputSpec(size=8, resize=8, interpolation="bicubic", mean=(0.5,) * 3, std=(0.25,) * 3, transform_input=True)
    assert str(odd) == "8 px, bicubic, mean 0.5/0.5/0.5, std 0.25/0.25/0.25, renormalised inside"
