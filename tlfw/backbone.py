"""A backbone is an ordered row of named blocks, stem to last; heads are not part of it."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision.models
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from tlfw import families
from tlfw.errors import ConfigError, nearest
from tlfw.families import BACKBONES, Block, Family
from tlfw.identity import seed_from
from tlfw.strict import STRICT

LARGEST = 1024
"""The search for a legal image size goes no further, in pixels."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Backbone:
    """A torchvision architecture and where its first weights come from.

    Args:
        name: one of torchvision's classification models.
        weights: null (random) | DEFAULT | the name of one of torchvision's published weights for
            this model | the path of a `.safetensors` or `.pth` file with a state_dict under
            torchvision's names.
        stem: `imagenet`, as published; `small`, for small images, in the resnets: a 3x3
            convolution that keeps the size, and no pooling (He et al., 2016, on CIFAR-10).
    """

    name: str
    weights: str | None = None
    stem: Literal["imagenet", "small"] = "imagenet"

    def __post_init__(self) -> None:
        if self.name not in BACKBONES:
            near = " or ".join(nearest(self.name, BACKBONES)) or ", ".join(BACKBONES)
            raise ConfigError("name", f"there is no backbone {self.name!r}.", f"Did you mean {near}?")
        if self.weights is not None and not self.weights_file:
            known = torchvision.models.get_model_weights(self.name).__members__
            if self.weights not in known:
                raise ConfigError(
                    "weights",
                    f"{self.name} has no published weights {self.weights!r}.",
                    f"Use null, {', '.join(known)}, or the path of a .safetensors or .pth file.",
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
    def weights_file(self) -> Path | None:
        """The path that `weights` gives, if it is one."""
        if self.weights is None or not (self.weights.endswith((".safetensors", ".pth", ".pt")) or "/" in self.weights):
            return None
        return Path(self.weights).expanduser()

    @property
    def published(self) -> Any | None:
        """torchvision's weights enum member, or None. Its `transforms()` is the preprocessing that it was made with."""
        if self.weights is None or self.weights_file:
            return None
        return torchvision.models.get_model_weights(self.name)[self.weights]

    def identity(self) -> object:
        """What makes the first weights, the seed apart: a file counts by content, `DEFAULT` by what it stands for."""
        source: object = self.published and self.published.name
        if self.weights_file:
            try:
                source = hashlib.sha256(self.weights_file.read_bytes()).hexdigest()
            except OSError as problem:
                raise _no_file(self.weights_file) from problem
        return [self.name, self.stem, source]

    def build(self, classes: int, image_size: int, seed: int) -> nn.Module:
        """A whole torchvision model with random weights that are a function of `seed`; draws from no global state."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = families.build(self.name, classes, image_size)
            return _with_small_stem(model) if self.stem == "small" else model

    def trunk(self, image_size: int, seed: int) -> Trunk:
        """The backbone with its first weights: random ones, a function of `seed`, or published ones, or a file's."""
        trunk = Trunk(self, self.build(2, image_size, seed_from("backbone", seed)))
        if self.weights_file:
            state, where = _read_state(self.weights_file), f"the file {self.weights_file}"
        elif self.published:
            state, where = self.published.get_state_dict(progress=False, check_hash=True), str(self.weights)
            if hasattr(trunk.model, "transform_input"):
                setattr(trunk.model, "transform_input", True)  # noqa: B010 as torchvision does: these weights expect another normalisation
        else:
            return trunk
        left = (*self.family.head, *self.family.auxiliary)
        own = {
            name: tensor for name, tensor in state.items() if not name.startswith(tuple(f"{part}." for part in left))
        }
        try:
            trunk.model.load_state_dict(own, strict=True)
        except RuntimeError as problem:
            raise ConfigError(
                "weights",
                f"{where} does not fit {self.name} at {image_size} px: {problem}",
                "Use a state_dict of this architecture.",
            ) from problem
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
        self.blocks = backbone.family.blocks(model)
        for path in backbone.family.head:
            model.set_submodule(path, nn.Identity())
        self.model = model
        self.block_of = {name: self._owner(name) for name, _ in self._tensors()}

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


def _read_state(path: Path) -> dict[str, Tensor]:
    """A state_dict from a file, without executing anything in it."""
    import safetensors.torch

    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as problem:
        raise _no_file(path) from problem
    except Exception as problem:
        raise ConfigError(
            "weights", f"{path} is no state_dict that can be read safely ({problem}).", "Save one as .safetensors."
        ) from problem


def _no_file(path: Path) -> ConfigError:
    return ConfigError("weights", f"there is no file {path.absolute()}.", "Give the path of a state_dict.")
