"""The first pass of planning: what was asked, before any image is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.network import Network, network_of
from tlfw.data.copies import Copies
from tlfw.data.sets import DataSet
from tlfw.errors import ConfigError, at
from tlfw.identity.names import AT_THE_TOP, Nameless, canonical
from tlfw.methods.freeze import FreezePolicy, frozen_first
from tlfw.methods.mix import DataMix, Stage
from tlfw.numerics.tag import Numerics, numerics_of
from tlfw.numerics.trainer import TrainerFactory
from tlfw.records.metric import Metric
from tlfw.runs.experiment_data import Memo, size_for
from tlfw.runs.match_budget import Match
from tlfw.store.facts import Facts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What of an experiment decides its numbers, and where facts about images are kept (`manifests`)."""

    backbone: Backbone
    data_sets: Mapping[str, DataSet]
    data_mix: DataMix
    freeze_policy: FreezePolicy
    optimizer: Any
    schedule: Any
    trainer: TrainerFactory
    select: str
    metric: Metric
    validations: int
    match: Match | None
    copies: Copies
    seed: int
    threads: int | None
    exact: bool
    manifests: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """What was asked, and what follows from it alone.

    Attributes:
        stages: name -> stage, in order.
        needed: the data sets that the stages train on.
        beside: the others that a budget is counted of.
        policies, trained: stage -> what may change, and the names of the blocks that train.
        frozen: stage -> how many of the first blocks are frozen, before one trains.
    """

    asked: Request
    stages: Mapping[str, Stage]
    needed: Mapping[str, DataSet]
    beside: Mapping[str, DataSet]
    network: Network
    policies: Mapping[str, FreezePolicy]
    trained: Mapping[str, tuple[str, ...]]
    frozen: Mapping[str, int]
    numerics: Numerics

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return int(self.numerics.tag["world_size"])


def check(asked: Request, memo: Memo, facts: Facts) -> Checked:
    """See that what was asked can be named, that the backbone takes it, and that the trainer can be made.

    Raises:
        ConfigError: something cannot work; its field is the full one.
    """
    _check_optimizer(asked.optimizer, asked.schedule, memo, facts)
    with at("data_mix"):
        stages = asked.data_mix.trained(published=asked.backbone.weights is not None)
    needed = {name: asked.data_sets[name] for stage in stages.values() for name in stage.names}
    counted = asked.match.counted if asked.match else []
    beside = {name: asked.data_sets[name] for stage in counted for name in stage.names if name not in needed}
    parts = ("optimizer", "schedule", "trainer", "freeze_policy", "data_mix")
    _check_named({name: getattr(asked, name) for name in parts} | {"backbone": asked.backbone.plain, **asked.data_sets})
    network = _check_backbone(asked.backbone, asked.freeze_policy, needed, memo, facts)
    numerics = numerics_known(asked.trainer, asked.threads, asked.exact, memo, facts)
    if asked.select == "best_val" and numerics.keyed.get("limit_val_batches") == 0:
        raise ConfigError("select", "best_val needs validation.", "Leave out trainer.limit_val_batches, or use last.")
    policies = {name: stage.policy or asked.freeze_policy for name, stage in stages.items()}
    trained = {name: policy.trained_blocks(network.blocks) for name, policy in policies.items()}
    return Checked(
        asked=asked,
        stages=stages,
        needed=needed,
        beside=beside,
        network=network,
        policies=policies,
        trained=trained,
        frozen={name: frozen_first(network.blocks, blocks) for name, blocks in trained.items()},
        numerics=numerics,
    )


def _check_optimizer(optimizer: Any, schedule: Any, memo: Memo, facts: Facts) -> None:
    """Try them, once for all who have the same."""
    what = ("optimizer", optimizer, schedule, str(torch.__version__))
    try:
        canonical([optimizer, schedule])
    except TypeError:  # which is refused when all is named, if the trial finds nothing more to say
        _try_optimizer(optimizer, schedule)
    else:
        memo.get(lambda: facts.get(lambda: _try_optimizer(optimizer, schedule), *what), *what)


TRIAL_STEPS = 20


def _try_optimizer(optimizer: Any, schedule: Any) -> None:
    """A stage's worth of steps of a single number that has no gradient: only then some settings are looked at."""
    if "lr" in getattr(optimizer, "keywords", {}):
        raise ConfigError(
            "optimizer.lr",
            "it would have no effect.",
            "Set freeze_policy.lr_head, freeze_policy.lr_backbone or pretrain.lr.",
        )
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    try:
        made = optimizer([{"params": [parameter], "lr": 0.1, "name": "heads"}])
        made.step()
    except (TypeError, ValueError, RuntimeError, AttributeError) as problem:
        raise ConfigError(
            "optimizer", f"torch refuses it: {problem}.", "Look up its arguments in torch.optim."
        ) from problem
    try:
        rates = schedule(made, TRIAL_STEPS)
        for _ in range(TRIAL_STEPS - 1):
            made.step()
            rates.step()
    except (TypeError, ValueError, RuntimeError, AttributeError, ZeroDivisionError) as problem:
        raise ConfigError(
            "schedule", f"it cannot be made: {problem}.", "Look at conf/schedule/ for what each takes."
        ) from problem


def numerics_known(trainer: TrainerFactory, threads: int | None, exact: bool, memo: Memo, facts: Facts) -> Numerics:
    """How numbers are computed, found out once for all jobs of a sweep that are computed alike."""
    return memo.get(
        lambda: numerics_of(trainer, threads, exact, memo.machine, facts), "numerics", trainer, threads, exact
    )


def _network(backbone: Backbone, image_size: int, facts: Facts) -> Network:
    """What is known of a backbone for images of that size, if it takes them. Once known, no network is built for it."""

    def look() -> Mapping[str, Any]:
        backbone.check_size(image_size)
        return dataclasses.asdict(network_of(backbone, image_size))

    versions = [str(torch.__version__), version("torchvision")]
    return Network.of(facts.get(look, "network", backbone, image_size, versions))


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
    backbone: Backbone, policy: FreezePolicy, data_sets: Mapping[str, DataSet], memo: Memo, facts: Facts
) -> Network:
    """What is known of it, if it takes such images, its weights fit, and the policy asks for what it has."""
    image_size = size_for(backbone, data_sets)
    network = memo.get(lambda: _network(backbone, image_size, facts), "network", backbone, image_size)
    with at("backbone"):
        memo.get(lambda: backbone.fit(image_size), "fit", backbone, image_size)
    with at("freeze_policy"):
        trained = policy.trained_blocks(network.blocks)
        if unknown := [name for name in trained if name not in network.blocks]:
            raise ConfigError(
                "trained_blocks",
                f"it names {unknown[0]}, which the backbone does not have.",
                f"Name some of {network.blocks}.",
            )
        if bool(trained) != (policy.lr_backbone is not None):
            raise ConfigError(
                "lr_backbone",
                f"it is {policy.lr_backbone} where {len(trained)} blocks train.",
                "Use null where none trains, and a rate above 0 otherwise.",
            )
    return network
