"""What an experiment is about to do: every stage and the run, each under the key of all that decides it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torchvision

from tlfw.backbone import Backbone
from tlfw.data import DataSet, Division, View
from tlfw.data.copies import refuse_copies
from tlfw.data.sets import Balance
from tlfw.errors import ConfigError, at
from tlfw.evaluate import TrainerFactory
from tlfw.features import stored_blocks
from tlfw.freeze import FreezePolicy, frozen_first
from tlfw.identity import canonical, digest
from tlfw.mix import DataMix, Stage

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

REVISION = 1
"""Raised whenever the same settings come to give other numbers, so that old results are not taken for new."""

UNKEYED_TRAINER = {
    "accelerator", "strategy", "devices", "num_nodes", "precision",  # in the numerics tag, as they turn out
    "log_every_n_steps", "profiler", "max_steps",  # the last one shows in a stage's steps
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One training, with what follows from the data.

    Attributes:
        key: the digest of everything that decides the stage's weights.
        start_key: the same of the weights that it starts from.
        policy: what may change.
        per_batch: data set -> images in every batch.
        steps: of the optimizer.
        stored: how many blocks are taken from stored features; 0: computed directly.
        frozen: the names of the blocks that do not train.
        random_start: whether nothing was ever learnt before.
    """

    name: str
    stage: Stage
    key: str
    start_key: str
    policy: FreezePolicy
    per_batch: Mapping[str, int]
    steps: int
    stored: int
    frozen: tuple[str, ...]
    random_start: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """An experiment, checked, with all that a person need not say.

    Attributes:
        key: the digest of everything that decides the run's numbers.
        divisions: data set -> its images by use, for the data sets that are needed.
        views: data set -> how its training images are seen.
        balance: data set -> how its unequal classes are made equal in training.
        content: data set -> part -> digest.
        numerics: what else the last bit depends on.
    """

    key: str
    stages: tuple[PlannedStage, ...]
    divisions: Mapping[str, Division]
    views: Mapping[str, View]
    balance: Mapping[str, Balance]
    content: Mapping[str, Mapping[str, str]]
    image_size: int
    numerics: Mapping[str, Any]

    def still_view(self, name: str) -> View:
        """How images of a data set are seen when nothing is learnt from them."""
        return self.views[name].still

    @property
    def labels(self) -> list[str]:
        """What a reader must know before comparing this run with another."""
        last = self.stages[-1]
        labels = []
        if last.random_start and last.frozen:
            labels.append("random_features")
        if last.policy.batch_norm == "train" and last.frozen:
            labels.append("drifting_batch_norm")
        return labels


def make_plan(
    *,
    backbone: Backbone,
    data_sets: Mapping[str, DataSet],
    data_mix: DataMix,
    freeze_policy: FreezePolicy,
    optimizer: Any,
    schedule: Any,
    trainer: TrainerFactory,
    select: str,
    validations: int,
    seed: int,
    manifests: Path,
) -> Plan:
    """Check everything that can be wrong and name everything that will be made. Trains and builds nothing.

    Raises:
        ConfigError: something cannot work; its field is the full one.
    """
    for field, value in (("optimizer", optimizer), ("schedule", schedule), ("trainer", trainer)):
        try:
            canonical(value)
        except TypeError as problem:
            raise ConfigError(
                field, f"what it holds has no name: {problem}.", "Use numbers, texts, true, false and null."
            ) from problem
    stages = data_mix.trained(published=backbone.weights is not None)
    names = tuple(dict.fromkeys(name for stage in stages.values() for name in stage.names))
    image_size = _image_size(backbone, {name: data_sets[name] for name in names})
    with at("backbone"):
        weights_key = digest([backbone.identity(), image_size, seed])
    backbone.check_size(image_size)
    with at("backbone"):
        backbone.fit(image_size)
    with at("freeze_policy"):
        trained = freeze_policy.trained_blocks(blocks := backbone.block_names())
        _check_trained(trained, blocks, freeze_policy)
    divisions, views, content, sums = {}, {}, {}, {}
    for name in names:
        with at(name):
            divisions[name] = data_sets[name].divide(tested=name == "target", manifests=manifests)
            views[name] = view(data_sets[name], backbone, image_size)
            parts = ("train", "val", "test") if name == "target" else ("train", "val")
            sums[name] = {part: getattr(divisions[name], part).sums(manifests) for part in parts}
            content[name] = {part: getattr(divisions[name], part).digest(found) for part, found in sums[name].items()}
    refuse_copies(divisions, sums, {name: data_sets[name].published_splits for name in names})
    balance = {name: data_sets[name].balance for name in names}
    sizes = {name: len(division.train) for name, division in divisions.items()}
    numerics, trainer_key, most_steps = _numerics(trainer)
    if select == "best_val" and trainer_key.get("limit_val_batches") == 0:
        raise ConfigError("select", "best_val needs validation.", "Leave out trainer.limit_val_batches, or use last.")
    key = weights_key
    planned: list[PlannedStage] = []
    for stage_name, stage in stages.items():
        policy = stage.policy or freeze_policy
        with at(f"data_mix.stages.{stage_name}"):
            per_batch = stage.per_batch(sizes)
            steps = min(stage.steps(sizes), most_steps)
            if uneven := [name for name, count in per_batch.items() if count % numerics["world_size"]]:
                raise ConfigError(
                    "batch_size",
                    f"{per_batch[uneven[0]]} images of {uneven[0]} in a batch cannot be shared evenly by "
                    f"{numerics['world_size']} processes.",
                    "Choose it so that each data set's share can be divided.",
                )
            if sum(per_batch.values()) == numerics["world_size"]:
                backbone.check_single_images(image_size, frozen_first(blocks, policy.trained_blocks(blocks)))
            if alone := [n for n, count in per_batch.items() if views[n].mixes and count < 2 * numerics["world_size"]]:
                raise ConfigError(
                    "batch_size",
                    f"{alone[0]}.augmentation mixes images, and a process has only one of {alone[0]} in a batch.",
                    "Choose a larger one, or another augmentation.",
                )
        stored = stored_blocks(policy, backbone, image_size, [views[name] for name in stage.names])
        start_key = key
        key = digest(
            {
                "start": start_key,
                "stage": [stage_name, per_batch, stage.loss_weights, steps],
                "policy": policy,
                "optimizer": optimizer,
                "schedule": schedule,
                "select": [select, min(validations, steps)] if select == "best_val" else select,
                "seed": seed,
                "data": {
                    name: [content[name]["train"], content[name]["val"], views[name], balance[name]]
                    for name in stage.names
                },
                "numerics": {**numerics, "stored_blocks": stored},
                "trainer": trainer_key,
            }
        )
        planned.append(
            PlannedStage(
                name=stage_name,
                stage=stage,
                key=key,
                start_key=start_key,
                policy=policy,
                per_batch=per_batch,
                steps=steps,
                stored=stored,
                frozen=tuple(name for name in blocks if name not in policy.trained_blocks(blocks)),
                random_start=not planned and backbone.weights is None,
            )
        )
    return Plan(
        key=digest([key, content]),
        stages=tuple(planned),
        divisions=divisions,
        views=views,
        balance=balance,
        content=content,
        image_size=image_size,
        numerics=numerics,
    )


def _check_trained(trained: tuple[str, ...], blocks: tuple[str, ...], policy: FreezePolicy) -> None:
    if unknown := [name for name in trained if name not in blocks]:
        raise ConfigError(
            "trained_blocks", f"it names {unknown[0]}, which the backbone does not have.", f"Name some of {blocks}."
        )
    if bool(trained) != (policy.lr_backbone is not None):
        raise ConfigError(
            "lr_backbone",
            f"it is {policy.lr_backbone} where {len(trained)} blocks train.",
            "Use null where none trains, and a rate above 0 otherwise.",
        )


def view(data_set: DataSet, backbone: Backbone, image_size: int) -> View:
    """How the model sees a data set: as published weights were trained to see, else at ImageNet's statistics."""
    mean, std, resize, interpolation = IMAGENET_MEAN, IMAGENET_STD, image_size, "bilinear"
    if backbone.published:
        own = backbone.published.transforms()
        mean, std, interpolation = tuple(own.mean), tuple(own.std), own.interpolation.value
        resize = round(image_size * own.resize_size[0] / own.crop_size[0])
    return View(
        size=image_size,
        resize=resize,
        interpolation=interpolation,
        mean=tuple(data_set.mean) if data_set.mean else mean,
        std=tuple(data_set.std) if data_set.std else std,
        augmentation=data_set.augmentations,
        strength=data_set.strength,
    )


def _image_size(backbone: Backbone, data_sets: Mapping[str, DataSet]) -> int:
    own = backbone.published.transforms().crop_size[0] if backbone.published else 224
    sizes = {name: data_set.image_size or own for name, data_set in data_sets.items()}
    if len(set(sizes.values())) > 1:
        raise ConfigError(
            "source.image_size, target.image_size", f"they differ ({sizes}).", "Set image_size, which both follow."
        )
    return next(iter(sizes.values()))


PRECISIONS = ("32-true", "32", "16-mixed", "bf16-mixed")
"""Those of `lightning.Trainer` that leave a model's weights in float32."""

REFUSED_TRAINER = {
    "accumulate_grad_batches": "batch_size is the effective batch",
    "max_time": "a budget is in epochs, steps or images, so that a run does not depend on the clock",
    "max_epochs": "a budget says how long a stage trains",
    "fast_dev_run": "trainer=smoke tries everything in three steps",
    "overfit_batches": "train_per_class says how many images there are",
    "limit_train_batches": "a budget says how long a stage trains",
    "limit_predict_batches": "all images are evaluated",
    "val_check_interval": "validations says how often",
    "check_val_every_n_epoch": "validations says how often",
    "reload_dataloaders_every_n_epochs": "tlfw orders the images",
    "use_distributed_sampler": "tlfw orders the images",
    "enable_checkpointing": "tlfw writes checkpoints",
    "enable_progress_bar": "tlfw shows how far a stage is",
    "enable_model_summary": "a backbone's blocks are known",
    "num_sanity_val_steps": "a stage validates at its end",
    "limit_test_batches": "all images are evaluated",
    "logger": "tracking says where metrics go",
    "callbacks": "they could change what a record says",
    "default_root_dir": "outputs says where results go",
    "barebones": "it turns off what a record is made of",
}
"""Settings of `lightning.Trainer` that something else decides here, and what."""


def _numerics(trainer: TrainerFactory) -> tuple[dict[str, Any], dict[str, Any], int]:
    """(what the last bit depends on, the trainer's other settings, the most steps that it allows a stage)."""
    settings: dict[str, Any] = dict(getattr(trainer, "keywords", {}))
    for name, instead in REFUSED_TRAINER.items():
        if name in settings:
            raise ConfigError(f"trainer.{name}", f"tlfw decides that itself: {instead}.", "Leave it out.")
    if (precision := str(settings.get("precision", "32-true"))) not in PRECISIONS:
        raise ConfigError(
            "trainer.precision",
            f"{precision} is none in which frozen weights keep their bits.",
            f"Use {', '.join(PRECISIONS)}.",
        )
    if settings.get("deterministic") not in (None, True, False, "warn"):
        raise ConfigError("trainer.deterministic", f"it is {settings['deterministic']!r}.", "Use true, false or warn.")
    if settings.get("max_steps") == 0:
        raise ConfigError(
            "trainer.max_steps", "it is 0, so nothing would be learnt.", "Use 1 or more, or -1 for no limit."
        )
    try:
        made: L.Trainer = trainer(
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
        )
    except Exception as problem:  # Lightning raises many kinds here, all of them about what it was given
        raise ConfigError(
            "trainer",
            f"Lightning refuses it: {problem}.",
            "Look up the arguments of lightning.Trainer; trainer=cpu works anywhere.",
        ) from problem
    device = made.strategy.root_device.type
    numerics = {
        "revision": REVISION,
        "device": device,
        "precision": str(made.precision),
        "threads": torch.get_num_threads() if device == "cpu" else None,
        "world_size": made.world_size,
        "torch": _minor(torch.__version__),
        "torchvision": _minor(torchvision.__version__),
    }
    keyed = {name: value for name, value in settings.items() if name not in UNKEYED_TRAINER}
    return numerics, keyed, settings.get("max_steps", -1) if settings.get("max_steps", -1) > 0 else 2**62


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
