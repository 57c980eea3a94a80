"""What the model is trained on: an ordered list of stages."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from tlfw.errors import ConfigError
from tlfw.identity.fields import by_effect
from tlfw.identity.names import named
from tlfw.methods.freeze import FreezePolicy
from tlfw.strictness import STRICT, at_most

Set = Literal["source", "target"]
Unit = Literal["epochs", "steps", "images"]


@named("tlfw.Budget")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Budget:
    """How long a stage trains; typed as one text, `20epochs`, `450steps` or `32000images`.

    Args:
        amount: how many; 0 leaves the stage out where published weights replace it.
        unit: an epoch is as many images as its data set has for training, whatever else is in the batches.
    """

    amount: int = Field(ge=0)
    unit: Unit

    def images(self, size: int, batch: int) -> int:
        """The images that this is, each counted as often as it is seen.

        Args:
            size: training images of the data set that the budget stands under.
            batch: images in a batch of the stage.
        """
        return self.amount * {"images": 1, "steps": batch, "epochs": size}[self.unit]

    def __str__(self) -> str:
        return f"{self.amount}{self.unit.removesuffix('s') if self.amount == 1 else self.unit}"


def _of(number: str) -> dict[str, Budget]:
    return {unit: Budget(amount=int(number), unit=unit) for unit in get_args(Unit)}


def _read(given: object) -> object:
    """A budget from its text.

    Raises:
        PydanticCustomError: it is none. pydantic adds the field's name, and `tlfw.command_line.messages` the remedy.
    """
    if isinstance(given, Budget):
        return given
    number, unit = "", ""
    shown = "null" if given is None else repr(given)
    if found := re.fullmatch(r"(\d+) ?([a-zA-Z]*)", str(given), re.ASCII):
        number, unit = found.groups()
    if kind := re.fullmatch(r"(epoch|step|image)s?", unit):
        return _of(number)[f"{kind[1]}s"]
    problem = f"{shown} is no budget"
    remedy = "Write a whole number with its unit: 20epochs, 450steps or 32000images."
    if number:
        problem = f"there is no unit {unit!r}" if unit else f"{number} has no unit"
        epochs, steps, images = _of(number).values()
        remedy = f"Write {epochs}, {steps} or {images}."
    raise PydanticCustomError("budget", "{problem}", {"problem": problem, "remedy": remedy})


BudgetText = Annotated[Budget, BeforeValidator(_read)]
"""A field that holds a `Budget` and is given its text."""

BatchSize = Annotated[int, Field(ge=1), at_most(2**20, "images are no batch, but a data set")]
"""Images of a batch, over all processes. Whether they fit into the memory is known when their size is."""

Seed = Annotated[int, Field(ge=0)] | Literal["varies"]
"""A seed of its own, or `varies`: the run's."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """How much a stage is for data sets of certain sizes.

    Attributes:
        per_batch: data set -> images in every batch.
        images: that its budgets come to, each as often as it is seen.
    """

    per_batch: Mapping[str, int]
    images: int

    @property
    def batch(self) -> int:
        """Images in a batch."""
        return sum(self.per_batch.values())

    @property
    def steps(self) -> int:
        """Optimizer steps: its images in whole batches."""
        return math.ceil(self.images / self.batch)


@named("tlfw.Stage")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stage:
    """One training.

    Args:
        share: data set -> its share of every batch; they add up to 1, and one may be null: the rest.
        loss_weight: data set -> weight of its cross-entropy in the loss.
        batch_size: images in a batch, over all processes; a set that has fewer and stands alone
            is one batch.
        budget: data set of the mixture -> how long; several are added up, in images. An epoch is one of the data set
            that it stands under.
        policy: what may change; null in the last stage, where the cell's freeze policy says it.
        seed: of all that the stage draws: order, augmentation, mixing and dropout, new heads, and first weights where
            it is the first. With a number, runs of all seeds share the stage.
    """

    share: Annotated[dict[Set, float | None], by_effect("each set's images in a batch")] = Field(min_length=1)
    loss_weight: dict[Set, float]
    batch_size: Annotated[BatchSize, by_effect("each set's images in a batch")]
    budget: Annotated[dict[Set, BudgetText], by_effect("the stage's steps")] = Field(min_length=1)
    policy: Annotated[FreezePolicy | None, by_effect("what it does to the backbone's blocks")] = None
    seed: Annotated[Seed, by_effect("the seed that the stage then has")] = "varies"

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
        if strange := [name for name in self.budget if name not in self.share]:
            raise ConfigError(
                f"budget.{strange[0]}",
                f"the stage does not train on the {strange[0]}.",
                f"Put it under {' or '.join(self.share)}.",
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

    def workload(self, sizes: Mapping[str, int]) -> Workload:
        """How much it is for data sets of such `sizes` (training images).

        Raises:
            ConfigError: the batch is too small for its shares.
        """
        per_batch = self._per_batch(sizes)
        batch = sum(per_batch.values())
        return Workload(per_batch, sum(budget.images(sizes[name], batch) for name, budget in self.budget.items()))

    def _per_batch(self, sizes: Mapping[str, int]) -> dict[str, int]:
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

    def seed_in(self, run: int) -> int:
        """The stage's seed in a run of seed `run`."""
        return run if self.seed == "varies" else self.seed


@named("tlfw.DataMix")
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
    order: Annotated[list[str], by_effect("the stages that are trained, one after the other")]
    full_lr: Annotated[float, by_effect("the rates of a freeze policy that take it")] = Field(gt=0)

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
        if self.stages[last].seed != "varies":
            raise ConfigError(
                f"stages.{last}.seed", "the last stage has the run's own.", "Leave it out; seed says which it is."
            )

    def trained(self, published: bool) -> dict[str, Stage]:
        """The stages that are trained, in order: all but those of 0, which published weights replace.

        Raises:
            ConfigError: nothing replaces a stage without a budget, or the last has none.
        """
        kept = {
            name: self.stages[name]
            for name in self.order
            if any(budget.amount for budget in self.stages[name].budget.values())
        }
        left = [name for name in self.order if name not in kept]
        fields = {name: f"stages.{name}.budget.{next(iter(self.stages[name].budget))}" for name in left}
        last = self.order[-1]
        if last in left:
            raise ConfigError(fields[last], "it is 0, so nothing would be learnt.", "Use 1epoch or more.")
        if left and not published:
            raise ConfigError(
                fields[left[0]],
                "it is 0, but there are no published weights to replace that stage.",
                "Set backbone.weights, or give it a budget, or use data_mix=target_only.",
            )
        return kept
