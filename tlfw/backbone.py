"""A backbone is an ordered row of named blocks, stem to last; heads are not part of it.

torchvision's models keep their modules and their tensors' names; what is said here is
only in which order a forward pass visits them, and where one may cut. Pooling and
flattening before the classifier belong to the last block, the classifier (with a dropout
right before it) is the head.
"""

from __future__ import annotations

import dataclasses
import hashlib
import operator
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from tlfw.errors import ConfigError, nearest
from tlfw.identity import seed_from
from tlfw.strict import STRICT

Step = str | Callable[[nn.Module, Tensor], Tensor]
"""A submodule's path, or a function of the whole torchvision model and what came before."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A stretch of the forward pass.

    Attributes:
        steps: what is called, one after the other.
        holds: parameters and submodules that the functions among the steps use, by path.
    """

    name: str
    steps: tuple[Step, ...]
    holds: tuple[str, ...] = ()

    def owns(self, tensor: str) -> bool:
        """Whether the parameter or buffer of that name belongs to this block."""
        return any(tensor == path or tensor.startswith(f"{path}.") for path in self.paths)

    @property
    def paths(self) -> tuple[str, ...]:
        """Everything of the model that this block consists of, by path."""
        return tuple(step for step in self.steps if isinstance(step, str)) + self.holds


@dataclasses.dataclass(frozen=True)
class Family:
    """How the models of one architecture divide.

    Attributes:
        blocks: the blocks of a built model.
        head: path of the submodule that is the head.
        after_head: what torchvision's forward does after that submodule, if anything.
        sized: whether the image size is fixed when the model is built.
    """

    blocks: Callable[[nn.Module], tuple[Block, ...]]
    head: str
    after_head: tuple[Callable[[], nn.Module], ...] = ()
    sized: bool = False


def _flatten(_: nn.Module, x_BC11: Tensor) -> Tensor:
    return torch.flatten(x_BC11, 1)


def _mean_pool(_: nn.Module, x_BCHW: Tensor) -> Tensor:
    return x_BCHW.mean([2, 3])


def _patches_with_class_token(vit: Any, x_BCHW: Tensor) -> Tensor:
    x_BTD = vit._process_input(x_BCHW)
    x_BTD = torch.cat([vit.class_token.expand(len(x_BTD), -1, -1), x_BTD], dim=1)
    return vit.encoder.dropout(x_BTD + vit.encoder.pos_embedding)


def _class_token(_: nn.Module, x_BTD: Tensor) -> Tensor:
    return x_BTD[:, 0]


def _resnet(_: nn.Module) -> tuple[Block, ...]:
    return (
        Block("stem", ("conv1", "bn1", "relu", "maxpool")),
        Block("layer1", ("layer1",)),
        Block("layer2", ("layer2",)),
        Block("layer3", ("layer3",)),
        Block("layer4", ("layer4", "avgpool", _flatten)),
    )


def _shufflenet(_: nn.Module) -> tuple[Block, ...]:
    return (
        Block("stem", ("conv1", "maxpool")),
        Block("stage2", ("stage2",)),
        Block("stage3", ("stage3",)),
        Block("stage4", ("stage4",)),
        Block("conv5", ("conv5", _mean_pool)),
    )


def _vit(model: Any) -> tuple[Block, ...]:
    layers = [f"encoder.layers.{name}" for name, _ in model.encoder.layers.named_children()]
    stem = Block(
        "stem", (_patches_with_class_token,), ("conv_proj", "class_token", "encoder.pos_embedding", "encoder.dropout")
    )
    middle = tuple(Block(path.rsplit(".", 1)[1], (path,)) for path in layers[:-1])
    last = Block(layers[-1].rsplit(".", 1)[1], (layers[-1], "encoder.ln", _class_token))
    return (stem, *middle, last)


def _features(
    groups: Callable[[int], list[range]], after: tuple[Step, ...]
) -> Callable[[nn.Module], tuple[Block, ...]]:
    """Blocks of a model whose body is one Sequential `features`, cut into `groups` of its children.

    Children without parameters join the block before them; `after` joins the last.
    """

    def blocks(model: Any) -> tuple[Block, ...]:
        found: list[Block] = []
        for group in groups(len(model.features)):
            steps = tuple(f"features.{i}" for i in group)
            if found and not any(any(True for _ in model.features[i].parameters()) for i in group):
                found[-1] = dataclasses.replace(found[-1], steps=found[-1].steps + steps)
            else:
                found.append(Block(f"features{group[0]}", steps))
        found[-1] = dataclasses.replace(found[-1], steps=(*found[-1].steps, *after))
        return tuple(found)

    return blocks


def _each(n: int) -> list[range]:
    return [range(i, i + 1) for i in range(n)]


def _stem_then_pairs(n: int) -> list[range]:
    """ConvNeXt: stem and first stage apart, then each downsampling with the stage that it feeds."""
    return [range(0, 1), range(1, 2), *(range(i, i + 2) for i in range(2, n, 2))]


_POOL_FLATTEN = ("avgpool", _flatten)

FAMILIES: dict[str, Family] = {
    "resnet": Family(_resnet, "fc"),
    "shufflenet": Family(_shufflenet, "fc"),
    "mobilenet_v3": Family(_features(_each, _POOL_FLATTEN), "classifier"),
    "squeezenet": Family(_features(_each, ()), "classifier", (nn.Flatten,)),
    "efficientnet": Family(_features(_each, _POOL_FLATTEN), "classifier"),
    "convnext": Family(_features(_stem_then_pairs, ("avgpool",)), "classifier"),
    "vit": Family(_vit, "heads", sized=True),
}

BACKBONES: dict[str, str] = {
    "resnet18": "resnet",
    "resnet50": "resnet",
    "shufflenet_v2_x0_5": "shufflenet",
    "mobilenet_v3_small": "mobilenet_v3",
    "squeezenet1_1": "squeezenet",
    "efficientnet_b0": "efficientnet",
    "convnext_tiny": "convnext",
    "vit_b_16": "vit",
}
"""The backbones on offer, each with its family: torchvision's own names."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Backbone:
    """A torchvision architecture and where its first weights come from.

    Args:
        name: one of `BACKBONES`.
        weights: null (random) | DEFAULT | the name of one of torchvision's published weights for
            this model | the path of a `.safetensors` or `.pth` file with a state_dict under
            torchvision's names.
    """

    name: str
    weights: str | None = None

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

    @property
    def family(self) -> Family:
        return FAMILIES[BACKBONES[self.name]]

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
        if self.weights_file:
            try:
                return [self.name, "file", hashlib.sha256(self.weights_file.read_bytes()).hexdigest()]
            except OSError as problem:
                raise _no_file(self.weights_file) from problem
        return [self.name, self.published and self.published.name]

    def build(self, classes: int, image_size: int, seed: int | None = None) -> nn.Module:
        """A whole torchvision model with random weights that are a function of `seed`.

        Args:
            seed: None leaves the weights to the surrounding random state (or `torch.device("meta")`).
        """
        fixed = {"image_size": image_size} if self.family.sized else {}
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            return torchvision.models.get_model(self.name, weights=None, num_classes=classes, **fixed)

    def trunk(self, image_size: int, seed: int) -> Trunk:
        """The backbone with its first weights: random ones, a function of `seed`, or published ones, or a file's."""
        trunk = Trunk(self, self.build(2, image_size, seed_from("backbone", seed)))
        if self.weights_file:
            state, where = _read_state(self.weights_file), f"the file {self.weights_file}"
        elif self.published:
            state, where = self.published.get_state_dict(progress=False, check_hash=True), str(self.weights)
        else:
            return trunk
        own = {name: tensor for name, tensor in state.items() if not name.startswith(f"{self.family.head}.")}
        try:
            trunk.model.load_state_dict(own, strict=True)
        except RuntimeError as problem:
            raise ConfigError(
                "weights",
                f"{where} does not fit {self.name} at {image_size} px: {problem}",
                "Use a state_dict of this architecture.",
            ) from problem
        return trunk

    def trunk_shape(self, image_size: int) -> Trunk:
        """The trunk without weights, to be called under `torch.device("meta")`."""
        return Trunk(self, self.build(2, image_size)).eval()

    def head(self, classes: int, image_size: int, seed: int) -> nn.Module:
        """A fresh head with torchvision's own final structure and initialisation: features -> logits `[B, classes]`."""
        model = self.build(classes, image_size, seed)
        return nn.Sequential(model.get_submodule(self.family.head), *(make() for make in self.family.after_head))

    def block_names(self) -> tuple[str, ...]:
        """The blocks' names, stem first. Builds no weights."""
        return _block_names(self.name)

    def check_size(self, image_size: int) -> None:
        """Try a forward pass without data or weights.

        Raises:
            ConfigError: images of that size cannot pass; names the nearest legal size.
        """
        if _passes(self.name, image_size):
            if self.published and self.family.sized and image_size != self.published.meta["min_size"][0]:
                legal = self.published.meta["min_size"][0]
                raise ConfigError(
                    "image_size", f"{self.weights} was made for {legal} px, not {image_size}.", f"Use {legal}."
                )
            return
        around = (size for step in range(1, 1024) for size in (image_size - step, image_size + step) if size > 0)
        legal = next(size for size in around if _passes(self.name, size))
        raise ConfigError(
            "image_size",
            f"{self.name} cannot take images of {image_size} px.",
            f"The nearest that it can take is {legal}.",
        )


class Trunk(nn.Module):
    """A backbone's tensors and its forward pass, in blocks.

    Args:
        model: a torchvision model; its head is taken off.
    """

    def __init__(self, backbone: Backbone, model: nn.Module) -> None:
        super().__init__()
        self.blocks = backbone.family.blocks(model)
        parent, _, leaf = backbone.family.head.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Identity())
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


@cache
def _block_names(name: str) -> tuple[str, ...]:
    backbone = Backbone(name=name)
    with torch.device("meta"):
        return tuple(block.name for block in backbone.family.blocks(backbone.build(2, 224)))


@cache
def _passes(name: str, image_size: int) -> bool:
    backbone = Backbone(name=name)
    try:
        with torch.device("meta"):
            model = backbone.build(2, image_size).eval()
            model(torch.empty(2, 3, image_size, image_size))
    except (RuntimeError, ValueError, AssertionError):
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
