"""What may change in a stage: a value, and its effect on a model.

`requires_grad=False` alone does not freeze: BatchNorm in training mode moves its running
statistics, dropout and stochastic depth change what a frozen block says. So a policy sets
the modes of all blocks too, each time the model enters training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from tlfw.backbones.model import Model
from tlfw.errors import ConfigError
from tlfw.identity.fields import by_effect, decides
from tlfw.identity.names import named
from tlfw.internals.torch import BatchNorm
from tlfw.strictness import STRICT


@named("tlfw.FreezePolicy")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class FreezePolicy:
    """Which of the backbone's blocks train, how fast, and how the others run; a subclass says which.

    The heads of the data sets in the stage's mixture always train.

    Args:
        lr_head: the heads' peak learning rate.
        lr_backbone: the training blocks' peak learning rate; null where none trains.
        batch_norm: `eval`: BatchNorm in frozen blocks keeps its statistics. `train`: it goes on
            normalising by the batch and moving them, as in the course; then the certificate
            claims nothing.
    """

    lr_head: float = Field(gt=0)
    lr_backbone: float | None = Field(default=None, gt=0)
    batch_norm: Annotated[Literal["eval", "train"], by_effect("the mode of frozen blocks, if there are any")] = "eval"

    @property
    def statistics_move(self) -> bool:
        """Whether BatchNorm's running statistics change in frozen blocks, which then give other features each step."""
        return self.batch_norm == "train"

    def effect(self, names: tuple[str, ...]) -> dict[str, Any]:
        """All of the policy that decides numbers for a backbone's blocks of these `names`.

        That is what it is, which blocks train, and every field but those that say only this: the last five of five
        blocks are all of them.

        Raises:
            ConfigError: this backbone does not have what is asked for.
        """
        trained = self.trained_blocks(names)
        by_value = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if decides(self, field.name).by_value
        }
        frozen = self.batch_norm if set(trained) < set(names) else None
        return {"is": type(self), "trains": trained, **by_value, "batch_norm": frozen}

    def trained_blocks(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the blocks that train, of a backbone's `names`, in their order.

        Raises:
            ConfigError: this backbone does not have what is asked for.
        """
        raise NotImplementedError


@named("tlfw.LastBlocks")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class LastBlocks(FreezePolicy):
    """The last `n` blocks train.

    Args:
        n: 0 is a linear probe; `all` is everything.
    """

    n: Annotated[Annotated[int, Field(ge=0)] | Literal["all"], by_effect("the blocks that train")]

    def __post_init__(self) -> None:
        if (self.n == 0) != (self.lr_backbone is None):
            raise ConfigError(
                "lr_backbone",
                f"it is {self.lr_backbone} where n is {self.n}.",
                "Use null where no block trains (n=0), and a rate above 0 otherwise.",
            )

    def trained_blocks(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if self.n == "all":
            return names
        if self.n > len(names):
            raise ConfigError(
                "n",
                f"{self.n} blocks were asked for, but the backbone has {len(names)}: {', '.join(names)}.",
                f"Use at most {len(names)}, or all.",
            )
        return names[len(names) - self.n :]


def frozen_first(names: tuple[str, ...], trained: tuple[str, ...]) -> int:
    """How many of the first blocks are frozen, before one trains."""
    return next((i for i, name in enumerate(names) if name in trained), len(names))


@dataclasses.dataclass(frozen=True)
class Partition:
    """Every tensor of a model, by name, as trainable or frozen.

    Attributes:
        backbone, heads: names of the trainable parameters.
        frozen: names of all other parameters and of all buffers of frozen modules.
        moving: names of the buffers of training modules, which move without a gradient.
        blocks: names of the blocks that train.
    """

    backbone: tuple[str, ...]
    heads: tuple[str, ...]
    frozen: tuple[str, ...]
    moving: tuple[str, ...]
    blocks: tuple[str, ...]

    @property
    def trainable(self) -> tuple[str, ...]:
        return self.backbone + self.heads


class Freezing:
    """A policy applied to a model in a stage that trains the heads of some data sets.

    Raises:
        ConfigError: the policy asks for more blocks than there are.
    """

    def __init__(self, policy: FreezePolicy, model: Model, heads: Collection[str]) -> None:
        self.policy, self.model, self.heads = policy, model, tuple(heads)
        self.partition = self._divide()
        trainable = set(self.partition.trainable)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trainable)
            parameter.grad = None

    def _divide(self) -> Partition:
        trunk = self.model.trunk
        training = self.policy.trained_blocks(tuple(block.name for block in trunk.blocks))
        kinds: dict[str, list[str]] = {"backbone": [], "heads": [], "frozen": [], "moving": []}
        parameters = {name for name, _ in self.model.named_parameters()}
        for name in [*parameters, *(name for name, _ in self.model.named_buffers())]:
            place, _, rest = name.partition(".")
            if place == "trunk":
                trains, kind = trunk.block_of[rest.removeprefix("model.")] in training, "backbone"
            elif place == "heads":
                trains, kind = rest.partition(".")[0] in self.heads, "heads"
            else:
                raise RuntimeError(f"{name} is neither the trunk's nor a head's")
            kinds[kind if trains and name in parameters else "moving" if trains else "frozen"].append(name)
        order = list(self.model.state_dict())
        ordered = {kind: tuple(sorted(names, key=order.index)) for kind, names in kinds.items()}
        return Partition(**ordered, blocks=training)

    def set_modes(self, training: bool) -> None:
        """Put the model into training or evaluation, frozen parts always as the policy says."""
        self.model.train(training)
        if not training:
            return
        for module in self._frozen_modules():
            module.training = self.policy.statistics_move and isinstance(module, BatchNorm)

    def _frozen_modules(self) -> Iterator[nn.Module]:
        trunk = self.model.trunk
        for block in trunk.blocks:
            if block.name not in self.partition.blocks:
                yield from trunk.modules_of(block)
        for name, head in self.model.heads.items():
            if name not in self.heads:
                yield from head.modules()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What an optimizer takes: trainable parameters with their learning rates, the heads' first."""
        named = dict(self.model.named_parameters())
        groups: list[dict[str, Any]] = [
            {"name": "heads", "params": [named[n] for n in self.partition.heads], "lr": self.policy.lr_head},
            {"name": "backbone", "params": [named[n] for n in self.partition.backbone], "lr": self.policy.lr_backbone},
        ]
        return [group for group in groups if group["params"]]
