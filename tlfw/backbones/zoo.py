"""torchvision's classification models as backbones."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import nn

from tlfw.backbones import families
from tlfw.backbones.backbone import Backbone
from tlfw.backbones.download import fetch
from tlfw.backbones.families import Family, all_names, family_of, is_name
from tlfw.backbones.input_spec import InputSpec
from tlfw.backbones.tensor_match import Fit
from tlfw.backbones.weights import WeightsFile, is_place
from tlfw.errors import ConfigError, nearest
from tlfw.identity.names import named
from tlfw.strictness import STRICT


@named("tlfw.Torchvision")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class TorchvisionBackbone(Backbone):
    """A torchvision architecture and where its first weights come from.

    Args:
        name: one of torchvision's classification models.
        weights: what any backbone takes | DEFAULT | the name of one of torchvision's published weights
            for this model.
        stem: `imagenet`, as published; `small`, for small images, in the resnets: a 3x3
            convolution that keeps the size, and no pooling (He et al., 2016, on CIFAR-10).
    """

    stem: Literal["imagenet", "small"] = "imagenet"

    def __post_init__(self) -> None:
        if not is_name(self.name):
            near = " or ".join(nearest(self.name, all_names())) or ", ".join(all_names())
            raise ConfigError("name", f"there is no backbone {self.name!r}.", f"Did you mean {near}?")
        if self.weights is not None and not is_place(self.weights):
            known = self._all_published().__members__
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
        return family_of(self.name)

    @property
    def published(self) -> Any | None:
        if self.weights is None or is_place(self.weights):
            return None
        return self._all_published()[self.weights]

    def _all_published(self) -> Any:
        """Torchvision's enumeration of the weights that it has of this model."""
        import torchvision.models  # takes a second, of which random weights have no need

        return torchvision.models.get_model_weights(self.name)

    def _spec_called(self, name: str) -> InputSpec:
        known = self._all_published()
        if name not in known.__members__:
            raise ConfigError(
                "preprocessing",
                f"{self.name} has no published weights {name!r}.",
                f"Use {', '.join(known.__members__)}, or give size, resize, interpolation, mean and std.",
            )
        return InputSpec.of_published(known[name], "googlenet" in self.family.pattern)

    def _spec_of(self, file: WeightsFile) -> InputSpec | None:
        """Also that of a file which torchvision publishes, known by the beginning of its checksum."""
        for name, published in self._all_published().__members__.items():
            hashed = torch.hub.HASH_REGEX.search(published.url)
            if hashed and file.sha256.startswith(hashed[1]):
                return self._spec_called(name)
        return super()._spec_of(file)

    def make(self, classes: int, image_size: int) -> nn.Module:
        model = families.build(self.name, classes, image_size)
        return _with_small_stem(model) if self.stem == "small" else model

    def check_size(self, image_size: int) -> None:
        super().check_size(image_size)
        if self.published and self.family.size_option and image_size != self.published.meta["min_size"][0]:
            legal = self.published.meta["min_size"][0]
            raise ConfigError(
                "image_size", f"{self.weights} was made for {legal} px, not {image_size}.", f"Use {legal}."
            )

    def _given(self, weights: str) -> WeightsFile:
        return WeightsFile.at(fetch(self.published)) if self.published else super()._given(weights)

    def _remedy(self, found: Fit) -> str:
        if "conv1.weight" in found.misshaped and "resnet" in self.family.pattern:
            return f"Perhaps they are for backbone.stem={'imagenet' if self.stem == 'small' else 'small'}."
        return super()._remedy(found)


def _with_small_stem(model: Any) -> nn.Module:
    model.conv1 = nn.Conv2d(3, model.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model
