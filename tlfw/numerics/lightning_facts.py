"""What Lightning makes of a trainer's settings: device, precision, processes, strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from tlfw.devices.strategy import alone, check_strategy, together
from tlfw.errors import ConfigError
from tlfw.identity.names import canonical
from tlfw.numerics.trainer import TrainerFactory


def made(trainer: TrainerFactory, there: Mapping[str, Any]) -> dict[str, Any]:
    """Make a trainer that computes on all devices of its run, and look at it: -> plain JSON types.

    Args:
        there: settings instead of its own.

    Returns:
        `device`, its type; `precision`, as Lightning names it; `world_size`; `strategy`: None for those that give the
        same numbers for as many processes, of others the name.

    Raises:
        ConfigError: Lightning refuses it, or tlfw can start no such strategy.
    """
    settings: dict[str, Any] = together(getattr(trainer, "keywords", {}).get("strategy")) | dict(there)
    try:
        found: L.Trainer = trainer(
            **settings, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
        )
    except Exception as problem:  # Lightning raises many kinds here, all of them about what it was given
        raise ConfigError(
            "trainer",
            f"Lightning refuses it: {problem}.",
            "Look up the arguments of lightning.Trainer; trainer=cpu works anywhere.",
        ) from problem
    check_strategy(found)
    kind = type(found.strategy)
    return {
        "device": found.strategy.root_device.type,
        "precision": str(found.precision),
        "world_size": found.world_size,
        "strategy": None if kind in (SingleDeviceStrategy, DDPStrategy) else canonical(kind),
    }


def device_here() -> str:
    """The type of device that Lightning would choose in this process."""
    return str(L.Trainer(logger=False, enable_checkpointing=False, **alone()).strategy.root_device.type)
