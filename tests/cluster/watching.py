"""A trainer that writes down what each process of a run sees and learns, in the folder that WATCHED names."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import lightning as L
import torch


class Watch(L.Callback):
    """The images of each step, by a hash of their pixels, the losses, and the first gradient."""

    def __init__(self) -> None:
        self.images: list[list[str]] = []
        self.losses: list[float] = []
        self.gradient: dict[str, torch.Tensor] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for each in pl_module.modules():
            if isinstance(each, torch.nn.Dropout):
                each.p = 0.0  # which is drawn for each process

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, *_: Any) -> None:
        (x, _), *_ = batch.values()
        self.images.append([hashlib.sha256(each.contiguous().numpy().tobytes()).hexdigest() for each in x])

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        named = [(name.removeprefix("_forward_module."), p) for name, p in pl_module.named_parameters()]
        self.gradient = self.gradient or {name: p.grad.clone() for name, p in named if p.grad is not None}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["of_all"]))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        place = Path(os.environ["WATCHED"]) / f"{trainer.num_nodes}x{trainer.world_size // trainer.num_nodes}"
        place.mkdir(parents=True, exist_ok=True)
        seen = {"world_size": trainer.world_size, "images": self.images, "losses": self.losses}
        (place / f"{trainer.global_rank}.json").write_text(json.dumps(seen))
        torch.save(self.gradient, place / f"{trainer.global_rank}.pt")


def trainer(**settings: Any) -> L.Trainer:
    """As `lightning.Trainer`, which is watched where it trains."""
    if settings.get("max_steps", -1) > 0:
        settings["callbacks"] = [*(settings.get("callbacks") or []), Watch()]
    return L.Trainer(**settings)
