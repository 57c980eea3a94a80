"""torchvision 0.29: how its networks and data sets do what they have no public function for."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from torch import Tensor, nn


def renormalised(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """Images as googlenet and inception_v3 change them first, where `transform_input` says so."""
    return model._transform_input(x_BCHW)  # type: ignore[operator]


def patches(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """The patches of images as a vision transformer's tokens, `[B, T, D]`, without the class token."""
    return model._process_input(x_BCHW)  # type: ignore[operator]


def load_as_any_module(model: nn.Module) -> None:
    """Let MNASNet load tensors as other modules do: its own loading asks for a version that files do not have."""
    model._load_from_state_dict = functools.partial(nn.Module._load_from_state_dict, model)  # type: ignore[method-assign]


def files_of_pcam(found: Any) -> tuple[Path, Path]:
    """The files of images and labels of a PCAM data set, which opens them for each image."""
    files = found._FILES[found._split]
    images, labels = (Path(found._base_folder) / files[kind][0] for kind in ("images", "targets"))
    return images, labels
