"""Test images that look nearly like one that some draw learns from."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tlfw.data import ImageArray
from tlfw.data.division import Part
from tlfw.data.images import ImageFiles
from tlfw.data.near_copies import NearCopies, Pair, find
from tlfw.data.pictures.fingerprint import CORRELATION


def picture(index: int, side: int = 48) -> Image.Image:
    """Smooth, as photographs are, with some grain."""
    random = np.random.default_rng(index)
    shapes = Image.fromarray(random.integers(0, 256, (7, 7, 3), dtype=np.uint8)).resize((side, side), 3)
    grain = random.normal(0, 6, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file).convert("RGB")


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BILINEAR)


CHANGES = {"resized": resized, "jpeg": jpeg, "flipped": ImageOps.mirror}


def part(folder: Path, **images: Image.Image) -> Part:
    folder.mkdir(exist_ok=True)
    for name, image in images.items():
        image.save(folder / f"{name}.png")
    found = ImageFiles(folder, [f"{name}.png" for name in images], [0] * len(images), ["a"])
    whole = np.arange(len(images))
    return Part(found, whole, tuple(found.sums(whole.tolist(), None)))


def test_planted_copies_are_found_and_no_others(tmp_path: Path) -> None:
    learnt = part(tmp_path / "learnt", **{f"i{i}": picture(i) for i in range(300)})
    planted = {f"{kind}{i}": change(picture(i)) for kind, change in CHANGES.items() for i in range(0, 300, 15)}
    test = part(tmp_path / "test", **planted, **{f"new{i}": picture(1000 + i) for i in range(100)})
    near = find(test, {"target/train": learnt}, None)
    found = {(Path(test.called(p.test)).stem, Path(learnt.called(p.other)).stem) for p in near.pairs}
    right = {(f"{kind}{i}", f"i{i}") for kind in CHANGES for i in range(0, 300, 15)}
    assert found <= right
    assert len(found) >= 0.95 * len(right)
    assert [p.correlation for p in near.pairs] == sorted((p.correlation for p in near.pairs), reverse=True)
    assert all(CORRELATION <= p.correlation <= 1 for p in near.pairs)


def test_equal_hashes_of_unlike_pictures_are_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels confirm; a picture of one colour is like no other."""
    monkeypatch.setattr("tlfw.data.images.looks", lambda image: "0" * 32)
    learnt = part(tmp_path / "learnt", a=picture(1), b=Image.new("RGB", (48, 48)), c=picture(2))
    test = part(tmp_path / "test", x=picture(3), y=Image.new("RGB", (48, 48), "red"), z=jpeg(picture(2)))
    assert [(p.test, p.other) for p in find(test, {"o": learnt}, None).pairs] == [(2, 2)]


def test_several_parts_are_searched_and_each_is_named(tmp_path: Path) -> None:
    one, two = part(tmp_path / "one", a=picture(1), b=picture(2)), part(tmp_path / "two", c=picture(3), d=picture(4))
    test = part(tmp_path / "test", x=jpeg(picture(4)), y=picture(9), z=ImageOps.mirror(picture(2)))
    chosen = Part(two.images, np.array([1]), two.sums_M[1:])  # positions are those in the part, not in its list
    near = find(test, {"target/train": one, "source/train": chosen}, None)
    assert [(p.test, p.part, p.other) for p in near.pairs] == [(2, "target/train", 1), (0, "source/train", 0)]


def test_small_and_made_images_are_not_looked_at(tmp_path: Path) -> None:
    small = part(tmp_path / "small", a=picture(1).resize((15, 40)))
    large = part(tmp_path / "large", a=picture(1))
    made = ImageArray(lambda: pytest.fail("made"), np.zeros(1), "a", name="maker")
    typeset = Part(made, np.arange(1), ("maker/0",))
    for test, other in ((small, large), (large, small), (large, typeset), (typeset, large)):
        assert find(test, {"o": other}, None).pairs == ()
    assert len(find(large, {"o": large}, None).pairs) == 1


def test_what_was_found_is_remembered_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt, test = part(tmp_path / "learnt", a=picture(1), b=picture(2)), part(tmp_path / "test", x=picture(2))
    first = find(test, {"o": learnt}, tmp_path / "m")
    with monkeypatch.context() as forgetful:
        forgetful.setattr("tlfw.data.manifest.content_of", lambda path: pytest.fail("opened"))
        forgetful.setattr("tlfw.data.images.open_image", lambda *_: pytest.fail("opened"))
        again = find(test, {"o": learnt}, tmp_path / "m")
        assert again.pairs == first.pairs == (Pair(0, "o", 1, 1.0),)
    (book,) = (tmp_path / "m").glob("near-*")
    book.write_text("[[1]]")
    assert find(test, {"o": learnt}, tmp_path / "m").pairs == first.pairs
    assert find(test, {"o": part(tmp_path / "learnt", a=picture(1), b=picture(3))}, tmp_path / "m").pairs == ()


def test_at_most_the_ten_nearest_are_compared(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    base = np.asarray(picture(1), dtype=int)
    like = [
        Image.fromarray((base + random.integers(0, 2, base.shape)).clip(0, 255).astype(np.uint8)) for _ in range(14)
    ]
    learnt = part(tmp_path / "learnt", **{f"i{i}": image for i, image in enumerate(like)})
    near = find(part(tmp_path / "test", x=picture(1)), {"o": learnt}, None)
    assert len(near.pairs) == len({p.other for p in near.pairs}) == 10


def test_the_file_has_names_and_some_pictures(tmp_path: Path) -> None:
    learnt = part(tmp_path / "learnt", **{f"i{i}": picture(i, 80) for i in range(15)})
    test = part(tmp_path / "test", **{f"t{i}": picture(i, 80) for i in range(15)})
    near = find(test, {"source/train": learnt}, None)
    path = near.write(tmp_path / "out")
    assert path == tmp_path / "out" / f"{near.digest}.json"
    facts = json.loads(path.read_text())
    assert len(facts["pairs"]) == 15
    assert facts["pairs"][0] | {"thumbnails": None} == {
        "test": str(tmp_path / "test" / "t0.png"), "other": str(tmp_path / "learnt" / "i0.png"),
        "part": "source/train", "correlation": 1.0, "thumbnails": None,
    }  # fmt: skip
    assert ["thumbnails" in pair for pair in facts["pairs"]] == [True] * 12 + [False] * 3
    for text, side in zip(facts["pairs"][3]["thumbnails"], ("test/t3", "learnt/i3"), strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(text)))
        assert (shown.format, shown.size) == ("PNG", (64, 64))
        original = Image.open(tmp_path / f"{side}.png").resize((64, 64), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(shown, dtype=int) - np.asarray(original, dtype=int)).mean() < 4
    before = path.stat().st_mtime_ns
    assert near.write(tmp_path / "out") == path
    assert path.stat().st_mtime_ns == before
    assert NearCopies(test, near.others, near.pairs[1:]).digest != near.digest
