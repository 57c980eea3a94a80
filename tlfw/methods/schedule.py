"""Learning-rate schedules, all of them torch's own, counted in steps of one stage.

Each takes an optimizer, whose groups hold their peak rates, and the stage's number of
steps. `warmup` is the share of the steps in which the rate rises linearly from a
hundredth of its peak.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
)

from tlfw.errors import ConfigError
from tlfw.identity.names import named


@named("tlfw.schedule.cosine")
def cosine(optimizer: Optimizer, steps: int, *, warmup: float) -> LRScheduler:
    """Down to zero along half a cosine (Loshchilov and Hutter, 2017)."""
    rise = _rise(steps, warmup)
    return _after_warmup(optimizer, rise, CosineAnnealingLR(optimizer, T_max=max(steps - rise, 1)))


@named("tlfw.schedule.constant")
def constant(optimizer: Optimizer, steps: int, *, warmup: float) -> LRScheduler:
    """At its peak to the end."""
    return _after_warmup(optimizer, _rise(steps, warmup), ConstantLR(optimizer, factor=1.0))


@named("tlfw.schedule.step")
def step(optimizer: Optimizer, steps: int, *, warmup: float, milestones: Sequence[float], gamma: float) -> LRScheduler:
    """Times `gamma` at each of `milestones`, shares of the stage in (0, 1)."""
    if not all(0 < m < 1 for m in milestones):
        raise ConfigError(
            "schedule.milestones", f"{list(milestones)} must be shares of the stage.", "Use numbers between 0 and 1."
        )
    rise = _rise(steps, warmup)
    marks = [max(round(m * steps) - rise, 1) for m in milestones]
    return _after_warmup(optimizer, rise, MultiStepLR(optimizer, marks, gamma=gamma))


@named("tlfw.schedule.one_cycle")
def one_cycle(optimizer: Optimizer, steps: int, *, warmup: float) -> LRScheduler:
    """Up in the first `warmup` of the steps and down to almost zero, momentum the other way (Smith, 2018)."""
    if not 0 < warmup < 1:
        raise ConfigError(
            "schedule.warmup", f"{warmup} is no share that one_cycle can rise in.", "Use a number between 0 and 1."
        )
    return OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=max(steps, 2), pct_start=warmup
    )


def _rise(steps: int, warmup: float) -> int:
    if not 0 <= warmup < 1:
        raise ConfigError("schedule.warmup", f"{warmup} is no share of a stage.", "Use a number from 0 to below 1.")
    return round(warmup * steps)


def _after_warmup(optimizer: Optimizer, rise: int, then: LRScheduler) -> LRScheduler:
    if rise == 0:
        return then
    first = LinearLR(optimizer, start_factor=0.01, total_iters=rise)
    return SequentialLR(optimizer, [first, then], milestones=[rise])
