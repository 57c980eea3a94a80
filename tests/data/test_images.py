"""Images are named by their pixels, however they are stored, and files are looked at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import paint
from tlfw.data import ImageArray
from tlfw.data.images import ImageFiles
from tlfw.data.pictures.decoding import open_image


def files(root: Path, **images: Image.Image) -> ImageFiles:
    """Each image in a file of its name, with `_` for the dot of its ending."""
    root.mkdir(exist_ok=True)
    names = [name.replace("_", ".") for name in images]
    for name, image in zip(names, images.values(), strict=True):
        image.save(root / name)
    return ImageFiles(root, names, [0] * len(names), ["a"])


def test_the_same_pixels_have_one_name_in_any_file_and_in_memory(tmp_path: Path) -> None:
    image, other = paint(0, 0), paint(0, 1)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    image.save(tmp_path / "fast.png", compress_level=0)
    found = files(tmp_path, a_png=image, b_bmp=image, c_tiff=image, d_png=other)
    found = ImageFiles(tmp_path, [*found.names, "turned.png", "fast.png"], [0] * 6, ["a"])
    sums = found.sums(range(6), None)
    assert len({sums[i] for i in (0, 1, 2, 4, 5)}) == 1
    assert sums[3] != sums[0]
    array = ImageArray(np.stack([np.asarray(other), np.asarray(image)]), np.zeros(2), "a")
    assert array.sums([1, 0], None) == [sums[0], sums[3]]
    grey = image.convert("L")
    assert ImageArray(np.asarray(grey)[None], np.zeros(1), "a").sums([0], None) == (
        files(tmp_path, g_png=grey).sums([0], None)
    )


def test_what_files_look_like_is_kept_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files(tmp_path / "x", a_png=paint(0, 0), b_png=paint(0, 1).resize((15, 20)))
    sums, looks = found.sums([0, 1], tmp_path / "m"), found.looks([1, 0], tmp_path / "m")
    assert looks[0] is None
    assert looks[1] == ImageArray(np.asarray(paint(0, 0))[None], np.zeros(1), "a").looks([0], None)[0]
    monkeypatch.setattr("tlfw.data.images.open_image", lambda path, _: pytest.fail(f"opened {path}"))
    assert found.sums([0, 1], tmp_path / "m") == sums
    assert found.looks([0, 1], tmp_path / "m") == looks[::-1]
    assert found.sums([0], tmp_path / "m") == sums[:1]


def test_a_file_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    found = files(tmp_path / "x", a_png=paint(0, 0), b_png=paint(0, 1))
    before = found.sums([0, 1], tmp_path / "m")
    Image.new("RGB", (9, 9)).save(tmp_path / "x" / "b.png")
    after = found.sums([0, 1], tmp_path / "m")
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize("content", ["", "[]", '{"a.png": [1, 2]}', '{"a.png": null}', '{"a.png": 3}'])
def test_a_damaged_manifest_is_made_again(tmp_path: Path, content: str) -> None:
    found = files(tmp_path / "x", a_png=paint(0, 0))
    before = found.sums([0], tmp_path / "m")
    (book,) = (tmp_path / "m").iterdir()
    book.write_text(content)
    assert found.sums([0], tmp_path / "m") == before
    assert set(json.loads(book.read_text())) == {"a.png"}


def test_a_first_look_at_many_files_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("tlfw.data.images.MANY", 2)
    found = files(tmp_path / "x", a_png=paint(0, 0), b_png=paint(0, 1))
    for _ in range(2):
        found.sums([0, 1], tmp_path / "m")
    assert capsys.readouterr().out == f"{tmp_path / 'x'}: 2 images are looked at for the first time\n"


def test_made_images_are_named_by_what_made_them() -> None:
    images = ImageArray(lambda: pytest.fail("made"), np.zeros(2), "a", name="maker")
    assert images.sums([1], None) == ["maker/1"]
    assert images.looks([0, 1], None) == [None, None]


def test_a_file_that_another_of_equal_size_and_time_replaces_is_looked_at_again(tmp_path: Path) -> None:
    """Archives and copying programs set the time of a file as they like."""
    for i in range(2):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"{i}.bmp")
        os.utime(tmp_path / f"{i}.bmp", (1_577_836_800, 1_577_836_800))
    images = ImageFiles(tmp_path, ["0.bmp", "1.bmp"], [0, 1], ["a", "b"])
    before = images.sums([0, 1], tmp_path / "m")
    (tmp_path / "0.bmp").rename(tmp_path / "x")
    (tmp_path / "1.bmp").rename(tmp_path / "0.bmp")
    (tmp_path / "x").rename(tmp_path / "1.bmp")
    assert images.sums([0, 1], tmp_path / "m") == before[::-1]
    content = (tmp_path / "0.bmp").read_bytes()
    with (tmp_path / "1.bmp").open("r+b") as file:  # the same inode
        file.write(content)
    os.utime(tmp_path / "1.bmp", (1_577_836_800, 1_577_836_800))
    assert images.sums([1], tmp_path / "m") == images.sums([0], tmp_path / "m")


def test_other_decoders_may_read_what_these_could_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0.png").write_bytes(b"no image yet")
    images = ImageFiles(tmp_path, ["0.png"], [0], ["a"])
    looked: list[Path] = []
    monkeypatch.setattr(
        "tlfw.data.images.open_image", lambda path, largest: looked.append(path) or open_image(path, largest)
    )
    for version, times in (("1", 1), ("1", 1), ("2", 2)):
        monkeypatch.setattr("tlfw.data.images.reader", lambda version=version: version)
        assert list(images.unreadable(tmp_path / "m")) == [0]
        assert len(looked) == times


def test_a_name_is_shown_so_that_it_does_nothing(tmp_path: Path) -> None:
    images = ImageFiles(tmp_path, ["\x1b[2J.png", os.fsdecode(b"\xe9.png")], [0, 0], ["a"])
    assert [images.called(i) for i in range(2)] == [f"{tmp_path}/\\x1b[2J.png", f"{tmp_path}/\\xe9.png"]
