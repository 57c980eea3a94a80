"""Images are named by their pixels, however they are stored, and files are looked at once."""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import paint
from tlfw.data import ImageArray, manifest
from tlfw.data.images import ImageFiles, Reading
from tlfw.data.pictures.decoding import content_of
from tlfw.errors import ConfigError
from tlfw.signals import Interrupted


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
    monkeypatch.setattr("tlfw.data.manifest.content_of", lambda path: pytest.fail(f"opened {path}"))
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


def other_arrays(content: bytes, **changed: np.ndarray) -> bytes:
    """The same manifest with other arrays in the place of some, well written."""
    file = io.BytesIO()
    np.savez(file, **(dict(np.load(io.BytesIO(content))) | changed))
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"[]",
        lambda content: content[:-30],
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"a.png", b"b.png"),  # the sum of the array is another then
        lambda content: other_arrays(content, kinds=np.frombuffer(b"[]", np.uint8)),
        lambda content: other_arrays(content, kinds=np.frombuffer(b"{", np.uint8)),
        lambda content: other_arrays(content, kinds=np.frombuffer(b"[[1,2,3,4,5,6,7,8,9]]", np.uint8)),
        lambda content: other_arrays(content, names=np.frombuffer(b"a.png\0b.png", np.uint8)),
        lambda content: other_arrays(content, rows=np.zeros(1)),
        lambda content: other_arrays(content, rows=np.zeros((), manifest.ROW)),
    ],
)
def test_a_damaged_manifest_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    found = files(tmp_path / "x", a_png=paint(0, 0))
    before = found.sums([0], tmp_path / "m")
    (book,) = (tmp_path / "m").iterdir()
    whole = book.read_bytes()
    book.write_bytes(damage(whole))
    assert found.sums([0], tmp_path / "m") == before
    assert book.read_bytes() == whole


def test_a_first_look_at_many_files_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("tlfw.data.manifest.MANY", 2)
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
    monkeypatch.setattr("tlfw.data.manifest.content_of", lambda path: looked.append(path) or content_of(path))
    for version, times in (("1", 1), ("1", 1), ("2", 2)):
        monkeypatch.setattr("tlfw.data.manifest.reader", lambda version=version: version)
        assert list(images.unreadable(tmp_path / "m")) == [0]
        assert len(looked) == times


def test_a_name_is_shown_so_that_it_does_nothing(tmp_path: Path) -> None:
    images = ImageFiles(tmp_path, ["\x1b[2J.png", os.fsdecode(b"\xe9.png")], [0, 0], ["a"])
    assert [images.called(i) for i in range(2)] == [f"{tmp_path}/\\x1b[2J.png", f"{tmp_path}/\\xe9.png"]


def test_a_copied_or_moved_folder_is_read_and_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files(tmp_path / "x", a_png=paint(0, 0), b_png=paint(0, 1).resize((15, 20)))
    (tmp_path / "x" / "bad.png").write_bytes(b"no image")
    names = [*found.names, "bad.png"]
    bad = ImageFiles(tmp_path / "x", names, [0] * 3, ["a"]).unreadable(tmp_path / "m")
    known = found.sums([0, 1], tmp_path / "m"), found.looks([0, 1], tmp_path / "m"), found.spans([0, 1], tmp_path / "m")
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    (tmp_path / "y" / "a.png").rename(tmp_path / "y" / "c.png")
    monkeypatch.setattr("tlfw.data.manifest.picture_in", lambda *_: pytest.fail("decoded"))
    copied = ImageFiles(tmp_path / "y", ["c.png", "b.png", "bad.png"], [0] * 3, ["a"])
    m = tmp_path / "m"
    assert (copied.sums([0, 1], m), copied.looks([0, 1], m), copied.spans([0, 1], m)) == known
    assert copied.unreadable(m) == bad == {2: bad[2]}


def test_what_is_known_of_a_content_is_of_its_ending_and_bound_and_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without a format's beginning is one only by its ending, and larger images may be wanted."""
    paint(0, 0).save(tmp_path / "a.tga")
    shutil.copy(tmp_path / "a.tga", tmp_path / "b.png")
    named = ImageFiles(tmp_path, ["a.tga", "b.png"], [0, 0], ["a"])
    assert list(named.unreadable(tmp_path / "m")) == [1]
    small = ImageFiles(tmp_path, ["a.tga"], [0], ["a"], reading=Reading(largest=3))
    assert list(small.unreadable(tmp_path / "m")) == [0]
    assert list(named.unreadable(tmp_path / "m")) == [1]
    monkeypatch.setattr("tlfw.data.manifest.reader", lambda: "another")
    shutil.copy(tmp_path / "a.tga", tmp_path / "c.png")
    opened: list[str] = []
    whole = manifest.picture_in
    monkeypatch.setattr("tlfw.data.manifest.picture_in", lambda *given: opened.append(given[1]) or whole(*given))
    ImageFiles(tmp_path, ["a.tga", "c.png"], [0, 0], ["a"]).unreadable(tmp_path / "m")
    assert opened == [".png"]  # what could be read stays known


def test_several_processes_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {f"{i}_png": paint(i % 5, i) for i in range(50)}
    found = files(tmp_path / "x", **given)
    (tmp_path / "x" / "7.png").write_bytes(b"no image")
    alone = found.unreadable(None)
    whole = [i for i in range(50) if i != 7]
    facts = found.sums(whole, None), found.looks(whole, None), found.spans(whole, None)
    state = torch.random.get_rng_state()
    monkeypatch.setattr(manifest, "SHARED", 2)
    monkeypatch.setattr(manifest, "cores", lambda: 2)
    m = tmp_path / "m"
    assert found.unreadable(m) == alone
    assert (found.sums(whole, m), found.looks(whole, m), found.spans(whole, m)) == facts
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_the_file_system_refuses_is_said_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files(tmp_path / "x", a_png=paint(0, 0), b_png=paint(0, 1))

    def refused(path: Path) -> bytes:
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_bytes()

    monkeypatch.setattr("tlfw.data.manifest.content_of", refused)
    with pytest.raises(ConfigError, match=r"b\.png.*Permission denied"):
        found.sums([0, 1], tmp_path / "m")
    monkeypatch.undo()
    assert len(found.sums([0, 1], tmp_path / "m")) == 2


def test_files_that_are_asked_for_in_turn_stay_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files(tmp_path / "x", **{f"{i}_png": paint(0, i) for i in range(4)})
    sums = [found.sums([i], tmp_path / "m")[0] for i in (2, 0, 3, 1)]
    monkeypatch.setattr("tlfw.data.manifest.content_of", lambda path: pytest.fail(f"opened {path}"))
    assert found.sums([2, 0, 3, 1], tmp_path / "m") == sums


def test_what_was_found_before_a_signal_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files(tmp_path / "x", **{f"{i}_png": paint(0, i) for i in range(5)})
    opened: list[str] = []

    def interrupted(path: Path) -> bytes:
        if path.name == "3.png" and not opened.count("3.png"):
            opened.append(path.name)
            raise Interrupted(signal.SIGINT)
        opened.append(path.name)
        return path.read_bytes()

    monkeypatch.setattr("tlfw.data.manifest.AT_ONCE", 1)
    monkeypatch.setattr("tlfw.data.manifest.content_of", interrupted)
    with pytest.raises(Interrupted):
        found.sums(range(5), tmp_path / "m")
    assert found.sums(range(5), tmp_path / "m") == found.sums(range(5), None)
    assert [opened.count(f"{i}.png") for i in range(5)] == [2, 2, 2, 3, 2]  # the last time nothing is kept
