"""How long each stage of a run trains; and budgets made equal, by the length of the last, so that all runs take as much
as one and the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

from tlfw.backbones.backbone import Backbone
from tlfw.data import DataSet, Division
from tlfw.data.copies import Copies
from tlfw.errors import ConfigError, at
from tlfw.methods.mix import Stage
from tlfw.runs.experiment_data import Memo, SeenData, divided
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

    def budget(
        self,
        backbone: Backbone,
        data_sets: Mapping[str, DataSet],
        data: SeenData,
        copies: Copies,
        manifests: Path,
        memo: Memo,
    ) -> Matched:
        """What the reference takes, and what takes from it.

        Args:
            data_sets: also those that the run itself does not train on.
            data: those that it does.

        Raises:
            ConfigError: a data set of the reference cannot be had.
        """
        divisions = dict(data.divisions)
        counted = [stage for stage in self.reference if self.measure != "epochs" or "target" in stage.names]
        for name in (name for stage in counted for name in stage.names if name not in divisions):
            beside = {each: data_sets[each] for each in data.divisions}
            divisions[name] = _also(name, {**beside, name: data_sets[name]}, copies, manifests, memo)
        sizes = {name: len(division.train) for name, division in divisions.items()}
        found = Matched(
            measure=self.measure,
            total=0,
            asked=Fraction(0),
            backbone=backbone,
            image_size=data.image_size,
            divisions=divisions,
        )
        blocks = backbone.block_names()
        return dataclasses.replace(
            found,
            total=sum(stage.steps(sizes) * found.price(stage, stage.per_batch(sizes), blocks) for stage in counted),
            asked=sum(
                (_asked_steps(stage) * found.price(stage, stage.per_batch(NOMINAL), blocks) for stage in counted),
                Fraction(0),
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matched:
    """A budget for a whole run: `total` of what its measure counts, and `asked` where sets had `NOMINAL` images."""

    measure: Measure
    total: int
    asked: Fraction
    backbone: Backbone
    image_size: int
    divisions: Mapping[str, Division]

    def price(self, stage: Stage, per_batch: Mapping[str, int], trained: Collection[str]) -> int:
        """What one optimizer step takes.

        Args:
            per_batch: data set -> images in the batch.
            trained: the names of the blocks that train.
        """
        if self.measure == "steps":
            return 1
        if self.measure == "epochs":
            return per_batch.get("target", 0)
        images = sum(per_batch.values())
        if self.measure == "images":
            return images
        classes = len(self.divisions[stage.monitor].classes)
        return images * flops_per_image(self.backbone, self.image_size, classes, tuple(trained))

    def last_steps(self, name: str, price: int, spent: int) -> int:
        """How many steps the last stage has to take, to the nearest.

        Args:
            name: the stage's.
            price: of a step of it.
            spent: by the stages before it.

        Raises:
            ConfigError: they leave nothing to it.
        """
        left = self.total - spent
        if (steps := (2 * left + price) // (2 * price)) >= 1:
            return steps
        raise ConfigError(
            "match_budget",
            f"pretrain.budget and adapt.budget together come to {self._said(self.total)}, of which the stages before "
            f"{name} take {self._said(spent)} and a step of {name} {self._said(price)}: nothing is left for it.",
            "Raise adapt.budget, shorten the stages before, or choose another measure.",
        )

    def _said(self, amount: int) -> str:
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


def lengths(
    stages: Mapping[str, Stage],
    trained: Mapping[str, Collection[str]],
    sizes: Mapping[str, int],
    matched: Matched | None,
) -> dict[str, Length]:
    """How long each of a run's stages trains: by its own budgets, and the last as long as `matched` leaves to it.

    Args:
        stages: name -> stage, in order.
        trained: name -> the names of the blocks that train.
        sizes: data set -> training images.

    Raises:
        ConfigError: a batch is too small for its shares, or nothing is left to the last stage.
    """
    found: dict[str, Length] = {}
    spent, spent_asked = 0, Fraction(0)
    for name, stage in stages.items():
        with at(f"data_mix.stages.{name}"):
            per_batch = stage.per_batch(sizes)
            steps = stage.steps(sizes)
            usual = stage.per_batch(NOMINAL)
            asked = _asked_steps(stage)
        if matched:
            price, usual_price = (matched.price(stage, batch, trained[name]) for batch in (per_batch, usual))
            if len(found) == len(stages) - 1:
                steps = matched.last_steps(name, price, spent)
                asked = (matched.asked - spent_asked) / usual_price
            spent, spent_asked = spent + steps * price, spent_asked + asked * usual_price
        found[name] = Length(per_batch, steps, asked * sum(usual.values()))
    return found


def _asked_steps(stage: Stage) -> Fraction:
    return Fraction(stage.images(NOMINAL), sum(stage.per_batch(NOMINAL).values()))


def _also(name: str, data_sets: Mapping[str, DataSet], copies: Copies, manifests: Path, memo: Memo) -> Division:
    """A data set that this run does not train on, but the reference does, beside those that it trains on."""
    try:
        return divided(data_sets, copies, manifests, memo)[name]
    except ConfigError as problem:
        raise ConfigError(
            "match_budget",
            f"the run that all are made equal to trains on the {name}: {problem.problem.rstrip('.')}.",
            f"Choose data@{name}, or match_budget=epochs, or pretrain.budget=0epochs.",
        ) from problem
