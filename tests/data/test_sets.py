"""The data sets a config can name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import paint
from tests.tiny import SIZE, experiment
from tlfw.data import Digits, ImageArray, ImageFolder
from tlfw.data.division import Part
from tlfw.data.images import ImageFiles
from tlfw.data.pictures.decoding import decoded
from tlfw.errors import ConfigError


def files(root: Path, **given: Any) -> ImageFiles:
    """The training images of a folder."""
    found = ImageFolder(root=str(root), **given).rows(["train"]).lists["train"]
    assert isinstance(found, ImageFiles)
    return found


def test_digits_are_scikit_learns_with_a_fixed_stratified_test_half() -> None:
    division = Digits().divide()
    assert len(division.test) == 899
    assert len(division.train) + len(division.val) == 898
    counts = np.bincount(division.test.labels_M)
    assert counts.max() - counts.min() <= 5
    other = Digits(split_seed=3).divide()
    assert division.test.digest() == other.test.digest()
    assert division.train.digest() != other.train.digest()
    image = division.test.images.open(0).shown()
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
    digests = [ImageFolder(root=str(root)).divide(manifests=tmp_path / "m").train.digest() for root in (first, second)]
    assert digests[0] == digests[1]
    part = ImageFolder(root=str(first)).divide().train
    victim = first / part.images.names[part.indices[0]]
    Image.new("RGB", (8, 8)).save(victim)
    assert ImageFolder(root=str(first)).divide(manifests=tmp_path / "m").train.digest() != digests[1]


def test_files_are_read_once_for_their_digest(folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder("one")
    before = ImageFolder(root=str(root)).divide(manifests=tmp_path / "m").train.digest()
    monkeypatch.setattr("tlfw.data.manifest.picture_in", lambda *_: pytest.fail("decoded"))
    assert ImageFolder(root=str(root)).divide(manifests=tmp_path / "m").train.digest() == before


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
        "rgb.jpg": seen_red, "with alpha.png": seen_red, "cmyk.jpg": seen_red, "palette.gif": seen_red,
        "grau-größe.png": grey, "灰.png": grey, "16 bit.png": grey, "16 bit.tiff": grey,
    }  # fmt: skip


def test_images_of_every_mode_are_seen_as_people_see_them(tmp_path: Path) -> None:
    expected = odd_images(tmp_path / "ein Ordner" / "train" / "rot und grau")
    odd_images(tmp_path / "ein Ordner" / "train" / "b")
    images = files(tmp_path / "ein Ordner")
    names = {Path(name).name: i for i, name in enumerate(images.names) if "rot" in name}
    assert set(expected) <= set(names)
    assert not {"notes.txt", ".hidden.png", "link.png"} & set(names)
    for name, colour in expected.items():
        image = images.open(names[name]).shown()
        assert (image.mode, image.size) == ("RGB", (20, 30))
        assert np.abs(np.asarray(image).astype(int) - colour).max() <= 12, name


def test_an_image_that_a_camera_turned_is_turned_back(tmp_path: Path) -> None:
    for label in ("a", "b"):
        place = tmp_path / "train" / label
        place.mkdir(parents=True)
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter
        Image.new("RGB", (40, 20)).save(place / "x.jpg", exif=exif)
    assert files(tmp_path).open(0).size == (20, 40)


def test_very_unequal_and_very_many_classes(tmp_path: Path) -> None:
    root = tmp_path / "many"
    for label in range(300):
        place = root / "train" / f"{label:03d}"
        place.mkdir(parents=True)
        for i in range(1 if label else 10):
            Image.new("RGB", (4, 4), (label % 256, label // 256, i)).save(place / f"{i}.png")
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
    names = files(root, nested="merge").names
    assert len(names) == len(set(names)) == 18
    assert "train/class0/below/0.PNG" in names


def test_a_class_folder_may_be_a_link(folder, tmp_path: Path) -> None:
    root = folder("images")
    (root / "train" / "class0").rename(tmp_path / "elsewhere")
    (root / "train" / "class0").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(files(root).names) == 18


def test_floating_point_images_are_refused(folder, tmp_path: Path) -> None:
    root = folder("images")
    (root / "train" / "class0" / "0.png").unlink()
    Image.new("F", (8, 8), 0.5).save(root / "train" / "class0" / "0.tiff")
    with pytest.raises(ConfigError, match=r"cannot be read: .*0\.tiff .*floating-point"):
        files(root).sums(range(18), tmp_path / "m")


def test_a_thousand_classes_of_two_images_are_planned(tmp_path: Path) -> None:
    """Every class trains on one image and validates on the other."""
    for label in range(1000):
        place = tmp_path / "thousand" / "train" / f"{label:04d}"
        place.mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (4, 4), (label % 256, label // 256, i)).save(place / f"{i}.png")
    thousand = ImageFolder(root=str(tmp_path / "thousand"), image_size=SIZE, balance="sampling")
    source = experiment(tmp_path, source=thousand)
    plan = source.plan()
    division = plan.divisions["source"]
    assert division.train.labels_M.tolist() == division.val.labels_M.tolist() == list(range(1000))
    assert (division.train.class_weights() == 1).all()
    target = experiment(tmp_path, target=ImageFolder(root=str(tmp_path / "thousand"), image_size=SIZE))
    with pytest.raises(ConfigError, match=r"target.val_fraction: no class has an image to spare"):
        target.plan()  # the other images are for the test


def damage(root: Path, *names: str) -> None:
    for i, name in enumerate(names):
        (root / name).write_bytes(b"no image" if i else (root / name).read_bytes()[:60])


def test_unreadable_images_are_named_together(folder, tmp_path: Path) -> None:
    root = folder("images", train=10)
    names = [f"train/class1/{i}.png" for i in range(4)]
    damage(root, names[0])
    whole = files(root)
    with pytest.raises(ConfigError, match=r"root: the image cannot be read: .*class1/0.png \(.*\)\. .*skip_unreadable"):
        whole.sums(range(30), tmp_path / "m")
    damage(root, *names)
    for _ in range(2):  # found, and then known
        with pytest.raises(
            ConfigError, match=r"root: 4 images cannot .*/0.png \(.*/1.png \(.*/2.png \(.*\) and 1 more\. "
        ) as found:
            whole.sums(range(30), tmp_path / "m")
        assert "/3.png" not in str(found.value)


def test_unreadable_images_are_left_out_before_anything_is_divided(folder, tmp_path: Path) -> None:
    damaged, clean = folder("damaged", train=10), folder("clean", train=10)
    names = ["train/class0/3.png", "train/class1/0.png", "train/class1/7.png", "test/class2/1.png"]
    damage(damaged, *names)
    for name in names:
        (clean / name).unlink()
    skipping = ImageFolder(root=str(damaged), skip_unreadable=True)
    for manifests in (None, tmp_path / "m", tmp_path / "m"):
        found, expected = skipping.divide(manifests=manifests), ImageFolder(root=str(clean)).divide()
        for part in ("train", "val", "test"):
            one, other = getattr(found, part), getattr(expected, part)
            assert one.indices.tolist() == other.indices.tolist()
            assert one.digest() == other.digest()
        assert found.remarks == (f"4 of 42 images cannot be read and are left out: {', '.join(names[:3])} and 1 more",)


def test_what_cannot_be_read_is_remembered_until_it_or_pillow_changes(
    folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder("images", train=10)
    damage(root, "train/class0/3.png")
    skipping = ImageFolder(root=str(root), skip_unreadable=True)
    assert len(skipping.divide(manifests=tmp_path / "m").train) == 23
    with monkeypatch.context() as unchanged:
        unchanged.setattr("tlfw.data.manifest.picture_in", lambda *_: pytest.fail("decoded"))
        assert len(skipping.divide(manifests=tmp_path / "m").train) == 23
        unchanged.setattr("PIL.__version__", "0")
        unchanged.setattr("tlfw.data.manifest.picture_in", lambda *_: decoded(paint(0, 3)))
        assert len(skipping.divide(manifests=tmp_path / "m").train) == 24
    paint(0, 3).save(root / "train/class0/3.png")
    assert len(skipping.divide(manifests=tmp_path / "m").train) == 24


def test_a_class_without_readable_images_is_an_error(folder, tmp_path: Path) -> None:
    root = folder("images", train=2)
    damage(root, "train/class1/0.png", "train/class1/1.png")
    with pytest.raises(
        ConfigError,
        match=r"root: none of the images of class 'class1' for train can be read, .*1/0.png for one \(.*\)\. ",
    ):
        ImageFolder(root=str(root), skip_unreadable=True).divide(manifests=tmp_path / "m")


def test_a_file_that_the_system_does_not_open_is_never_left_out(
    folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is away for a moment must not make another data set."""
    root = folder("images")
    (root / "train/class1/0.png").unlink()
    (root / "train/class1/0.png").symlink_to(root / "nowhere.png")
    skipping = ImageFolder(root=str(root), skip_unreadable=True)
    with pytest.raises(ConfigError, match=r"0.png \(.*No such file"):
        skipping.divide(manifests=tmp_path / "m")
    monkeypatch.setattr("tlfw.data.manifest.picture_in", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        ImageFolder(root=str(folder("more")), skip_unreadable=True).divide(manifests=tmp_path / "m")


def test_class_weights_are_scikit_learns() -> None:
    part = Part(ImageArray(np.zeros((10, 2, 2)), np.array([0] * 6 + [1] * 3 + [3]), "abcd"), np.arange(10))
    weights_K = part.class_weights()
    assert weights_K.dtype == np.float32
    assert weights_K.tolist() == pytest.approx([10 / 18, 10 / 9, 0, 10 / 3])
    assert weights_K[part.labels_M].mean() == pytest.approx(1)
