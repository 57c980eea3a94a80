"""Which images are for what."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import Tiny
from tlfw.data.split import first_per_class, hold_out
from tlfw.errors import ConfigError

LABELS = np.repeat([0, 1, 2], [30, 20, 10])


def test_train_per_class_counts_all_labelled_images() -> None:
    division = Tiny(train_per_class=10, count=12).divide()
    assert np.bincount(division.train.labels_M).tolist() == [8, 8, 8]
    assert np.bincount(division.val.labels_M).tolist() == [2, 2, 2]
    assert np.bincount(division.test.labels_M).tolist() == [12, 12, 12]
    assert not set(division.train.indices) & set(division.val.indices)


def test_the_split_depends_on_split_seed_alone() -> None:
    one, same, other = (Tiny(train_per_class=5, split_seed=s).divide() for s in (0, 0, 1))
    assert one.train.indices.tolist() == same.train.indices.tolist()
    assert one.train.indices.tolist() != other.train.indices.tolist()


def test_a_smaller_subset_lies_in_a_larger_one() -> None:
    small, large = (first_per_class(LABELS, ("a", "b", "c"), n, seed=0) for n in (4, 9))
    assert set(small) < set(large)
    assert np.bincount(LABELS[small]).tolist() == [4, 4, 4]


def test_hold_out_is_stratified_and_spares_the_last_image() -> None:
    kept, held = hold_out(LABELS, 3, 0.2, seed=0)
    assert np.bincount(LABELS[held]).tolist() == [6, 4, 2]
    assert sorted([*kept, *held]) == list(range(60))
    kept, held = hold_out(np.array([0, 1, 1]), 2, 0.9, seed=0)
    assert kept.tolist() == [0, *([1] if 1 in kept else [2])]
    assert len(held) == 1


def test_a_class_that_is_too_small_is_named() -> None:
    with pytest.raises(
        ConfigError,
        match=r"train_per_class: 11 labelled .* class 'c' has 10, without those that are kept for test. Use at most 10",
    ):
        first_per_class(LABELS, ("a", "b", "c"), 11, seed=0)
