"""A backbone is an ordered row of named blocks, stem to last; heads are not part of it."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torchvision.models
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from tlfw import families
from tlfw.download import fetch
from tlfw.errors import ConfigError, nearest
from tlfw.families import BACKBONES, Block, Family
from tlfw.identity import seed_from
from tlfw.strict import STRICT
from tlfw.weights import NOTE, Fit, WeightsFile, fit, is_place, locate

LARGEST = 1024
"""The search for a legal image size goes no further, in pixels."""


def _key_as_text(value: object) -> object:
    """A run's key that happens to have no letter was read as a number; with one e, as a power of ten."""
    if isinstance(value, float):
        raise ConfigError("weights", f"{value!r} was read as a number.", "If it is a run's key, give the run's folder.")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Backbone:
    """A torchvision architecture and where its first weights come from.

    Args:
        name: one of torchvision's classification models.
        weights: null (random) | DEFAULT | the name of one of torchvision's published weights for
            this model | the path of a file (`.safetensors`, `.pth`, `.pt`, `.bin`, `.ckpt`) with a
            state_dict under torchvision's names | a finished run: its folder, or the first digits
            of its key, 8 or more.
        stem: `imagenet`, as published; `small`, for small images, in the resnets: a 3x3
            convolution that keeps the size, and no pooling (He et al., 2016, on CIFAR-10).
        head_classes: how many classes a head has logits for at least, as where ImageNet's head of 1,000
            is trained on ten; null: those of its data set.
        runs: the folder in which a run's key is looked up. Part of no key.
    """

    name: str
    weights: Annotated[str | None, BeforeValidator(_key_as_text)] = None
    stem: Literal["imagenet", "small"] = "imagenet"
    head_classes: int | None = Field(default=None, ge=2, le=100_000)
    runs: str = "./outputs/runs"

    def __post_init__(self) -> None:
        if self.name not in BACKBONES:
            near = " or ".join(nearest(self.name, BACKBONES)) or ", ".join(BACKBONES)
            raise ConfigError("name", f"there is no backbone {self.name!r}.", f"Did you mean {near}?")
        if self.weights is not None and not is_place(self.weights):
            known = torchvision.models.get_model_weights(self.name).__members__
            if self.weights not in known:
                raise ConfigError(
                    "weights",
                    f"{self.name} has no published weights {self.weights!r}.",
                    f"Use null, {', '.join(known)}, the path of a file (.safetensors, .pth), or a run's folder or key.",
                )
        if self.stem == "small":
            if "resnet" not in self.family.pattern:
                raise ConfigError("stem", f"{self.name} has no stem for small images.", "Use imagenet, or a resnet.")
            if self.published:
                raise ConfigError(
                    "stem", f"{self.weights} was trained with another stem.", "Use imagenet, or weights=null."
                )

    @property
    def family(self) -> Family:
        return BACKBONES[self.name]

    @property
    def published(self) -> Any | None:
        """torchvision's weights enum member, or None. Its `transforms()` is the preprocessing that it was made with."""
        if self.weights is None or is_place(self.weights):
            return None
        return torchvision.models.get_model_weights(self.name)[self.weights]

    def identity(self) -> object:
        """What makes the first weights, the seed apart: a file counts by content, `DEFAULT` by what it stands for.

        Downloads nothing.

        Raises:
            ConfigError: there is no such file or run.
        """
        if self.weights is None or self.published:
            return [self.name, self.stem, self.head_classes, self.published and self.published.name]
        return [self.name, self.stem, self.head_classes, self._given(self.weights).sha256]

    def _given(self, weights: str) -> WeightsFile:
        return WeightsFile.at(
            fetch(self.published) if self.published else locate(weights, Path(self.runs).expanduser())
        )

    def fit(self, image_size: int) -> Fit | None:
        """How the given weights fit this backbone, by names and shapes; None: they are random.

        Published weights are downloaded here, if they were not before.

        Raises:
            ConfigError: they cannot be had or read, or tensors of the trunk are not among them.
        """
        if self.weights is None:
            return None
        file = self._given(self.weights)
        for field, change in (("name", "backbone"), ("stem", "backbone.stem")):
            if (made := file.note.get(field, getattr(self, field))) != getattr(self, field):
                raise ConfigError(
                    "weights",
                    f"{file.title} are weights of {change}={made}, not {getattr(self, field)}.",
                    f"Use {change}={made}, or other weights.",
                )
        found = fit(file, self.shape(image_size).model.state_dict())
        if not found.whole:
            raise ConfigError("weights", f"they do not fit {self.name} ({found}).", self._remedy(found))
        return found

    def _remedy(self, found: Fit) -> str:
        if not found.fitted:
            return "These are of another architecture: choose its backbone."
        if found.missing:
            return "Give all weights of this architecture, under torchvision's names."
        if "conv1.weight" in found.misshaped and "resnet" in self.family.pattern:
            return f"Perhaps they are for backbone.stem={'imagenet' if self.stem == 'small' else 'small'}."
        if self.family.size_option:
            return "Perhaps they are for another image_size."
        return "Give weights of this architecture."

    def build(self, classes: int, image_size: int, seed: int) -> nn.Module:
        """A whole torchvision model with random weights that are a function of `seed`; draws from no global state."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = families.build(self.name, classes, image_size)
            return _with_small_stem(model) if self.stem == "small" else model

    def trunk(self, image_size: int, seed: int) -> Trunk:
        """The backbone with its first weights: random ones, a function of `seed`, or the given ones.

        Raises:
            ConfigError: as `fit` does.
        """
        trunk = Trunk(self, self.build(2, image_size, seed_from("backbone", seed)))
        found = self.fit(image_size)
        if self.weights is None or found is None:
            return trunk
        file = self._given(self.weights)
        tensors = file.tensors()
        trunk.model.load_state_dict({own: tensors[theirs] for own, theirs in found.fitted.items()}, strict=False)
        if hasattr(trunk.model, "transform_input"):
            # As torchvision does: its published weights expect another normalisation, and so does what began with them.
            setattr(trunk.model, "transform_input", bool(self.published) or file.note.get("transform_input", False))  # noqa: B010
        return trunk

    def shape(self, image_size: int) -> Trunk:
        """The trunk on torch's meta device: what its blocks are and give, without data."""
        model = families.ghost(self.name, 2, image_size)
        return Trunk(self, _with_small_stem(model).to("meta") if self.stem == "small" else model).eval()

    def head(self, classes: int, image_size: int, seed: int) -> nn.Module:
        """A fresh head with torchvision's own final structure and initialisation: features -> logits `[B, classes]`."""
        model = self.build(classes, image_size, seed)
        parts = [model.get_submodule(path) for path in self.family.head]
        return nn.Sequential(*parts, *(make() for make in self.family.after_head))

    def block_names(self) -> tuple[str, ...]:
        """The blocks' names, stem first. Builds no weights."""
        return _block_names(self.name)

    def check_size(self, image_size: int) -> None:
        """Try a forward pass without data or weights.

        Raises:
            ConfigError: images of that size cannot pass; names the nearest legal size.
        """
        if _passes(self.name, self.stem, image_size):
            if self.published and self.family.size_option and image_size != self.published.meta["min_size"][0]:
                legal = self.published.meta["min_size"][0]
                raise ConfigError(
                    "image_size", f"{self.weights} was made for {legal} px, not {image_size}.", f"Use {legal}."
                )
            return
        around = (size for step in range(1, LARGEST) for size in (image_size - step, image_size + step) if size > 0)
        legal = next(size for size in around if _passes(self.name, self.stem, size))
        raise ConfigError(
            "image_size",
            f"{self.name} cannot take images of {image_size} px.",
            f"The nearest that it can take is {legal}.",
        )

    def check_single_images(self, image_size: int, frozen: int) -> None:
        """Try training on batches of one image, without data or weights.

        Args:
            frozen: how many of the first blocks run in evaluation mode.

        Raises:
            ConfigError: BatchNorm cannot: it would have one number to take a mean of.
        """
        trunk = self.shape(image_size)
        z = trunk(torch.empty(1, 3, image_size, image_size, device="meta"), 0, frozen)
        try:
            trunk.train()(z, frozen)
        except ValueError as problem:
            raise ConfigError(
                "batch_size", f"BatchNorm in {self.name} at {image_size} px needs more: {problem}.", "Use 2 or more."
            ) from problem


class Trunk(nn.Module):
    """A backbone's tensors and its forward pass, in blocks.

    Args:
        model: a torchvision model; its head is taken off.
    """

    def __init__(self, backbone: Backbone, model: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = backbone.family.blocks(model)
        for path in backbone.family.head:
            model.set_submodule(path, nn.Identity())
        self.model = model
        self.block_of = {name: self._owner(name) for name, _ in self._tensors()}

    def note(self) -> dict[str, str]:
        """For the header of a safetensors file: whose tensors these are, so that they find back into a trunk.

        One entry: several would be written in an order that changes, and a file's content is its name.
        """
        own = {
            "name": self.backbone.name,
            "stem": self.backbone.stem,
            "transform_input": bool(getattr(self.model, "transform_input", False)),
        }
        return {NOTE: json.dumps(own)}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.model.named_parameters()
        yield from self.model.named_buffers()

    def _owner(self, tensor: str) -> str:
        owners = [block.name for block in self.blocks if block.owns(tensor)]
        if len(owners) != 1:
            raise RuntimeError(f"{tensor} must belong to one block, not to {owners}")
        return owners[0]

    def forward(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Pass `x` through blocks `start` to `stop` (exclusive; None: all).

        Args:
            x: what block `start` takes: `x_BCHW` for the first.

        Returns:
            What block `stop` takes; at the end the head's input, `z_BD` for most families.
        """
        for block in self.blocks[start:stop]:
            for step in block.steps:
                x = self.model.get_submodule(step)(x) if isinstance(step, str) else step(self.model, x)
        return x

    def modules_of(self, block: Block) -> Iterator[nn.Module]:
        """Every module in `block`, children included: those whose training mode is the block's."""
        for path in block.paths:
            part = operator.attrgetter(path)(self.model)
            if isinstance(part, nn.Module):
                yield from part.modules()


def _with_small_stem(model: Any) -> nn.Module:
    model.conv1 = nn.Conv2d(3, model.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model


@cache
def _block_names(name: str) -> tuple[str, ...]:
    return tuple(block.name for block in BACKBONES[name].blocks(families.ghost(name, 2, _a_size(name))))


def _a_size(name: str) -> int:
    return 224 if BACKBONES[name].size_option else 64


@cache
def _passes(name: str, stem: Literal["imagenet", "small"], image_size: int) -> bool:
    try:
        trunk = Backbone(name=name, stem=stem).shape(image_size)
        trunk(torch.empty(2, 3, image_size, image_size, device="meta"))
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError):
        return False
    return True
