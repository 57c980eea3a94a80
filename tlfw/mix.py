"""What the model is trained on: an ordered list of stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.errors import ConfigError
from tlfw.freeze import FreezePolicy
from tlfw.strict import STRICT

Set = Literal["source", "target"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Budget:
    """How long a stage trains.

    Args:
        amount: how many; 0 leaves the stage out where published weights stand in for it.
        unit: `epochs` | `steps` | `images`.
        of: whose images an epoch is one pass over; not looked at for the other units.
    """

    amount: int = Field(ge=0)
    unit: Literal["epochs", "steps", "images"]
    of: Set | None = None

    def __post_init__(self) -> None:
        if self.unit == "epochs" and self.of is None:
            raise ConfigError("of", "epochs were asked for, but not of which data set.", "Use source or target.")

    def steps(self, per_batch: Mapping[str, int], sizes: Mapping[str, int]) -> int:
        """The optimizer steps that this is, for batches of so many images of sets of such `sizes`.

        A batch without images of the set that epochs are counted in takes as long as one of that
        set alone would.

        Raises:
            ConfigError: epochs are of a set that is not among `sizes`.
        """
        batch = sum(per_batch.values())
        if self.unit == "steps":
            return self.amount
        if self.unit == "images":
            return math.ceil(self.amount / batch)
        assert self.of is not None
        if self.of not in sizes:
            raise ConfigError(
                "budget.of",
                f"epochs are of the {self.of}, which no stage of this data mix trains on.",
                "Count them of the other set, or use steps or images.",
            )
        return math.ceil(self.amount * sizes[self.of] / per_batch.get(self.of, batch))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stage:
    """One training.

    Args:
        share: data set -> its share of every batch; they add up to 1, and one may be null: the rest.
        loss_weight: data set -> weight of its cross-entropy in the loss.
        batch_size: images in a batch, over all processes; a set that has fewer and stands alone
            is one batch.
        budget: how long; several are added up.
        policy: what may change; null in the last stage, where the cell's freeze policy says it.
    """

    share: dict[Set, float | None] = Field(min_length=1)
    loss_weight: dict[Set, float]
    batch_size: int = Field(ge=1)
    budget: list[Budget] = Field(min_length=1)
    policy: FreezePolicy | None = None

    def __post_init__(self) -> None:
        shares = self.shares.values()
        if any(share <= 0 for share in shares) or not math.isclose(sum(shares), 1):
            raise ConfigError(
                "share",
                f"{self.share} must be positive and add up to 1.",
                "For joint training set joint.target_share between 0 and 1.",
            )
        if missing := [name for name in self.share if self.loss_weight.get(name, 0) <= 0]:
            raise ConfigError(
                "loss_weight", f"{missing[0]} has none above 0.", "Give each data set of the mixture a positive weight."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The data sets of the mixture."""
        return tuple(self.share)

    @property
    def monitor(self) -> Set:
        """The data set whose validation selects, and through whose head operations are counted."""
        return "target" if "target" in self.share else "source"

    @property
    def loss_weights(self) -> dict[str, float]:
        """Data set of the mixture -> weight of its cross-entropy."""
        return {name: self.loss_weight[name] for name in self.share}

    @property
    def shares(self) -> dict[str, float]:
        """Data set -> its share of every batch, as a number."""
        rest = 1 - sum(share for share in self.share.values() if share is not None)
        return {name: rest if share is None else share for name, share in self.share.items()}

    def per_batch(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Images of each data set in every batch.

        Raises:
            ConfigError: the batch is too small for its shares.
        """
        if len(self.share) == 1:
            (name,) = self.share
            return {name: min(self.batch_size, sizes[name])}
        counts = {name: round(share * self.batch_size) for name, share in self.shares.items()}
        first = next(iter(counts))
        counts[first] = self.batch_size - sum(n for name, n in counts.items() if name != first)
        if empty := [name for name, n in counts.items() if n < 1]:
            raise ConfigError(
                "batch_size",
                f"a batch of {self.batch_size} has no place for {empty[0]} at shares {self.shares}.",
                "Use a larger batch_size or a larger share.",
            )
        return counts

    def steps(self, sizes: Mapping[str, int]) -> int:
        """Optimizer steps of the whole stage for data sets of such `sizes` (training images)."""
        per_batch = self.per_batch(sizes)
        return sum(budget.steps(per_batch, sizes) for budget in self.budget)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataMix:
    """The stages of a paradigm; the last is the adaptation stage, also where it is the only one.

    Args:
        stages: name -> stage. The name is what the stage's metrics are called by.
        order: the names of all stages, first to last.
        full_lr: the learning rate for `freeze_policy=full`, unless that says another: what was
            pretrained is changed slowly, what begins with random weights learns as in pretraining.
    """

    stages: dict[str, Stage] = Field(min_length=1)
    order: list[str]
    full_lr: float = Field(gt=0)

    def __post_init__(self) -> None:
        if sorted(self.order) != sorted(self.stages):
            raise ConfigError(
                "order", f"{self.order} does not name each of the stages {list(self.stages)} once.", "Name each once."
            )
        last = self.order[-1]
        if "target" not in self.stages[last].share:
            raise ConfigError(
                f"stages.{last}.share", "the last stage does not train on the target.", "Give target a share."
            )
        if unsaid := [name for name in self.order[:-1] if self.stages[name].policy is None]:
            raise ConfigError(
                f"stages.{unsaid[0]}.policy", "it does not say what may change.", "Give it a freeze policy."
            )
        if self.stages[last].policy is not None:
            raise ConfigError(
                f"stages.{last}.policy",
                "the last stage has one of its own.",
                "Leave it null: freeze_policy says what may change there.",
            )

    def trained(self, published: bool) -> dict[str, Stage]:
        """The stages that are trained, in order: all but those whose budget is 0, for which published weights stand in.

        Raises:
            ConfigError: nothing stands in for a stage without a budget, or the last has none.
        """
        kept = {name: self.stages[name] for name in self.order if any(b.amount for b in self.stages[name].budget)}
        left = [name for name in self.order if name not in kept]
        if self.order[-1] in left:
            raise ConfigError("adapt.budget.amount", "it is 0, so nothing would be learnt.", "Use 1 or more.")
        if left and not published:
            raise ConfigError(
                f"{left[0]}.budget.amount",
                "it is 0, but there are no published weights to stand in for that stage.",
                "Set backbone.weights, or give it a budget, or use data_mix=target_only.",
            )
        return kept
