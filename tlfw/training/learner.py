"""The LightningModule that learns a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from tlfw.errors import Diverged, TrainingFailed
from tlfw.identity.names import seed_from
from tlfw.methods.freeze import Freezing
from tlfw.records.metric import METRICS, Predictions, measured, recorded
from tlfw.training.evaluate import predicted

OptimizerFactory = Callable[..., Optimizer]
ScheduleFactory = Callable[[Optimizer, int], Any]

PEAK_RATES = "peak_rates"
"""Where in a checkpoint the highest learning rate of each group so far is kept."""


class Learner(L.LightningModule):
    """Trains what a `Freezing` leaves trainable, on batches of one or two data sets.

    The loss is the sum over the data sets of weight x mean cross-entropy of that set's images. With class weights
    it is the mean of each image's weight x its cross-entropy, over the number of images and not, as torch has it,
    over the sum of their weights: an image counts for the same whatever lies beside it in its batch or process.

    Args:
        start: the block whose inputs the batches hold: 0 for images, more for stored features.
        class_weight: data set -> weight of each class in training, float32 `[classes]`; 1 for a set that is not named.
        optimizer: from parameter groups, each with its peak learning rate.
        schedule: from (optimizer, steps).
        steps: of the whole stage.
        seed: dropout and the like are functions of (seed, step, process).
        val_names: data sets of the validation loaders, in order.
    """

    def __init__(
        self,
        freezing: Freezing,
        *,
        start: int,
        loss_weight: Mapping[str, float],
        class_weight: Mapping[str, Tensor],
        optimizer: OptimizerFactory,
        schedule: ScheduleFactory,
        steps: int,
        seed: int,
        val_names: Sequence[str],
    ) -> None:
        super().__init__()
        self.freezing, self.model, self.start = freezing, freezing.model, start
        self.loss_weight, self.steps, self.seed, self.val_names = loss_weight, steps, seed, list(val_names)
        for name, weight_K in class_weight.items():
            self.register_buffer(f"class_weight_{name}", self._as_wide(name, weight_K), persistent=False)
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.validated = nn.ModuleDict({name: Validated(self.model.classes[name]) for name in val_names})
        self.peak_rates: list[float] = []

    def train(self, mode: bool = True) -> Learner:
        super().train(mode)
        self.freezing.set_modes(mode)
        return self

    def on_fit_start(self) -> None:
        self.train()  # Lightning takes the modes as it finds them

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.freezing.parameter_groups())
        self.peak_rates = self.peak_rates or [0.0] * len(optimizer.param_groups)  # else they are a checkpoint's
        schedule = self.make_schedule(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[PEAK_RATES] = self.peak_rates

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.peak_rates = list(checkpoint[PEAK_RATES])

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(seed_from("step", self.seed, self.global_step, self.global_rank))
        groups = self.trainer.optimizers[0].param_groups
        self.peak_rates = [max(peak, group["lr"]) for peak, group in zip(self.peak_rates, groups, strict=True)]

    def on_train_end(self) -> None:
        """Law: what trains and what the optimizer holds are one set, each with a rate above 0 at some step."""
        groups = self.trainer.optimizers[0].param_groups
        held = {id(p) for group in groups for p in group["params"]}
        trains = {id(p) for p in self.model.parameters() if p.requires_grad}
        idle = [group["name"] for group, peak in zip(groups, self.peak_rates, strict=True) if peak <= 0]
        if held != trains or idle:
            raise TrainingFailed(f"the optimizer does not train what it should (never above 0: {idle})")

    def training_step(self, batch: dict[str, tuple[Tensor, Tensor]], batch_idx: int) -> dict[str, Tensor]:
        """The `loss` of this process's images, and `of_all`, the mean over all processes, which have as many each."""
        logits = self.model.mixture_logits({name: x for name, (x, _) in batch.items()}, self.start)
        losses = {name: self._loss(name, logits[name], y) for name, (_, y) in batch.items()}
        loss = torch.stack([self.loss_weight[name] * each for name, each in losses.items()]).sum()
        # In one exchange. What became no number anywhere is none in the mean: all processes end at the same step.
        of_all, *parts = self._mean_over_processes(torch.stack([loss, *losses.values()]).detach())
        self._check_finite(of_all, "loss")
        self.log("train/loss", of_all)
        for name, each in zip(losses, parts, strict=True):
            self.log(f"{name}/train/loss", each)
        for group in self.trainer.optimizers[0].param_groups:
            self.log(f"lr/{group['name']}", group["lr"])
        return {"loss": loss, "of_all": of_all}

    def _mean_over_processes(self, losses: Tensor) -> Tensor:
        mean = self.trainer.strategy.reduce(losses, reduce_op="mean")
        assert isinstance(mean, Tensor)
        return mean

    def _loss(self, name: str, logits_BK: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy with labels `[B]`, or with shares of the classes `[B, K]`."""
        weight_K = getattr(self, f"class_weight_{name}", None)
        if y.ndim == 2:
            y = self._as_wide(name, y)
        if weight_K is None:
            return F.cross_entropy(logits_BK, y)
        return F.cross_entropy(logits_BK, y, weight=weight_K, reduction="sum") / len(y)

    def _as_wide(self, name: str, per_class: Tensor) -> Tensor:
        """`[..., classes]` with zeros for the logits of a head that no class has."""
        return F.pad(per_class, (0, self.model.classes[name] - per_class.shape[-1]))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        name = self.val_names[dataloader_idx]
        x, y_B = batch
        with torch.autocast(self.device.type, enabled=False):  # as it will be used, whatever it is trained in
            logits_BK = self.model(x, name, self.start)
        prediction_B, log_prob_B = predicted(logits_BK, y_B)
        if self.trainer.world_size == 1:  # else the other processes would not know of it before the end
            self._check_finite(-log_prob_B.mean(), f"{name} validation loss")
        self._validated(name).update(y_B, prediction_B, log_prob_B)

    def _check_finite(self, loss: Tensor, what: str) -> None:
        if not torch.isfinite(loss):
            raise Diverged.became(what, loss.item(), self.global_step)

    def on_validation_epoch_end(self) -> None:
        for name in self.val_names:
            said = self._validated(name).compute()
            self._check_finite(torch.tensor(said[METRICS["log_loss"].key]), f"{name} validation loss")
            for key, value in said.items():
                self.log(recorded(f"{name}/val", key), value)
            self._validated(name).reset()

    def _validated(self, name: str) -> Validated:
        found = self.validated[name]
        assert isinstance(found, Validated)
        return found


class Validated(Metric):
    """What a model said of all images of a validation part, and how good that is.

    Nothing is averaged over batches or processes: a metric is of the whole part, however it was cut.

    Args:
        classes: logits of the head.
    """

    label: list[Tensor]
    prediction: list[Tensor]
    log_prob: list[Tensor]

    full_state_update = False

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        for name in ("label", "prediction", "log_prob"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, label_B: Tensor, prediction_B: Tensor, log_prob_B: Tensor) -> None:
        self.label.append(label_B)
        self.prediction.append(prediction_B)
        self.log_prob.append(log_prob_B)

    def compute(self) -> dict[str, float]:
        """Of each metric of `tlfw.records.metric`, by key."""
        said = (dim_zero_cat(part).cpu().numpy() for part in (self.label, self.prediction, self.log_prob))
        label_N, prediction_N, log_prob_N = said
        return measured(Predictions(label=label_N, prediction=prediction_N, log_prob=log_prob_N, classes=self.classes))
