"""What an experiment is about to do: every stage and the run, each under the key of all that decides it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.input_spec import InputSpec
from tlfw.data import DataSet, Division, View
from tlfw.data.copies import Copies
from tlfw.data.sets import Balance
from tlfw.errors import ConfigError, at
from tlfw.identity.names import AT_THE_TOP, Nameless, canonical, digest
from tlfw.machine import most_images
from tlfw.methods.freeze import FreezePolicy, frozen_first
from tlfw.methods.mix import DataMix, Stage
from tlfw.records.metric import Metric
from tlfw.records.record import Trains
from tlfw.runs.experiment_data import Memo, SeenData, look, size_for
from tlfw.runs.match_budget import Length, Match, lengths
from tlfw.training.evaluate import DELIVERED, TrainerFactory
from tlfw.training.features import stored_blocks
from tlfw.training.numerics import Numerics, numerics_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One training, with what follows from the data.

    Attributes:
        key: the digest of everything that decides the stage's weights.
        policy: what may change.
        seed: of all that is drawn.
        earlier: data set of the mixture -> how many stages of the run trained on it before.
        per_batch: data set -> images in every batch.
        steps: of the optimizer.
        stored: how many blocks are taken from stored features; 0: computed directly.
        features: (data set, part) -> the key of its stored features; empty where none are used.
        frozen: the names of the blocks that do not train.
        trains: the `head` alone, or those of the mixture, with some `blocks`, or `all` there is.
        random_start: whether nothing was ever learnt before.
    """

    name: str
    stage: Stage
    key: str
    policy: FreezePolicy
    seed: int
    earlier: Mapping[str, int]
    per_batch: Mapping[str, int]
    steps: int
    stored: int
    features: Mapping[tuple[str, str], str]
    frozen: tuple[str, ...]
    trains: Trains
    random_start: bool

    @property
    def images(self) -> int:
        """How many are seen, each as often as it is."""
        return self.steps * sum(self.per_batch.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """An experiment, checked, with all that a person need not say.

    Attributes:
        key: the digest of everything that decides the run's numbers.
        setting: the digest of what decides them but the seed, the images and how many they are, which weights of an
            architecture were given, and where they are computed: runs that are equal in it repeat each other.
        data: its images.
        numerics: what else the last bit depends on.
        remarks: what a person should know before anything trains, and is no error: sentences.
    """

    key: str
    setting: str
    stages: tuple[PlannedStage, ...]
    data: SeenData
    numerics: Mapping[str, Any]
    remarks: tuple[str, ...]

    @property
    def divisions(self) -> Mapping[str, Division]:
        return self.data.divisions

    @property
    def views(self) -> Mapping[str, View]:
        return self.data.views

    @property
    def balance(self) -> Mapping[str, Balance]:
        return self.data.balance

    @property
    def image_size(self) -> int:
        return self.data.image_size

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
    metric: Metric,
    validations: int,
    match: Match | None,
    copies: Copies,
    seed: int,
    threads: int | None,
    exact: bool,
    manifests: Path,
    memo: Memo,
) -> Plan:
    """Check everything that can be wrong and name everything that will be made. Trains and builds nothing.

    Raises:
        ConfigError: something cannot work; its field is the full one.
    """
    with at("data_mix"):
        stages = data_mix.trained(published=backbone.weights is not None)
    names = tuple(dict.fromkeys(name for stage in stages.values() for name in stage.names))
    needed = {name: data_sets[name] for name in names}
    _check_named(
        {
            **{"optimizer": optimizer, "schedule": schedule, "trainer": trainer, "freeze_policy": freeze_policy},
            **{"data_mix": data_mix, "backbone": backbone.plain, **data_sets},
        }
    )
    blocks = _check_backbone(backbone, freeze_policy, needed, memo)
    data = look(backbone, needed, copies, manifests, memo)
    numerics = numerics_known(trainer, threads, exact, memo)
    if select == "best_val" and numerics.keyed.get("limit_val_batches") == 0:
        raise ConfigError("select", "best_val needs validation.", "Leave out trainer.limit_val_batches, or use last.")
    _check_validated(data, numerics.tag["world_size"])
    policies = {name: stage.policy or freeze_policy for name, stage in stages.items()}
    trained = {name: policy.trained_blocks(blocks) for name, policy in policies.items()}
    matched = match.budget(backbone, data_sets, data, copies, manifests, memo) if match else None
    long = lengths(stages, trained, data.sizes, matched)
    for name, length in long.items():
        with at(f"data_mix.stages.{name}"):
            _check_batch(length.per_batch, data, numerics.tag["world_size"])
            if sum(length.per_batch.values()) == numerics.tag["world_size"]:
                backbone.check_single_images(data.image_size, frozen_first(blocks, trained[name]))
    with at("backbone"):
        drawn = next(iter(stages.values())).seed_in(seed) if backbone.weights is None else None
        key = digest([backbone.identity(), data.image_size, drawn])
        setting = digest(
            {
                "backbone": [backbone.architecture(), backbone.weights is None],
                "image_size": data.image_size,
                "precision": numerics.tag["precision"],
                "most_steps": numerics.most_steps,
            }
        )
    times: Counter[str] = Counter()
    planned: list[PlannedStage] = []
    for name, stage in stages.items():
        policy, length = policies[name], long[name]
        steps = min(length.steps, numerics.most_steps)
        stored = stored_blocks(policy, backbone, data.image_size, [data.views[each] for each in stage.names])
        earlier = {each: times[each] for each in stage.names}
        times.update(stage.names)
        start_key = key
        how = {
            "policy": policy.effect(blocks),
            "optimizer": optimizer,
            "schedule": schedule,
            "trainer": numerics.keyed,
        }
        seen = {each: [data.views[each], data.balance[each]] for each in stage.names}
        asked = {each: [data.asked[each], data.balance[each]] for each in stage.names}
        selecting = [metric.name, stage.monitor] if select == "best_val" else None
        setting = digest(
            {
                **how,
                "start": setting,
                # In their order, in which sums are formed.
                "stage": [name, [*stage.shares.items()], stage.batch_size, stage.loss_weights, str(length.asked)],
                "seed": stage.seed,
                "select": [select, selecting, validations if selecting else None],
                "data": asked,
            }
        )
        key = digest(
            {
                **how,
                "start": start_key,
                "stage": [name, [*length.per_batch.items()], stage.loss_weights, steps],
                "select": [select, selecting, min(validations, steps) if selecting else None],
                "draws": [stage.seed_in(seed), earlier],
                "data": {
                    each: [data.content[each]["train"], data.content[each]["val"], *seen[each]] for each in stage.names
                },
                "numerics": {**numerics.tag, "computed": {"from_features": stored} if stored else "directly"},
            }
        )
        served = [*((each, "train") for each in stage.names), *((each, "val") for each in times)] if stored else []
        planned.append(
            PlannedStage(
                name=name,
                stage=stage,
                key=key,
                policy=policy,
                seed=stage.seed_in(seed),
                earlier=earlier,
                per_batch=length.per_batch,
                steps=steps,
                stored=stored,
                features={
                    (each, part): digest(
                        [
                            *(start_key, stored, data.content[each][part], data.views[each].still),
                            # Validation is by the precision that is delivered, whatever the other is.
                            {**numerics.of_features, "precision": DELIVERED} if part == "val" else numerics.of_features,
                        ]
                    )
                    for each, part in served
                },
                frozen=tuple(block for block in blocks if block not in trained[name]),
                trains="head" if not trained[name] else "all" if set(blocks) <= set(trained[name]) else "blocks",
                random_start=not planned and backbone.weights is None,
            )
        )
    return Plan(
        # What the test images belong together with decides the intervals that predictions are read for.
        key=digest([key, data.content, data.grouping]),
        setting=setting,
        stages=tuple(planned),
        data=data,
        numerics=numerics.tag,
        remarks=(*data.remarks, *_of_inputs(backbone, data), *_remarks(long, numerics.most_steps)),
    )


FEW_STEPS = 10
"""A stage of fewer is hardly one: a learning rate has no time to rise and fall."""


def _remarks(long: Mapping[str, Length], most_steps: int) -> list[str]:
    """What is odd about how long stages train: where a budget is small, and where the trainer cuts it."""
    found = [
        f"{name} takes {length.steps} step{'s' * (length.steps != 1)} of {sum(length.per_batch.values())} images; "
        "fewer than ten hardly learn"
        for name, length in long.items()
        if length.steps < FEW_STEPS
    ]
    if cut := [name for name, length in long.items() if length.steps > most_steps]:
        found.append(f"trainer.max_steps ends {' and '.join(cut)} after {most_steps} steps: to try out, not to compare")
    return found


def _of_inputs(backbone: Backbone, data: SeenData) -> list[str]:
    """Where nobody says how images were prepared for the given weights, how they are now."""
    if backbone.weights is None or backbone.input_spec is not None:
        return []
    size = data.image_size
    file, usual = Path(backbone.weights).name, InputSpec(size=size, resize=size)
    return [
        f"it is not known how images were prepared where {file} was learnt; they are taken at {usual}, where source "
        "and target do not say otherwise: backbone.preprocessing says it"
    ]


def _check_validated(data: SeenData, world_size: int) -> None:
    """Each process needs an image to validate on: one that has none would leave the others waiting."""
    for name, division in data.divisions.items():
        if len(division.val) < world_size:
            raise ConfigError(
                f"{name}.val_fraction",
                f"{len(division.val)} images to validate on cannot be shared by {world_size} processes.",
                "Choose a larger one, or fewer trainer.devices.",
            )


def numerics_known(trainer: TrainerFactory, threads: int | None, exact: bool, memo: Memo) -> Numerics:
    """How numbers are computed, found out once for all jobs of a sweep that are computed alike."""
    return memo.get(lambda: numerics_of(trainer, threads, exact), "numerics", trainer, threads, exact)


def _check_named(parts: Mapping[str, Any]) -> None:
    """See that what decides a result can name it."""
    for field, value in parts.items():
        try:
            canonical(value)
        except Nameless as problem:
            raise ConfigError(field, problem.problem, problem.remedy) from problem
        except TypeError as problem:
            raise ConfigError(field, f"it cannot be part of a result's name: {problem}.", AT_THE_TOP) from problem


def _check_backbone(
    backbone: Backbone, policy: FreezePolicy, data_sets: Mapping[str, DataSet], memo: Memo
) -> tuple[str, ...]:
    """The names of its blocks, if it takes such images, its weights fit, and the policy asks for what it has."""
    image_size = size_for(backbone, data_sets)
    backbone.check_size(image_size)
    with at("backbone"):
        memo.get(lambda: backbone.fit(image_size), "fit", backbone, image_size)
    blocks = backbone.block_names()
    with at("freeze_policy"):
        trained = policy.trained_blocks(blocks)
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
    return blocks


def _check_batch(per_batch: Mapping[str, int], data: SeenData, world_size: int) -> None:
    count, most = sum(per_batch.values()), most_images(data.image_size) * world_size
    if count > most:
        raise ConfigError(
            "batch_size",
            f"{count:,} images of {data.image_size} px, as float32, take more than half of the memory.",
            f"Use at most {most:,}.",
        )
    if uneven := [name for name, count in per_batch.items() if count % world_size]:
        raise ConfigError(
            "batch_size",
            f"{per_batch[uneven[0]]} images of {uneven[0]} in a batch cannot be shared evenly by {world_size} "
            "processes.",
            "Choose it so that each data set's share can be divided.",
        )
    if alone := [name for name, count in per_batch.items() if data.views[name].mixes and count < 2 * world_size]:
        raise ConfigError(
            "batch_size",
            f"{alone[0]}.augmentation mixes images, and a process has only one of {alone[0]} in a batch.",
            "Choose a larger one, or another augmentation.",
        )
