"""How good predictions are. A metric is one entry of one registry, which needs NumPy only.

A metric's value and its influence values come from one function, so that the number that is shown cannot disagree with
its interval and its tests. The influence value of an image says how the metric moves with it: their mean is the metric,
and their variance over the number of images is, for large samples, the metric's (the infinitesimal jackknife; Efron,
1982, "The Jackknife, the Bootstrap and Other Resampling Plans"; for macro F1 the delta method, as in Takahashi et al.,
2022, "Confidence interval for micro-averaged F1 and macro-averaged F1 scores").

Labels are `[N]`, the class of each image, or `[N, K]`, whether an image has each of K classes. All metrics of today are
of one class an image and refuse `[N, K]`; one that knows them says so in its entry (`multi_label`).
Macro averages are over the classes that occur among the labels: one that is only predicted has no recall.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tlfw.errors import ConfigError

Floats = NDArray[np.float64]

SOURCE_VAL, TARGET_VAL, TARGET_TEST = "source/val", "target/val", "target/test"
"""What a metric in a record is of: a data set and its part."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a model said of labelled images, as `predictions.npz` has it.

    Attributes:
        label: int `[N]`, the class of each image, or bool `[N, K]`; N is at least 1.
        prediction: int `[N]`, the likeliest class; may be one that no image has.
        log_prob: float `[N]`, of the label, nats, at most 0.
        classes: how many there are to choose from.

    Raises:
        ValueError: shapes do not fit.
    """

    label: NDArray[np.generic]
    prediction: NDArray[np.generic]
    log_prob: NDArray[np.generic]
    classes: int

    def __post_init__(self) -> None:
        shape = (len(self.label),)
        if not len(self.label) or self.prediction.shape != shape or self.log_prob.shape != shape:
            raise ValueError(
                f"labels {self.label.shape}, predictions {self.prediction.shape} and log-probabilities "
                f"{self.log_prob.shape} are not of the same images"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Units:
    """How a value is shown.

    Attributes:
        scale: what it is multiplied by.
        decimals: after the point.
        unit: of a value.
        unit_of_difference: of a difference of two.
    """

    scale: float
    decimals: int
    unit: str
    unit_of_difference: str


PERCENT = Units(scale=100, decimals=1, unit="%", unit_of_difference="points")
NATS = Units(scale=1, decimals=3, unit="nats", unit_of_difference="nats")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One way of saying how good predictions are.

    Attributes:
        name: in a config.
        key: in records, curves and W&B, after the place: `target/val/acc`.
        title: for people.
        scores: predictions -> its value, and its influence values `[N]`, whose mean is the value.
        by_chance: (images of each class that occurs `[C]`, classes to choose from) -> what guessing uniformly gives.
        higher_is_better: else lower is.
        low, high: its bounds; None: it has none.
        units: how it is shown.
        fewest: test images from which its 95 % interval may carry a claim; below, it covers too little.
        fewest_of_a_class: the same for the rarest class of the test.
        multi_label: whether it knows labels `[N, K]`.
    """

    name: str
    key: str
    title: str
    scores: Callable[[Predictions], tuple[float, Floats]]
    by_chance: Callable[[Floats, int], float]
    higher_is_better: bool
    low: float | None
    high: float | None
    units: Units
    fewest: int
    fewest_of_a_class: int = 0
    multi_label: bool = False

    def value(self, predictions: Predictions) -> float:
        """The metric of these images.

        Raises:
            ConfigError: it does not know such labels.
        """
        self._check(predictions.label)
        return self.scores(predictions)[0]

    def influence(self, predictions: Predictions) -> Floats:
        """The influence value of each image, float64 `[N]`; their mean is `value`. Accuracy's are the hits, 0 or 1.

        Raises:
            ConfigError: it does not know such labels.
        """
        self._check(predictions.label)
        return self.scores(predictions)[1]

    def chance(self, label: NDArray[np.generic], classes: int) -> float:
        """What guessing uniformly among `classes` gives on images with these labels `[N]`.

        Raises:
            ConfigError: it does not know such labels.
        """
        self._check(label)
        _, count_C = np.unique(label, return_counts=True)
        return self.by_chance(count_C.astype(np.float64), classes)

    def majority(self, label: NDArray[np.generic], classes: int) -> float:
        """What always naming the most frequent of these labels `[N]` gives, with their shares as probabilities.

        Raises:
            ConfigError: it does not know such labels.
        """
        self._check(label)
        class_C, of_N, count_C = np.unique(label, return_inverse=True, return_counts=True)
        return self.value(
            Predictions(
                label=label,
                prediction=np.full(len(label), class_C[count_C.argmax()]),
                log_prob=np.log(count_C / len(label))[of_N],
                classes=classes,
            )
        )

    def shortage(self, label: NDArray[np.generic], classes: Sequence[str]) -> str:
        """What these images lack for its interval to carry a claim, as `100 test images, and there are 40`; empty:
        nothing.

        Args:
            classes: their names.

        Raises:
            ConfigError: it does not know such labels.
        """
        self._check(label)
        if len(label) < self.fewest:
            return f"{self.fewest} test images, and there {'is' if len(label) == 1 else 'are'} {len(label)}"
        class_C, count_C = np.unique(label, return_counts=True)
        if (count := int(count_C.min())) < self.fewest_of_a_class:
            rarest = classes[int(class_C[count_C.argmin()])]
            return f"{self.fewest_of_a_class} test images of each class, and “{rarest}” has {count}"
        return ""

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is better than `other`; of equals neither is."""
        return value > other if self.higher_is_better else value < other

    def at(self, place: str) -> str:
        """Its name in records, curves and W&B: at `target/val` it is `target/val/acc`, say."""
        return recorded(place, self.key)

    def text(self, value: float) -> str:
        """`87.6 %`, `0.432 nats`."""
        return f"{self.units.scale * value:.{self.units.decimals}f} {self.units.unit}"

    def told(self, value: float) -> str:
        """`accuracy 87.6 %`, `log-loss 0.432 nats`."""
        return f"{self.title} {self.text(value)}"

    def _check(self, label: NDArray[np.generic]) -> None:
        if label.ndim != 1 and not self.multi_label:
            raise ConfigError(
                "metric",
                f"{self.name} is of images with one class each, and these have labels of shape {label.shape}.",
                "Give each image one class.",
            )


def _accuracy(predictions: Predictions) -> tuple[float, Floats]:
    hit_N = (predictions.label == predictions.prediction).astype(np.float64)
    return float(hit_N.mean()), hit_N


def _balanced_accuracy(predictions: Predictions) -> tuple[float, Floats]:
    """The mean recall of the classes that occur. An image of a rare class moves it by more."""
    class_C, of_N, count_C = np.unique(predictions.label, return_inverse=True, return_counts=True)
    hit_N = (predictions.label == predictions.prediction).astype(np.float64)
    recall_C = np.bincount(of_N, weights=hit_N) / count_C
    value = float(recall_C.mean())
    weight_C = len(hit_N) / (len(class_C) * count_C)
    return value, value + weight_C[of_N] * (hit_N - recall_C[of_N])


def _macro_f1(predictions: Predictions) -> tuple[float, Floats]:
    """The mean over the classes that occur of 2 x hits / (images labelled so + images called so)."""
    class_C, of_N, count_C = np.unique(predictions.label, return_inverse=True, return_counts=True)
    hit_N = (predictions.label == predictions.prediction).astype(np.float64)
    called_N = np.minimum(np.searchsorted(class_C, predictions.prediction), len(class_C) - 1)
    occurs_N = class_C[called_N] == predictions.prediction
    named_C = count_C + np.bincount(called_N[occurs_N], minlength=len(class_C))
    f1_C = 2 * np.bincount(of_N, weights=hit_N) / named_C
    value = float(f1_C.mean())
    weight_C = len(hit_N) / (len(class_C) * named_C)
    as_labelled_N = weight_C[of_N] * (2 * hit_N - f1_C[of_N])
    as_called_N = np.where(occurs_N, weight_C[called_N] * f1_C[called_N], 0.0)
    return value, value + as_labelled_N - as_called_N


def _log_loss(predictions: Predictions) -> tuple[float, Floats]:
    """The mean cross-entropy."""
    loss_N = -predictions.log_prob.astype(np.float64)
    return float(loss_N.mean()), loss_N


def _recall_by_chance(_: Floats, classes: int) -> float:
    return 1 / classes


def _loss_by_chance(_: Floats, classes: int) -> float:
    return math.log(classes)


def _f1_by_chance(count_C: Floats, classes: int) -> float:
    """Of expected counts: a class with share s has s / classes hits, and is called with share 1 / classes."""
    share_C = count_C / count_C.sum()
    return float((2 * share_C / (classes * share_C + 1)).mean())


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            key="acc",
            title="accuracy",
            scores=_accuracy,
            by_chance=_recall_by_chance,
            higher_is_better=True,
            low=0,
            high=1,
            units=PERCENT,
            fewest=100,
        ),
        Metric(
            name="balanced_accuracy",
            key="balanced_acc",
            title="balanced accuracy",
            scores=_balanced_accuracy,
            by_chance=_recall_by_chance,
            higher_is_better=True,
            low=0,
            high=1,
            units=PERCENT,
            fewest=100,
            # Simulated with 2 to 10 classes, its interval covered 44 to 96 % below, and 90 to 96 % above if the model
            # makes about four errors in the rarest class.
            fewest_of_a_class=20,
        ),
        Metric(
            name="macro_f1",
            key="macro_f1",
            title="macro F1",
            scores=_macro_f1,
            by_chance=_f1_by_chance,
            higher_is_better=True,
            low=0,
            high=1,
            units=PERCENT,
            fewest=100,
            fewest_of_a_class=20,  # the same: 64 to 99 % below, 92 to 98 % above
        ),
        Metric(
            name="log_loss",
            key="loss",
            title="log-loss",
            scores=_log_loss,
            by_chance=_loss_by_chance,
            higher_is_better=False,
            low=0,
            high=None,
            units=NATS,
            # Few images have most of the loss. Simulated, its interval covered 72 to 95 % at 100 images and 91 to 95 %
            # at 900; the less, the rarer errors are.
            fewest=800,
        ),
    )
}
"""Name -> metric. All are measured; the one that a config names selects, prunes and is judged."""


def metric_of(name: str) -> Metric:
    """The metric of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in list(METRICS):  # whatever a config holds
        *names, last = METRICS
        raise ConfigError("metric", f"there is none called {name!r}.", f"Choose {', '.join(names)} or {last}.")
    return METRICS[name]


def measured(predictions: Predictions) -> dict[str, float]:
    """Key -> value of every metric of the registry.

    Raises:
        ConfigError: one of them does not know such labels.
    """
    return {metric.key: metric.value(predictions) for metric in METRICS.values()}


def recorded(place: str, key: str) -> str:
    """Under what name records, curves and W&B hold a number.

    Args:
        place: a data set and its part, `target/val`.
    """
    return f"{place}/{key}"
