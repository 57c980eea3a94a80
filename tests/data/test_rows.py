"""One seam between where images come from and what is done with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import paint
from tlfw.data import Digits, ImageArray, ImageFolder
from tlfw.data.division import Draw, divide
from tlfw.data.rows import Row, Rows, stock
from tlfw.errors import ConfigError


def table(root: Path, count: int = 24, grouped: bool = True) -> list[Row]:
    """A flat folder of images and what a table says of them, as another source than folders would."""
    root.mkdir()
    rows = []
    for i in range(count):
        paint(i % 2, i, 20).save(root / f"img_{i}.png")
        group = f"animal {i // 4}" if grouped else None
        rows.append(Row(f"img_{i}.png", i % 2, ("train", None, "test")[i % 3] if not grouped else None, group))
    return rows


def test_a_source_of_rows_is_divided_by_its_own_splits(tmp_path: Path) -> None:
    rows = Rows.of_files(tmp_path / "x", table(tmp_path / "x", grouped=False), ["cat", "dog"])
    assert {split: len(images.labels_N) for split, images in rows.lists.items()} == {"train": 16, "test": 8}
    division = divide(stock(rows, False, None, None), Draw(val_fraction=0.25))
    assert division.counts == {"train": 12, "val": 4, "test": 8}
    assert division.test.groups_M is None
    assert division.test.called(1) == str(tmp_path / "x" / "img_5.png")


def test_a_source_may_know_groups_itself(tmp_path: Path) -> None:
    rows = Rows.of_files(tmp_path / "x", table(tmp_path / "x"), ["cat", "dog"])
    division = divide(stock(rows, False, None, None), Draw())
    sides = [set(part.groups_M) for part in division.parts.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6


def test_groups_of_some_images_only_are_refused(tmp_path: Path) -> None:
    rows = table(tmp_path / "x")
    rows[3] = rows[3]._replace(group=None)
    with pytest.raises(ConfigError, match=r"group: 1 of 24 images have none: img_3.png"):
        Rows.of_files(tmp_path / "x", rows, ["cat", "dog"])


def folders(root: Path) -> Path:
    for label in ("a", "b"):
        for subject in ("s1", "s2"):
            for i in range(2):
                file = root / "train" / label / subject / "day 1" / f"{subject}-{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                paint(label == "b", hash((label, subject, i)) % 1000).save(file)
    return root


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (1, ["s1", "s1", "s2", "s2"] * 2),
        (2, ["day 1"] * 8),
        ("/(?P<group>s[0-9])/", ["s1", "s1", "s2", "s2"] * 2),
        ("^train/(?P<group>./s.)", ["a/s1", "a/s1", "a/s2", "a/s2", "b/s1", "b/s1", "b/s2", "b/s2"]),
        ("(?P<group>[0-9])[.]png$", ["0", "1"] * 4),
    ],
)
def test_a_path_says_what_belongs_together(tmp_path: Path, by: str | int, groups: list[str]) -> None:
    nested = "merge" if by == "(?P<group>[0-9])[.]png$" else "refuse"  # it names none of the folders
    found = ImageFolder(root=str(folders(tmp_path / "images")), group=by, nested=nested).stock()
    assert list(found.rows.groups["train"]) == groups


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (3, r"group: 8 of 8 images for train have no folder 3 below their class's, such as train/a/s1/day 1/s1-0.png"),
        ("(?P<group>s2)", r"group: 4 of 8 images for train have no match of .*, such as train/a/s1/day 1/s1-0.png"),
        ("(?P<group>x*)", r"group: 8 of 8 images for train have no match"),
        ("s1|(?P<group>s2)", r"group: 4 of 8 images for train have no match"),
    ],
)
def test_images_without_a_group_are_counted(tmp_path: Path, by: str | int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ImageFolder(root=str(folders(tmp_path / "images")), group=by).stock()


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("(s1)", r"group: '\(s1\)' has no group named group. Put it around"),
        ("(?P<group>", r"group: .* is no regular expression \("),
        (0, r"group: there is no folder 0 below a class's"),
    ],
)
def test_what_names_no_group_is_refused_at_once(by: str | int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ImageFolder(root="nowhere", group=by)


def test_sets_without_paths_have_no_groups(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"group: its images lie in no files"):
        Digits(group="(?P<group>.)").stock()
    rows = Rows.of_files(tmp_path / "x", table(tmp_path / "x", grouped=False), ["cat", "dog"])
    with pytest.raises(ConfigError, match=r"group: here no folder is known to be a class's"):
        rows.grouped(1)


def test_images_are_called_by_path_or_number(folder) -> None:
    assert ImageFolder(root=str(folder("images", train=1))).rows(["train"]).names("train") == tuple(
        f"train/class{i}/0.png" for i in range(3)
    )
    array = ImageArray(np.zeros((2, 4, 4), np.uint8), np.arange(2), "ab")
    assert Rows({"train": array}).names("train") == ["0", "1"]


def test_groups_of_unreadable_images_go_with_them(tmp_path: Path) -> None:
    rows = Rows.of_files(tmp_path / "x", table(tmp_path / "x"), ["cat", "dog"])
    (tmp_path / "x" / "img_4.png").write_bytes(b"no image")
    found = stock(rows, True, None, None)
    assert found.rows.groups["train"][3:5] == ("animal 0", "animal 1")
    assert len(found.rows.groups["train"]) == len(found.sums["train"]) == 23
    assert found.remarks == ("1 of 24 images cannot be read and are left out: img_4.png",)
