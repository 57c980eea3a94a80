"""A backbone with one head for each data set."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tlfw.backbones.backbone import Backbone, Trunk
from tlfw.identity.names import seed_from


class Model(nn.Module):
    """One trunk, and a head per data set that has been trained on or is about to be.

    A stage's weights are this module's `state_dict()`: `trunk.*` and `heads.NAME.*`.
    """

    def __init__(self, backbone: Backbone, image_size: int, seed: int) -> None:
        super().__init__()
        self.backbone, self.image_size, self.seed = backbone, image_size, seed
        # Convolutions are faster so, on CPUs and on GPUs, for every family here.
        self.trunk: Trunk = backbone.trunk(image_size, seed).to(memory_format=torch.channels_last)
        self.heads = nn.ModuleDict()
        self.classes: dict[str, int] = {}
        """Logits of each head."""

    def add_head(self, name: str, classes: int, seed: int | None = None) -> None:
        """Give data set `name` a fresh head, unless it has one. The new weights are a function of (seed, name).

        Args:
            seed: None: that of the trunk.
        """
        if name not in self.heads:
            self.classes[name] = max(classes, self.backbone.head_classes or 0)
            self.heads[name] = self.fresh_head(name, self.classes[name], self.seed if seed is None else seed)

    def fresh_head(self, name: str, logits: int, seed: int) -> nn.Module:
        """A head that has learnt nothing, a function of (seed, name)."""
        return self.backbone.head(logits, self.image_size, seed_from("head", seed, name))

    def forward(self, x: Tensor, head: str, start: int = 0) -> Tensor:
        """Logits `[B, classes]` of one head for inputs of block `start` (`x_BCHW` for the first)."""
        return self.heads[head](self.trunk(x, start))

    def mixture_logits(self, batch: Mapping[str, Tensor], start: int = 0) -> dict[str, Tensor]:
        """Logits of each data set's own images by its own head, from one pass of the whole batch.

        Args:
            batch: data set name -> inputs of block `start`, batch axis first.
        """
        z = self.trunk(torch.cat(list(batch.values())), start)
        # Some heads begin in place, which a view of a shared tensor would not bear.
        parts = [part.clone() for part in z.split([len(x) for x in batch.values()])]
        return {name: self.heads[name](part) for name, part in zip(batch, parts, strict=True)}
