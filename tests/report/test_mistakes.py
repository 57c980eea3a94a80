"""What cells get wrong, by hand on a few images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from tlfw.report.mistakes import BINS, HardImage, confusion, hardest, mistakes
from tlfw.training.evaluate import CALIBRATION_BINS


def said(label: list[int], prediction: list[int], confidence: list[float] | None = None) -> dict[str, np.ndarray]:
    return {
        "index": np.arange(len(label)),
        "label": np.array(label),
        "prediction": np.array(prediction),
        "confidence": np.array(confidence or [0.5] * len(label), dtype=np.float32),
        "classes": np.array(["cat", "dog", "frog"]),
    }


def test_confusions_are_counted_over_all_repetitions() -> None:
    both = [said([0, 0, 1], [0, 1, 1]), said([0, 0, 1], [1, 1, 0])]
    assert confusion(both).tolist() == [[1, 3, 0], [1, 1, 0], [0, 0, 0]]
    found = mistakes(both)
    np.testing.assert_allclose(found.accuracy_K, [0.25, 0.5, np.nan])
    assert found.confused == ((0, 1, 0.75), (1, 0, 0.5))


def test_logits_without_a_class_are_confused_with_too() -> None:
    assert confusion([said([0, 1], [4, 1])]).tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert hardest([said([0, 1], [4, 1])], ["a", "b"]) == (1, [HardImage("a", "cat", "no class (4)")])


def test_calibration_is_that_of_torchmetrics() -> None:
    assert BINS == CALIBRATION_BINS
    random = np.random.default_rng(0)
    p_NK = torch.from_numpy(random.dirichlet([0.5, 0.5, 0.5], size=500)).float()
    labels = random.integers(0, 3, 500)
    one = said(labels.tolist(), p_NK.argmax(1).tolist(), p_NK.max(1).values.tolist())
    expected = multiclass_calibration_error(p_NK, torch.from_numpy(labels), num_classes=3, n_bins=BINS)
    found = mistakes([one])
    assert found.ece == pytest.approx(expected.item(), abs=1e-6)
    assert np.nansum(found.share_B) == pytest.approx(1)
    assert np.isnan(found.right_B[:5]).all()  # of three classes the likeliest has a third or more


def test_the_hardest_images_are_wrong_everywhere_and_most_alike_first() -> None:
    cells = [said([0, 1, 2, 0], [1, 0, 2, 2]), said([0, 1, 2, 0], [2, 0, 1, 0]), said([0, 1, 2, 0], [1, 0, 0, 0])]
    assert hardest(cells, list("abcd")) == (2, [HardImage("b", "dog", "cat"), HardImage("a", "cat", "dog")])
