"""Characters drawn on the spot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier

from tlfw.data import Typeset
from tlfw.data.typeset import CLASSES, draw


def test_drawing_is_a_function_of_its_seed_alone() -> None:
    labels = np.arange(len(CLASSES))
    torch.manual_seed(1)
    first = draw(labels, 0)
    torch.manual_seed(2)
    assert np.array_equal(first, draw(labels, 0))
    assert not np.array_equal(first, draw(labels, 1))
    assert first.shape == (45, 32, 32)
    assert first.dtype == np.uint8


def test_every_image_has_ink_and_ground() -> None:
    x_NHW = draw(np.repeat(np.arange(len(CLASSES)), 20), 3)
    assert (x_NHW.max((1, 2)) > 80).all()
    assert (np.median(x_NHW, axis=(1, 2)) < 128).mean() > 0.9


def test_classes_can_be_told_apart_and_vary() -> None:
    labels = np.repeat(np.arange(len(CLASSES)), 40)
    x_ND = draw(labels, 0).reshape(len(labels), -1) / 255
    fit = np.arange(len(labels)) % 40 < 30
    score = RidgeClassifier(100.0).fit(x_ND[fit], labels[fit]).score(x_ND[~fit], labels[~fit])
    assert score > 0.5  # by a linear model of pixels; chance is 0.02


def test_it_is_named_without_being_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlfw.data.typeset.draw", lambda *_: pytest.fail("drawn"))
    given = ({}, {"per_class": 400}, {"drawing_seed": 1}, {"split_seed": 1})
    parts = [Typeset(**settings).divide().train for settings in given]
    digests = {part.digest() for part in parts}
    assert len(digests) == 4
