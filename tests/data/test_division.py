"""What each image is for: draws, tests that stay, folds, groups and copies."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import paint, subjects
from tests.tiny import Tiny
from tlfw.data import Division, ImageArray, ImageFolder
from tlfw.data.division import Draw, Part, divide
from tlfw.data.rows import Rows, stock
from tlfw.errors import ConfigError


def names(part: Part) -> set[str]:
    """Of an image folder's part: paths below the root."""
    return {part.images.names[i] for i in part.indices}


def parts(division: Division) -> tuple[set[str], set[str], set[str]]:
    return names(division.train), names(division.val), names(division.test)


def test_train_per_class_counts_all_labelled_images() -> None:
    division = Tiny(train_per_class=10, count=12).divide()
    assert np.bincount(division.train.labels_M).tolist() == [8, 8, 8]
    assert np.bincount(division.val.labels_M).tolist() == [2, 2, 2]
    assert np.bincount(division.test.labels_M).tolist() == [12, 12, 12]
    assert not set(division.train.indices) & set(division.val.indices)
    assert division.described == "24 train, 6 val, 36 test images of 3 classes, 8 of each for training"


def test_the_draw_depends_on_split_seed_and_the_test_on_test_seed(folder) -> None:
    root = str(folder("images", train=20, test=0))
    first = ImageFolder(root=root, train_per_class=5).divide()
    for changes in ({"split_seed": 1}, {"val_fraction": 0.4}, {"train_per_class": 9}, {"train_per_class": None}):
        other = ImageFolder(root=root, **{"train_per_class": 5, **changes}).divide()
        assert names(other.test) == names(first.test)
        assert (names(other.train), names(other.val)) != (names(first.train), names(first.val))
    assert parts(ImageFolder(root=root, train_per_class=5).divide()) == parts(first)
    moved = ImageFolder(root=root, train_per_class=5, test_seed=1).divide()
    assert names(moved.test) != names(first.test)
    assert len(moved.test) == len(first.test) == 12


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.5])
def test_labelled_images_are_nested(folder, fraction: float) -> None:
    root = str(folder("images", train=25, test=0))
    for seed in range(3):
        drawn = [
            ImageFolder(root=root, train_per_class=count, val_fraction=fraction, split_seed=seed).divide()
            for count in (2, 3, 5, 10, 20, None)
        ]
        for small, large in itertools.pairwise(drawn):
            assert names(small.train) <= names(large.train)
            assert names(small.val) <= names(large.val)
        assert np.bincount(drawn[0].val.labels_M).tolist() == [1, 1, 1]


def test_another_order_on_disk_changes_nothing(folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder("images", train=20, test=0)
    given = ImageFolder(root=str(root), train_per_class=8)
    first = given.divide()
    walk = os.walk
    monkeypatch.setattr("os.walk", lambda *a, **k: ((p, d, f[::-1]) for p, d, f in walk(*a, **k)))
    assert parts(given.divide()) == parts(first)
    images = first.train.images
    mixed = np.random.default_rng(0).permutation(len(images.names))
    shuffled = type(images)(root, [images.names[i] for i in mixed], images.labels_N[mixed].tolist(), images.classes)
    assert parts(divide(stock(Rows({"train": shuffled}), False, None, None), given.draw)) == parts(first)


def test_images_that_come_and_go_move_few_others(folder) -> None:
    root = folder("images", train=20, test=0)
    given = ImageFolder(root=str(root))
    first = given.divide()
    (root / "train" / "class0" / "5.png").unlink()
    second = given.divide()
    assert len(names(first.test) ^ names(second.test)) <= 2
    assert {name for name in names(first.test) if "class0" not in name} == {
        name for name in names(second.test) if "class0" not in name
    }


def test_folds_share_out_all_images(folder) -> None:
    root = str(folder("images", train=11, test=0))
    divisions = [ImageFolder(root=root, folds=4, fold=k).divide() for k in range(4)]
    tests = [names(division.test) for division in divisions]
    assert len(set.union(*tests)) == sum(map(len, tests)) == 33
    for division in divisions:
        assert set.union(*parts(division)) == set.union(*tests)
        assert sum(division.counts.values()) == 33
        assert {2, 3} >= set(np.bincount(division.test.labels_M).tolist())
    again = ImageFolder(root=root, folds=4, fold=2, split_seed=5, val_fraction=0.4).divide()
    assert names(again.test) == tests[2]
    assert names(ImageFolder(root=root, folds=4, fold=2, test_seed=5).divide().test) not in tests


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"folds": 3}, r"fold: it is null of 3 folds. Use one of 0 to 2; a sweep fills it in"),
        ({"folds": 3, "fold": 3}, r"fold: it is 3 of 3 folds. Use one of 0 to 2"),
        ({"fold": 0}, r"fold: it is 0 where there are no folds"),
        ({"folds": 19, "fold": 18}, r"folds: no class has an image to spare"),
    ],
)
def test_folds_that_cannot_be_are_refused(folder, given: dict[str, Any], said: str) -> None:
    root = str(folder("images", test=0))
    with pytest.raises(ConfigError, match=said):
        ImageFolder(root=root, **given).divide()
    assert ImageFolder(root=root, **given).divide(tested=False).test is None  # a source has none to divide


def test_a_test_of_its_own_leaves_nothing_to_fold(folder) -> None:
    with pytest.raises(ConfigError, match=r"folds: the set has test images of its own"):
        ImageFolder(root=str(folder("images")), folds=3, fold=0).divide()


def test_the_drawn_share_is_that_of_the_pool(folder) -> None:
    root = folder("images", train=20, test=0)  # of which 4 a class are for the test
    for count, share in ((4, 0.25), (16, 1.0), (None, 1.0)):
        assert ImageFolder(root=str(root), train_per_class=count).divide().drawn == pytest.approx(share)
    for i in range(20, 52):
        paint(0, i).save(root / "train" / "class0" / f"{i}.png")
    unequal = ImageFolder(root=str(root), train_per_class=4, test_fraction=1e-9).divide()  # one of each class
    assert unequal.drawn == pytest.approx((4 / 51 + 2 * 4 / 19) / 3)
    assert ImageFolder(root=str(folder("validated", val=3))).divide().drawn == 1.0


# Groups


BY_NAME = "(?P<group>p[0-9]+)_"


def people(part: Part) -> set[str]:
    return {Path(name).name.split("_")[0] for name in names(part)}


def shots_of(part: Part) -> set[int]:
    """How many images each person of a part has."""
    return set(np.unique([Path(name).name.split("_")[0] for name in names(part)], return_counts=True)[1].tolist())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("given", [{}, {"train_per_class": 10}, {"folds": 3, "fold": 1}, {"val_fraction": 0.5}])
def test_a_subject_is_on_one_side(tmp_path: Path, seed: int, given: dict[str, Any]) -> None:
    root = str(subjects(tmp_path / "images"))
    division = ImageFolder(root=root, group=BY_NAME, split_seed=seed, test_seed=seed, **given).divide()
    sides = [people(part) for part in (division.train, division.val, division.test)]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    for part in (division.train, division.val, division.test):
        assert set(part.labels_M) == {0, 1}
        assert part.groups_M == tuple(Path(part.called(i)).name[:3] for i in range(len(part)))
    assert shots_of(division.test) == {6}
    if "train_per_class" in given:
        labelled = np.concatenate([division.train.labels_M, division.val.labels_M])
        assert np.bincount(labelled).tolist() == [10, 10]


def test_without_groups_a_neighbour_in_training_tells_who_it_is(tmp_path: Path) -> None:
    """The label has nothing to do with the picture: the nearest training image is right, and by chance half."""

    def nearest(**given: Any) -> float:
        hits = []
        for seed in range(6):
            division = ImageFolder(root=root, test_seed=seed, **given).divide()
            learnt, tested = (
                np.stack([np.asarray(part.images.open(int(i)), dtype=float).ravel() for i in part.indices])
                for part in (division.train, division.test)
            )
            found = ((tested[:, None] - learnt[None]) ** 2).sum(2).argmin(1)
            hits += (division.train.labels_M[found] == division.test.labels_M).tolist()
        return float(np.mean(hits))

    root = str(subjects(tmp_path / "images", people=40, shots=4))
    assert nearest() > 0.95
    assert nearest(group=BY_NAME) < 0.75


def test_labelled_images_are_nested_by_group_too(tmp_path: Path) -> None:
    root = str(subjects(tmp_path / "images", people=16))
    for seed in range(3):
        drawn = [
            ImageFolder(root=root, group=BY_NAME, train_per_class=count, split_seed=seed).divide()
            for count in (2, 5, 10, 20, None)
        ]
        for small, large in itertools.pairwise(drawn):
            assert names(small.train) <= names(large.train)
            assert names(small.val) <= names(large.val)
            assert names(small.test) == names(large.test)


def test_folds_of_groups_share_out_all(tmp_path: Path) -> None:
    root = str(subjects(tmp_path / "images"))
    tests = [people(ImageFolder(root=root, group=BY_NAME, folds=6, fold=k).divide().test) for k in range(6)]
    assert len(set.union(*tests)) == sum(map(len, tests)) == 12


def test_a_group_is_its_text_across_classes(tmp_path: Path) -> None:
    """p1 of both classes is one person."""
    root = tmp_path / "images"
    for label in range(2):
        for i in range(40):
            file = root / "train" / f"class{label}" / f"p{i // 4}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            paint(label, i).save(file)
    division = ImageFolder(root=str(root), group=1).divide()
    sides = [{Path(name).parent.name for name in names(part)} for part in (division.train, division.val, division.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 10
    assert len(division.test) == 16  # two people, of both classes


def test_a_class_of_one_subject_is_an_error(tmp_path: Path) -> None:
    root = subjects(tmp_path / "images")
    for file in (root / "train" / "well").glob("*"):
        file.rename(file.with_name(f"p01_{file.name}"))
    with pytest.raises(ConfigError, match=r"group: there are too few for the test .* class 'well' has 1 of 7 groups"):
        ImageFolder(root=str(root), group=BY_NAME).divide()
    with pytest.raises(ConfigError, match=r"group: there are too few for validation"):
        ImageFolder(root=str(root), group=BY_NAME).divide(tested=False)
    for fold in range(3):
        with pytest.raises(
            ConfigError, match=rf"group: (all groups of class 'well' are in fold {fold} of 3|there are t)"
        ):
            ImageFolder(root=str(root), group=BY_NAME, folds=3, fold=fold).divide()


@pytest.mark.parametrize("other", ["val", "test"])
def test_given_parts_that_share_a_subject_are_refused(tmp_path: Path, other: str) -> None:
    root = subjects(tmp_path / "images")
    for name, person in (("ill", 0), ("well", 1), ("well", 21)):
        file = root / other / name / f"p{person:02d}_9.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        paint(0, person).save(file)
    given = ImageFolder(root=str(root), group=BY_NAME)
    with pytest.raises(
        ConfigError,
        match=rf"group: 2 groups are both in train and in {other}, 'p00' for one: .*p00_0.png and .*{other}/ill/p00_9",
    ):
        given.divide()
    between = {"val": "test", "test": "val"}[other]  # and a part between them changes nothing
    for name, person in (("ill", 31), ("well", 32)):
        (root / between / name).mkdir(parents=True)
        paint(0, person).save(root / between / name / f"p{person}_9.png")
    with pytest.raises(ConfigError, match=f"group: 2 groups are both in train and in {other}"):
        given.divide()
    for name in ("ill/p00_9.png", "well/p01_9.png"):
        (root / other / name).rename((root / other / name).with_name(f"p{len(name)}_9.png"))
    assert len(given.divide().parts[other]) == 3


# Copies


def encoded_anew(file: Path, to: Path) -> None:
    """The same pixels in other bytes."""
    Image.open(file).save(to, **({"compress_level": 1} if to.suffix == ".png" else {}))
    assert file.read_bytes() != to.read_bytes()


def sides_of(division: Division, *some: str) -> list[set[int]]:
    """For each name the parts, by number, that hold it."""
    return [{k for k, part in enumerate(parts(division)) if name in part} for name in some]


def test_copies_stay_on_one_side_of_what_is_cut_here(folder) -> None:
    root = folder("images", train=10, test=0)
    place = root / "train" / "class1"
    for i in range(5):
        encoded_anew(place / f"{i}.png", place / f"copy{i}.bmp")
        encoded_anew(place / f"{i}.png", place / f"copy{i}.png")
    for seed in range(6):
        for given in ({}, {"folds": 3, "fold": seed % 3}, {"val_fraction": 0.5, "train_per_class": 8}):
            division = ImageFolder(root=str(root), split_seed=seed, test_seed=seed, **given).divide()
            assert division.remarks == ()
            for i in range(5):
                trio = [f"train/class1/{name}" for name in (f"{i}.png", f"copy{i}.bmp", f"copy{i}.png")]
                held = [where for where in sides_of(division, *trio) if where]
                assert len(set.union(set(), *held)) <= 1
                assert "train_per_class" in given or len(held) == 3


def test_copies_bind_groups(tmp_path: Path) -> None:
    """A picture of one person that lies among another's as well: the two stay together."""
    root = subjects(tmp_path / "images")
    place = root / "train" / "ill"
    encoded_anew(place / "p00_0.png", place / "p02_7.bmp")
    for seed in range(8):
        division = ImageFolder(root=str(root), group=BY_NAME, split_seed=seed, test_seed=seed).divide()
        where = sides_of(division, "train/ill/p00_1.png", "train/ill/p02_1.png", "train/ill/p02_7.bmp")
        assert where[0] == where[1] == where[2]
        assert len(where[0]) == 1


def test_pictures_under_two_classes_are_left_out_and_said(folder) -> None:
    root = folder("images", train=10, test=0)
    place = root / "train"
    encoded_anew(place / "class0" / "3.png", place / "class2" / "x.bmp")
    encoded_anew(place / "class0" / "3.png", place / "class0" / "y.bmp")
    encoded_anew(place / "class1" / "4.png", place / "class2" / "z.bmp")
    for seed in range(6):
        for given in ({}, {"folds": 2, "fold": 0}):
            division = ImageFolder(root=str(root), test_seed=seed, **given).divide()
            assert sum(division.counts.values()) == 28
            gone = {"class0/3.png", "class0/y.bmp", "class1/4.png", "class2/x.bmp", "class2/z.bmp"}
            assert not {f"train/{name}" for name in gone} & set.union(*parts(division))
            (said,) = division.remarks
            assert said.startswith(
                "5 images for training are left out, for their pictures are under more than one class: "
            )
            assert said.endswith("class0/3.png is class0, and " + str(place / "class2" / "x.bmp") + " is class2")


def test_they_are_left_out_of_a_given_training_part_and_of_no_test(folder) -> None:
    root = folder("images", val=2)
    for split in ("train", "val", "test"):
        encoded_anew(root / split / "class0" / "1.png", root / split / "class1" / "x.bmp")
    division = ImageFolder(root=str(root)).divide()
    assert division.counts == {"train": 17, "val": 7, "test": 13}


def test_a_class_that_is_another_is_an_error(folder) -> None:
    root = folder("images", train=3, test=0)
    shutil.rmtree(root / "train" / "class2")
    shutil.copytree(root / "train" / "class0", root / "train" / "class2")
    with pytest.raises(ConfigError, match=r": all images of class 'class0' are left out, as copies of others"):
        ImageFolder(root=str(root)).divide()


def test_contradictions_as_in_tiny_imagenet_just_work() -> None:
    """Three pairs of equal pictures under two classes each, among others, which any seed may cut anywhere."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    labels = np.repeat([0, 1], 100)
    pixels[100:103] = pixels[:3]
    held = stock(Rows({"train": ImageArray(pixels, labels, ["a", "b"])}), False, None, None)
    for seed in range(20):
        division = divide(held, Draw(split_seed=seed), tested=False)
        assert len(division.train) + len(division.val) == 194
        assert not {0, 1, 2, 100, 101, 102} & {*division.train.indices, *division.val.indices}


def test_a_hundred_thousand_images_are_divided_in_seconds() -> None:
    """Linear in the images, and not in pairs of them."""
    count = 100_000
    labels = np.arange(count) % 100
    sums = tuple(f"{i - i % 400 if i % 400 < 4 else i}" for i in range(count))  # some of four labels
    images = ImageArray(lambda: pytest.fail("opened"), labels, [str(c) for c in range(100)], name="n")
    held = stock(Rows({"train": images}), False, None, None)
    held = dataclasses.replace(held, sums={"train": sums})
    division = divide(held, Draw(train_per_class=50))
    assert division.counts == {"train": 4000, "val": 1000, "test": 19_800}
    assert "1000 images for training are left out" in division.remarks[0]
