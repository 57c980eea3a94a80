"""What the heads of one run are trained with, and what became of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tlfw.backbones.network import linear_layer
from tlfw.data.mixture import Mixture, Served
from tlfw.errors import Diverged
from tlfw.training.features import Features
from tlfw.training.train import Lesson


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """The heads of one run, with all that decides what becomes of them.

    Attributes:
        heads: data set -> its head, all that are validated; those that the mixture trains on are linear, and are
            trained in place.
        mixture: what they are trained and validated on: `Features` that are vectors, `z_ND`.
        lr: the peak learning rate.
        clip: of their gradient, the largest norm, or with `by_value` the largest number; None: it is not clipped.
        log_every: steps between two lines of the log.
        scratch: a folder of this stage's own, for checkpoints.
        made_by: what has to be equal where a checkpoint is read again.
        told: called after each validation with what was said, the step and the number of steps; an exception of it
            ends all.
    """

    heads: Mapping[str, nn.Module]
    mixture: Mixture
    lesson: Lesson
    lr: float
    scratch: Path
    made_by: Mapping[str, Any]
    log_every: int
    clip: float | None = None
    by_value: bool = False
    told: Callable[[Mapping[str, float], int, int], None] | None = None

    @property
    def shape(self) -> tuple[Any, ...]:
        """Equal for heads that one product can train."""
        mixture = self.mixture
        served = [
            (name, features_of(each).key, layer_of(self.heads[name]).out_features)
            for name, each in mixture.train.items()
        ]
        return (*served, *mixture.per_batch.items(), mixture.steps, mixture.rounds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learnt:
    """How a run's heads were trained.

    Attributes:
        seconds: of training and validation; of heads that were trained together an equal share.
        curve: as `Outcome` has it.
        log: (step, what is logged then).
    """

    seconds: float
    curve: list[dict[str, float]]
    log: list[tuple[int, dict[str, float]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedHeads:
    """The heads of one run, trained.

    Attributes:
        learnt: how, or why they cannot be.
        weights: the tensors of all of them, by name.
        others: how many runs they were trained with.
    """

    learnt: Learnt | Diverged
    weights: Mapping[str, Tensor]
    others: int

    def told(self, title: str, mixture: Mixture) -> str:
        """How it went, for people."""
        assert isinstance(self.learnt, Learnt)
        company = f", a share of those of {self.others + 1} runs together" if self.others else ""
        rate = mixture.steps * mixture.batch_size / max(self.learnt.seconds, 1e-9)
        return f"{title}: {mixture.steps} steps in {self.learnt.seconds:.1f} s{company}, {rate:.0f} images/s"


@dataclasses.dataclass
class Company:
    """What runs have in common that are made in one process, and whose heads are trained at once.

    Attributes:
        heads: stage key -> the heads of a run, trained.
        tested: what the frozen blocks say of the test images; None: nobody has asked yet.
        described: what was said of the images and the first weights of the run before.
    """

    heads: Mapping[str, TrainedHeads] = dataclasses.field(default_factory=dict)
    tested: Features | None = None
    described: Sequence[str] = ()


def features_of(served: Served) -> Features:
    """What is served, which is features."""
    assert isinstance(served, Features)
    return served


def layer_of(head: nn.Module) -> nn.Linear:
    """The layer of a linear head.

    Raises:
        TypeError: it is another one.
    """
    if (found := linear_layer(head)) is None:
        raise TypeError(f"{head} is no linear head")
    return found
