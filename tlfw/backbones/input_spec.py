"""How images were prepared for the network whose weights are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from tlfw.data.pictures.resampling import Interpolation
from tlfw.errors import ConfigError
from tlfw.identity.names import named
from tlfw.strictness import STRICT

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Channels = Annotated[tuple[float, float, float], Field(strict=False)]
"""A number for each of red, green and blue; a list is one too."""


@named("tlfw.InputSpec")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputSpec:
    """What a network was given of an image while its weights were learnt.

    Args:
        size: side of the square, in pixels.
        resize: to what the shorter side was scaled before the square was cut out, in pixels.
        interpolation: by which it was scaled.
        mean, std: of each channel, where 1 is white.
        transform_input: whether images are renormalised inside the network, as torchvision's published weights of
            googlenet and inception_v3 expect.
    """

    size: int = Field(ge=1, le=4096)
    resize: int = Field(ge=1, le=8192)
    interpolation: Interpolation = "bilinear"
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    transform_input: bool = False

    def __post_init__(self) -> None:
        if self.resize < self.size:
            raise ConfigError(
                "resize", f"{self.resize} px is less than the size of {self.size} px.", "Use the size, or more."
            )
        if not all(0 <= channel <= 1 for channel in self.mean) or not all(0 < channel <= 1 for channel in self.std):
            raise ConfigError(
                "mean, std", f"{self.mean} and {self.std} are not of images where white is 1.", "Divide them by 255."
            )

    @classmethod
    def read(cls, given: object) -> object:
        """One from the fields that a config gives; anything else is returned as it is.

        Raises:
            ConfigError: a field is wrong.
        """
        if not isinstance(given, Mapping):
            return given
        try:
            return cls(**{str(name): value for name, value in given.items() if name != "_target_"})
        except ConfigError as problem:
            raise problem.at("preprocessing") from None
        except ValidationError as problem:
            first = problem.errors()[0]
            field = ".".join(map(str, first["loc"]))
            missing = first["type"] in ("missing", "missing_argument")
            said = "it is not given" if missing else f"{first['msg']}, and it is {first['input']!r}"
            raise ConfigError(
                f"preprocessing.{field}",
                f"{said}.",
                "Give size, resize, interpolation, mean and std.",
            ) from problem

    @classmethod
    def of_published(cls, weights: Any, transform_input: bool) -> InputSpec:
        """That of one of torchvision's published weights.

        Args:
            weights: a member of one of torchvision's weights enums.
            transform_input: whether the architecture has such a thing.
        """
        own = weights.transforms()
        return cls(
            size=own.crop_size[0],
            resize=own.resize_size[0],
            interpolation=own.interpolation.value,
            mean=tuple(own.mean),
            std=tuple(own.std),
            transform_input=transform_input,
        )

    def __str__(self) -> str:
        cut = f" of {self.resize}" if self.resize != self.size else ""
        usual = (self.mean, self.std) == (IMAGENET_MEAN, IMAGENET_STD)
        how = "ImageNet's mean and std" if usual else f"mean {_numbers(self.mean)}, std {_numbers(self.std)}"
        return f"{self.size}{cut} px, {self.interpolation}, {how}{', renormalised inside' * self.transform_input}"


def _numbers(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:.4g}" for value in values)
