"""Metrics against scikit-learn, and what their influence values promise."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score

from tlfw import CONF
from tlfw.errors import ConfigError
from tlfw.records.metric import METRICS, Metric, Predictions, measured, metric_of, recorded

EACH = pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
SHARES = np.array([0.55, 0.25, 0.12, 0.06, 0.02])


def said(label, prediction, log_prob=None, classes: int = 5) -> Predictions:
    label, prediction = np.asarray(label), np.asarray(prediction)
    if log_prob is None:
        log_prob = np.where(label == prediction, -0.2, -1.7)
    return Predictions(label=label, prediction=prediction, log_prob=np.asarray(log_prob), classes=classes)


def drawn(random: np.random.Generator, images: int, shares: np.ndarray = SHARES, right: float = 0.7) -> Predictions:
    """Of unbalanced classes; a model that knows the rare ones less well, and some images better than others."""
    classes = len(shares)
    label_N = random.choice(classes, images, p=shares)
    logits_NK = random.normal(size=(images, classes)) + 0.5 * np.log(shares)
    logits_NK[np.arange(images), label_N] += 3 * right * random.random(images)
    log_prob_NK = logits_NK - np.log(np.exp(logits_NK).sum(1, keepdims=True))
    return said(label_N, logits_NK.argmax(1), log_prob_NK[np.arange(images), label_N].astype(np.float32), classes)


def peer(metric: Metric, found: Predictions, weight_N: np.ndarray | None = None) -> float:
    """What scikit-learn says, with a weight for each image."""
    over_classes = {"average": "macro", "labels": np.unique(found.label), "zero_division": 0, "sample_weight": weight_N}
    if metric.name == "accuracy":
        return accuracy_score(found.label, found.prediction, sample_weight=weight_N)
    if metric.name == "balanced_accuracy":
        return recall_score(found.label, found.prediction, **over_classes)
    if metric.name == "macro_f1":
        return f1_score(found.label, found.prediction, **over_classes)
    assert metric.name == "log_loss"
    share_N = np.exp(found.log_prob.astype(float))  # of two outcomes: the label, and anything else
    return log_loss(np.ones(len(share_N)), np.stack([1 - share_N, share_N], 1), labels=[0, 1], sample_weight=weight_N)


CASES = {
    "by hand": said([0, 0, 1, 1], [0, 0, 0, 1], classes=2),
    "a class that no image has": said([0, 0, 1, 1, 4], [0, 1, 1, 1, 0]),
    "a class that is only predicted": said([0, 0, 0, 1], [0, 0, 2, 1]),
    "the last class is only predicted": said([1, 1, 2, 2], [1, 4, 0, 2]),
    "all right": said([0, 1, 1, 3], [0, 1, 1, 3]),
    "all wrong": said([0, 1, 1, 3], [1, 0, 4, 1]),
    "one image": said([2], [2]),
    "one image, wrong": said([2], [0]),
    "one class": said([1, 1, 1], [1, 0, 1]),
    "ties": said([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0], [-1.0] * 6, 3),
    **{f"drawn {seed}": drawn(np.random.default_rng(seed), 20 * (seed + 1) ** 2) for seed in range(5)},
}


@EACH
@pytest.mark.parametrize("case", CASES)
def test_values_are_scikit_learns_and_influence_has_them_as_its_mean(metric: Metric, case: str) -> None:
    found = CASES[case]
    value, influence_N = metric.value(found), metric.influence(found)
    assert value == pytest.approx(peer(metric, found), abs=1e-12)
    assert influence_N.shape == found.label.shape
    assert influence_N.dtype == np.float64
    assert influence_N.mean() == pytest.approx(value, abs=1e-12)
    assert metric.low is None or value >= metric.low
    assert metric.high is None or value <= metric.high


def test_values_of_a_case_by_hand() -> None:
    assert measured(CASES["by hand"]) == {
        "acc": 0.75,
        "balanced_acc": 0.75,
        "macro_f1": pytest.approx((0.8 + 2 / 3) / 2, abs=1e-15),
        "loss": pytest.approx((3 * 0.2 + 1.7) / 4, abs=1e-15),
    }
    assert measured(CASES["a class that is only predicted"])["balanced_acc"] == pytest.approx((2 / 3 + 1) / 2)
    assert measured(CASES["all right"])["macro_f1"] == 1
    assert measured(CASES["all wrong"])["balanced_acc"] == 0


def test_accuracys_influence_is_the_hits() -> None:
    found = CASES["drawn 3"]
    influence_N = METRICS["accuracy"].influence(found)
    assert set(influence_N) == {0.0, 1.0}
    assert (influence_N == (found.label == found.prediction)).all()


def test_balanced_accuracys_influence_is_centred_within_each_class() -> None:
    """Which images of a class are drawn moves it, and not how many of each."""
    found = CASES["drawn 4"]
    metric = METRICS["balanced_accuracy"]
    influence_N = metric.influence(found)
    for c in np.unique(found.label):
        assert influence_N[found.label == c].mean() == pytest.approx(metric.value(found), abs=1e-12)


@EACH
@pytest.mark.parametrize("case", CASES)
def test_influence_is_how_the_metric_moves_with_an_images_weight(metric: Metric, case: str) -> None:
    """The infinitesimal jackknife, by numbers, with scikit-learn's weighted metrics."""
    found = CASES[case]
    images = len(found.label)
    chosen = range(images) if images < 50 else range(0, images, images // 25)
    step = 1e-5
    for i in chosen:
        more, less = np.ones(images), np.ones(images)
        more[i], less[i] = 1 + step, 1 - step
        slope = (peer(metric, found, more) - peer(metric, found, less)) / (2 * step)
        expected = peer(metric, found) + images * slope
        assert metric.influence(found)[i] == pytest.approx(expected, abs=1e-5 * images**0.5)


@EACH
def test_influence_is_what_leaving_one_image_out_says(metric: Metric) -> None:
    """The jackknife's own values; of averages they are the same, of ratios nearly."""
    found = drawn(np.random.default_rng(7), 600, np.array([0.5, 0.3, 0.2]))
    images = len(found.label)
    left_N = np.array(
        [
            images * metric.value(found)
            - (images - 1)
            * metric.value(
                said(*(np.delete(part, i) for part in (found.label, found.prediction, found.log_prob)), classes=3)
            )
            for i in range(images)
        ]
    )
    exact = metric.name in ("accuracy", "log_loss")
    np.testing.assert_allclose(metric.influence(found), left_N, atol=1e-9 if exact else 0.02)


@EACH
def test_the_variance_over_draws_of_images_is_that_of_the_influence(metric: Metric) -> None:
    random = np.random.default_rng(11)
    worlds = [drawn(random, 1000, np.array([0.6, 0.3, 0.1])) for _ in range(1500)]
    values = [metric.value(found) for found in worlds]
    said_variance = np.mean([metric.influence(found).var() / len(found.label) for found in worlds])
    assert said_variance == pytest.approx(np.var(values), rel=0.12)  # three standard errors of a variance


LABELS = np.repeat([0, 1, 3], [6, 3, 1])


@EACH
def test_the_majority_is_always_naming_the_most_frequent_class(metric: Metric) -> None:
    shares = np.array([0.6, 0.3, 0.1])
    expected = {
        "accuracy": 0.6, "balanced_accuracy": 1 / 3, "macro_f1": 0.75 / 3, "log_loss": -(shares * np.log(shares)).sum(),
    }  # fmt: skip
    assert metric.majority(LABELS, 4) == pytest.approx(expected[metric.name], abs=1e-12)
    assert metric.majority(np.array([2]), 4) == pytest.approx(0 if metric.name == "log_loss" else 1)


@EACH
def test_chance_is_what_guessing_gives(metric: Metric) -> None:
    random = np.random.default_rng(5)
    label_N = np.repeat(LABELS, 5000)
    guessed = said(label_N, random.integers(0, 4, len(label_N)), np.full(len(label_N), -math.log(4)), 4)
    assert metric.chance(label_N, 4) == pytest.approx(metric.value(guessed), abs=0.005)
    exact = {"accuracy": 0.25, "balanced_accuracy": 0.25, "log_loss": math.log(4)}
    assert metric.name == "macro_f1" or metric.chance(LABELS, 4) == pytest.approx(exact[metric.name], abs=1e-15)


@EACH
def test_what_is_better(metric: Metric) -> None:
    assert metric.better(0.6, 0.5) is (metric.name != "log_loss")
    assert metric.better(0.5, 0.6) is (metric.name == "log_loss")
    assert not metric.better(0.5, 0.5)
    right, wrong = (metric.value(CASES[case]) for case in ("all right", "all wrong"))
    assert metric.better(right, wrong)


@EACH
def test_how_many_images_an_interval_needs(metric: Metric) -> None:
    label_N = np.repeat([0, 1], [metric.fewest - 20, 20])
    assert not metric.shortage(label_N, "ab")
    few = metric.shortage(label_N[1:], "ab")
    assert few == f"{metric.fewest} test images, and there are {metric.fewest - 1}"
    of_one_class_fewer = metric.shortage(np.repeat([0, 1], [metric.fewest - 19, 19]), "ab")
    rare = f"{metric.fewest_of_a_class} test images of each class, and “b” has 19"
    assert of_one_class_fewer == (rare if metric.fewest_of_a_class else "")


@EACH
def test_labels_of_several_classes_an_image_are_refused(metric: Metric) -> None:
    many = Predictions(label=np.eye(3, dtype=bool), prediction=np.arange(3), log_prob=np.zeros(3), classes=3)
    for asked in (
        lambda: metric.value(many),
        lambda: metric.influence(many),
        lambda: metric.chance(many.label, 3),
        lambda: metric.majority(many.label, 3),
        lambda: metric.shortage(many.label, "abc"),
    ):
        with pytest.raises(ConfigError, match=rf"metric: {metric.name} is of images with one class each.*\(3, 3\)"):
            asked()


@pytest.mark.parametrize("short", ["label", "prediction", "log_prob"])
def test_predictions_are_of_the_same_images(short: str) -> None:
    parts = {"label": np.zeros(3, int), "prediction": np.zeros(3, int), "log_prob": np.zeros(3)}
    with pytest.raises(ValueError, match="not of the same images"):
        Predictions(**{**parts, short: parts[short][1:]}, classes=2)
    with pytest.raises(ValueError, match="not of the same images"):
        Predictions(**{name: part[:0] for name, part in parts.items()}, classes=2)


def test_a_metric_goes_to_other_processes() -> None:
    for metric in METRICS.values():
        assert pickle.loads(pickle.dumps(metric)) == metric


def test_names_and_words() -> None:
    assert [metric.at("target/val") for metric in METRICS.values()] == [
        "target/val/acc", "target/val/balanced_acc", "target/val/macro_f1", "target/val/loss",
    ]  # fmt: skip
    assert recorded("target/test", "ece") == "target/test/ece"
    assert [metric.told(0.8761) for metric in METRICS.values()] == [
        "accuracy 87.6 %", "balanced accuracy 87.6 %", "macro F1 87.6 %", "log-loss 0.876 nats",
    ]  # fmt: skip
    assert {metric.units.unit_of_difference for metric in METRICS.values()} == {"points", "nats"}


def test_the_config_says_which_there_are() -> None:
    assert f"metric: accuracy # {' | '.join(METRICS)}: " in (CONF / "config.yaml").read_text()
    for name, metric in METRICS.items():
        assert metric_of(name) is metric
    for wrong in ("acc", None, ["accuracy"]):
        with pytest.raises(ConfigError, match="Choose accuracy, balanced_accuracy, macro_f1 or log_loss"):
            metric_of(wrong)
