"""What linear probes take whose features are stored: one, and a hundred of a sweep."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from benchmarks.row import Row, clocked, python
from tests.training import test_heads as heads

PROBE = (
    *("+experiment=quickstart", "freeze_policy=last_layer", "pretrain.seed=0", "pretrain.budget=640images"),
    *("tracking=disabled", "hydra.sweeper.report=false"),
)
RATES, SEEDS = 10, 10


def rows(place: Path) -> list[Row]:
    """The rows, which are measured in a folder."""
    number = itertools.count(1)

    def rate() -> str:
        """A learning rate that nobody has asked for."""
        return f"0.0{next(number):05d}1"

    def one() -> float:
        return python(["-m", "tlfw", *PROBE[:-1], f"freeze_policy.lr_head={rate()}"], place)()

    def hundred() -> float:
        rates = ",".join(rate() for _ in range(RATES))
        seeds = ",".join(map(str, range(SEEDS)))
        return python(["-m", "tlfw", "-m", *PROBE, f"freeze_policy.lr_head={rates}", f"seed={seeds}"], place)()

    return [
        Row(
            name="a new linear probe whose features are stored",
            against="import torch, lightning",
            ours=one,
            theirs=python(["-c", "import torch, lightning"], place),
            goal=1.5,
        ),
        Row(
            name=f"a sweep of {RATES * SEEDS} of these",
            against="one of them",
            ours=hundred,
            theirs=one,
            goal=3,
            times=3,
        ),
        Row(
            name=f"{RATES * SEEDS} heads at once, 2,000 images, 1,024 features, 300 steps of 64",
            against="as many LogisticRegression of scikit-learn, 100 iterations",
            ours=clocked(_heads(place)),
            theirs=clocked(_regressions()),
            goal=1,
            times=3,
        ),
    ]


FEATURES = heads.features(2000, 1024, 10, 1)


def _heads(place: Path) -> Callable[[], object]:
    tries = itertools.count()

    def train() -> object:
        folder = place / "heads" / str(next(tries))
        heads.STEPS, heads.ROUNDS = 300, 1
        probes = [
            heads.probe(folder, {"target": (FEATURES, FEATURES)}, f"{r}-{s}", seed=s, lr=0.01 * (1 + r), batch=64)
            for r in range(RATES)
            for s in range(SEEDS)
        ]
        return heads.train_heads(probes)

    return train


def _regressions() -> Callable[[], object]:
    z_ND, labels_N = np.asarray(FEATURES.z_N), FEATURES.labels_N.numpy()
    strengths = np.logspace(-6, 5, RATES * SEEDS)

    def fit() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return [LogisticRegression(C=strength, max_iter=100).fit(z_ND, labels_N) for strength in strengths]

    return fit
