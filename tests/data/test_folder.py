"""A person's own folder is read as it is meant, or refused with what to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import paint
from tlfw.data import ImageFolder
from tlfw.errors import ConfigError


def fill(root: Path, *places: str, count: int = 4, first: int = 0) -> Path:
    """`count` images in each of these folders; no two are equal."""
    for label, place in enumerate(places):
        folder = root / os.fsdecode(place)
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            paint(label, first + i).save(folder / f"{i}.png")
    return root


def classes(root: Path, **given: Any) -> list[str]:
    return list(ImageFolder(root=str(root), **given).rows(["train"]).lists["train"].classes)


def refused(root: Path, **given: Any) -> str:
    with pytest.raises(ConfigError) as problem:
        ImageFolder(root=str(root), **given).divide()
    return str(problem.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((each, "val") for each in ("val", "Val", "valid", "validation", "VALIDATION", "dev", "val2017", "valid_set")),
        *((each, "test") for each in ("test", "Test", "testing", "test-images", "tst")),
    ],
)
def test_usual_names_of_parts_are_understood(tmp_path: Path, name: str, part: str) -> None:
    fill(tmp_path, "train/a", "train/b")
    fill(tmp_path, f"{name}/a", f"{name}/b", first=100)
    division = ImageFolder(root=str(tmp_path)).divide()
    assert len(division.parts[part]) == 8
    assert {Path(division.parts[part].called(i)).parts[-3] for i in range(8)} == {name}


@pytest.mark.parametrize("name", ["train", "Train", "training", "TRAIN", "train_images", "train2017", "trainset"])
def test_usual_names_of_the_training_part(tmp_path: Path, name: str) -> None:
    assert classes(fill(tmp_path, f"{name}/a", f"{name}/b")) == ["a", "b"]


@pytest.mark.parametrize("name", ["trainer", "validators", "tests of mine", "devices", "masks"])
def test_other_folders_are_no_parts_and_are_said(tmp_path: Path, name: str) -> None:
    fill(tmp_path, "train/a", "train/b")
    fill(tmp_path, f"{name}/a", first=100)
    division = ImageFolder(root=str(tmp_path)).divide()
    assert sum(division.counts.values()) == 8
    assert division.remarks == (f"4 files are left out: 4 in folders beside the parts ({name}/)",)


@pytest.mark.parametrize(("first", "second"), [("val", "valid"), ("test", "Test"), ("train", "training")])
def test_two_folders_for_one_part_are_refused(tmp_path: Path, first: str, second: str) -> None:
    fill(tmp_path, "train/a", "train/b", f"{first}/a", f"{second}/a")
    said = refused(tmp_path)
    assert first in said
    assert second in said


@pytest.mark.parametrize("name", ["eval", "holdout", "hold-out", "evaluation"])
def test_a_folder_that_may_be_either_part_is_refused(tmp_path: Path, name: str) -> None:
    assert "for validation or for the test" in refused(fill(tmp_path, "train/a", "train/b", f"{name}/a"))


def test_classes_without_a_train_folder_say_what_to_do(tmp_path: Path) -> None:
    assert "If cat, dog are classes, move them into" in refused(fill(tmp_path, "cat", "dog"))


def test_one_folder_too_high_says_which_is_right(tmp_path: Path) -> None:
    assert f"{tmp_path / 'data'} has one: give that folder" in refused(fill(tmp_path, "data/train/a", "data/train/b"))


NESTED = ("train/animals/cat", "train/animals/dog", "train/vehicles/ship")


def test_nested_folders_are_asked_about(tmp_path: Path) -> None:
    said = refused(fill(tmp_path, *NESTED))
    assert said.startswith("nested: 12 images are in folders within class folders: train/animals/cat, ")
    assert "nested=split" in said


def test_nested_folders_are_what_was_said(tmp_path: Path) -> None:
    fill(tmp_path, *NESTED)
    assert classes(tmp_path, nested="merge") == ["animals", "vehicles"]
    assert classes(tmp_path, nested="split") == ["animals/cat", "animals/dog", "vehicles/ship"]
    assert classes(tmp_path, group=1) == ["animals", "vehicles"]
    assert classes(tmp_path, group=r"train/\w+/(?P<group>\w+)/") == ["animals", "vehicles"]


def test_a_group_that_names_no_folder_does_not_say_what_they_are(tmp_path: Path) -> None:
    assert refused(fill(tmp_path, *NESTED), group=r"(?P<group>\d)[.]png$").startswith("nested: ")


def test_split_has_a_class_for_images_that_lie_above_too(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/a/deep/er", "train/b")
    assert classes(tmp_path, nested="split") == ["a", "a/deep/er", "b"]


def test_split_leaves_no_folder_to_be_a_group() -> None:
    with pytest.raises(ConfigError, match="group: with nested=split"):
        ImageFolder(root="x", nested="split", group=1)


def test_what_is_left_out_is_said_once_with_the_count(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b", "train/.hidden")
    fill(tmp_path, "train/a/@eaDir/0.png")
    (tmp_path / "labels.csv").write_text("a,b")
    (tmp_path / "train" / "b" / "notes.txt").write_text("x")
    (remark,) = ImageFolder(root=str(tmp_path)).divide().remarks
    assert remark == (
        "10 files are left out: 4 hidden (train/.hidden/); 4 of a system's own, such as thumbnails (train/a/@eaDir/); "
        "1 no images (.csv) (labels.csv); 1 no images (.txt) (train/b/notes.txt)"
    )


def test_a_class_without_images_says_what_is_there(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b")
    (tmp_path / "train" / "c").mkdir()
    (tmp_path / "train" / "c" / "0.dcm").write_bytes(b"DICM")
    said = refused(tmp_path)
    assert f"{tmp_path / 'train' / 'c'} has no images, but 1 files are left out: 1 in formats that Pillow" in said


def test_a_class_folder_that_is_another_by_a_link_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b")
    (tmp_path / "train" / "c").symlink_to(tmp_path / "train" / "a")
    assert "are one and the same folder" in refused(tmp_path)


def test_a_name_in_two_forms_of_unicode_is_one_class(tmp_path: Path) -> None:
    fill(tmp_path, "train/caf\xe9", "train/b")
    fill(tmp_path, "test/cafe\u0301", "test/b", first=100)
    division = ImageFolder(root=str(tmp_path)).divide()
    assert division.classes == ("b", "caf\xe9")
    assert len(division.parts["test"]) == 8


def test_another_form_of_unicode_is_no_other_data_set(tmp_path: Path) -> None:
    one = ImageFolder(root=str(fill(tmp_path / "1", "train/caf\xe9", "train/cb", count=9))).divide()
    two = ImageFolder(root=str(fill(tmp_path / "2", "train/cafe\u0301", "train/cb", count=9))).divide()
    # The pictures are of the place in the list above; what is compared is how they are ordered, called and drawn.
    assert one.classes == two.classes
    assert {name: part.digest() for name, part in one.parts.items()} == {
        name: part.digest() for name, part in two.parts.items()
    }


@pytest.mark.parametrize(
    "pair", [("caf\xe9", "cafe\u0301"), ("a b", "a\xa0b"), ("ab", "a\u200bb"), ("a", "a "), ("x", "\ufeffx")]
)
def test_two_names_that_look_equal_are_refused_with_their_codes(tmp_path: Path, pair: tuple[str, str]) -> None:
    said = refused(fill(tmp_path, *(f"train/{name}" for name in pair)))
    assert "look equal" in said
    assert all(ascii(name) in said for name in pair)


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "a\tb", "a\x07", "\u202eabc", "a\x9b1m"])
def test_names_that_control_a_terminal_are_refused(tmp_path: Path, name: str) -> None:
    said = refused(fill(tmp_path, f"train/{name}", "train/b"))
    assert "characters that control a terminal" in said
    assert name not in said


def test_a_name_that_is_no_utf_8_is_called_by_its_bytes(tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9")
    fill(tmp_path, f"train/{latin}", "train/b")
    division = ImageFolder(root=str(tmp_path)).divide()
    assert division.classes == ("b", "caf\\xe9")
    assert division.remarks[-1] == "1 class folders of train have names that are no UTF-8, and are called caf\\xe9"
    part = division.train
    assert all(part.called(i).encode() for i in range(len(part)))


@pytest.mark.parametrize("name", ["[flip,mixup]", "[\u2215x]", "=1+1", "<b>c", "50%", "a b", "'"])
def test_any_other_name_stands_as_it_is(tmp_path: Path, name: str) -> None:
    assert set(classes(fill(tmp_path, f"train/{name}", "train/b"))) == {"b", name}


def test_classes_their_sizes_and_the_kinds_of_files_are_said(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b")
    fill(tmp_path, "test/a", first=100)
    shutil.move(tmp_path / "train" / "b" / "0.png", tmp_path / "train" / "b" / "0.JPG")
    assert ImageFolder(root=str(tmp_path)).divide().held == "classes: a 8, b 4; files: 11 .png, 1 .jpg"


def test_very_many_classes_are_said_in_one_line(tmp_path: Path) -> None:
    fill(tmp_path, *(f"train/{i:02d}" for i in range(30)), count=3)
    held = ImageFolder(root=str(tmp_path)).divide().held
    assert "19 3 and 10 more; files" in held


def test_a_share_for_the_test_beside_test_images_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b")
    fill(tmp_path, "test/a", "test/b", first=100)
    assert refused(tmp_path, test_fraction=0.2).startswith("test_fraction: it is 0.2, but the set has test images")


def test_a_share_for_the_test_beside_folds_is_refused(tmp_path: Path) -> None:
    said = refused(fill(tmp_path, "train/a", "train/b", count=9), test_fraction=0.3, folds=3, fold=0)
    assert said.startswith("test_fraction: it is 0.3, but one of 3 folds is the test")


def test_validation_images_that_are_not_used_are_said(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b", count=8)
    fill(tmp_path, "valid/a", "valid/b", first=100)
    (remark,) = ImageFolder(root=str(tmp_path), train_per_class=4).divide(tested=False).remarks
    assert remark.startswith("the set's own 8 images for validation are not used: train_per_class")
    (remark,) = ImageFolder(root=str(tmp_path), val_fraction=0.3).divide(tested=False).remarks
    assert remark.startswith("val_fraction=0.3 is not used")
