"""What is done to the pixels of a batch: torchvision's operations, each image by its own amount."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from tlfw.data.pictures import operations

FILL = [124.0, 116.0, 104.0]
SIZES = (1, 2, 3, 5, 32, 37)


def images(size: int, count: int = 24) -> Tensor:
    """Noise, grey noise, smooth colours, and images of one colour, of black and of white."""
    random = np.random.default_rng(size)
    x_BCHW = torch.from_numpy(random.integers(0, 256, (count, 3, size, size), dtype=np.uint8))
    x_BCHW[6:10] = x_BCHW[6:10, :1]
    coarse = torch.from_numpy(random.uniform(60, 200, (6, 3, 3, 3)))
    x_BCHW[10:16] = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").to(torch.uint8)
    x_BCHW[16], x_BCHW[17], x_BCHW[18] = 0, 255, 77
    return x_BCHW


FACTORS = np.concatenate([[0.0, 1.0, 2.0], np.random.default_rng(1).uniform(0, 2, 21)])

COLOURS = {
    "brightness": (F.adjust_brightness, FACTORS),
    "saturation": (F.adjust_saturation, FACTORS),
    "contrast": (F.adjust_contrast, FACTORS),
    "sharpness": (F.adjust_sharpness, FACTORS),
    "hue": (
        F.adjust_hue,
        np.concatenate([[0.0, 0.5, -0.5, -1e-9, 1e-9], np.random.default_rng(1).uniform(-0.5, 0.5, 19)]),
    ),
    "posterize": (lambda x_CHW, bits: F.posterize(x_CHW, int(bits)), np.arange(24) % 8 + 1.0),
    "solarize": (lambda x_CHW, share: F.solarize(x_CHW, 255.0 * share), np.linspace(1, 0, 24)),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_exactly_torchvisions(name: str, size: int) -> None:
    one, amounts = COLOURS[name]
    x_BCHW = images(size)
    before = x_BCHW.clone()
    made = getattr(operations, name)(x_BCHW, amounts)
    assert made.dtype == torch.uint8
    assert torch.equal(made, torch.stack([one(x, float(a)) for x, a in zip(x_BCHW, amounts, strict=True)]))
    assert torch.equal(x_BCHW, before)


def test_hues_of_all_kinds_of_colours() -> None:
    levels = torch.arange(0, 256, 5, dtype=torch.uint8)
    x_CHW = torch.cartesian_prod(levels, levels, levels).T.reshape(3, len(levels), -1)
    for turn in (-0.1, 0.03, 1 / 3):
        assert torch.equal(operations.hue(x_CHW[None], np.array([turn]))[0], F.adjust_hue(x_CHW, turn))


MOVES = {
    "ShearX": (
        lambda a: {"angle": 0.0, "translate": [0, 0], "shear": [np.degrees(np.arctan(a)), 0.0], "center": [0, 0]}
    ),
    "ShearY": (
        lambda a: {"angle": 0.0, "translate": [0, 0], "shear": [0.0, np.degrees(np.arctan(a))], "center": [0, 0]}
    ),
    "TranslateX": (lambda a: {"angle": 0.0, "translate": [int(a), 0], "shear": [0.0, 0.0]}),
    "TranslateY": (lambda a: {"angle": 0.0, "translate": [0, int(a)], "shear": [0.0, 0.0]}),
}
BILINEAR = F.InterpolationMode.BILINEAR


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", operations.MOVES)
def test_moves_are_torchvisions(name: str, size: int) -> None:
    """To a level where a pixel is half way between two: torchvision finds its places by a product of matrices, whose
    rounding is that of the processor's BLAS. Where that does not fuse steps, they are equal.
    """
    most = {"Rotate": 135.0, "TranslateX": 32.0, "TranslateY": 32.0}.get(name, 0.99)
    amounts = np.concatenate([[0.0, most, -most], np.random.default_rng(2).uniform(-most, most, 21)])
    if name == "Rotate":
        amounts[3:8] = 90, -90, 180, 45, 0.001
    x_BCHW = images(size)
    matrix_B6 = np.array([operations.MOVES[name](float(a), size, size) for a in amounts])
    made = operations.move(x_BCHW, matrix_B6, FILL)
    for x, y, amount in zip(x_BCHW, made, amounts.tolist(), strict=True):
        if name == "Rotate":
            expected = F.rotate(x, amount, BILINEAR, fill=FILL)
        else:
            expected = F.affine(x, scale=1.0, interpolation=BILINEAR, fill=FILL, **MOVES[name](amount))
        apart = (y.int() - expected.int()).abs()
        assert apart.max() <= 1
        assert (apart > 0).float().mean() <= 0.02


def test_an_oblong_image_is_moved_as_torchvision_moves_it() -> None:
    x_BCHW = images(32)[:, :, :20]
    for name, change in MOVES.items():
        made = operations.move(x_BCHW, np.array([operations.MOVES[name](0.3, 20, 32)] * len(x_BCHW)), FILL)
        expected = F.affine(x_BCHW, scale=1.0, interpolation=BILINEAR, fill=FILL, **change(0.3))
        assert (made.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_flipped_cropped_and_erased(size: int) -> None:
    x_BCHW = images(size)
    random = np.random.default_rng(0)
    flipped_B = random.random(24) < 0.5
    made = operations.flip(x_BCHW, flipped_B)
    assert torch.equal(made, torch.stack([F.hflip(x) if f else x for x, f in zip(x_BCHW, flipped_B, strict=True)]))
    for reach in {0, 1, size - 1} & set(range(size)):
        top_B, left_B = random.integers(0, 2 * reach + 1, (2, 24))
        made = operations.crop(x_BCHW, reach, top_B, left_B)
        padded = F.pad(x_BCHW, [reach] * 4, padding_mode="reflect") if reach else x_BCHW
        places = zip(padded, top_B.tolist(), left_B.tolist(), strict=True)
        assert torch.equal(made, torch.stack([F.crop(x, top, left, size, size) for x, top, left in places]))
    height_B, width_B = random.integers(0, size, (2, 24))
    top_B, left_B = random.integers(0, size - height_B + 1), random.integers(0, size - width_B + 1)
    made = operations.erase(x_BCHW, top_B, left_B, height_B, width_B, FILL)
    value = torch.tensor(FILL)[:, None, None]
    places = zip(x_BCHW, top_B, left_B, height_B, width_B, strict=True)
    assert torch.equal(made, torch.stack([F.erase(x, *map(int, place), value) for x, *place in places]))
    assert torch.equal(x_BCHW, images(size))
