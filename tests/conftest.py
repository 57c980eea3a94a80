"""Small worlds to try things in."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# Before torch starts its threads: tests run beside each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_SILENT", "true")

Cli = Callable[..., tuple[int, str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first: the last of them would else be left to one worker, and the other have nothing to do."""
    items.sort(key=lambda item: "slow" not in item.keywords)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`python -m tlfw` in this process and an empty folder: -> (exit code, standard output, standard error).

    A sweep is reported only where that is asked for.
    """

    def call(*arguments: str) -> tuple[int, str, str]:
        from tlfw.__main__ import main

        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("HYDRA_FULL_ERROR", os.environ.get("HYDRA_FULL_ERROR", "0"))
        if "-m" in arguments and not any(word.startswith("hydra.sweeper.report") for word in arguments):
            arguments = (*arguments, "hydra.sweeper.report=false")  # which takes longer than such a sweep
        monkeypatch.setattr(sys, "argv", ["tlfw", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        out, err = capsys.readouterr()
        return code, out, err

    return call


def paint(label: int, index: int, size: int = 40) -> Image.Image:
    """A picture that a small network can tell from another class's: a tinted stripe and noise."""
    random = np.random.default_rng([label, index])
    pixels = random.integers(0, 60, (size, size, 3), dtype=np.uint8)
    pixels[:, (label * 7) % size : (label * 7) % size + 8, label % 3] += 180
    return Image.fromarray(pixels)


def subjects(place: Path, people: int = 12, shots: int = 6) -> Path:
    """Photographs of people, who are alternately ill and well: each one's are nearly alike."""
    random = np.random.default_rng(0)
    for person in range(people):
        base = np.kron(random.integers(0, 256, (4, 4)), np.ones((8, 8)))
        for shot in range(shots):
            file = place / "train" / ("ill", "well")[person % 2] / f"p{person:02d}_{shot}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            noisy = np.clip(base + random.normal(0, 4, base.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(file)
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes an image folder: (name, classes=3, train=6, val=0, test=4) -> its root; another `first`, other images."""

    def make(name: str, classes: int = 3, train: int = 6, val: int = 0, test: int = 4, first: int = 0) -> Path:
        root = tmp_path / name
        for split, count in (("train", train), ("val", val), ("test", test)):
            for label in range(classes if count else 0):
                place = root / split / f"class{label}"
                place.mkdir(parents=True)
                for i in range(count):
                    paint(label, first + {"train": 0, "val": 1000, "test": 2000}[split] + i).save(place / f"{i}.png")
        return root

    return make


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """No network: puts a file where torch keeps what it downloads, and has it published under a name with its hash.

    (backbone's name) -> the whole network with the weights that are in it.
    """

    def put(name: str) -> Any:
        import torch

        from tlfw.backbones.zoo import TorchvisionBackbone

        whole = TorchvisionBackbone(name=name).build(1000, 224, seed=4)
        cache = tmp_path / "hub" / "checkpoints"
        cache.mkdir(parents=True)
        torch.save(whole.state_dict(), cache / "draft")
        digest = hashlib.sha256((cache / "draft").read_bytes()).hexdigest()
        file = (cache / "draft").rename(cache / f"{name}-{digest[:8]}.pth")
        weights = TorchvisionBackbone(name=name, weights="DEFAULT").published
        monkeypatch.setattr(weights.value, "url", f"https://download.pytorch.org/models/{file.name}")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        return whole

    return put


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """First weights that are quickly made, of the seed as others are, and nowhere zero, as those of some heads are."""
    import torch

    numbers = torch.randn(9973, generator=torch.Generator().manual_seed(0))

    def fill(tensor: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        own = numbers.roll(int(torch.randint(len(numbers), ()))) * math.sqrt(2 * len(tensor) / tensor.numel())
        with torch.no_grad():
            flat = tensor.view(-1)
            rows = len(flat) // len(own)
            flat[: rows * len(own)].view(rows, len(own)).copy_(own)
            flat[rows * len(own) :].copy_(own[: len(flat) - rows * len(own)])
        return tensor

    for name in ("normal_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_uniform_", "zeros_"):
        monkeypatch.setattr(f"torch.nn.init.{name}", fill)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's checksums are not asked for: the files here are not the real ones."""
    for name in ("cifar", "mnist", "svhn", "stl10", "flowers102", "caltech", "places365", "imagenet", "utils", "usps"):
        monkeypatch.setattr(f"torchvision.datasets.{name}.check_integrity", lambda *_, **__: True, raising=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run, moved away from all that made it. Not to be changed."""
    from tests.runs.test_run import JOB
    from tests.tiny import FULL, experiment
    from tlfw.runs.run import run

    place = tmp_path_factory.mktemp("made")
    run(experiment(place / "here", freeze_policy=FULL), JOB)
    (folder,) = (place / "here" / "outputs" / "runs").glob("m-f-b-s0-*")
    shutil.move(folder, place / "elsewhere")
    shutil.rmtree(place / "here")
    return place / "elsewhere"
