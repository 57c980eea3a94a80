"""What a model says of images, and how good that is.

This is the only room in which a model sees a test image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error

from tlfw.backbones.model import Model
from tlfw.data.division import Part
from tlfw.data.mixture import EvalBatches, Served, image_loader
from tlfw.devices.ranks import here
from tlfw.devices.strategy import alone
from tlfw.numerics.trainer import DELIVERED, TrainerFactory
from tlfw.records.metric import Predictions, measured
from tlfw.signals import Interrupted, asked, deferred

BATCH = 64
"""Images in a batch wherever nothing is trained. One number, since results may depend on it in the last bit."""

CALIBRATION_BINS = 15


class _Pass(L.LightningModule):
    def __init__(self, model: Model, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        signum = asked()
        if signum is not None:
            raise Interrupted(signum)
        return self.function(batch[0]).float().cpu()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What all ranks of a run find out together about a part of a data set, each for some of its batches.

    Attributes:
        head: the logits of that head; None: what the first `blocks` blocks say.
        heads: those that the model has.
        precision: as Lightning names it; None: in which the trainer trains.
    """

    data_set: str
    part: str
    heads: tuple[str, ...]
    head: str | None = None
    blocks: int = 0
    precision: str | None = None

    def of(self, model: Model) -> Callable[[Tensor], Tensor]:
        """The function of a batch that answers it."""
        head = self.head
        return (lambda x: model.trunk(x, 0, self.blocks)) if head is None else (lambda x: model(x, head))


def outputs(
    trainer: TrainerFactory,
    model: Model,
    function: Callable[[Tensor], Tensor],
    served: Served,
    workers: int | None = None,
    precision: str | None = None,
    question: Question | None = None,
) -> Tensor:
    """`function` of all inputs, in their order, in evaluation mode: float32 on the CPU, `[N, ...]`.

    Batches are the same on any number of devices, and so are the numbers.

    Args:
        function: of a batch of inputs; may use `model`, which is on the device then.
        precision: as Lightning names it; None: in which the trainer trains.
        question: the same in words, for the other processes of the run to take their share; None: none does.

    Raises:
        Interrupted: a signal asked for it. Raised before the next batch, never while a loader is being made.
    """
    ranks = here()
    batches = EvalBatches(served, BATCH)
    if ranks is None or question is None or len(batches) == 1:
        found = torch.cat(_pass(trainer, model, function, batches, range(len(batches)), workers, precision))
    elif not ranks.first:  # a network's file system may not show yet what rank 0 has stored
        raise RuntimeError(f"rank {ranks.rank} does not see what rank 0 computed of {question.data_set}")
    else:
        with ranks.together():
            ranks.say(question)
            ranks.share(model.state_dict())
            own = _pass(trainer, model, function, batches, range(0, len(batches), ranks.count), workers, precision)
            found = torch.empty(len(served.labels_N), *own[0].shape[1:])
            for i, place in enumerate(found.split(BATCH)):
                if rank := i % ranks.count:
                    ranks.receive(place, rank)
                else:
                    place.copy_(own[i // ranks.count])
    assert len(found) == len(served.labels_N), "every image has an output"
    return found


def answer(
    trainer: TrainerFactory, model: Model, question: Question, served: Served, workers: int | None = None
) -> None:
    """Compute this process's share of what rank 0 asks (`outputs`), and send it there."""
    ranks = here()
    assert ranks is not None
    ranks.share(model.state_dict())
    batches = EvalBatches(served, BATCH)
    share = range(ranks.rank, len(batches), ranks.count)
    if share:
        for batch in _pass(trainer, model, question.of(model), batches, share, workers, question.precision):
            ranks.send(batch)


def _pass(
    trainer: TrainerFactory,
    model: Model,
    function: Callable[[Tensor], Tensor],
    batches: EvalBatches,
    which: range,
    workers: int | None,
    precision: str | None,
) -> list[Tensor]:
    """`function` of some of the batches, on this process's device."""
    given = {} if precision is None else {"precision": precision}
    own = trainer(
        **given,
        **alone(),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    with deferred():
        found = own.predict(_Pass(model, function), image_loader(batches, workers, which))
    assert found is not None
    return [batch for batch in found if isinstance(batch, Tensor)]


def predicted(logits_BK: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """What logits `[B, K]` say of images with int64 labels `[B]`, on their device.

    Returns:
        The likeliest class, int64 `[B]`, and the log-probability of the label, float32 `[B]`, nats.
    """
    log_prob_BK = logits_BK.float().log_softmax(1)
    return logits_BK.argmax(1), log_prob_BK.gather(1, labels_B[:, None])[:, 0]


def predictions_of(logits_NK: Tensor, labels_N: Tensor) -> Predictions:
    """The same of all images, both on the CPU, for the metrics."""
    prediction_N, log_prob_N = predicted(logits_NK, labels_N)
    return Predictions(
        label=labels_N.numpy(),
        prediction=prediction_N.numpy(),
        log_prob=log_prob_N.numpy(),
        classes=logits_NK.shape[1],
    )


def measures(logits_NK: Tensor, labels_N: Tensor) -> dict[str, float]:
    """How good logits `[N, K]` are for int64 labels `[N]`.

    Returns:
        The metrics of `records.metric`, by key, and `ece`: expected calibration error of the largest probability over
        15 bins (Guo et al., 2017), [0, 1].
    """
    return {
        **measured(predictions_of(logits_NK, labels_N)),
        "ece": multiclass_calibration_error(
            logits_NK.softmax(1), labels_N, num_classes=logits_NK.shape[1], n_bins=CALIBRATION_BINS
        ).item(),
    }


def _head_alone(trainer: TrainerFactory, model: Model, head: str, start: int) -> Callable[[Tensor], Tensor] | None:
    """The head, where it is all that is passed, on the CPU; None: it is not, and Lightning knows the device."""
    asked = getattr(trainer, "keywords", {}).get("accelerator", "auto")
    elsewhere = torch.cuda.is_available() or torch.backends.mps.is_available()
    if start < len(model.trunk.blocks) or here() or not (asked == "cpu" or (asked == "auto" and not elsewhere)):
        return None
    found: nn.Module = model.heads[head]
    return found.eval()


def logits_of(head: Callable[[Tensor], Tensor], served: Served, batch_size: int) -> Tensor:
    """What a head in evaluation mode says of all that it takes, on the CPU: float32 `[N, K]`."""
    batches = EvalBatches(served, batch_size)
    with torch.inference_mode():
        return torch.cat([head(batches[i][0]) for i in range(len(batches))]).float()


def _logits(
    trainer: TrainerFactory, model: Model, head: str, part: str | None, served: Served, workers: int | None, start: int
) -> Tensor:
    """Of all images of a part of the data set of that head, or of what the first `start` blocks say of them."""
    if alone := _head_alone(trainer, model, head, start):
        return logits_of(alone, served, BATCH)
    question = None
    if part is not None and not start:
        question = Question(data_set=head, part=part, heads=tuple(model.heads), head=head, precision=DELIVERED)
    return outputs(trainer, model, lambda x: model(x, head, start), served, workers, DELIVERED, question)


def validate(
    trainer: TrainerFactory, model: Model, head: str, served: Served, workers: int | None = None, start: int = 0
) -> dict[str, float]:
    """The metrics of `records.metric`, by key, on a data set's validation images by its head.

    Args:
        start: the block whose inputs are served: 0 for images.
    """
    logits_NK = _logits(trainer, model, head, "val", served, workers, start)
    return measured(predictions_of(logits_NK, served.labels_N))


def examine(
    trainer: TrainerFactory,
    model: Model,
    head: str,
    part: Part,
    served: Served,
    workers: int | None = None,
    called: str | None = None,
    start: int = 0,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Open the test images, once, and say how good the model is on them.

    Args:
        served: its images, or what the first `start` blocks say of them.
        called: the part's name, for the other processes of the run; None: they take no share.

    Returns:
        `measures`, and the predictions to be compared pairwise later: arrays `index` (into the test images' list),
        `label`, `prediction` (int64 `[N]`), `log_prob` of the label (float32 `[N]`, nats), `confidence` (the
        prediction's probability, float32 `[N]`), `name` (how a person finds the image, `[N]`), where it is known
        `group` (what the image belongs together with, text `[N]`), and the names of the `classes`.
    """
    logits_NK = _logits(trainer, model, head, called, served, workers, start)
    said = predictions_of(logits_NK, served.labels_N)
    predictions = {
        "index": np.asarray(part.indices, dtype=np.int64),
        "label": said.label,
        "prediction": said.prediction,
        "log_prob": said.log_prob,
        "confidence": logits_NK.log_softmax(1).max(1).values.exp().numpy(),
        "name": np.asarray([part.images.called(int(i)) for i in part.indices]),
        "classes": np.asarray(part.images.classes),
    }
    if part.groups_M is not None:
        predictions["group"] = np.asarray(part.groups_M)
    return measures(logits_NK, served.labels_N), predictions
