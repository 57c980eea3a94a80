"""Train one stage, and prove what did and did not change in it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import hashlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from tlfw.cost import stage_flops
from tlfw.data import Mixture
from tlfw.errors import TrainingFailed
from tlfw.evaluate import TrainerFactory
from tlfw.freeze import Freezing
from tlfw.learner import Learner, OptimizerFactory, ScheduleFactory
from tlfw.model import Model
from tlfw.progress import StageProgress

Select = Literal["last", "best_val"]

CHECKPOINT_EVERY = datetime.timedelta(minutes=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesson:
    """How a stage trains, beside what it trains and on what.

    Attributes:
        title: for people.
        loss_weight: data set -> weight of its cross-entropy.
        class_weight: data set -> weights of its classes within it, where they differ.
        start: the block whose inputs the mixture serves.
        select: `last` weights, or those of the round with the highest accuracy on `monitor`.
        monitor: the data set whose validation selects.
    """

    title: str
    loss_weight: Mapping[str, float]
    start: int
    optimizer: OptimizerFactory
    schedule: ScheduleFactory
    select: Select
    monitor: str
    seed: int
    class_weight: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a stage was: seconds of training and validation, images seen, operations, and the certificate."""

    seconds: float
    images_seen: int
    train_flops: int
    certificate: dict[str, Any]


def train(
    freezing: Freezing,
    mixture: Mixture,
    lesson: Lesson,
    *,
    trainer: TrainerFactory,
    logger: Any,
    scratch: Path,
    probe_BCHW: Tensor,
    callbacks: list[L.Callback] | None = None,
    checkpoint_every: datetime.timedelta = CHECKPOINT_EVERY,
) -> Outcome:
    """Train a model in place, from where `scratch` says that an earlier try was killed.

    Args:
        logger: a Lightning logger, or False.
        scratch: a folder of this stage's own, for checkpoints.
        probe_BCHW: a few images to compare frozen blocks in training and in evaluation on.

    Raises:
        TrainingFailed: the loss became NaN or infinite, or a frozen tensor moved.
    """
    model = freezing.model
    before = {name: _sum(tensor) for name, tensor in model.state_dict().items()}
    learner = Learner(
        freezing,
        start=lesson.start,
        loss_weight=lesson.loss_weight,
        class_weight=lesson.class_weight,
        optimizer=lesson.optimizer,
        schedule=lesson.schedule,
        steps=mixture.steps,
        seed=lesson.seed,
        val_names=mixture.val_names,
    )
    last = ModelCheckpoint(
        dirpath=scratch, filename="last", train_time_interval=checkpoint_every, enable_version_counter=False
    )
    best = ModelCheckpoint(
        dirpath=scratch, filename="best", monitor=f"{lesson.monitor}/val/acc", mode="max", enable_version_counter=False
    )
    clock = Clock()
    fitter = trainer(
        logger=logger,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            StageProgress(lesson.title, mixture.steps, mixture.batch_size),
            clock,
            last,
            *([best] if lesson.select == "best_val" else []),
            *(callbacks or []),
        ],
        max_steps=mixture.steps,
        max_epochs=-1,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )
    unfinished = scratch / "last.ckpt"
    with _keyboard_interrupts():
        fitter.fit(learner, mixture, ckpt_path=unfinished if unfinished.exists() else None, weights_only=True)
    if fitter.global_step not in (mixture.steps, 0):  # 0: the steps were another process's
        raise TrainingFailed(f"the stage ended after {fitter.global_step} of {mixture.steps} steps")
    learner.cpu()
    if lesson.select == "best_val":
        checkpoint = torch.load(scratch / "best.ckpt", map_location="cpu", weights_only=True)
        learner.load_state_dict(checkpoint["state_dict"])
    images_seen = mixture.steps * mixture.batch_size
    return Outcome(
        seconds=clock.seconds,
        images_seen=images_seen,
        train_flops=stage_flops(
            freezing,
            start=lesson.start,
            head=lesson.monitor,
            images_seen=images_seen,
            images_stored=sum(len(served.labels_N) for served in mixture.train.values()),
        ),
        certificate=certify(freezing, before, probe_BCHW),
    )


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


@contextlib.contextmanager
def _keyboard_interrupts() -> Iterator[None]:
    """Let Ctrl-C be what it is everywhere: Lightning makes it an exit, and deafens the process to the next one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from end


def certify(freezing: Freezing, before: Mapping[str, str], probe_BCHW: Tensor) -> dict[str, Any]:
    """What did and did not change, as it goes into the record.

    Args:
        before: SHA-256 of every tensor of the model before the stage.

    Returns:
        `claimed`: whether the policy promises that frozen is frozen. `holds`: whether it is so.
        `frozen_tensors`, `changed` (of those), `trainable_tensors`, `unmoved` (names of those), and
        `train_eval_gap`, the largest difference of the frozen blocks' features between
        training and evaluation; None where none is frozen.

    Raises:
        TrainingFailed: the promise was broken, or a trainable block or head did not change anywhere.
    """
    partition, model = freezing.partition, freezing.model
    after = {name: _sum(tensor) for name, tensor in model.state_dict().items()}
    changed = [name for name in partition.frozen if after[name] != before[name]]
    unmoved = [name for name in partition.trainable if after[name] == before[name]]
    moved = set(partition.trainable) - set(unmoved)
    places = {f"heads.{name}." for name in freezing.heads}
    still = sorted(place.rstrip(".") for place in places if not any(name.startswith(place) for name in moved))
    for block in partition.blocks:
        own = [n for n in partition.backbone if model.trunk.block_of[n.removeprefix("trunk.model.")] == block]
        if own and not moved & set(own):
            still.append(block)
    gap = train_eval_gap(freezing, probe_BCHW)
    claimed = freezing.policy.batch_norm == "eval" or gap is None  # None: no block is frozen
    holds = not changed and not gap
    if claimed and not holds:
        raise TrainingFailed(
            f"freezing is not what it claims: frozen tensors changed: {changed[:5]}, features of frozen blocks differ "
            f"by {gap} between training and evaluation"
        )
    if still:
        raise TrainingFailed(
            f"nothing changed in {', '.join(still)}, which should train: try a higher learning rate or more steps"
        )
    return {
        "claimed": claimed,
        "holds": holds,
        "frozen_tensors": len(partition.frozen),
        "changed": len(changed),
        "trainable_tensors": len(partition.trainable),
        "unmoved": unmoved,
        "train_eval_gap": gap,
    }


def train_eval_gap(freezing: Freezing, probe_BCHW: Tensor) -> float | None:
    """The largest absolute difference of the frozen blocks' output between training and evaluation mode."""
    frozen = [i for i, block in enumerate(freezing.model.trunk.blocks) if block.name not in freezing.partition.blocks]
    if not frozen:
        return None
    if freezing.policy.batch_norm == "train":  # the probe itself would move statistics
        freezing = Freezing(freezing.policy, copy.deepcopy(freezing.model), freezing.heads)
    trunk = freezing.model.trunk
    with torch.no_grad():
        freezing.set_modes(False)
        flow = [probe_BCHW]
        for i in range(len(trunk.blocks)):
            flow.append(trunk(flow[i].clone(), i, i + 1))  # some blocks begin in place
        freezing.set_modes(True)
        return max((trunk(flow[i].clone(), i, i + 1) - flow[i + 1]).abs().max().item() for i in frozen)


def _sum(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().data).hexdigest()


def weights_of(model: Model) -> dict[str, Tensor]:
    """A copy of all tensors of a model, on the CPU, by name."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
