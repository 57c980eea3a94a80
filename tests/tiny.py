"""A data set, and a small network's worth of settings, for tests that train."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from pydantic.dataclasses import dataclass

from tests.conftest import paint
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import DataSet, ImageArray, Images
from tlfw.methods import schedule
from tlfw.methods.freeze import FreezePolicy, LastBlocks
from tlfw.methods.mix import DataMix, Stage
from tlfw.runs.experiment import Adapt, Experiment, Joint, Pretrain, StoreSettings
from tlfw.strictness import STRICT
from tlfw.tracking.wandb_run import Tracking

SIZE = 32
FAMILIES_AT_32 = (
    "resnet50", "shufflenet_v2_x0_5", "mobilenet_v3_small", "squeezenet1_1", "efficientnet_b0", "convnext_tiny",
    "vit_b_16", "vgg11_bn", "densenet121", "googlenet", "mobilenet_v2", "mnasnet0_5", "regnet_y_400mf", "swin_t",
)  # fmt: skip
"""One of each architecture that takes small images."""
LAST_LAYER = LastBlocks(n=0, lr_head=0.05)
LAST_LAYERS = LastBlocks(n=1, lr_head=0.05, lr_backbone=0.01)
FULL = LastBlocks(n="all", lr_head=0.05, lr_backbone=0.01)
TRAINER = partial(
    L.Trainer, accelerator="cpu", devices=1, deterministic=True, log_every_n_steps=1,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tiny(DataSet):
    """Striped pictures: `count` for training and `count` for the test of each class."""

    classes: int = 3
    count: int = 10
    first: int = 0

    def read(self, split: str) -> Images | None:
        if split == "val":
            return None
        labels_N = np.repeat(np.arange(self.classes), self.count)
        shift = self.first + (10_000 if split == "test" else 0)
        pixels = np.stack([np.asarray(paint(int(c), shift + i, SIZE)) for i, c in enumerate(labels_N)])
        return ImageArray(pixels, labels_N, [f"c{c}" for c in range(self.classes)])


def stage(*sets: str, steps: int = 4, policy: FreezePolicy | None = None) -> Stage:
    return Stage(
        share={name: 1 / len(sets) for name in sets},
        loss_weight=dict.fromkeys(sets, 1.0),
        batch_size=8,
        budget={sets[0]: f"{steps}steps"},
        policy=policy,
    )


MIXES: dict[str, DataMix] = {
    "pretrain_finetune": DataMix(
        stages={"pretrain": stage("source", policy=FULL), "adapt": stage("target")},
        order=["pretrain", "adapt"],
        full_lr=0.01,
    ),
    "pretrain_joint": DataMix(
        stages={"pretrain": stage("source", policy=FULL), "adapt": stage("source", "target")},
        order=["pretrain", "adapt"],
        full_lr=0.01,
    ),
    "joint": DataMix(stages={"adapt": stage("source", "target")}, order=["adapt"], full_lr=0.01),
    "target_only": DataMix(stages={"adapt": stage("target")}, order=["adapt"], full_lr=0.01),
}


def experiment(folder: Path, **changes: Any) -> Experiment:
    """A whole experiment that takes about a second."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "seed": 0,
        "image_size": SIZE,
        "backbone": TorchvisionBackbone(name="shufflenet_v2_x0_5"),
        "source": Tiny(classes=4, first=500, image_size=SIZE),
        "target": Tiny(image_size=SIZE),
        "data_mix": MIXES["pretrain_finetune"],
        "freeze_policy": LAST_LAYER,
        "optimizer": partial(torch.optim.SGD, momentum=0.9),
        "schedule": partial(schedule.cosine, warmup=0.0),
        "trainer": TRAINER,
        "tracking": Tracking(mode="disabled"),
        "pretrain": Pretrain(budget="4steps", batch_size=8, lr=0.01),
        "adapt": Adapt(budget="4steps", batch_size=8),
        "joint": Joint(target_share=0.5, loss_weight={"source": 1.0, "target": 1.0}),
        "select": "last",
        "metric": "accuracy",
        "match_budget": None,
        "repeat": 1,
        "folds": None,
        "fold": None,
        "margin": None,
        "compare": [],
        "copies": "refuse",
        "validations": 2,
        "checkpoint_seconds": 60.0,
        "workers": 0,
        "threads": None,
        "exact": False,
        "until": None,
        "trial": None,
        "outputs": str(folder / "outputs"),
        "store": StoreSettings(dir=str(folder / "outputs" / "store")),
        "force": False,
    }
    return Experiment(**{**settings, **changes})
