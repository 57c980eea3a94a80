"""What Lightning is told of processes: never to start one, and which of those that are there this one is."""

from __future__ import annotations

import re
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy

from tlfw.devices.ranks import here
from tlfw.errors import ConfigError, TrainingFailed
from tlfw.internals.lightning import started_elsewhere

INSTEAD = "Use ddp, which gives every device the whole model and its part of each batch, or leave it out."


def alone() -> dict[str, Any]:
    """Settings of a trainer that computes on this process's own device."""
    ranks = here()
    own = [ranks.local] if ranks and ranks.device == "cuda" else 1
    return {"devices": own, "num_nodes": 1, "strategy": "auto", "plugins": [LightningEnvironment()]}


def together(strategy: Any) -> dict[str, Any]:
    """Settings of a trainer that computes on all devices of its run.

    A scheduler's variables do not count: Lightning would take the processes of a Slurm job for ranks, and its signals.

    Args:
        strategy: as it was given; None: it was not.

    Raises:
        ConfigError: it is none that gives every device the whole model.
    """
    environment: ClusterEnvironment = TorchElasticEnvironment() if here() else LightningEnvironment()
    found: dict[str, Any] = {"plugins": [environment]}
    if strategy is not None:
        found["strategy"] = plain(strategy)
    if here() and found.get("strategy", "auto") == "auto":
        found["strategy"] = "ddp"
    return found


def of_stage(strategy: Any) -> dict[str, Any]:
    """The same of a trainer that is about to train. One device needs no DDP, which would open connections."""
    found = together(strategy)
    plain_ddp = isinstance(strategy, DDPStrategy) or str(strategy).startswith("ddp")
    return found | {"strategy": "auto"} if here() is None and plain_ddp else found


def plain(strategy: Any) -> Any:
    """A strategy, without what it says of how processes are started."""
    if isinstance(strategy, str):
        if re.match(r"fsdp|deepspeed|xla|model_parallel|tpu|hpu", strategy):
            raise ConfigError("trainer.strategy", f"{strategy} divides the model, which is kept whole here.", INSTEAD)
        return re.sub(r"^ddp_(?:spawn|fork|notebook)", "ddp", strategy)
    return started_elsewhere(strategy) if isinstance(strategy, DDPStrategy) else strategy


def check_strategy(made: L.Trainer) -> None:
    """See that Lightning has made a strategy for one device, or plain DDP.

    Raises:
        ConfigError: it has not.
    """
    kind = type(made.strategy)
    if isinstance(made.strategy, ParallelStrategy) and kind is not DDPStrategy:
        raise ConfigError("trainer.strategy", f"{kind.__name__} is none that tlfw can start.", INSTEAD)


def check_started(fitter: L.Trainer) -> None:
    """See that a trainer of several processes is in one of them: it would start them itself, by this command again.

    Raises:
        TrainingFailed: it is not.
    """
    if fitter.world_size > 1 and here() is None:
        raise TrainingFailed(
            f"it takes {fitter.world_size} processes to train, and this one is alone: what the run had in the store is "
            "gone; the same command makes it again"
        )
