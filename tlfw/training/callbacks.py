"""Who looks on while Lightning trains a stage: its seconds, its processors, its curve."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch

from tlfw.numerics.hardware import processor


class Clock(L.Callback):
    """Seconds that a stage trained and validated, also before it was killed and resumed.

    What was done after the last checkpoint and is done again counts once.
    """

    def __init__(self) -> None:
        self._earlier, self._began = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        return self._earlier + time.monotonic() - self._began

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._earlier = state["seconds"]


class Hardware(L.Callback):
    """The processors that a stage was computed on, each once: several where it was killed and went on on another
    machine, or where those of its processes differ.
    """

    def __init__(self) -> None:
        self.names = list[str]()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        found = [processor(trainer.strategy.root_device.type)]
        if trainer.world_size > 1:
            each = [""] * trainer.world_size
            torch.distributed.all_gather_object(each, found[0])
            found = each
        self.names = list(dict.fromkeys([*self.names, *found]))

    def state_dict(self) -> dict[str, Any]:
        return {"names": self.names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.names = list(state["names"])


class Curve(L.Callback):
    """What each validation of a stage said, and the mean training loss of the steps since the one before.

    Attributes:
        points: each has `step`, `train/loss`, and `NAME/val/KEY` of every data set with a head and every metric.
    """

    def __init__(self) -> None:
        self.points = list[dict[str, float]]()
        self.loss, self.steps = 0.0, 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        self.loss, self.steps = self.loss + float(outputs["of_all"]), self.steps + 1

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        validated = {name: float(value) for name, value in trainer.callback_metrics.items() if "/val/" in name}
        mean = {"train/loss": self.loss / self.steps} if self.steps else {}
        self.points.append({"step": trainer.global_step, **mean, **validated})
        self.loss, self.steps = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        return {"points": self.points, "loss": self.loss, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.points, self.loss, self.steps = list(state["points"]), state["loss"], state["steps"]
