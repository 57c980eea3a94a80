"""What is known of a network without data or weights: its blocks, what they give, and where its maps are one pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.families import on_meta
from tlfw.identity.names import remembered


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A backbone for images of one size.

    Attributes:
        name: the architecture's.
        image_size: pixels.
        blocks: their names, stem first.
        feature_bytes: that one image takes, in float32, after so many of the first blocks; `[blocks + 1]`.
        convolutions: how many look at neighbours.
        single_pixels: how many of these get maps of one pixel, which has none; 0 where no map of one pixel is reduced
            further.
        linear_head: whether the head is one linear layer, after a dropout or none.
    """

    name: str
    image_size: int
    blocks: tuple[str, ...]
    feature_bytes: tuple[int, ...]
    convolutions: int
    single_pixels: int
    linear_head: bool

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Network:
        """As it was written: its fields, with lists for tuples."""
        blocks, feature_bytes = (tuple(known[name]) for name in ("blocks", "feature_bytes"))
        return cls(**{**known, "blocks": blocks, "feature_bytes": feature_bytes})

    @property
    def remarks(self) -> list[str]:
        """Whether it reduces images further than they have pixels, in a sentence."""
        if not self.single_pixels:
            return []
        return [
            f"image_size={self.image_size} is too small for {self.name}: {self.single_pixels} of its "
            f"{self.convolutions} convolutions that look at neighbours get maps of 1 x 1 pixel"
        ]


def linear_layer(head: nn.Module) -> nn.Linear | None:
    """The one layer of a head that is linear, after a dropout or none; None: it is another one."""
    layers = [each for each in head.modules() if not isinstance(each, nn.Sequential)]
    last = layers[-1]
    if [type(each) for each in layers] not in ([nn.Linear], [nn.Dropout, nn.Linear]):
        return None
    return last if isinstance(last, nn.Linear) and last.bias is not None else None


def network_of(backbone: Backbone, image_size: int) -> Network:
    """Look at a backbone that takes images of that size (`Backbone.check_size`), once in a process."""
    return _looked_at(backbone.plain, image_size)


@remembered
def _looked_at(backbone: Backbone, image_size: int) -> Network:
    trunk, single, reduced = backbone.shape(image_size), [], []

    def look(part: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(part, nn.Conv2d)
        single.append(given[0].shape[-2:] == (1, 1))
        reduced.append(single[-1] and max(part.stride) > 1)

    for part in trunk.modules():
        if isinstance(part, nn.Conv2d) and max(part.kernel_size) > 1:
            part.register_forward_pre_hook(look)
    given = [torch.empty(2, 3, image_size, image_size, device="meta")]
    for i in range(len(trunk.blocks)):
        given.append(trunk(given[-1], i, i + 1))
    return Network(
        name=backbone.name,
        image_size=image_size,
        blocks=tuple(block.name for block in trunk.blocks),
        feature_bytes=tuple(4 * z.numel() // len(z) for z in given),
        convolutions=len(single),
        single_pixels=sum(single) if any(reduced) else 0,
        linear_head=linear_layer(on_meta(lambda: backbone.head(2, image_size, 0))) is not None,
    )
