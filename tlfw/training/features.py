"""What frozen blocks say of images that never change is computed once and stored.

Legal only where the blocks are frozen, run in evaluation mode (so that BatchNorm, dropout
and stochastic depth are functions of one image), and the images are neither augmented nor mixed.
Worth it only where a feature takes no more bytes than its image, or few. Both follow from keyed
settings alone, never from what happens to be in the store: so the way a stage is computed
belongs to its key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tlfw.backbones.model import Model
from tlfw.backbones.network import Network
from tlfw.data.pictures.view import View
from tlfw.methods.freeze import FreezePolicy
from tlfw.numerics.tag import Numerics
from tlfw.numerics.trainer import DELIVERED, TrainerFactory
from tlfw.records.ledger import tell
from tlfw.store import Store, read_json

if TYPE_CHECKING:
    from tlfw.data.mixture import Pixels

KIND = "features"

SMALL_BYTES = 16 * 1024
"""A feature that takes no more is stored however small its image is: any pooled one."""


def stored_blocks(policy: FreezePolicy, frozen: int, network: Network, views: Iterable[View]) -> int:
    """How many of the first blocks a stage takes from stored features; 0: none, it is computed directly.

    Args:
        frozen: how many of them are frozen.
    """
    if policy.statistics_move or any(view.augmentation for view in views):
        return 0
    return frozen if network.feature_bytes[frozen] <= max(3 * network.image_size**2, SMALL_BYTES) else 0


HEADS_REVISION = 1
"""Raised whenever `tlfw.training.heads` comes to give other numbers of the same settings."""

HONOURED = {"deterministic", "benchmark", "gradient_clip_val", "gradient_clip_algorithm"}
"""Settings of a trainer that numbers may depend on and that mean the same where heads alone are trained."""


def heads_alone(network: Network, stored: int, numerics: Numerics) -> bool:
    """Whether a stage trains nothing but linear heads on stored features, which `tlfw.training.heads` does.

    Args:
        stored: how many of the first blocks it takes from stored features.
    """
    return (
        stored == len(network.blocks)
        and network.linear_head
        and numerics.tag["world_size"] == 1
        and numerics.tag["precision"] == DELIVERED
        and set(numerics.keyed) <= HONOURED
    )


class Features:
    """Stored inputs of a block, served like images.

    Args:
        z_N: float32, the image axis first.
        labels_N: int64 `[N]`.
        seconds: that it took to make them.
        key: under which the store has them.
    """

    def __init__(self, z_N: np.ndarray, labels_N: Tensor, seconds: float, key: str) -> None:
        self.z_N, self.labels_N, self.seconds, self.key = z_N, labels_N, seconds, key

    def open(self) -> None:
        """All is at hand."""

    def heavy(self, *, training: bool) -> bool:
        return False

    def batch(self, positions: Sequence[int], passes: Sequence[int] | None, seed: int) -> Tensor:
        return torch.from_numpy(self.z_N[np.asarray(positions)])

    def mix(self, x: Tensor, y_B: Tensor, *key: object) -> tuple[Tensor, Tensor]:
        return x, y_B


def stored(
    store: Store,
    trainer: TrainerFactory,
    model: Model,
    pixels: Pixels,
    blocks: int,
    key: str,
    title: str,
    workers: int | None = None,
    about: Mapping[str, Any] | None = None,
    precision: str | None = None,
    of: tuple[str, str] | None = None,
) -> Features:
    """The features of `pixels` after the model's first `blocks` blocks, from the store or made now.

    Args:
        key: of all that decides them.
        title: for people who wait for them.
        about: what decides them, for people who look through the store.
        precision: in which they are made, as Lightning names it; None: in which the trainer trains.
        of: the data set and the part that the images are, so that all processes of a run can compute them.
    """

    def make(folder: Path) -> None:
        from tlfw.training.evaluate import Question, outputs  # Lightning takes seconds

        began = time.monotonic()
        question = None
        if of is not None:
            heads = tuple(model.heads)
            question = Question(data_set=of[0], part=of[1], heads=heads, blocks=blocks, precision=precision)
        z_N = outputs(trainer, model, lambda x: model.trunk(x, 0, blocks), pixels, workers, precision, question)
        np.save(folder / "features.npy", z_N.numpy())
        (folder / "features.json").write_text(json.dumps({"seconds": time.monotonic() - began, "blocks": blocks}))

    folder, there = store.get_or_make(KIND, key, make, about={**(about or {}), "blocks": blocks})
    seconds = read_json(folder / "features.json")["seconds"]
    tell(keep=(title, -1))
    if not there and seconds >= 1:  # nobody wonders at a shorter silence
        print(f"  {title}: {len(pixels.labels_N)} images in {seconds:.1f} s", flush=True)
    return Features(np.load(folder / "features.npy", mmap_mode="c", allow_pickle=False), pixels.labels_N, seconds, key)
