"""A stage that ends early where something that hears how well it validates says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import lightning as L

from tlfw.errors import Pruned
from tlfw.records.metric import Metric


class Pruning(L.Callback):
    """Tells the `metric` of `monitor` after each validation.

    Args:
        told: from (value, step, whether it is the stage's last) why the stage is to end, or None.
    """

    def __init__(self, told: Callable[[float, int, bool], str | None], metric: Metric, monitor: str) -> None:
        self.told, self.name = told, metric.at(f"{monitor}/val")

    def say(self, said: Mapping[str, float], step: int, steps: int) -> None:
        """Tell what a validation said, where one process trains.

        Raises:
            Pruned: the stage is to end.
        """
        if why := self.told(float(said[self.name]), step, step >= steps):
            raise Pruned(why)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        why = None
        if trainer.is_global_zero:
            step = trainer.global_step
            why = self.told(float(trainer.callback_metrics[self.name]), step, step >= int(trainer.max_steps))
        # All processes end, or none does.
        if why := trainer.strategy.broadcast(why):
            raise Pruned(why)
