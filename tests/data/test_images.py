"""Images are named by their pixels, however they are stored, and files are looked at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import paint
from tlfw.data import ImageArray
from tlfw.data.images import ImageFiles


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
