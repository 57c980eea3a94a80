"""RandAugment and TrivialAugment are torchvision's, operation by operation and level by level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as T

from tests.data.pictures.test_operations import FILL, images
from tlfw.data.pictures import auto_augment
from tlfw.data.pictures.auto_augment import LEVELS, OPERATIONS, TWO_WAYS, amounts_of, operate
from tlfw.data.pictures.draws import Draws, streams

WAYS = {
    "rand_augment": (T.RandAugment, (0.3, 150.0 / 331.0 * 40, 150.0 / 331.0 * 24, 30.0, 0.9, 4)),
    "trivial_augment": (T.TrivialAugmentWide, (0.99, 32.0, 32.0, 135.0, 0.99, 6)),
}


@pytest.mark.parametrize("name", WAYS)
def test_operations_and_amounts_are_torchvisions(name: str) -> None:
    way, most = WAYS[name]
    space = way._AUGMENTATION_SPACE
    assert tuple(space) == OPERATIONS
    assert [signed for _, signed in space.values()] == TWO_WAYS.tolist()
    for own, (theirs, _) in zip(amounts_of(*most), space.values(), strict=True):
        levels = theirs(LEVELS, 24, 40)
        assert own.tolist() == ([0.0] * LEVELS if levels is None else levels.tolist())


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("size", [2, 32])
def test_each_operation_gives_torchvisions_pixels(name: str, size: int) -> None:
    """To a level where a pixel is half way between two, of what is moved."""
    way, most = WAYS[name]
    transform = way(interpolation=T.InterpolationMode.BILINEAR, fill=FILL)
    random = np.random.default_rng(3)
    x_BCHW = images(size).repeat(10, 1, 1, 1)
    operation_B = random.permutation(np.arange(len(x_BCHW)) % len(OPERATIONS))
    amount_B = amounts_of(*most)[operation_B, random.integers(0, LEVELS, len(x_BCHW))]
    amount_B *= np.where(TWO_WAYS[operation_B], random.choice([-1, 1], len(x_BCHW)), 1)
    made = operate(x_BCHW, operation_B, amount_B, FILL)
    for x, y, operation, amount in zip(x_BCHW, made, operation_B, amount_B.tolist(), strict=True):
        called = OPERATIONS[operation]
        expected = transform._apply_image_or_video_transform(
            x, called, amount, transform.interpolation, transform._fill
        )
        assert (y.int() - expected.int()).abs().max() <= (called in auto_augment.MOVES)
    assert torch.equal(x_BCHW[:24], images(size))


def test_how_often_each_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation and each level alike, either side by a coin; of RandAugment two, of one level."""
    asked = []

    def note(x_BCHW, operation_B, amount_B, fill):
        asked.append((operation_B, amount_B))
        return x_BCHW

    monkeypatch.setattr(auto_augment, "operate", note)
    n = 14_000
    x_BCHW = torch.zeros(n, 3, 32, 32, dtype=torch.uint8)
    auto_augment.trivial_augment(x_BCHW, Draws(streams(0, 0, range(n), [0] * n)), FILL)
    auto_augment.rand_augment(x_BCHW, Draws(streams(0, 0, range(n), [0] * n)), 9, FILL)
    assert len(asked) == 3
    for operation_B, _ in asked:
        assert np.bincount(operation_B).tolist() == pytest.approx([1000] * 14, abs=130)
    assert not np.array_equal(asked[1][0], asked[2][0])
    rotate = OPERATIONS.index("Rotate")
    # One of 31 levels, of which the first has no sides.
    levels = np.round(asked[0][1][asked[0][0] == rotate] / 4.5).astype(int)
    assert set(levels) == set(range(-30, 31))
    assert abs((levels > 0).mean() - 30 / 62) < 0.06
    sides, counts = np.unique(asked[1][1][asked[1][0] == rotate], return_counts=True)
    assert sides.tolist() == pytest.approx([-9, 9])
    assert counts.min() > 430
