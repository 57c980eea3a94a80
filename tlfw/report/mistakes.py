"""What cells get wrong: classes, confusions, confidence, and the images that none gets right."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

BINS = 15
PAIRS = 10
HARDEST = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mistakes:
    """Of one cell, over all of its repetitions together.

    Attributes:
        count_K: predictions of images of each class, int `[K]`.
        accuracy_K: the share of them that is right (recall), float `[K]`; NaN where the test has no image of a class.
        precision_K: of the images that are called so, the share that is right; NaN where none is called so. f1_K: the
            harmonic mean of both.
        confused: the most frequent confusions, (class, called, share of the class's images), largest share first.
        confidence_B, right_B, share_B: over 15 bins of equal width of the prediction's probability, float `[15]`: the
            mean of that probability, the share of right predictions, and the share of all images. NaN in empty bins.
        ece: the expected calibration error over these bins (Guo et al., 2017), [0, 1].
    """

    count_K: np.ndarray
    accuracy_K: np.ndarray
    precision_K: np.ndarray
    f1_K: np.ndarray
    confused: tuple[tuple[int, int, float], ...]
    confidence_B: np.ndarray
    right_B: np.ndarray
    share_B: np.ndarray
    ece: float


@dataclasses.dataclass(frozen=True)
class HardImage:
    """An image that every cell gets wrong with every repetition.

    Attributes:
        name: how a person finds it.
        label, called: the names of its class, and of what it was most often taken for.
    """

    name: str
    label: str
    called: str


def called(classes: Sequence[str], index: int) -> str:
    """The name of what an image was taken for. A head may have more outputs than there are classes."""
    return classes[index] if index < len(classes) else f"no class ({index})"


def mistakes(predictions: Sequence[Mapping[str, np.ndarray]]) -> Mistakes:
    """Look at all repetitions of a cell."""
    label, prediction, confidence = (
        np.concatenate([each[name] for each in predictions]) for name in ("label", "prediction", "confidence")
    )
    confusion_KL = confusion(predictions)
    with np.errstate(invalid="ignore"):
        share_KL = confusion_KL / confusion_KL.sum(1, keepdims=True)
    accuracy_K, count_K = share_KL.diagonal().copy(), confusion_KL.sum(1)
    right_K, called_K = confusion_KL.diagonal(), confusion_KL.sum(0)[: len(confusion_KL)]
    with np.errstate(invalid="ignore"):
        precision_K, f1_K = right_K / called_K, 2 * right_K / (called_K + count_K)
    np.fill_diagonal(share_KL, 0)
    worst = np.argsort(-np.nan_to_num(share_KL), axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(i), share_KL.shape[1]) for i in worst]
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts_B = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence_B = np.bincount(bins, weights=confidence, minlength=BINS) / counts_B
        right_B = np.bincount(bins, weights=label == prediction, minlength=BINS) / counts_B
    share_B = counts_B / len(label)
    return Mistakes(
        count_K=count_K,
        accuracy_K=accuracy_K,
        precision_K=precision_K,
        f1_K=f1_K,
        confused=tuple((i, j, float(share_KL[i, j])) for i, j in pairs if share_KL[i, j] > 0),
        confidence_B=confidence_B,
        right_B=right_B,
        share_B=share_B,
        ece=float(np.nansum(share_B * np.abs(confidence_B - right_B))),
    )


def confusion(predictions: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """How often an image of the row's class was called the column's, over all repetitions: int64 `[K, L]`.

    A head may have more logits than there are classes: L is K or more.
    """
    label, prediction = (np.concatenate([each[name] for each in predictions]) for name in ("label", "prediction"))
    classes = len(predictions[0]["classes"])
    logits = max(classes, int(prediction.max()) + 1)
    counts = np.bincount(label * logits + prediction, minlength=classes * logits)
    return counts.reshape(-1, logits)[:classes]


def hardest(predictions: Sequence[Mapping[str, np.ndarray]], names: Sequence[str]) -> tuple[int, list[HardImage]]:
    """How many images all predictions get wrong, and some of them: those whose wrong class most agree on.

    Args:
        names: how a person finds each image.
    """
    label = predictions[0]["label"]
    classes = predictions[0]["classes"]
    wrong = np.flatnonzero(np.all([each["prediction"] != label for each in predictions], axis=0))
    said_PM = np.stack([each["prediction"][wrong] for each in predictions])
    found = []
    for column, image in zip(said_PM.T, wrong, strict=True):
        votes = np.bincount(column, minlength=len(classes))
        called = int(votes.argmax())
        said = str(classes[called]) if called < len(classes) else f"no class ({called})"
        found.append((-int(votes[called]), int(image), HardImage(names[int(image)], str(classes[label[image]]), said)))
    return len(wrong), [each for _, _, each in sorted(found, key=lambda each: each[:2])[:HARDEST]]
