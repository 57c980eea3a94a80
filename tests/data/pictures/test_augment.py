"""Augmentation by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from benchmarks import augmentation_against_torchvision as against
from tests.tiny import Tiny
from tlfw.data.pictures import augment
from tlfw.data.pictures.augment import OF_BATCHES, OF_IMAGES
from tlfw.data.pictures.augmentation import AUGMENTATIONS, BATCH, IMAGE, UNSCALED, augmentations, varies
from tlfw.data.pictures.draws import Draws, drawing_from, streams
from tlfw.errors import ConfigError


def test_names_alone_or_in_lists() -> None:
    assert augmentations("none", 1.0) == augmentations(["none"], 1.0) == augmentations([], 1.0) == ()
    assert augmentations("flip", 1.0) == ("flip",)
    assert augmentations(["rand_augment", "flip_crop", "mixup"], 0.5) == ("rand_augment", "flip_crop", "mixup")
    assert (tuple(OF_IMAGES), tuple(OF_BATCHES)) == (IMAGE, BATCH)
    for name in (*IMAGE, *BATCH):
        assert Tiny(augmentation=name).augmentations == (name,)
    assert len(set(AUGMENTATIONS)) == 9


@pytest.mark.parametrize(
    ("given", "strength", "message"),
    [
        ("rand_augmant", 1.0, r"augmentation: 'rand_augmant' is no name of one. Use rand_augment or .*or a list"),
        (["flip", "cut_mix"], 1.0, r"'cut_mix' is no name of one. Use cutmix"),
        (["none", "flip"], 1.0, "has none beside others"),
        (["mixup", "flip"], 1.0, "Put mixup last"),
        ("none", 0.5, "strength: it is 0.5, but nothing depends on it"),
        (["flip", "trivial_augment"], 2.0, "nothing depends on it in augmentation=flip and trivial_augment"),
    ],
)
def test_what_would_do_nothing_or_something_else_is_refused(given, strength: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tiny(augmentation=given, strength=strength)


STRENGTHS = (0.5, 1.0, 2.0)


def test_what_varies_single_images() -> None:
    assert all(varies([name]) and varies([name, "mixup"]) for name in IMAGE)
    assert not any(map(varies, ([], ["mixup"], ["mixup", "cutmix"])))


@pytest.mark.parametrize(
    ("name", "strength"),
    [(name, strength) for name in IMAGE for strength in ((1.0,) if name in UNSCALED else STRENGTHS)],
)
def test_variants_are_distributed_as_torchvisions(name: str, strength: float) -> None:
    """By mean, variance and extreme cases of what is measured of them; `benchmarks` draws twenty times as many."""
    found = list(against.compared(name, strength, 16, 500))
    assert len(found) == 8
    assert max(each.worst for each in found) < against.BY_CHANCE


@pytest.mark.parametrize("name", IMAGE)
def test_another_distribution_is_seen(name: str) -> None:
    """So that the test above could fail: one of another strength, or one that leaves a part as it is."""
    x_CHW = against.picture(16)
    theirs, ours = against.theirs(name, 1.0, x_CHW, 500), against.ours(name, 1.0, x_CHW, 500)
    others = [torch.cat([x_CHW.expand(150, -1, -1, -1), ours[150:]])]
    if name not in UNSCALED:
        others.append(against.ours(name, 2.0, x_CHW, 500))
    for other in others:
        assert max(each.worst for each in against.compare(name, theirs, other, x_CHW)) > against.BY_CHANCE


def test_colours_are_drawn_as_torchvision_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four factors, and the order in which they are applied."""
    orders, factors = [], {}

    def note(x_BCHW, kind_B, changes):
        orders.append(kind_B)
        factors.update((change.__name__, amount_B) for change, amount_B in changes)
        return x_BCHW

    monkeypatch.setattr(augment, "by_kind", note)
    ours("colour", 2.0, DRAWS)
    with drawing_from(0):
        theirs = [against.TORCHVISION["colour"](2.0, 16).make_params([]) for _ in range(DRAWS)]
    for name, drawn_B in factors.items():
        expected = [params[f"{name}_factor"] for params in theirs]
        assert ks_2samp(drawn_B, expected).pvalue > 1e-4
        assert [drawn_B.min(), drawn_B.max()] == pytest.approx([min(expected), max(expected)], abs=0.004)
    assert len(factors) == 4
    _, counts = np.unique(np.stack(orders, 1), axis=0, return_counts=True)
    assert counts.tolist() == pytest.approx([DRAWS / 24] * 24, rel=0.4)


def test_rectangles_are_drawn_as_torchvision_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    monkeypatch.setattr(augment, "erase", lambda x_BCHW, *place: found.extend(place[:4]))
    ours("erasing", 1.5, 5 * DRAWS, size=64)
    top, left, height, width = (each[found[2] > 0] for each in found)
    assert abs(len(top) / (5 * DRAWS) - 0.5) < 0.015
    x_CHW, transform = against.picture(64), against.TORCHVISION["erasing"](1.5, 64)
    with drawing_from(0):
        theirs = [transform.make_params([x_CHW]) for _ in range(len(top))]
    i, j, h, w = (np.array([params[name] for params in theirs]) for name in "ijhw")
    for one, other in [(top, i), (left, j), (height, h), (width, w), (height * width, h * w), (height / width, h / w)]:
        assert ks_2samp(one, other).pvalue > 1e-4
    assert top.min() == left.min() == 0
    for one, other in [(top + height, i + h), (left + width, j + w)]:
        assert one.max() == other.max() == 64
        assert abs((one == 64).mean() - (other == 64).mean()) < 0.01


DRAWS = 6000


def ours(name: str, strength: float, draws: int, size: int = 16) -> None:
    """Let an augmentation draw for many images."""
    x_BCHW = against.picture(size).expand(draws, -1, -1, -1)
    OF_IMAGES[name](x_BCHW, Draws(streams(0, 0, range(draws), [0] * draws)), strength, against.FILL)


def test_strength_is_rand_augments_level(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []
    monkeypatch.setattr(augment, "rand_augment", lambda x_BCHW, draws, level, fill: levels.append(level))
    for strength in STRENGTHS:
        ours("rand_augment", strength, 1)
    assert levels == [4, 9, 18]
