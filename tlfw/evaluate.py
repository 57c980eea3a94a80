"""What a model says of images, and how good that is.

This is the only room in which a model sees a test image.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from sklearn.metrics import f1_score, recall_score
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from tlfw.data import EvalBatches, Pixels, Served, View
from tlfw.data.division import Part
from tlfw.interruption import Interrupted, asked, deferred
from tlfw.model import Model
from tlfw.record import replacing

BATCH = 64
"""Images in a batch wherever nothing is trained. One number, since results may depend on it in the last bit."""

CALIBRATION_BINS = 15

PREDICTIONS = "predictions.npz"

TrainerFactory = Callable[..., L.Trainer]


class _Pass(L.LightningModule):
    def __init__(self, model: Model, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        signum = asked()
        if signum is not None:
            raise Interrupted(signum)
        return self.function(batch[0]).float().cpu()


def outputs(
    trainer: TrainerFactory, model: Model, function: Callable[[Tensor], Tensor], served: Served, workers: int = 0
) -> Tensor:
    """`function` of all inputs, in their order, in evaluation mode on one device: float32 on the CPU, `[N, ...]`.

    Args:
        function: of a batch of inputs; may use `model`, which is on the device then.

    Raises:
        Interrupted: a signal asked for it. Raised before the next batch, never while a loader is being made.
    """
    alone = trainer(
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        devices=1,
        num_nodes=1,
        strategy="auto",
    )
    with deferred():
        batches = alone.predict(_Pass(model, function), EvalBatches(served, BATCH).loader(workers))
    assert batches is not None
    found = torch.cat([b for b in batches if isinstance(b, Tensor)])
    assert len(found) == len(served.labels_N), "every image has an output"
    return found


def measures(logits_NK: Tensor, labels_N: Tensor) -> dict[str, float]:
    """How good logits `[N, K]` are for int64 labels `[N]`.

    Returns:
        `acc`: top-1 accuracy, [0, 1]. `loss`: mean cross-entropy, nats. `balanced_acc`: mean recall
        of the classes that occur. `macro_f1`: mean F1 of the classes. `ece`: expected calibration
        error of the largest probability over 15 bins (Guo et al., 2017), [0, 1].
    """
    predicted, labels = logits_NK.argmax(1).numpy(), labels_N.numpy()
    # A class that is too small for a part may still be predicted there.
    over_classes: dict[str, Any] = {"average": "macro", "labels": np.unique(labels), "zero_division": 0}
    return {
        "acc": float((predicted == labels).mean()),
        "loss": F.cross_entropy(logits_NK.double(), labels_N).item(),
        "balanced_acc": float(recall_score(labels, predicted, **over_classes)),
        "macro_f1": float(f1_score(labels, predicted, **over_classes)),
        "ece": multiclass_calibration_error(
            logits_NK.softmax(1), labels_N, num_classes=logits_NK.shape[1], n_bins=CALIBRATION_BINS
        ).item(),
    }


def validate(trainer: TrainerFactory, model: Model, head: str, served: Served, workers: int = 0) -> dict[str, float]:
    """Accuracy and loss on validation images by the head of their data set."""
    found = measures(outputs(trainer, model, lambda x: model(x, head), served, workers), served.labels_N)
    return {name: found[name] for name in ("acc", "loss")}


def examine(
    trainer: TrainerFactory, model: Model, head: str, part: Part, view: View, workers: int = 0
) -> tuple[dict[str, float], dict[str, Any]]:
    """Open the test images, once, and say how good the model is on them.

    Returns:
        `measures`, and the predictions to be compared pairwise later: arrays `index` (into the test images' list),
        `label`, `prediction` (int64 `[N]`), `log_prob` of the label (float32 `[N]`, nats), `confidence` (the
        prediction's probability, float32 `[N]`), `name` (how a person finds the image, `[N]`), where it is known
        `group` (what the image belongs together with, text `[N]`), and the names of the `classes`.
    """
    served = Pixels(part, view)
    logits_NK = outputs(trainer, model, lambda x: model(x, head), served, workers)
    log_prob_NK = logits_NK.log_softmax(1)
    predictions = {
        "index": np.asarray(part.indices, dtype=np.int64),
        "label": served.labels_N.numpy(),
        "prediction": logits_NK.argmax(1).numpy(),
        "log_prob": log_prob_NK.gather(1, served.labels_N[:, None])[:, 0].numpy(),
        "confidence": log_prob_NK.max(1).values.exp().numpy(),
        "name": np.asarray([part.images.called(int(i)) for i in part.indices]),
        "classes": np.asarray(part.images.classes),
    }
    if part.groups_M is not None:
        predictions["group"] = np.asarray(part.groups_M)
    return measures(logits_NK, served.labels_N), predictions


def save_predictions(folder: Path, predictions: dict[str, Any]) -> None:
    """Put `predictions.npz` into a run's folder."""
    with replacing(folder / PREDICTIONS) as draft:
        np.savez_compressed(draft, **predictions)
