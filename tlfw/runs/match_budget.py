"""How long each stage of a run trains; and budgets made equal, by the length of the last, so that all runs take as much
as one and the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal

from tlfw.backbones.backbone import Backbone
from tlfw.errors import ConfigError, at
from tlfw.methods.mix import Stage, Workload
from tlfw.runs.experiment_data import SeenData
from tlfw.training.cost import flops_per_image

Measure = Literal["epochs", "steps", "images", "flops"]

COUNTED = {"epochs": "images of the target", "steps": "steps", "images": "images", "flops": "FLOPs"}
"""What each measure counts. Epochs of the target are its training images, of which all runs have the same."""

NOMINAL = {"source": 1_000_003, "target": 100_003}
"""Data sets of so many images say how long something was asked to be, however many images there are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """What all trainings of a run, whichever they are, are to come to.

    Attributes:
        measure: in which they are equal.
        reference: stages that would train everything, one after the other: what they take together is the budget.
    """

    measure: Measure
    reference: Sequence[Stage]

    @property
    def counted(self) -> list[Stage]:
        """Those of the reference that the measure counts."""
        return [stage for stage in self.reference if self.measure != "epochs" or "target" in stage.names]

    def said(self, amount: int) -> str:
        """So much of what the measure counts, for people."""
        return f"{amount:.4g} FLOPs" if self.measure == "flops" else f"{amount:,} {COUNTED[self.measure]}"


@dataclasses.dataclass(frozen=True)
class Length:
    """How long a stage trains.

    Attributes:
        per_batch: data set -> images in every batch.
        steps: of the optimizer.
        asked: images that it would see, unrounded, if data sets had `NOMINAL` images: equal where the same was asked
            for, also of data sets of other sizes.
    """

    per_batch: Mapping[str, int]
    steps: int
    asked: Fraction


@dataclasses.dataclass(frozen=True)
class _Price:
    """What one optimizer step takes, in a measure."""

    measure: Measure
    backbone: Backbone
    data: SeenData

    def per_step(self, stage: Stage, load: Workload, trained: tuple[str, ...]) -> int:
        """Of a stage in which the blocks of the names `trained` train."""
        if self.measure == "steps":
            return 1
        if self.measure == "epochs":
            return load.per_batch.get("target", 0)
        if self.measure == "images":
            return load.batch
        classes = self.data.classes[stage.monitor]
        return load.batch * flops_per_image(self.backbone, self.data.image_size, classes, trained)


def lengths(
    stages: Mapping[str, Stage],
    trained: Mapping[str, tuple[str, ...]],
    match: Match | None,
    blocks: tuple[str, ...],
    backbone: Backbone,
    data: SeenData,
) -> dict[str, Length]:
    """How long each of a run's stages trains: by its own budgets, and the last as long as `match` leaves to it.

    Args:
        stages: name -> stage, in order.
        trained: name -> the names of the blocks that train.
        blocks: the names of all, which the reference trains.

    Raises:
        ConfigError: a batch is too small for its shares, or nothing is left to the last stage.
    """
    reference = match.counted if match else []
    wanted = [(stage, stage.workload(data.sizes), stage.workload(NOMINAL)) for stage in reference]
    loads: dict[str, tuple[Workload, Workload]] = {}
    for name, stage in stages.items():
        with at(f"data_mix.stages.{name}"):
            loads[name] = stage.workload(data.sizes), stage.workload(NOMINAL)
    steps = {name: load.steps for name, (load, _) in loads.items()}
    asked = {name: _unrounded(usual) for name, (_, usual) in loads.items()}
    if match:
        price = _Price(match.measure, backbone, data)
        total = sum(load.steps * price.per_step(stage, load, blocks) for stage, load, _ in wanted)
        total_asked = sum(
            (_unrounded(usual) * price.per_step(stage, usual, blocks) for stage, _, usual in wanted), Fraction(0)
        )
        *before, last = stages
        prices = {
            name: [price.per_step(stage, load, trained[name]) for load in loads[name]] for name, stage in stages.items()
        }
        spent = sum(steps[name] * prices[name][0] for name in before)
        spent_asked = sum((asked[name] * prices[name][1] for name in before), Fraction(0))
        steps[last] = _last_steps(match, last, total, spent, prices[last][0])
        asked[last] = (total_asked - spent_asked) / prices[last][1]
    return {
        name: Length(load.per_batch, steps[name], asked[name] * usual.batch) for name, (load, usual) in loads.items()
    }


def _unrounded(load: Workload) -> Fraction:
    """Optimizer steps, where the last need not be whole."""
    return Fraction(load.images, load.batch)


def _last_steps(match: Match, name: str, total: int, spent: int, price: int) -> int:
    """How many steps the last stage, of that name, has to take, to the nearest.

    Args:
        total: what the reference takes.
        spent: by the stages before it.
        price: of a step of it.

    Raises:
        ConfigError: they leave nothing to it.
    """
    if (steps := (2 * (total - spent) + price) // (2 * price)) >= 1:
        return steps
    raise ConfigError(
        "match_budget",
        f"pretrain.budget and adapt.budget together come to {match.said(total)}, of which the stages before "
        f"{name} take {match.said(spent)} and a step of {name} {match.said(price)}: nothing is left for it.",
        "Raise adapt.budget, shorten the stages before, or choose another measure.",
    )
