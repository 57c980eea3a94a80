"""torchvision's data sets, each read from files that are made here in its own format.

The real files are large, and checked by torchvision for being the real ones; only that check is
switched off. What is tested is that tlfw finds the splits, the labels, the classes and the images.
"""

from __future__ import annotations

import bz2
import itertools
import json
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets
from PIL import Image

from tlfw.data import TorchvisionSet
from tlfw.data.published import SETS
from tlfw.errors import ConfigError

N = 6
"""Images of each split, in two classes, first the one and then the other."""


def jpg(path: Path) -> None:
    """A picture that no other file has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(str(path).encode())).integers(256, size=(10, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PPM" if path.suffix == ".ppm" else "JPEG")


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def labels(first: int = 0) -> list[int]:
    return [first] * (N // 2) + [first + 1] * (N // 2)


def grey(n: int, side: int = 28) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 255, (n, side, side), dtype=np.uint8)


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def cifar(root: Path, folder: str, batches: list[str], meta: str, key: str, names: str) -> None:
    (root / folder).mkdir(parents=True)
    for i, name in enumerate(batches):
        pixels = np.random.default_rng(i).integers(256, size=(N, 3072), dtype=np.uint8)
        (root / folder / name).write_bytes(pickle.dumps({"data": pixels, key: labels()}))
    (root / folder / meta).write_bytes(pickle.dumps({names: [f"c{i}" for i in range(10)]}))


def mnist(root: Path, folder: str, prefix: str = "") -> None:
    for split in ("train", "t10k"):
        name = {"": split, "emnist": f"emnist-balanced-{split.replace('t10k', 'test')}"}[prefix]
        idx(root / folder / "raw" / f"{name}-images-idx3-ubyte", grey(N))
        idx(root / folder / "raw" / f"{name}-labels-idx1-ubyte", np.array(labels(), np.uint8))


def usps(root: Path) -> None:
    random = np.random.default_rng(0)
    rows = [" ".join(f"{i}:{x}" for i, x in enumerate(random.integers(-1, 2, 256), 1)) for _ in range(N)]
    lines = "\n".join(f"{label + 1} {row}" for label, row in zip(labels(), rows, strict=True))
    for name in ("usps.bz2", "usps.t.bz2"):
        (root / name).write_bytes(bz2.compress(lines.encode()))


def svhn(root: Path) -> None:
    for split in ("train", "test"):
        pixels = np.random.default_rng(0).integers(256, size=(32, 32, 3, N), dtype=np.uint8)
        scipy.io.savemat(root / f"{split}_32x32.mat", {"X": pixels, "y": np.array(labels(), np.uint8)[:, None]})


def stl10(root: Path) -> None:
    folder = root / "stl10_binary"
    folder.mkdir()
    text(folder / "class_names.txt", *(f"c{i}" for i in range(10)))
    for split in ("train", "test"):
        (folder / f"{split}_X.bin").write_bytes(grey(N * 3, 96).tobytes())
        (folder / f"{split}_y.bin").write_bytes((np.array(labels(1), np.uint8)).tobytes())


def flowers(root: Path) -> None:
    base = root / "flowers-102"
    for i in range(1, 3 * N + 1):
        jpg(base / "jpg" / f"image_{i:05d}.jpg")
    parts = np.arange(1, 3 * N + 1).reshape(3, N)
    scipy.io.savemat(base / "setid.mat", {"trnid": parts[0], "valid": parts[1], "tstid": parts[2]})
    scipy.io.savemat(base / "imagelabels.mat", {"labels": np.array(labels(1) * 3)})


def pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    for split in ("trainval", "test"):
        names = [f"{'Beagle' if label == 1 else 'Sphynx'}_{split}{i}" for i, label in enumerate(labels(1))]
        for name in names:
            jpg(base / "images" / f"{name}.jpg")
        text(
            base / "annotations" / f"{split}.txt",
            *(f"{n} {label} 1 1" for n, label in zip(names, labels(1), strict=True)),
        )


def dtd(root: Path) -> None:
    base = root / "dtd" / "dtd"
    for split in ("train", "val", "test"):
        names = [f"{'banded' if label == 0 else 'woven'}/{split}{i}.jpg" for i, label in enumerate(labels())]
        for name in names:
            jpg(base / "images" / name)
        text(base / "labels" / f"{split}1.txt", *names)


def food(root: Path) -> None:
    base = root / "food-101"
    for split in ("train", "test"):
        names = {food: [f"{food}/{split}{i}" for i in range(N // 2)] for food in ("pizza", "ramen")}
        for name in itertools.chain(*names.values()):
            jpg(base / "images" / f"{name}.jpg")
        text(base / "meta" / f"{split}.json", json.dumps(names))


def folders(*splits: str, classes: tuple[str, str] = ("a", "b"), ending: str = "jpg") -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for split in splits:
            for i, label in enumerate(labels()):
                jpg(root / split / classes[label] / f"{split.split('/')[-1]}{i}.{ending}")

    return make


def pcam(root: Path) -> None:
    (root / "pcam").mkdir(parents=True)
    for k, split in enumerate(("train", "valid", "test")):
        start = root / "pcam" / f"camelyonpatch_level_2_split_{split}"
        with h5py.File(f"{start}_x.h5", "w") as file:
            file["x"] = np.random.default_rng(k).integers(256, size=(N, 96, 96, 3), dtype=np.uint8)
        with h5py.File(f"{start}_y.h5", "w") as file:
            file["y"] = np.array(labels(), np.uint8).reshape(N, 1, 1, 1)


def caltech101(root: Path) -> None:
    base = root / "caltech101" / "101_ObjectCategories"
    (base / "BACKGROUND_Google").mkdir(parents=True)
    (root / "caltech101" / "Annotations").mkdir()
    for name in ("ant", "bonsai"):
        for i in range(1, N // 2 + 1):
            jpg(base / name / f"image_{i:04d}.jpg")


def caltech256(root: Path) -> None:
    for k, name in enumerate(("001.ak47", "002.flag"), 1):
        for i in range(1, N // 2 + 1):
            jpg(root / "caltech256" / "256_ObjectCategories" / name / f"{k:03d}_{i:04d}.jpg")


def aircraft(root: Path) -> None:
    base = root / "fgvc-aircraft-2013b" / "data"
    text(base / "variants.txt", "707-320", "A300B4")
    for split in ("train", "val", "test"):
        lines = [f"{split}{i} {('707-320', 'A300B4')[label]}" for i, label in enumerate(labels())]
        for line in lines:
            jpg(base / "images" / f"{line.split()[0]}.jpg")
        text(base / f"images_variant_{split}.txt", *lines)


def cars(root: Path) -> None:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    scipy.io.savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(["Acura", "BMW"], dtype=object)})
    kinds = [("fname", object), ("class", object)]
    rows = np.array([(f"{i}.jpg", label) for i, label in enumerate(labels(1))], dtype=kinds)
    scipy.io.savemat(base / "devkit" / "cars_train_annos.mat", {"annotations": rows})
    scipy.io.savemat(base / "cars_test_annos_withlabels.mat", {"annotations": rows})
    for folder in ("cars_train", "cars_test"):
        for i in range(N):
            jpg(base / folder / f"{i}.jpg")


def gtsrb(root: Path) -> None:
    base = root / "gtsrb"
    for i, label in enumerate(labels()):
        jpg(base / "GTSRB" / "Training" / f"{label:05d}" / f"{i}.ppm")
        jpg(base / "GTSRB" / "Final_Test" / "Images" / f"{i}.ppm")
    text(base / "GT-final_test.csv", "Filename;ClassId", *(f"{i}.ppm;{label}" for i, label in enumerate(labels())))


def sun(root: Path) -> None:
    text(root / "SUN397" / "ClassName.txt", "/a/abbey", "/b/beach/wild")
    for i, label in enumerate(labels()):
        jpg(root / "SUN397" / ("a/abbey", "b/beach/wild")[label] / f"sun_{i}.jpg")


def places(root: Path) -> None:
    text(root / "categories_places365.txt", "/a/airfield 0", "/b/bar 1")
    train = [f"/{('a/airfield', 'b/bar')[label]}/{i:08d}.jpg {label}" for i, label in enumerate(labels())]
    val = [f"Places365_val_{i:08d}.jpg {label}" for i, label in enumerate(labels())]
    text(root / "places365_train_standard.txt", *train)
    text(root / "places365_val.txt", *val)
    for line in train:
        jpg(root / "data_256_standard" / line.split()[0].lstrip("/"))
    for line in val:
        jpg(root / "val_256" / line.split()[0])


WNIDS = ("n01440764", "n02102040")


def imagenet(root: Path) -> None:
    torch.save(({WNIDS[0]: ("tench",), WNIDS[1]: ("English springer", "springer")}, list(WNIDS)), root / "meta.bin")
    folders("train", "val", classes=WNIDS, ending="JPEG")(root)


BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
SST = ("rendered-sst2/train", "rendered-sst2/valid", "rendered-sst2/test")

MAKE: dict[str, Callable[[Path], Any]] = {
    "CIFAR10": lambda r: cifar(r, "cifar-10-batches-py", BATCHES, "batches.meta", "labels", "label_names"),
    "CIFAR100": lambda r: cifar(r, "cifar-100-python", ["train", "test"], "meta", "fine_labels", "fine_label_names"),
    "MNIST": lambda r: mnist(r, "MNIST"),
    "FashionMNIST": lambda r: mnist(r, "FashionMNIST"),
    "KMNIST": lambda r: mnist(r, "KMNIST"),
    "EMNIST": lambda r: mnist(r, "EMNIST", "emnist"),
    "USPS": usps,
    "SVHN": svhn,
    "STL10": stl10,
    "Flowers102": flowers,
    "OxfordIIITPet": pets,
    "DTD": dtd,
    "Food101": food,
    "EuroSAT": folders("eurosat/2750"),
    "RenderedSST2": folders(*SST, classes=("negative", "positive"), ending="png"),
    "Country211": folders("country211/train", "country211/valid", "country211/test"),
    "Caltech101": caltech101,
    "Caltech256": caltech256,
    "FGVCAircraft": aircraft,
    "StanfordCars": cars,
    "GTSRB": gtsrb,
    "SUN397": sun,
    "PCAM": pcam,
    "Places365": places,
    "ImageNet": imagenet,
    "Imagenette": folders("imagenette2/train", "imagenette2/val", classes=WNIDS, ending="JPEG"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", MAKE)
def test_splits_labels_and_classes_are_found(tmp_path: Path, name: str) -> None:
    MAKE[name](tmp_path)
    made = TorchvisionSet(name=name, root=str(tmp_path))
    division = made.divide()
    count = 5 * N if name == "CIFAR10" else N  # in five batches
    if "val" in SETS[name]:
        assert len(division.train) == count
        assert len(division.val) == N
    else:
        assert len(division.val) == 2 * max(round(0.2 * (count if "test" in SETS[name] else count - 2) / 2), 1)
    if "test" in SETS[name]:
        assert len(division.test) == N
        assert division.test.images is not division.train.images
    total = sum(len(part) for part in (division.train, division.val, division.test))
    assert total == sum({"train": count, "val": N, "test": N}[split] for split in SETS[name])
    assert set(division.train.labels_M) == set(division.test.labels_M) == {0, 1}
    assert len(division.classes) >= 2
    image = division.train.images.open(int(division.train.indices[0]))
    assert image.shown().mode == "RGB"
    again = TorchvisionSet(name=name, root=str(tmp_path)).divide()
    assert division.train.digest() == again.train.digest()
    assert made.published_splits == ("test" in SETS[name])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["SVHN", "CIFAR10", "MNIST", "Food101", "PCAM"])
def test_images_are_those_that_torchvision_gives(tmp_path: Path, name: str) -> None:
    MAKE[name](tmp_path)
    images = TorchvisionSet(name=name, root=str(tmp_path)).read("train")
    how = SETS[name]["train"]
    theirs = getattr(torchvision.datasets, name)(str(tmp_path), **how)
    for i in (0, len(theirs) - 1):
        picture, label = theirs[i]
        assert np.array_equal(np.asarray(images.open(i).shown()), np.asarray(picture.convert("RGB")))
        assert images.labels_N[i] == label


def test_pcam_needs_a_package_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"name: PCAM needs a package .*h5py"):
        TorchvisionSet(name="PCAM", root=str(tmp_path)).read("train")


@pytest.mark.parametrize("name", SETS)
def test_what_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} "):
        TorchvisionSet(name=name, root=str(tmp_path / "nowhere")).divide()


@pytest.mark.parametrize("name", ["EuroSAT", "Caltech101", "Caltech256", "SUN397"])
def test_a_test_that_is_carved_here_shares_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Some are there twice in their class, and one is there under both labels."""
    monkeypatch.setattr("tests.data.test_published.N", 24)
    MAKE[name](tmp_path)
    files = sorted(tmp_path.rglob("*.jpg"))
    for copy, original in ((1, 0), (12, 0), (3, 2), (5, 4), (6, 4), (14, 13), (16, 15)):
        files[copy].write_bytes(files[original].read_bytes())
    for seed in range(6):
        division = TorchvisionSet(name=name, root=str(tmp_path), test_seed=seed, split_seed=seed).divide()
        sums = [set(part.sums_M) for part in division.parts.values()]
        assert sum(map(len, sums)) == len(set.union(*sums)) == 24 - 3 - 5
        assert "3 images for training are left out" in division.remarks[0]


def test_every_set_is_read_from_files_of_its_own_format() -> None:
    assert set(MAKE) == set(SETS)
