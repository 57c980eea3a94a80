"""Augmentation by name."""

from __future__ import annotations

import pytest

from tests.tiny import Tiny
from tlfw.data.pictures.augment import AUGMENTATIONS, BATCH, IMAGE, augmentations
from tlfw.errors import ConfigError


def test_names_alone_or_in_lists() -> None:
    assert augmentations("none", 1.0) == augmentations(["none"], 1.0) == augmentations([], 1.0) == ()
    assert augmentations("flip", 1.0) == ("flip",)
    assert augmentations(["rand_augment", "flip_crop", "mixup"], 0.5) == ("rand_augment", "flip_crop", "mixup")
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
