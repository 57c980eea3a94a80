"""What it takes from a folder of images to batches: the first time, and when they have been decoded before."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder as TorchvisionFolder
from torchvision.transforms import v2

from benchmarks.row import Row, clocked
from tlfw.data.folder import ImageFolder
from tlfw.data.mixture import EvalBatches, Pixels
from tlfw.data.pictures.view import View
from tlfw.limits import cores
from tlfw.store import Store
from tlfw.training.decoded import Kept

COUNT, SIDE, SIZE, BATCH = 2000, 256, 224, 64
MEAN = STD = (0.5, 0.5, 0.5)
VIEW = View(size=SIZE, resize=SIDE, interpolation="bilinear", mean=MEAN, std=STD)
NUMERICS = {"torch": "", "torchvision": "", "decoders": {}}


def photographs(root: Path) -> Path:
    """A folder of JPEG files that look a little like photographs."""
    random = np.random.default_rng(0)
    for i in range(COUNT):
        file = root / "train" / f"c{i % 10}" / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        rough = Image.fromarray(random.integers(0, 256, (32, 40, 3), dtype=np.uint8))
        rough.resize((320, SIDE), Image.Resampling.BICUBIC).save(file, quality=90)
    return root


def rows(place: Path) -> list[Row]:
    """The rows, which are measured in a folder."""
    root = photographs(place / "photographs")
    part = ImageFolder(root=str(root), val_fraction=0.01).divide().train
    tries = itertools.count()

    def batches(store: Path) -> Any:
        kept = Kept(Store(store), part, VIEW, "content", NUMERICS, "photographs")
        made = EvalBatches(Pixels(part, VIEW, kept), BATCH)
        return [made[i] for i in range(len(made))]

    def first() -> Any:
        store = place / f"store{next(tries)}"
        found = len(batches(store))
        shutil.rmtree(store)
        return found

    def loader() -> Any:
        transform = v2.Compose(
            [
                v2.PILToTensor(),
                v2.Resize(SIDE, antialias=True),
                v2.CenterCrop(SIZE),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )
        data = TorchvisionFolder(str(root / "train"), transform)
        return sum(1 for _ in DataLoader(data, BATCH, num_workers=cores()))

    batches(place / "store")
    array = np.random.default_rng(0).integers(0, 256, (len(part), 3, SIZE, SIZE), dtype=np.uint8)

    def in_memory() -> Any:
        starts = range(0, len(array), BATCH)
        return [VIEW.normalise(torch.from_numpy(array[start : start + BATCH].copy())) for start in starts]

    return [
        Row(
            name=f"folder to batches, {len(part)} JPEG at {SIZE} px, second process",
            against="the same bytes of a NumPy array in memory",
            ours=clocked(lambda: batches(place / "store")),
            theirs=clocked(in_memory),
            goal=1.5,
        ),
        Row(
            name="folder to batches, first process, all cores",
            against="a PyTorch DataLoader with as many workers",
            ours=clocked(first),
            theirs=clocked(loader),
            goal=1.0,
            times=3,
        ),
    ]
