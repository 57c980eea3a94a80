"""The data of an experiment: what is odd about it is said, and no image judges a model that learns from it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from pydantic.dataclasses import dataclass

from tests.conftest import paint
from tests.data.odd_files import png
from tests.data.test_division import encoded_anew, names
from tests.data.test_near_copies import jpeg, picture
from tests.tiny import SIZE
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import DataSet, ImageArray, ImageFolder, Images
from tlfw.data.copies import Copies
from tlfw.errors import ConfigError
from tlfw.runs.experiment_data import Memo, SeenData, look
from tlfw.strictness import STRICT

Look = Any


@pytest.fixture
def seen(tmp_path: Path) -> Look:
    """(data sets by name, copies="refuse", memo=a new one) -> what is known of them."""

    def call(copies: Copies = "refuse", memo: Memo | None = None, **data_sets: DataSet) -> SeenData:
        backbone = TorchvisionBackbone(name="resnet18")
        small = {name: dataclasses.replace(each, image_size=SIZE) for name, each in data_sets.items()}
        return look(backbone, small, copies, tmp_path / "manifests", memo or Memo())

    return call


def mine(root: Path, **given: Any) -> ImageFolder:
    return ImageFolder(root=str(root), **given)


# What is odd


def test_what_is_odd_about_classes_is_said(folder, seen: Look) -> None:
    root = folder("images", classes=5, val=5)
    assert seen(target=mine(root)).remarks == ()
    for label in range(4):
        shutil.rmtree(root / "test" / f"class{label}")
        (root / "test" / f"class{label}").mkdir()
    for i in range(2):
        (root / "val" / "class3" / f"{i}.png").unlink()
    for i in range(6, 19):
        paint(2, i).save(root / "train" / "class2" / f"{i}.png")
    unequal, few, untested = seen(target=mine(root)).remarks
    assert unequal == (
        "target: its classes are unequal, 19 images of class2 for training and 6 of class0: metric=balanced_accuracy "
        "counts every class the same, target.balance=loss or sampling trains them so"
    )
    assert few == (
        "target: 1 of 5 classes have fewer than 5 images for validation, “class3” has 3: they choose settings by luck"
    )
    assert untested == "target: no test image is of class0, class1, class2 and 1 more"
    (root / "train" / "class2" / "18.png").unlink()  # three to one is not beyond it
    assert not any("unequal" in remark for remark in seen(target=mine(root)).remarks)
    assert seen(source=mine(root)).remarks == ()


def test_what_was_left_out_is_said_of_each_set(folder, seen: Look) -> None:
    one, other = folder("one", val=5), folder("other", first=5000)
    encoded_anew(one / "train" / "class0" / "0.png", one / "train" / "class1" / "x.bmp")
    (other / "train" / "class2" / "0.png").write_bytes(b"no image")
    said = seen(target=mine(one), source=mine(other, skip_unreadable=True)).remarks
    assert [remark.split(" ")[0] for remark in said] == ["target:", "source:"]
    assert "2 images for training are left out" in said[0]
    assert said[1].startswith("source: 1 of 18 images cannot be read and are left out")


# Copies across given parts


def test_different_images_pass(folder, seen: Look) -> None:
    assert seen(target=mine(folder("mine")), source=mine(folder("general", first=5000))).content


@pytest.mark.parametrize(("part", "given"), [("test", {}), ("val", {"val": 5})])
def test_a_copy_in_train_is_refused(folder, seen: Look, part: str, given: dict) -> None:
    root = folder("mine", **given)
    encoded_anew(root / part / "class1" / "1.png", root / "train" / "class2" / "copy.bmp")
    encoded_anew(root / part / "class0" / "0.png", root / "train" / "class0" / "copy.png")
    with pytest.raises(
        ConfigError,
        match=rf"target: .*{part}/class[01]/[01].png.* is the same image as .*copy.(bmp|png).* 2 such pairs.*leave_out",
    ):
        seen(target=mine(root))


@pytest.mark.parametrize(("part", "given"), [("test", {}), ("val", {"val": 5})])
def test_a_copy_in_train_is_left_out_or_accepted(folder, seen: Look, part: str, given: dict) -> None:
    root = folder("mine", **given)
    encoded_anew(root / part / "class1" / "1.png", root / "train" / "class2" / "copy.bmp")
    encoded_anew(root / part / "class0" / "0.png", root / "train" / "class0" / "copy.png")
    kept = seen("accept", target=mine(root))
    assert kept.remarks[0].startswith("target: 2 images that judge the model are also learnt from (copies=accept): ")
    left = seen("leave_out", target=mine(root))
    (said,) = (remark for remark in left.remarks if "left out" in remark)
    assert said.startswith(f"target: 2 images for train are also in {part}, and are left out here (copies=leave_out): ")
    assert "copy." in said
    counts = [data.divisions["target"].counts for data in (kept, left)]
    assert counts[0][part] == counts[1][part]
    total = [sum(each.values()) for each in counts]
    assert total[0] - total[1] == 2
    assert not any("copy." in name for name in names(left.divisions["target"].pool))


def test_a_given_validation_image_that_is_in_the_test_is_no_longer_for_validation(folder, seen: Look) -> None:
    root = folder("mine", val=5)
    encoded_anew(root / "test" / "class1" / "1.png", root / "val" / "class1" / "copy.bmp")
    with pytest.raises(ConfigError, match=r"target: .*test/class1/1.png.* is the same image as .*val/class1/copy.bmp"):
        seen(target=mine(root))
    assert seen("leave_out", target=mine(root)).divisions["target"].counts == {"train": 18, "val": 15, "test": 12}
    seen(target=mine(root, train_per_class=4))  # where they are not used nobody minds


def test_a_given_validation_part_shares_nothing_with_a_test_that_is_cut(folder, seen: Look) -> None:
    root = folder("mine", train=20, val=5, test=0)
    for i in range(20):
        encoded_anew(root / "train" / "class1" / f"{i}.png", root / "val" / "class1" / f"copy{i}.bmp")
        paint(1, 500 + i).save(root / "train" / "class1" / f"new{i}.png")
    with pytest.raises(ConfigError, match="is the same image as"):
        seen(target=mine(root))
    division = seen("leave_out", target=mine(root)).divisions["target"]
    assert division.counts == {"train": 48, "val": 35, "test": 12}
    sums = [set(part.sums_M) for part in division.parts.values()]
    assert sum(map(len, sums)) == len(set.union(*sums))


def test_a_link_from_test_to_train_is_refused(folder, seen: Look) -> None:
    root = folder("mine", test=0)
    (root / "test").symlink_to(root / "train", target_is_directory=True)
    with pytest.raises(ConfigError, match=r"is the same image as .* 1\d such pairs"):
        seen(target=mine(root))


def test_test_images_in_the_source_are_refused(folder, seen: Look) -> None:
    root, general = folder("mine"), folder("general", first=5000)
    encoded_anew(root / "test" / "class0" / "3.png", general / "train" / "class2" / "x.bmp")
    for seed in (1, 2):  # in which x.bmp is for training
        with pytest.raises(ConfigError, match=r"target: .*test/class0/3.png.*same image as .*x.bmp, which source has"):
            seen(source=mine(general, val_fraction=0.01, split_seed=seed), target=mine(root))


def test_the_source_leaves_out_what_the_target_has_whichever_is_drawn(folder, seen: Look) -> None:
    """So that one pretraining serves all draws of the target."""
    root, general = folder("mine", train=12), folder("general", train=20, first=5000)
    for i, name in enumerate(("test/class0/3.png", "train/class1/2.png", "train/class1/5.png", "train/class0/1.png")):
        encoded_anew(root / name, general / "train" / "class2" / f"x{i}.bmp")
    contents, memo = [], Memo()
    for seed in range(4):
        target = mine(root, train_per_class=5, split_seed=seed)
        found = seen("leave_out", memo, source=mine(general), target=target)
        assert not any("/x" in name for name in names(found.divisions["source"].pool))
        assert found.divisions["source"].counts == {"train": 48, "val": 12}
        assert sum("source: 4 images for train are also in the target" in remark for remark in found.remarks) == 1
        contents.append((found.content["source"]["train"], found.content["target"]["train"]))
    assert len({source for source, _ in contents}) == 1
    assert len({target for _, target in contents}) == 4


def test_files_and_arrays_are_compared_by_pixels(folder, seen: Look) -> None:
    root = folder("mine", val=5)
    with pytest.raises(ConfigError, match=r"target: .*test/class.* is the same image as image \d+, which source has"):
        seen(target=mine(root), source=Twin(root=str(root)))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Twin(DataSet):
    """A folder's test images, in memory."""

    root: str

    def read(self, split: str) -> Images | None:
        if split != "train":
            return None
        images = [np.asarray(Image.open(file)) for file in sorted(Path(self.root).glob("test/*/*.png"))]
        return ImageArray(np.stack(images), np.arange(12) % 2, ["a", "b"])


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Doubled(DataSet):
    """Whose first training image is also for the test, and whose splits are published or not."""

    published: bool

    @property
    def published_splits(self) -> bool:
        return self.published

    def read(self, split: str) -> Images | None:
        if split == "val":
            return None
        shift = 0 if split == "train" else 29
        pixels = np.stack([np.asarray(paint(c, shift + i, 12)) for c in range(2) for i in range(30)])
        return ImageArray(pixels, np.repeat([0, 1], 30), ["a", "b"])


@pytest.mark.parametrize("copies", ["refuse", "leave_out", "accept"])
def test_published_splits_are_taken_as_they_are(seen: Look, copies: Copies) -> None:
    found = seen(copies, target=Doubled(published=True))
    assert found.divisions["target"].counts == {"train": 48, "val": 12, "test": 60}
    assert found.remarks == ()
    if copies == "refuse":
        with pytest.raises(ConfigError, match=r"is the same image as image 29"):
            seen(copies, target=Doubled(published=False))
    else:
        assert seen(copies, target=Doubled(published=False)).remarks


# Near copies


def photographs(root: Path, **splits: range) -> Path:
    for split, numbers in splits.items():
        for i in numbers:
            file = root / split / "ab"[i % 2] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(i).save(file)
    return root


def test_near_copies_are_said_and_nothing_is_moved(tmp_path: Path, seen: Look) -> None:
    root = photographs(tmp_path / "mine", train=range(60), test=range(100, 120))
    general = photographs(tmp_path / "general", train=range(200, 260))
    before = seen(target=mine(root), source=mine(general))
    assert before.near is None
    assert before.remarks == ()
    jpeg(picture(4)).save(root / "test" / "a" / "near.png")
    ImageOps.mirror(picture(203)).save(root / "test" / "a" / "mirrored.png")
    memo, where = Memo(), set()
    for seed in range(8):
        target = mine(root, train_per_class=20, val_fraction=0.5, split_seed=seed)
        found = seen("refuse", memo, target=target, source=mine(general))
        assert found.divisions["target"].counts == {"train": 20, "val": 20, "test": 22}
        assert {(pair.part, found.near.others[pair.part].called(pair.other)) for pair in found.near.pairs} == {
            ("target/train", str(root / "train" / "a" / "4.png")), ("source/train", str(general / "train/b/203.png"))
        }  # fmt: skip
        (said,) = (remark for remark in found.remarks if "nearly" in remark)
        sides = ["train/a/4.png" in names(found.divisions["target"].parts[part]) for part in ("train", "val")]
        where.add(tuple(sides))
        here = any(sides) + ("train/b/203.png" in names(found.divisions["source"].train))
        assert said.startswith(
            "target: 2 of 22 test images look nearly like one that some draw learns from, "
            f"{here or 'none'} like one of this draw, for example {root / 'test'}"
        )
        digest = found.near.digest
        assert digest == seen(target=dataclasses.replace(target, split_seed=9), source=mine(general)).near.digest
    assert len(where) == 3  # it trains, it validates, it is not drawn


def test_near_copies_are_looked_for_in_given_validation_images_too(tmp_path: Path, seen: Look) -> None:
    root = photographs(tmp_path / "mine", train=range(20), val=range(20, 40), test=range(100, 110))
    jpeg(picture(23)).save(root / "test" / "a" / "near.png")
    found = seen(target=mine(root))
    assert [pair.part for pair in found.near.pairs] == ["target/val"]
    assert "1 of 11 test images looks nearly like one that some draw learns from, 1 like one of" in found.remarks[0]


# What draws have in common


def test_all_draws_share_one_look_at_the_images(folder, seen: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    target, memo = mine(folder("mine", train=20, test=0)), Memo()
    first = seen("refuse", memo, target=target)
    monkeypatch.setattr("os.walk", lambda *_, **__: pytest.fail("read again"))
    monkeypatch.setattr("tlfw.data.manifest.content_of", lambda path: pytest.fail("opened again"))
    for changes in ({"split_seed": 3}, {"test_seed": 3}, {"train_per_class": 5}, {"folds": 3, "fold": 1}):
        found = seen("refuse", memo, target=dataclasses.replace(target, **changes))
        assert found.content["target"] != first.content["target"]


def test_the_drawn_share_and_the_groups_are_known(folder, seen: Look) -> None:
    root = folder("mine", train=20, test=0)
    plain = seen(target=mine(root, train_per_class=4))
    assert plain.drawn == pytest.approx(0.25)
    assert plain.grouping is None
    by_number = [seen(target=mine(root, group=f"(?P<group>{end})")).grouping for end in ("[0-9]+.png", "[0-9].png")]
    assert len({None, *by_number}) == 3
    assert seen(source=mine(root)).drawn is None


# What is odd about the numbers that images hold


def sixteen(folder: Path, train: int, test: int) -> Path:
    """Grey images of 16 bits of two classes; those for training hold numbers up to `train`, and one of 8 bits."""
    random = np.random.default_rng(0)
    for split, most in (("train", train), ("test", test)):
        for label in range(2):
            for i in range(6):
                values = random.integers(0, most, (20, 20), endpoint=True).astype(np.uint16)
                values[0, :2] = 0, most
                file = folder / split / f"c{label}" / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                png(file, values, 16)
    paint(0, 0).save(folder / "train" / "c0" / "8bits.png")
    return folder


def test_auto_is_by_images_for_training_alone_and_stays_with_the_model(tmp_path: Path, seen: Look) -> None:
    found = seen(target=mine(sixteen(tmp_path / "a", 3000, 5000), range="auto", val_fraction=0.25))
    assert found.views["target"].range == found.views["target"].preprocessing.range == (0, 3000)
    assert "target: range=auto is [0, 3000], by its images for training" in found.remarks
    beyond = next(remark for remark in found.remarks if "beyond" in remark)
    assert beyond.startswith("target: 12 images have numbers beyond black or white, which become that: ")
    assert "(0 to 5000, where 0 is black and 3000 white)" in beyond
    assert found.asked["target"][1] == "auto"
    assert found.asked["target"][0].range == "type"


def test_a_range_that_changes_nothing_is_said(folder, seen: Look) -> None:
    root = folder("images")
    for range_ in ([0.0, 4095.0], "auto"):
        found = seen(target=mine(root, range=range_))
        said = [remark for remark in found.remarks if "range=" in remark]
        assert said == [f"target: range={range_} changes nothing, for none of its images has more than 8 bits"]


def test_a_background_and_a_range_are_in_the_view(folder, seen: Look) -> None:
    found = seen(target=mine(folder("images"), background="#010203", range=[1.0, 9.0]))
    assert (found.views["target"].background, found.views["target"].range) == ((1, 2, 3), (1.0, 9.0))


def test_dark_images_are_said_with_their_names(folder, seen: Look) -> None:
    root = folder("images")
    Image.fromarray(np.arange(1600).reshape(40, 40).astype(np.uint8) % 20).save(root / "train" / "class0" / "dark.png")
    (said,) = [remark for remark in seen(target=mine(root)).remarks if "tenth" in remark]
    assert said.startswith("target: 1 image uses less than a tenth of what is between black and white: ")
    assert "dark.png (0 to 19, where 0 is black and 255 white)" in said
