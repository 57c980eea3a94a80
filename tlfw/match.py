"""Budgets made equal: how long the last stage of each run trains, so that all runs take as much as one and the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from tlfw.backbone import Backbone
from tlfw.cost import flops_per_image
from tlfw.data import DataSet, Division
from tlfw.data.copies import Copies
from tlfw.errors import ConfigError
from tlfw.mix import Stage
from tlfw.seen import Memo, SeenData, divided

Measure = Literal["epochs", "steps", "images", "flops"]

COUNTED = {"epochs": "images of the target", "steps": "steps", "images": "images", "flops": "FLOPs"}
"""What each measure counts. Epochs of the target are its training images, of which all runs have the same."""


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
            measure=self.measure, total=0, backbone=backbone, image_size=data.image_size, divisions=divisions
        )
        prices = [found.price(stage, stage.per_batch(sizes), backbone.block_names()) for stage in counted]
        return dataclasses.replace(
            found, total=sum(stage.steps(sizes) * price for stage, price in zip(counted, prices, strict=True))
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matched:
    """A budget for a whole run: `total` of what its measure counts."""

    measure: Measure
    total: int
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


def _also(name: str, data_sets: Mapping[str, DataSet], copies: Copies, manifests: Path, memo: Memo) -> Division:
    """A data set that this run does not train on, but the reference does, beside those that it trains on."""
    try:
        return divided(data_sets, copies, manifests, memo)[name]
    except ConfigError as problem:
        raise ConfigError(
            "match_budget",
            f"the run that all are made equal to trains on the {name}: {problem.problem.rstrip('.')}.",
            f"Choose data@{name}, or match_budget=epochs, or pretrain.budget.amount=0.",
        ) from problem
