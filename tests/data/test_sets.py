"""The data sets a config can name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlfw.data import Digits, ImageFolder
from tlfw.data.sets import Part
from tlfw.errors import ConfigError


def named(part: Part, manifests: Path = Path()) -> str:
    return part.digest(part.sums(manifests))


def test_digits_are_scikit_learns_with_a_fixed_stratified_test_half() -> None:
    division = Digits().divide()
    assert len(division.test) == 899
    assert len(division.train) + len(division.val) == 898
    counts = np.bincount(division.test.labels_M)
    assert counts.max() - counts.min() <= 5
    other = Digits(split_seed=3).divide()
    assert named(division.test) == named(other.test)
    assert named(division.train) != named(other.train)
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
    digests = [named(ImageFolder(root=str(root)).divide().train, tmp_path / "m") for root in (first, second)]
    assert digests[0] == digests[1]
    part = ImageFolder(root=str(first)).divide().train
    victim = first / part.images.names[part.indices[0]]
    Image.new("RGB", (8, 8)).save(victim)
    assert named(ImageFolder(root=str(first)).divide().train, tmp_path / "m") != digests[1]


def test_files_are_read_once_for_their_digest(folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder("one")
    before = named(ImageFolder(root=str(root)).divide().train, tmp_path / "m")
    monkeypatch.setattr("tlfw.data.images._decode", lambda path: pytest.fail(f"opened {path}"))
    assert named(ImageFolder(root=str(root)).divide().train, tmp_path / "m") == before


def test_a_class_that_only_the_test_has_is_an_error(folder) -> None:
    root = folder("images")
    (root / "test" / "class9").mkdir()
    with pytest.raises(ConfigError, match=r"root: .*'class9'"):
        ImageFolder(root=str(root)).divide()


def test_one_class_is_none(folder) -> None:
    with pytest.raises(ConfigError, match="only the class 'class0'"):
        ImageFolder(root=str(folder("images", classes=1))).divide()


def odd_images(folder: Path) -> dict[str, tuple[int, int, int]]:
    """One red or grey image in each mode that people have, and the colour that it should be seen as."""
    folder.mkdir(parents=True)
    red = Image.new("RGB", (20, 30), (200, 0, 0))
    red.save(folder / "rgb.jpg", quality=95)
    red.convert("RGBA").save(folder / "with alpha.png")
    red.quantize(4).save(folder / "palette.gif")
    red.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    red.convert("1").save(folder / "bits.bmp")
    Image.new("L", (20, 30), 128).save(folder / "grau-größe.png")
    Image.new("LA", (20, 30), (128, 255)).save(folder / "灰.png")
    Image.fromarray(np.full((30, 20), 128 * 257, dtype=np.uint16)).save(folder / "16 bit.png")
    Image.fromarray(np.full((30, 20), 128 * 257, dtype=np.uint16)).save(folder / "16 bit.tiff")
    (folder / "link.png").symlink_to(folder / "palette.gif")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_text("not an image")
    grey, seen_red = (128, 128, 128), (200, 0, 0)
    return {
        "rgb.jpg": seen_red, "with alpha.png": seen_red, "cmyk.jpg": seen_red, "link.png": seen_red,
        "grau-größe.png": grey, "灰.png": grey, "16 bit.png": grey, "16 bit.tiff": grey,
    }  # fmt: skip


def test_images_of_every_mode_are_seen_as_people_see_them(tmp_path: Path) -> None:
    expected = odd_images(tmp_path / "ein Ordner" / "train" / "rot und grau")
    odd_images(tmp_path / "ein Ordner" / "train" / "b")
    images = ImageFolder(root=str(tmp_path / "ein Ordner")).read("train")
    names = {Path(name).name: i for i, name in enumerate(images.names) if "rot" in name}
    assert set(expected) <= set(names)
    assert not {"notes.txt", ".hidden.png"} & set(names)
    for name, colour in expected.items():
        image = images.open(names[name])
        assert (image.mode, image.size) == ("RGB", (20, 30))
        assert np.abs(np.asarray(image).astype(int) - colour).max() <= 12, name


def test_an_image_that_a_camera_turned_is_turned_back(tmp_path: Path) -> None:
    for label in ("a", "b"):
        place = tmp_path / "train" / label
        place.mkdir(parents=True)
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter
        Image.new("RGB", (40, 20)).save(place / "x.jpg", exif=exif)
    assert ImageFolder(root=str(tmp_path)).read("train").open(0).size == (20, 40)


def test_very_unequal_and_very_many_classes(tmp_path: Path) -> None:
    root = tmp_path / "many"
    for label in range(300):
        place = root / "train" / f"{label:03d}"
        place.mkdir(parents=True)
        for i in range(1 if label else 10):
            Image.new("L", (4, 4), label % 256).save(place / f"{i}.png")
    division = ImageFolder(root=str(root)).divide(tested=False)
    assert len(division.classes) == 300
    assert len(division.train) == 299 + 8
    assert len(division.val) == 2
    assert set(division.train.labels_M) == set(range(300))


def test_system_folders_and_loops_are_not_read(folder) -> None:
    root = folder("images")
    place = root / "train" / "class0"
    hidden = place / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "0.png").write_bytes((place / "0.png").read_bytes())
    (place / "loop").symlink_to(root / "train" / "class0", target_is_directory=True)
    (place / "below").mkdir()
    (place / "0.png").rename(place / "below" / "0.PNG")
    names = ImageFolder(root=str(root)).read("train").names
    assert len(names) == len(set(names)) == 18
    assert "train/class0/below/0.PNG" in names


def test_a_class_folder_may_be_a_link(folder, tmp_path: Path) -> None:
    root = folder("images")
    (root / "train" / "class0").rename(tmp_path / "elsewhere")
    (root / "train" / "class0").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(ImageFolder(root=str(root)).read("train").names) == 18


def test_floating_point_images_are_refused(folder, tmp_path: Path) -> None:
    root = folder("images")
    (root / "train" / "class0" / "0.png").unlink()
    Image.new("F", (8, 8), 0.5).save(root / "train" / "class0" / "0.tiff")
    with pytest.raises(ConfigError, match=r"0\.tiff cannot be read .*floating-point"):
        named(Part(ImageFolder(root=str(root)).read("train"), np.arange(18)), tmp_path / "m")
