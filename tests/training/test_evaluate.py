"""Measures, against their definitions."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.tiny import TRAINER, Tiny
from tests.training.test_train import TRAIN, VAL, VIEW, model, opinionated
from tlfw.data import Pixels
from tlfw.signals import Interrupted, heeded
from tlfw.training.evaluate import examine, measures, outputs, validate


def test_measures_of_a_case_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]))
    found = measures(logits, torch.tensor([0, 0, 1, 1]))
    assert found["acc"] == 0.75
    assert found["balanced_acc"] == 0.75
    assert found["loss"] == pytest.approx(-(2 * math.log(0.8) + math.log(0.6) + math.log(0.3)) / 4)
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    # Two bins: confidence 0.8, always right; confidence 0.6, right once in two.
    assert found["ece"] == pytest.approx(0.5 * 0.2 + 0.5 * 0.1, abs=1e-6)


def test_balanced_accuracy_counts_classes_and_not_images() -> None:
    logits = F.one_hot(torch.tensor([0] * 10), 2).float()
    found = measures(logits, torch.tensor([0] * 9 + [1]))
    assert found["acc"] == 0.9
    assert found["balanced_acc"] == 0.5


def test_outputs_keep_the_order_and_the_models_mode() -> None:
    net = model().train()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = outputs(TRAINER, net, lambda x: net(x, "target"), TRAIN)
    net.eval()
    with torch.no_grad():
        expected = net(TRAIN.batch(range(len(TRAIN.labels_N)), None, 0), "target")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("batch", [4, 64])
def test_validation_is_of_all_images(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr("tlfw.training.evaluate.BATCH", batch)
    net = opinionated(model())
    expected = measures(outputs(TRAINER, net, lambda x: net(x, "target"), VAL), VAL.labels_N)
    found = validate(TRAINER, net, "target", VAL)
    assert {**found, "ece": expected["ece"]} == pytest.approx(expected)


def test_a_signal_ends_it_between_two_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlfw.training.evaluate.BATCH", 8)
    seen, others = [], multiprocessing.active_children()

    def function(x_BCHW: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append(len(x_BCHW))
        return x_BCHW

    with heeded(), pytest.raises(Interrupted, match="SIGTERM"):
        outputs(TRAINER, model(), function, TRAIN, workers=2)
    assert seen == [8]
    assert set(multiprocessing.active_children()) <= set(others)


def test_predictions_can_be_compared_pairwise() -> None:
    part = Tiny().divide().test
    measured, predictions = examine(TRAINER, model(), "target", part, Pixels(part, VIEW))
    classes = predictions.pop("classes")
    assert classes.tolist() == list(part.images.classes)
    assert {name: array.shape for name, array in predictions.items()} == dict.fromkeys(
        ("index", "label", "prediction", "log_prob", "confidence", "name"), (30,)
    )
    right = predictions["prediction"] == predictions["label"]
    assert measured["acc"] == right.mean()
    assert (predictions["log_prob"] <= 0).all()
    np.testing.assert_allclose(predictions["confidence"][right], np.exp(predictions["log_prob"][right]), rtol=1e-6)
    assert (predictions["confidence"] >= 1 / len(classes)).all()
    assert predictions["name"].tolist() == [part.images.called(i) for i in part.indices]


def test_a_class_that_only_predictions_have_is_not_counted() -> None:
    logits = F.one_hot(torch.tensor([0, 0, 2, 1]), 3).float()
    found = measures(logits, torch.tensor([0, 0, 0, 1]))
    assert found["balanced_acc"] == pytest.approx((2 / 3 + 1) / 2)
