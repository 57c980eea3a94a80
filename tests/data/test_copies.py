"""No image judges a model that learns from it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from tlfw.data import Digits, ImageFolder
from tlfw.data.copies import refuse_copies
from tlfw.errors import ConfigError


def check(manifests: Path, **data_sets) -> None:
    divisions = {name: data_set.divide(tested=name == "target") for name, data_set in data_sets.items()}
    parts = {"source": ("train", "val"), "target": ("train", "val", "test")}
    sums = {name: {p: getattr(divisions[name], p).sums(manifests) for p in parts[name]} for name in divisions}
    refuse_copies(divisions, sums, {name: data_set.published_splits for name, data_set in data_sets.items()})


def test_different_images_pass(folder, tmp_path: Path) -> None:
    check(tmp_path / "m", target=ImageFolder(root=str(folder("mine"))))


@pytest.mark.parametrize(("part", "given"), [("test", {}), ("val", {"val": 2})])
def test_a_copy_in_train_is_refused(folder, tmp_path: Path, part: str, given: dict) -> None:
    root = folder("mine", **given)
    shutil.copy(root / part / "class1" / "1.png", root / "train" / "class2" / "copy.png")
    shutil.copy(root / part / "class0" / "0.png", root / "train" / "class0" / "copy.png")
    with pytest.raises(
        ConfigError, match=rf"target: .*{part}/class[01]/[01].png.* same image as .*copy.png.* 2 such pairs"
    ):
        check(tmp_path / "m", target=ImageFolder(root=str(root)))


def test_a_link_from_test_to_train_is_refused(folder, tmp_path: Path) -> None:
    root = folder("mine", test=0)
    (root / "test").symlink_to(root / "train", target_is_directory=True)
    with pytest.raises(ConfigError, match=r"1\d such pairs"):
        check(tmp_path / "m", target=ImageFolder(root=str(root)))


def test_test_images_in_the_source_are_refused(folder, tmp_path: Path) -> None:
    mine, general = folder("mine"), folder("general", first=5000)
    sets = {"source": ImageFolder(root=str(general)), "target": ImageFolder(root=str(mine))}
    check(tmp_path / "m", **sets)
    shutil.copy(mine / "test" / "class0" / "3.png", general / "train" / "class2" / "x.png")
    general_ = ImageFolder(root=str(general), val_fraction=0.01)
    for seed in range(2):  # x.png is for training in one of them at least
        with pytest.raises(ConfigError, match=r"target: .*test/class0/3.png.*same image as .*x.png, which source has"):
            check(tmp_path / "m", source=dataclasses.replace(general_, split_seed=seed), target=sets["target"])


def test_published_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    digits = Digits()
    division = digits.divide()
    same = {"target": {part: ["x"] * len(getattr(division, part)) for part in ("train", "val", "test")}}
    refuse_copies({"target": division}, same, {"target": True})
    with pytest.raises(ConfigError, match="target: image"):
        refuse_copies({"target": division}, same, {"target": False})
