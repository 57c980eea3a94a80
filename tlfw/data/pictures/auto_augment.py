"""RandAugment and TrivialAugment: a few of 14 operations, drawn for each image, with how much of each.

Images that drew the same operation are changed together. The operations have the names that torchvision gives them.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from tlfw.data.pictures.draws import Draws
from tlfw.data.pictures.operations import (
    MOVES,
    Change,
    brightness,
    by_kind,
    contrast,
    move,
    posterize,
    same,
    saturation,
    sharpness,
    solarize,
)

ENHANCED: dict[str, Change] = {
    "Brightness": lambda x_BCHW, amount_B: brightness(x_BCHW, 1.0 + amount_B),
    "Color": lambda x_BCHW, amount_B: saturation(x_BCHW, 1.0 + amount_B),
    "Contrast": lambda x_BCHW, amount_B: contrast(x_BCHW, 1.0 + amount_B),
    "Sharpness": lambda x_BCHW, amount_B: sharpness(x_BCHW, 1.0 + amount_B),
}

COLOURS: dict[str, Change] = {
    **ENHANCED,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": lambda x_BCHW, amount_B: F.autocontrast(x_BCHW),
    "Equalize": lambda x_BCHW, amount_B: F.equalize(x_BCHW),
}

OPERATIONS = ("Identity", *MOVES, *COLOURS)

TWO_WAYS = np.array([name in MOVES or name in ENHANCED for name in OPERATIONS])
"""Which go to either side, by a coin."""

LEVELS = 31


def rand_augment(x_BCHW: Tensor, draws: Draws, level: int, fill: list[float]) -> Tensor:
    """Two operations one after the other, each of the same level, out of 31 (Cubuk et al., 2020)."""
    height, width = x_BCHW.shape[-2:]
    amounts = amounts_of(0.3, 150.0 / 331.0 * width, 150.0 / 331.0 * height, 30.0, 0.9, 4)
    for _ in range(2):
        x_BCHW = _drawn(x_BCHW, draws, amounts[:, level : level + 1], fill)
    return x_BCHW


def trivial_augment(x_BCHW: Tensor, draws: Draws, fill: list[float]) -> Tensor:
    """One operation, of a level that is drawn (Müller and Hutter, 2021)."""
    return _drawn(x_BCHW, draws, amounts_of(0.99, 32.0, 32.0, 135.0, 0.99, 6), fill)


@functools.lru_cache(maxsize=16)
def amounts_of(shear: float, right: float, down: float, degrees: float, enhance: float, lost: int) -> np.ndarray:
    """How much of each operation is done at each level, float64 `[14, 31]`; the arguments are the most of each."""
    most = {"ShearX": shear, "ShearY": shear, "TranslateX": right, "TranslateY": down, "Rotate": degrees}
    most |= dict.fromkeys(ENHANCED, enhance)
    # In float32 as torchvision has them: whole pixels, and whether a corner is right, depend on it.
    table = {name: torch.linspace(0.0, value, LEVELS) for name, value in most.items()}
    table["Posterize"] = (8 - torch.arange(LEVELS) / ((LEVELS - 1) / lost)).round()
    table["Solarize"] = torch.linspace(1.0, 0.0, LEVELS)
    return torch.stack([table.get(name, torch.zeros(LEVELS)) for name in OPERATIONS]).double().numpy()


def _drawn(x_BCHW: Tensor, draws: Draws, amounts: np.ndarray, fill: list[float]) -> Tensor:
    """One operation on each image.

    Args:
        amounts: of each operation at each level that may be drawn.
    """
    operation_B, level_B, back_B = draws.below(len(OPERATIONS)), draws.below(amounts.shape[1]), draws.coin()
    amount_B = amounts[operation_B, level_B]
    return operate(x_BCHW, operation_B, np.where(TWO_WAYS[operation_B] & back_B, -amount_B, amount_B), fill)


def operate(x_BCHW: Tensor, operation_B: np.ndarray, amount_B: np.ndarray, fill: list[float]) -> Tensor:
    """Each image after its operation.

    Args:
        operation_B: which one, by its place in `OPERATIONS`.
        amount_B: how much of it.
        fill: the colour of what an image does not hold.
    """
    height, width = x_BCHW.shape[-2:]
    kind_B = _KINDS[operation_B]
    matrix_B6 = np.zeros((len(x_BCHW), 6))
    for i in np.flatnonzero(kind_B == 1).tolist():
        matrix_B6[i] = MOVES[OPERATIONS[operation_B[i]]](float(amount_B[i]), height, width)
    moved = (lambda x, matrix_M6: move(x, matrix_M6, fill)), matrix_B6
    return by_kind(x_BCHW, kind_B, [(same, amount_B), moved, *((change, amount_B) for change in COLOURS.values())])


_KINDS = np.array([0, *(1 for _ in MOVES), *(2 + i for i in range(len(COLOURS)))])
"""Of each operation: all that move an image are one, by a matrix."""
