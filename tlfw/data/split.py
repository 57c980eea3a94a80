"""Which labelled images are for training, which for validation, which for the test.

Every choice is stratified by class and a function of `split_seed` alone, so that runs with
different `seed` differ in training and not in data. For one `split_seed` a smaller
`train_per_class` is a subset of a larger one.
"""

from __future__ import annotations

import numpy as np

from tlfw.errors import ConfigError
from tlfw.identity import seed_from


def shuffled_by_class(labels_N: np.ndarray, classes: int, seed: int) -> list[np.ndarray]:
    """For each class the indices of its images, in an order that depends on `seed` and the class."""
    return [
        np.random.default_rng(seed_from("split", seed, c)).permutation(np.flatnonzero(labels_N == c))
        for c in range(classes)
    ]


def hold_out(labels_N: np.ndarray, classes: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split off `fraction` of each class.

    At least one image of each class that has two, and never the last one.

    Returns:
        (kept, held out), int64 indices into `labels_N`, each sorted.
    """
    kept, held = [], []
    for order in shuffled_by_class(labels_N, classes, seed):
        n = 0 if len(order) < 2 else min(max(round(fraction * len(order)), 1), len(order) - 1)
        held.append(order[:n])
        kept.append(order[n:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def first_per_class(labels_N: np.ndarray, classes: tuple[str, ...], count: int, seed: int) -> np.ndarray:
    """`count` images of every class, int64 indices into `labels_N`, sorted.

    Raises:
        ConfigError: a class has fewer.
    """
    orders = shuffled_by_class(labels_N, len(classes), seed)
    smallest = min(range(len(classes)), key=lambda c: len(orders[c]))
    if len(orders[smallest]) < count:
        raise ConfigError(
            "train_per_class",
            f"{count} labelled images a class were asked for, but class {classes[smallest]!r} has "
            f"{len(orders[smallest])}, without those that are kept for test.",
            f"Use at most {len(orders[smallest])}, or null for all.",
        )
    return np.sort(np.concatenate([order[:count] for order in orders]))
