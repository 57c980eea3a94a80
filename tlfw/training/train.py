"""Train one stage, and prove what did and did not change in it."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import hashlib
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

import tlfw
from tlfw.backbones.model import Model
from tlfw.data.mixture import Mixture
from tlfw.devices.ranks import here
from tlfw.devices.settling import given
from tlfw.devices.strategy import check_started, of_stage
from tlfw.errors import TrainingFailed
from tlfw.identity.code import own_revision
from tlfw.methods.freeze import Freezing
from tlfw.numerics.trainer import TrainerFactory
from tlfw.records.metric import Metric
from tlfw.signals import Interrupted, deferred
from tlfw.training.callbacks import Clock, Curve, Hardware
from tlfw.training.checkpoint import LAST, Best, Checkpoints, latest_best, unfinished
from tlfw.training.cost import stage_flops
from tlfw.training.learner import Learner, OptimizerFactory, ScheduleFactory
from tlfw.training.progress import StageProgress

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
        seed: dropout and the like are functions of (seed, step, process).
        select: `last` weights, or those of the round that is best by `metric` on `monitor`.
        monitor: the data set whose validation selects.
        metric: selects, and is shown while the stage trains.
    """

    title: str
    loss_weight: Mapping[str, float]
    start: int
    optimizer: OptimizerFactory
    schedule: ScheduleFactory
    select: Select
    monitor: str
    metric: Metric
    seed: int
    class_weight: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a stage was: seconds of training and validation, the processors it was computed on, images seen, operations
    (`direct_flops` are those that it would take if no features were stored), its curve, and the certificate.
    """

    seconds: float
    hardware: list[str]
    images_seen: int
    train_flops: int
    direct_flops: int
    curve: list[dict[str, float]]
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
        Diverged: the loss became NaN or infinite.
        TrainingFailed: a frozen tensor moved, or nothing did that should.
        Interrupted: a signal asked for it; the checkpoint was written.
    """
    before = sums_of(freezing.model)
    fitted = _fit(freezing, mixture, lesson, trainer, logger, scratch, callbacks or [], checkpoint_every)
    fitted.learner.cpu()
    if fitted.best:
        fitted.learner.load_state_dict(torch.load(latest_best(scratch), map_location="cpu", weights_only=True))
    return outcome_of(
        freezing,
        mixture,
        lesson,
        before,
        probe_BCHW,
        seconds=fitted.clock.seconds,
        hardware=fitted.hardware.names,
        curve=fitted.curve.points,
    )


def outcome_of(
    freezing: Freezing,
    mixture: Mixture,
    lesson: Lesson,
    before: Mapping[str, str],
    probe_BCHW: Tensor,
    *,
    seconds: float,
    hardware: list[str],
    curve: list[dict[str, float]],
) -> Outcome:
    """What a stage was whose model is trained now.

    Args:
        before: `sums_of` the model before it.
        probe_BCHW: as `train` has it.

    Raises:
        TrainingFailed: a frozen tensor moved, or nothing did that should.
    """
    images_seen = mixture.steps * mixture.batch_size
    train_flops, direct_flops = stage_flops(
        freezing,
        start=lesson.start,
        head=lesson.monitor,
        images_seen=images_seen,
        images_stored=sum(len(served.labels_N) for served in mixture.train.values()),
    )
    return Outcome(
        seconds=seconds,
        hardware=hardware,
        images_seen=images_seen,
        train_flops=train_flops,
        direct_flops=direct_flops,
        curve=curve,
        certificate=certify(freezing, before, probe_BCHW),
    )


def train_along(
    freezing: Freezing,
    mixture: Mixture,
    lesson: Lesson,
    *,
    trainer: TrainerFactory,
    scratch: Path,
    callbacks: list[L.Callback] | None = None,
    checkpoint_every: datetime.timedelta = CHECKPOINT_EVERY,
) -> None:
    """Take part in the training of a stage that rank 0 of a run trains (`train`), and leave nothing.

    Raises:
        Diverged, TrainingFailed, Interrupted: as rank 0 does.
    """
    _fit(freezing, mixture, lesson, trainer, False, scratch, callbacks or [], checkpoint_every)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fitted:
    """What was learnt by, and who looked on."""

    learner: Learner
    clock: Clock
    hardware: Hardware
    curve: Curve
    best: list[Best]


def _fit(
    freezing: Freezing,
    mixture: Mixture,
    lesson: Lesson,
    trainer: TrainerFactory,
    logger: Any,
    scratch: Path,
    callbacks: list[L.Callback],
    checkpoint_every: datetime.timedelta,
) -> _Fitted:
    """Train with all processes of the run, from the same weights and the same checkpoint."""
    ranks = here()
    if ranks:
        ranks.share(freezing.model.state_dict())
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
    made_by = made_by_this({name: list(tensor.shape) for name, tensor in learner.state_dict().items()})
    best = [Best(scratch, lesson.metric, lesson.monitor)] if lesson.select == "best_val" else []
    checkpoints = Checkpoints(scratch / LAST, checkpoint_every, made_by, best, lesson.title)
    clock, hardware, curve = Clock(), Hardware(), Curve()
    fitter = trainer(
        **of_stage(given(trainer, "strategy")),
        logger=logger,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            StageProgress(lesson.title, mixture.steps, mixture.batch_size, lesson.metric),
            clock,
            hardware,
            curve,
            *best,
            checkpoints,
            *callbacks,
        ],
        max_steps=mixture.steps,
        max_epochs=-1,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )
    check_started(fitter)
    saved = unfinished(scratch, made_by, lesson.title, best) if ranks is None or ranks.first else None
    saved = ranks.agree(saved) if ranks else saved
    with deferred():
        try:
            fitter.fit(learner, mixture, ckpt_path=saved, weights_only=True)
        except SIGTERMException as problem:  # between the moments at which `Checkpoints` looks
            raise Interrupted(signal.SIGTERM) from problem
    if fitter.global_step != mixture.steps:
        raise TrainingFailed(f"the stage ended after {fitter.global_step} of {mixture.steps} steps")
    return _Fitted(learner=learner, clock=clock, hardware=hardware, curve=curve, best=best)


def made_by_this(tensors: Mapping[str, list[int]]) -> dict[str, Any]:
    """What has to be equal where a checkpoint is read again.

    Args:
        tensors: name -> shape, of all that it holds.
    """
    return {
        "tlfw": tlfw.__version__,
        "code": own_revision(),
        "torch": str(torch.__version__),
        "lightning": L.__version__,
        "tensors": dict(tensors),
    }


def certify(freezing: Freezing, before: Mapping[str, str], probe_BCHW: Tensor) -> dict[str, Any]:
    """What did and did not change, as it goes into the record.

    Args:
        before: `sums_of` the model before the stage.

    Returns:
        `claimed`: whether the policy promises that frozen is frozen. `holds`: whether it is so.
        `frozen_tensors`, `changed` (of those), `trainable_tensors`, `unmoved` (names of those), and
        `train_eval_gap`, the largest difference of the frozen blocks' features between
        training and evaluation; None where none is frozen.

    Raises:
        TrainingFailed: the promise was broken, or a trainable block or head did not change anywhere.
    """
    partition, model = freezing.partition, freezing.model
    after = sums_of(model)
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
    claimed = not freezing.policy.statistics_move or gap is None  # None: no block is frozen
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
    if freezing.policy.statistics_move:  # the probe itself would move statistics
        freezing = Freezing(freezing.policy, copy.deepcopy(freezing.model), freezing.heads)
    trunk = freezing.model.trunk
    with torch.no_grad():
        freezing.set_modes(False)
        flow = [probe_BCHW]
        for i in range(len(trunk.blocks)):
            flow.append(trunk(flow[i].clone(), i, i + 1))  # some blocks begin in place
        freezing.set_modes(True)
        return max((trunk(flow[i].clone(), i, i + 1) - flow[i + 1]).abs().max().item() for i in frozen)


def sums_of(model: Model) -> dict[str, str]:
    """SHA-256 of every tensor, by name."""
    return {name: _sum(tensor) for name, tensor in model.state_dict().items()}


def _sum(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().data).hexdigest()


def weights_of(model: Model) -> dict[str, Tensor]:
    """A copy of all tensors of a model, on the CPU, by name."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
