"""A backbone is an ordered row of named blocks, stem to last; heads are not part of it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from tlfw.backbones.families import Block, Family, on_meta
from tlfw.backbones.input_spec import InputSpec
from tlfw.backbones.tensor_match import Fit, fit
from tlfw.backbones.weights import CHECKPOINT, NOTE, WeightsFile, locate
from tlfw.errors import ConfigError
from tlfw.identity import former
from tlfw.identity.fields import by_effect, unkeyed
from tlfw.identity.names import canonical, named, public_name, remembered, seed_from
from tlfw.strictness import STRICT

HEADS_KEPT = 64
"""Fresh heads that a backbone remembers."""

LARGEST = 1024
"""The search for a legal image size goes no further, in pixels."""


def _key_as_text(value: object) -> object:
    """A run's key that happens to have no letter was read as a number; with one e, as a power of ten."""
    if isinstance(value, float):
        raise ConfigError("weights", f"{value!r} was read as a number.", "If it is a run's key, give the run's folder.")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@named("tlfw.Backbone")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Backbone:
    """An architecture and where its first weights come from; a subclass says which, by `make` and `family`.

    Args:
        name: the architecture's.
        weights: null (random) | the path of a file (`.safetensors`, `.pth`, `.pt`, `.bin`, `.ckpt`)
            with a state_dict of the whole classifier | a finished run: its folder, or the first
            digits of its key, 8 or more.
        weights_entry: where in a file that has the network several times it is to be taken from, as `state_dict_ema`;
            null: it is there once.
        preprocessing: how images were prepared where the weights were learnt: the name of published weights, or the
            fields of an `InputSpec`; null: as published weights and runs say it themselves, else not known.
        head_classes: how many classes a head has logits for at least, as where ImageNet's head of 1,000
            is trained on ten; null: those of its data set.
        runs: the folder in which a run's key is looked up.
    """

    name: str = Field(min_length=1)
    weights: Annotated[
        str | None, BeforeValidator(_key_as_text), by_effect("the name of published weights, the content of a file")
    ] = None
    weights_entry: str | None = None
    preprocessing: Annotated[
        InputSpec | str | None, BeforeValidator(InputSpec.read), by_effect("how images are seen")
    ] = None
    head_classes: int | None = Field(default=None, ge=2, le=100_000)
    runs: Annotated[str, unkeyed("where runs are looked up; what is found counts by content")] = "./outputs/runs"

    @property
    def family(self) -> Family:
        """How the classifier that `make` makes divides into blocks and a head."""
        raise NotImplementedError

    def make(self, classes: int, image_size: int) -> nn.Module:
        """The whole classifier, `x_BCHW` -> logits `[B, classes]`, with random weights from torch's own generator."""
        raise NotImplementedError

    @property
    def published(self) -> Any | None:
        """The given weights as a member of one of torchvision's weights enums; None: they are none of these."""
        return None

    @property
    def input_spec(self) -> InputSpec | None:
        """How images were prepared where the given weights were learnt; None: that is not known, or there are none.

        Raises:
            ConfigError: there is no such file or run.
        """
        if isinstance(self.preprocessing, InputSpec):
            return self.preprocessing
        if self.preprocessing is not None:
            return self._spec_called(self.preprocessing)
        if self.weights is None:
            return None
        return self._spec_called(self.weights) if self.published else self._spec_of(self._given(self.weights))

    @property
    def transforms_input(self) -> bool:
        """Whether the given weights expect that the network renormalises its images, if it is one that can."""
        if (spec := self.input_spec) is not None:
            return spec.transform_input
        return self.weights is not None and bool(self._given(self.weights).note.get("transform_input", False))

    def _spec_called(self, name: str) -> InputSpec:
        """That of published weights of this architecture, by their name."""
        raise ConfigError(
            "preprocessing",
            f"{self.name} has no published weights, so none are called {name!r}.",
            "Give size, resize, interpolation, mean and std.",
        )

    def _spec_of(self, file: WeightsFile) -> InputSpec | None:
        """That of a file."""
        said = file.note.get("input") or (former.inputs_of(file.path.parent) if file.path.name == CHECKPOINT else None)
        if said is None:
            return None
        try:
            found = InputSpec.read({**said, "transform_input": bool(file.note.get("transform_input", False))})
        except (ConfigError, TypeError) as problem:
            raise ConfigError(
                "weights", f"{file.path} says wrongly how its images were seen ({problem}).", "Fetch or save it again."
            ) from problem
        assert isinstance(found, InputSpec)
        return found

    def recipe(self) -> dict[str, Any]:
        """What `tlfw.backbones.recipe.remade` makes the same architecture of, as plain types."""
        of_weights = {field.name for field in dataclasses.fields(Backbone)} - {"name"}
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        kept = {name: value for name, value in fields.items() if name not in of_weights}
        return {"class": public_name(type(self)), **kept}

    def architecture(self) -> object:
        """What makes the network, whatever its weights."""
        return [canonical(type(self)), self.recipe(), self.head_classes]

    def identity(self) -> object:
        """What makes the first weights, the seed apart: a file counts by content, `DEFAULT` by what it stands for.

        Downloads nothing.

        Raises:
            ConfigError: there is no such file or run.
        """
        given = [self.transforms_input, self.weights_entry]
        if self.weights is None:
            return [self.architecture(), *given, None]
        return [
            self.architecture(),
            *given,
            self.published.name if self.published else self._given(self.weights).sha256,
        ]

    def _given(self, weights: str) -> WeightsFile:
        return WeightsFile.at(locate(weights, Path(self.runs).expanduser()))

    def fit(self, image_size: int) -> Fit | None:
        """How the given weights fit this backbone, by names and shapes; None: they are random.

        Published weights are downloaded here, if they were not before.

        Raises:
            ConfigError: they cannot be had or read, or tensors of the trunk are not among them.
        """
        if self.weights_entry is not None and (self.weights is None or self.published):
            raise ConfigError("weights_entry", "no file is given in which it could be.", "Leave it out.")
        if self.weights is None:
            return None
        file = self._given(self.weights)
        for field, own in self.recipe().items():
            change = {"name": "backbone", "class": "backbone._target_"}.get(field, f"backbone.{field}")
            made = file.note.get(field, own)
            if (former.today(made) if field == "class" else made) != own:
                raise ConfigError(
                    "weights",
                    f"{file.title} are weights of {change}={made}, not {own}.",
                    f"Use {change}={made}, or other weights.",
                )
        wanted = self.shape(image_size).model.state_dict()
        found = fit(file, wanted, self.family.head, self.weights_entry)
        if not found.whole:
            raise ConfigError("weights", f"they do not fit {self.name} ({found}).", self._remedy(found))
        return found

    def _remedy(self, found: Fit) -> str:
        if not found.fitted:
            return "These are of another architecture: choose its backbone."
        if found.inside and not found.missing:
            return "These are of a deeper network, or of another: choose its backbone."
        if found.missing:
            return "Give all weights of this architecture, under its own names."
        if self.family.size_option:
            return "Perhaps they are for another image_size."
        return "Give weights of this architecture."

    def build(self, classes: int, image_size: int, seed: int) -> nn.Module:
        """The whole classifier with random weights that are a function of `seed`; draws from no global state."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make(classes, image_size)

    def trunk(self, image_size: int, seed: int) -> Trunk:
        """The backbone with its first weights: random ones, a function of `seed`, or the given ones.

        Raises:
            ConfigError: as `fit` does.
        """
        trunk = Trunk(self, self.build(2, image_size, seed_from("backbone", seed)))
        found = self.fit(image_size)
        if self.weights is not None and found is not None:
            tensors = self._given(self.weights).tensors()
            trunk.model.load_state_dict({own: tensors[theirs] for own, theirs in found.fitted.items()}, strict=False)
        if hasattr(trunk.model, "transform_input"):
            setattr(trunk.model, "transform_input", self.transforms_input)  # noqa: B010
        return trunk

    def shape(self, image_size: int) -> Trunk:
        """The trunk on torch's meta device: what its blocks are and give, without data."""
        return Trunk(self, on_meta(lambda: self.make(2, image_size))).eval()

    def head(self, classes: int, image_size: int, seed: int) -> nn.Module:
        """A fresh head, of the classifier's own structure and initialisation: features -> logits `[B, classes]`."""
        key = classes, image_size, seed
        if (known := self._heads.get(key)) is None:
            known = self.family.head_of(self.build(*key))
            if any(each.is_meta for each in known.parameters()):
                return known
            if len(self._heads) >= HEADS_KEPT:
                self._heads.clear()
            self._heads[key] = known
        return copy.deepcopy(known)

    @functools.cached_property
    def _heads(self) -> dict[tuple[int, int, int], nn.Module]:
        """Fresh heads, for which a whole classifier has to be built; runs in company ask for the same ones."""
        return {}

    def block_names(self) -> tuple[str, ...]:
        """The blocks' names, stem first. Builds no weights."""
        return _block_names(self.plain)

    @property
    def plain(self) -> Backbone:
        """The architecture alone."""
        return dataclasses.replace(
            self, weights=None, weights_entry=None, preprocessing=None, head_classes=None, runs=""
        )

    def check_size(self, image_size: int) -> None:
        """Try a forward pass without data or weights.

        Raises:
            ConfigError: images of that size cannot pass; names the nearest legal size.
        """
        if _passes(self.plain, image_size):
            return
        around = (size for step in range(1, LARGEST) for size in (image_size - step, image_size + step) if size > 0)
        legal = next((size for size in around if _passes(self.plain, size)), None)
        raise ConfigError(
            "image_size",
            f"{self.name} cannot take images of {image_size} px.",
            f"The nearest that it can take is {legal}." if legal else "Look at its make and family: no size passes.",
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
        model: a whole classifier; its head is taken off.
    """

    def __init__(self, backbone: Backbone, model: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = backbone.family.blocks(model)
        for path in backbone.family.head:
            model.set_submodule(path, nn.Identity())
        self.model = model
        self.block_of = {name: self._owner(name) for name, _ in self._tensors()}

    def note(self, inputs: Mapping[str, Any] | None = None) -> dict[str, str]:
        """For the header of a safetensors file: whose tensors these are, so that they find back into a trunk.

        One entry: several would be written in an order that changes, and a file's content is its name.

        Args:
            inputs: how images were seen, the fields of an `InputSpec`; None: nobody knows.
        """
        own = {**self.backbone.recipe(), "transform_input": bool(getattr(self.model, "transform_input", False))}
        return {NOTE: json.dumps(own if inputs is None else {**own, "input": dict(inputs)})}

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


@remembered
def _block_names(backbone: Backbone) -> tuple[str, ...]:
    model = on_meta(lambda: backbone.make(2, backbone.family.usual_size))
    return tuple(block.name for block in backbone.family.blocks(model))


@remembered
def _passes(backbone: Backbone, image_size: int) -> bool:
    try:
        trunk = backbone.shape(image_size)
        trunk(torch.empty(2, 3, image_size, image_size, device="meta"))
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError):
        return False
    return True
