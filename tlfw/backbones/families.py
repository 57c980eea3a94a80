"""How each architecture of torchvision divides into a stem, blocks, and a head.

torchvision's models keep their modules and their tensors' names; what is said here is only in
which order a forward pass visits them, and where one may cut. Pooling and flattening before
the output layer belong to the last block. The head is the output layer, with a dropout right
before it; hidden layers of a classifier (VGG's, MobileNetV3's) are blocks, for they carry on
what was learnt.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tlfw import CONF
from tlfw.internals.torchvision import load_as_any_module, patches, renormalised

Step = str | Callable[[Any, Tensor], Tensor]
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
        pattern: a regular expression of the models' names.
        blocks: the blocks of a built model, stem first.
        head: paths of the submodules that make the head, in order.
        after_head: modules without parameters that torchvision's forward applies to the head's output.
        options: what building takes beside the number of classes.
        size_option: building's name for the image size, where it is fixed then; from the size in pixels.
    """

    pattern: str
    blocks: Callable[[Any], tuple[Block, ...]]
    head: tuple[str, ...]
    after_head: tuple[type[nn.Module], ...] = ()
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    size_option: Callable[[int], dict[str, Any]] | None = None

    def head_of(self, model: nn.Module) -> nn.Module:
        """The head of a built model: features -> logits `[B, classes]`."""
        parts = [model.get_submodule(path) for path in self.head]
        return nn.Sequential(*parts, *(make() for make in self.after_head))

    @property
    def usual_size(self) -> int:
        """An image size in pixels that every model of the family can be built for."""
        return 224 if self.size_option else 64


def _flatten(_: Any, x_BC11: Tensor) -> Tensor:
    return torch.flatten(x_BC11, 1)


def _mean_pool(_: Any, x_BCHW: Tensor) -> Tensor:
    return x_BCHW.mean([2, 3])


def _adaptive_mean_pool(_: Any, x_BCHW: Tensor) -> Tensor:
    return torch.flatten(nn.functional.adaptive_avg_pool2d(x_BCHW, 1), 1)


def _relu_then_mean_pool(model: Any, x_BCHW: Tensor) -> Tensor:
    return _adaptive_mean_pool(model, nn.functional.relu(x_BCHW, inplace=True))


def _patches_with_class_token(vit: Any, x_BCHW: Tensor) -> Tensor:
    x_BTD = patches(vit, x_BCHW)
    x_BTD = torch.cat([vit.class_token.expand(len(x_BTD), -1, -1), x_BTD], dim=1)
    return vit.encoder.dropout(x_BTD + vit.encoder.pos_embedding)


def _class_token(_: Any, x_BTD: Tensor) -> Tensor:
    return x_BTD[:, 0]


POOL_FLATTEN: tuple[Step, ...] = ("avgpool", _flatten)


def _row(*blocks: Block) -> Callable[[Any], tuple[Block, ...]]:
    """The same blocks for every model of the family."""
    return lambda _: blocks


def _children(
    body: str, starts: Callable[[nn.Sequential], Iterable[int]], after: tuple[Step, ...], *more: Block
) -> Callable[[Any], tuple[Block, ...]]:
    """Blocks of a model whose body is one Sequential: a new one at each of the children that `starts` names.

    `after` ends the last of them; `more` blocks follow.
    """

    def blocks(model: Any) -> tuple[Block, ...]:
        sequence: nn.Sequential = operator.attrgetter(body)(model)
        names = [name for name, _ in sequence.named_children()]
        marks = [*starts(sequence), len(names)]
        found = [
            Block(f"{body}.{names[first]}", tuple(f"{body}.{name}" for name in names[first:last]))
            for first, last in itertools.pairwise(marks)
        ]
        found[-1] = dataclasses.replace(found[-1], steps=(*found[-1].steps, *after))
        return (*found, *more)

    return blocks


def _where_parameters_begin(sequence: nn.Sequential) -> list[int]:
    """Each child that has parameters; those without (activations, pooling) join the one before."""
    return [i for i, child in enumerate(sequence) if any(True for _ in child.parameters())]


def _after_each_pooling(sequence: nn.Sequential) -> list[int]:
    pools = [i + 1 for i, child in enumerate(sequence) if isinstance(child, nn.MaxPool2d)]
    return [0, *pools[:-1]]


def _stem_then_pairs(sequence: nn.Sequential) -> list[int]:
    """Stem and first stage apart, then each downsampling with the stage that it feeds."""
    return [0, 1, *range(2, len(sequence), 2)]


def _vit(model: Any) -> tuple[Block, ...]:
    layers = [f"encoder.layers.{name}" for name, _ in model.encoder.layers.named_children()]
    names = [path.removeprefix("encoder.layers.") for path in layers]
    stem = Block(
        "stem", (_patches_with_class_token,), ("conv_proj", "class_token", "encoder.pos_embedding", "encoder.dropout")
    )
    middle = (Block(name, (path,)) for name, path in zip(names[:-1], layers[:-1], strict=True))
    return (stem, *middle, Block(names[-1], (layers[-1], "encoder.ln", _class_token)))


def _inception(model: Any) -> tuple[Block, ...]:
    """Inception v1 and v3: all up to the last pooling before the first Inception module, then one module each."""
    names = [
        name
        for name, _ in model.named_children()
        if name not in ("aux1", "aux2", "AuxLogits", "avgpool", "dropout", "fc")
    ]
    first = next(i for i, name in enumerate(names) if re.match(r"inception3a|Mixed_5b", name))
    found = [Block("stem", (renormalised, *names[:first]))]
    for name in names[first:]:
        if name.startswith("maxpool"):
            found[-1] = dataclasses.replace(found[-1], steps=(*found[-1].steps, name))
        else:
            found.append(Block(name, (name,)))
    found[-1] = dataclasses.replace(found[-1], steps=(*found[-1].steps, *POOL_FLATTEN))
    return tuple(found)


FAMILIES: tuple[Family, ...] = (
    Family(
        "alexnet",
        _children(
            "features",
            _where_parameters_begin,
            POOL_FLATTEN,
            Block("fc6", ("classifier.0", "classifier.1", "classifier.2")),
            Block("fc7", ("classifier.3", "classifier.4", "classifier.5")),
        ),
        ("classifier.6",),
    ),
    Family(
        "vgg",
        _children(
            "features",
            _after_each_pooling,
            POOL_FLATTEN,
            Block("fc6", ("classifier.0", "classifier.1")),
            Block("fc7", ("classifier.2", "classifier.3", "classifier.4")),
        ),
        ("classifier.5", "classifier.6"),
    ),
    Family(
        "resnet|resnext|wide_resnet",
        _row(
            Block("stem", ("conv1", "bn1", "relu", "maxpool")),
            Block("layer1", ("layer1",)),
            Block("layer2", ("layer2",)),
            Block("layer3", ("layer3",)),
            Block("layer4", ("layer4", *POOL_FLATTEN)),
        ),
        ("fc",),
    ),
    Family(
        "densenet",
        _row(
            Block("stem", ("features.conv0", "features.norm0", "features.relu0", "features.pool0")),
            Block("denseblock1", ("features.denseblock1", "features.transition1")),
            Block("denseblock2", ("features.denseblock2", "features.transition2")),
            Block("denseblock3", ("features.denseblock3", "features.transition3")),
            Block("denseblock4", ("features.denseblock4", "features.norm5", _relu_then_mean_pool)),
        ),
        ("classifier",),
    ),
    Family(
        "googlenet|inception_v3",
        _inception,
        ("dropout", "fc"),
        options={"aux_logits": False, "init_weights": True},
    ),
    Family(
        "shufflenet",
        _row(
            Block("stem", ("conv1", "maxpool")),
            Block("stage2", ("stage2",)),
            Block("stage3", ("stage3",)),
            Block("stage4", ("stage4",)),
            Block("conv5", ("conv5", _mean_pool)),
        ),
        ("fc",),
    ),
    Family("squeezenet", _children("features", _where_parameters_begin, ()), ("classifier",), (nn.Flatten,)),
    Family(
        "mobilenet_v2",
        _children("features", _where_parameters_begin, (_adaptive_mean_pool,)),
        ("classifier.0", "classifier.1"),
    ),
    Family(
        "mobilenet_v3",
        _children(
            "features", _where_parameters_begin, POOL_FLATTEN, Block("classifier.0", ("classifier.0", "classifier.1"))
        ),
        ("classifier.2", "classifier.3"),
    ),
    Family(
        "mnasnet",
        _children("layers", lambda _: [0, *range(8, 15)], (_mean_pool,)),
        ("classifier.0", "classifier.1"),
    ),
    Family(
        "regnet",
        _row(
            Block("stem", ("stem",)),
            Block("block1", ("trunk_output.block1",)),
            Block("block2", ("trunk_output.block2",)),
            Block("block3", ("trunk_output.block3",)),
            Block("block4", ("trunk_output.block4", *POOL_FLATTEN)),
        ),
        ("fc",),
    ),
    Family(
        "efficientnet",
        _children("features", _where_parameters_begin, POOL_FLATTEN),
        ("classifier.0", "classifier.1"),
    ),
    Family(
        "convnext",
        _children("features", _stem_then_pairs, ("avgpool", "classifier.0", "classifier.1")),
        ("classifier.2",),
    ),
    Family("swin", _children("features", _stem_then_pairs, ("norm", "permute", "avgpool", "flatten")), ("head",)),
    Family("vit", _vit, ("heads.head",), size_option=lambda size: {"image_size": size}),
    Family(
        "maxvit",
        _row(
            Block("stem", ("stem",)),
            Block("blocks.0", ("blocks.0",)),
            Block("blocks.1", ("blocks.1",)),
            Block("blocks.2", ("blocks.2",)),
            Block("blocks.3", ("blocks.3",)),
            Block("classifier.3", tuple(f"classifier.{i}" for i in range(5))),
        ),
        ("classifier.5",),
        size_option=lambda size: {"input_size": (size, size)},
    ),
)
"""The architectures, each with the names that it answers to."""


@functools.cache
def all_names() -> tuple[str, ...]:
    """Those of every classification model of torchvision."""
    import torchvision.models  # takes a second, of which most who plan have no need

    return tuple(name for name in torchvision.models.list_models(module=torchvision.models) if _family(name))


def is_name(name: str) -> bool:
    """Whether torchvision has a classification model of that name."""
    return _family(name) is not None and ((CONF / "backbone" / f"{name}.yaml").is_file() or name in all_names())


def family_of(name: str) -> Family:
    """How the model of that name divides.

    Raises:
        KeyError: no family answers to it.
    """
    if (found := _family(name)) is None:
        raise KeyError(name)
    return found


def _family(name: str) -> Family | None:
    return next((family for family in FAMILIES if re.match(family.pattern, name)), None)


def build(name: str, classes: int, image_size: int) -> nn.Module:
    """A torchvision model with random weights, without auxiliary heads.

    Raises:
        ValueError, RuntimeError, AssertionError: the architecture cannot be built for that size.
    """
    import torchvision.models

    model = torchvision.models.get_model(name, weights=None, **options(name, classes, image_size))
    if isinstance(model, torchvision.models.MNASNet):
        load_as_any_module(model)
    return model


def options(name: str, classes: int, image_size: int) -> dict[str, Any]:
    """What `torchvision.models.get_model` is called with for a model without auxiliary heads."""
    family = family_of(name)
    sized = family.size_option(image_size) if family.size_option else {}
    return {"num_classes": classes, **family.options, **sized}


class _OnMeta(TorchFunctionMode):
    """Parameters are made without data; small tables that builders compute with keep theirs."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


M = TypeVar("M", bound=nn.Module)


def on_meta(make: Callable[[], M]) -> M:
    """A model on torch's meta device: shapes and names, no data, built in milliseconds."""
    with _OnMeta():
        model = make()
    return model.to("meta").eval()
