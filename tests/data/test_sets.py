"""The data sets a config can name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlfw.data import Digits, ImageFolder
from tlfw.errors import ConfigError


def test_digits_are_scikit_learns_with_a_fixed_stratified_test_half() -> None:
    division = Digits().divide()
    assert len(division.test) == 899
    assert len(division.train) + len(division.val) == 898
    counts = np.bincount(division.test.labels_M)
    assert counts.max() - counts.min() <= 5
    other = Digits(split_seed=3).divide()
    assert division.test.digest(Path()) == other.test.digest(Path())
    assert division.train.digest(Path()) != other.train.digest(Path())
    image = division.test.images.open(0)
    assert image.mode == "RGB"
    assert image.size == (8, 8)
    assert np.asarray(image).max() > 200


def test_a_folder_with_all_three_splits(folder) -> None:
    division = ImageFolder(root=str(folder("images", val=2))).divide()
    assert division.classes == ("class0", "class1", "class2")
    assert [len(part) for part in (division.train, division.val, division.test)] == [18, 6, 12]
    limited = ImageFolder(root=str(folder("more", val=2)), train_per_class=5).divide()
    assert [len(part) for part in (limited.train, limited.val)] == [12, 3]
    assert limited.val.images is limited.train.images


def test_a_folder_with_train_alone_gives_its_own_test_images(folder) -> None:
    division = ImageFolder(root=str(folder("images", train=10, test=0)), test_fraction=0.3).divide()
    parts = [set(part.indices.tolist()) for part in (division.train, division.val, division.test)]
    assert [len(part) for part in parts] == [18, 3, 9]
    assert len(set.union(*parts)) == 30


def test_content_is_named_by_the_files_and_not_by_where_they_lie(folder, tmp_path: Path) -> None:
    first, second = folder("one"), folder("two")
    digests = [ImageFolder(root=str(root)).divide().train.digest(tmp_path / "m") for root in (first, second)]
    assert digests[0] == digests[1]
    part = ImageFolder(root=str(first)).divide().train
    victim = first / part.images.names[part.indices[0]]
    Image.new("RGB", (8, 8)).save(victim)
    assert ImageFolder(root=str(first)).divide().train.digest(tmp_path / "m") != digests[1]


def test_files_are_read_once_for_their_digest(folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder("one")
    before = ImageFolder(root=str(root)).divide().train.digest(tmp_path / "m")
    monkeypatch.setattr("tlfw.data.images._decode", lambda path: pytest.fail(f"opened {path}"))
    assert ImageFolder(root=str(root)).divide().train.digest(tmp_path / "m") == before


def test_a_class_that_only_the_test_has_is_an_error(folder) -> None:
    root = folder("images")
    (root / "test" / "class9").mkdir()
    with pytest.raises(ConfigError, match=r"root: .*'class9'"):
        ImageFolder(root=str(root)).divide()


def test_one_class_is_none(folder) -> None:
    with pytest.raises(ConfigError, match="only the class 'class0'"):
        ImageFolder(root=str(folder("images", classes=1))).divide()
