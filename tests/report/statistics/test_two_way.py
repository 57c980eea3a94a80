"""Least squares with missing values, against the same done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tlfw.report.statistics.two_way import two_way


def table(random: np.random.Generator, cells: int, repetitions: int, missing: float = 0.0) -> np.ndarray:
    y_CR = (
        random.normal(size=(cells, 1))
        + random.normal(size=repetitions)
        + 0.3 * random.normal(size=(cells, repetitions))
    )
    y_CR[random.random((cells, repetitions)) < missing] = np.nan
    return y_CR


def by_hand(y_CR: np.ndarray, weight_C: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Weighted least squares with a column a cell and a column a repetition: differences of cells `[C, C]`, their
    variances for unit weights, and the residual sum of squares."""
    cells, repetitions = y_CR.shape
    rows, columns = np.nonzero(~np.isnan(y_CR))
    x = np.zeros((len(rows), cells + repetitions))
    x[np.arange(len(rows)), rows] = 1
    x[np.arange(len(rows)), cells + columns] = 1
    w = weight_C[rows]
    inverse = np.linalg.pinv(x.T @ (w[:, None] * x))
    beta = inverse @ x.T @ (w * y_CR[rows, columns])
    contrasts = np.eye(cells + repetitions)[:cells]
    pairs = contrasts[:, None] - contrasts[None]
    residual = y_CR[rows, columns] - x @ beta
    return pairs @ beta, np.einsum("ijk,kl,ijl->ij", pairs, inverse, pairs), float(residual @ residual)


def test_where_nothing_is_missing_means_are_plain() -> None:
    y_CR = table(np.random.default_rng(0), 5, 4)
    found = two_way(y_CR, ["a", "a", "a", "b", "b"])
    np.testing.assert_allclose(found.mean_C, y_CR.mean(1))
    assert (found.lacking_C == 0).all()


def test_a_class_pools_the_residuals_of_its_cells() -> None:
    y_CR = table(np.random.default_rng(1), 4, 5)
    found = two_way(y_CR, ["a"] * 4)
    _, _, squares = by_hand(y_CR, np.ones(4))
    pooled = 2 * squares / (3 * 4) / 5
    own = np.array([[(y_CR[i] - y_CR[j]).var(ddof=1) for j in range(4)] for i in range(4)]) / 5
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(found.part[off], np.maximum(pooled, own)[off])
    assert (found.freedom[off] == 12).all()
    np.testing.assert_allclose(found.own[off], 5 * own[off])


def test_a_pair_is_never_surer_than_what_is_seen_of_it() -> None:
    y_CR = 0.01 * table(np.random.default_rng(2), 6, 5)
    y_CR[0] += np.array([0.0, 1.0, -1.0, 2.0, -2.0])
    found = two_way(y_CR, ["a"] * 6)
    assert found.part[0, 1] == pytest.approx((y_CR[0] - y_CR[1]).var(ddof=1) / 5)
    assert found.part[1, 2] < found.part[0, 1]


def test_what_is_alone_in_its_class_borrows_nothing() -> None:
    y_CR = table(np.random.default_rng(3), 4, 5)
    found = two_way(y_CR, ["a", "a", "a", None])
    assert found.part[0, 3] == pytest.approx((y_CR[0] - y_CR[3]).var(ddof=1) / 5)
    assert found.freedom[0, 3] == found.freedom[3, 2] == 4
    assert found.freedom[0, 1] == 8
    same = two_way(y_CR, ["a", "a", "a", "b"])
    np.testing.assert_allclose(same.part, found.part)


def test_classes_that_answer_a_repetition_differently_have_few_degrees_of_freedom() -> None:
    random = np.random.default_rng(4)
    y_CR = 0.01 * random.normal(size=(8, 5))
    alike = two_way(y_CR, ["a"] * 4 + ["b"] * 4)
    y_CR[4:] += random.normal(size=5)
    apart = two_way(y_CR, ["a"] * 4 + ["b"] * 4)
    assert alike.freedom[0, 7] > 10
    assert apart.freedom[0, 7] == pytest.approx(4, abs=0.1)
    assert apart.part[0, 7] > 100 * alike.part[0, 7]
    np.testing.assert_allclose(apart.part[:4, :4], alike.part[:4, :4])


def test_what_repetitions_do_to_a_class_as_a_whole_is_added_once_noise_is_taken_off() -> None:
    random = np.random.default_rng(16)
    y_CR = 0.1 * random.normal(size=(4, 5))
    y_CR[2:] += random.normal(size=5)
    y_CR -= y_CR.mean(1, keepdims=True)
    square = [((each - each.mean(0)) ** 2).sum() / 4 for each in (y_CR[:2], y_CR[2:])]  # 2 x 5 - 2 - 5 + 1 are free
    contrast = (y_CR[:2].mean(0) - y_CR[2:].mean(0)).var(ddof=1) - sum(square) / 2
    expected, own = (sum(square) + contrast) / 5, (y_CR[0] - y_CR[2]).var(ddof=1) / 5
    assert own < expected  # of this pair alone less is seen
    assert two_way(y_CR, ["a", "a", "b", "b"]).part[0, 2] == pytest.approx(expected)


def test_each_set_of_cells_that_nothing_connects_with_others_has_repetitions_of_its_own() -> None:
    y_CR = np.full((4, 6), np.nan)
    y_CR[:2, :3], y_CR[2:, 3:] = np.random.default_rng(7).normal(size=(2, 2, 3))
    assert two_way(y_CR, ["a"] * 4).freedom[0, 1] == 12 - 4 - 6 + 2


def test_one_shared_repetition_says_nothing_of_a_pair() -> None:
    y_CR = table(np.random.default_rng(8), 4, 5)
    y_CR[0, 3:] = y_CR[1, :2] = np.nan
    found = two_way(y_CR, ["a"] * 4)
    assert np.isnan(found.part[0, 1])
    assert np.isfinite(found.part[0, 2])
    assert np.isfinite(found.part[1, 2])


def test_a_mean_that_lacks_repetitions_is_less_sure_by_what_the_wildest_varies() -> None:
    y_CR = table(np.random.default_rng(9), 4, 5)
    y_CR[2:] *= 10
    y_CR[0, 3:] = np.nan
    found = two_way(y_CR, ["a", "a", "b", "b"])
    wild = y_CR[2:] - y_CR[2:].mean(1, keepdims=True)
    square = ((wild - wild.mean(0)) ** 2).sum() / 4
    np.testing.assert_allclose(found.lacking_C, [(1 / 3 - 1 / 5) * square, 0, 0, 0])


@pytest.mark.parametrize("seed", range(8))
def test_missing_values_are_taken_as_least_squares_take_them(seed: int) -> None:
    y_CR = table(np.random.default_rng(seed), 6, 5, missing=0.25)
    found = two_way(y_CR, ["a"] * 6)
    differences, variances, squares = by_hand(y_CR, np.ones(6))
    there = ~np.isnan(y_CR)
    np.testing.assert_allclose(found.mean_C[:, None] - found.mean_C[None], differences, atol=1e-9)
    freedom = there.sum() - 6 - there.any(0).sum() + 1
    shared = there.astype(int) @ there.T
    pooled = variances * squares / freedom
    for i, j in zip(*np.triu_indices(6, 1), strict=True):
        both = there[i] & there[j]
        if shared[i, j] > 1:
            own = (y_CR[i] - y_CR[j])[both].var(ddof=1)
            floor = own * variances[i, j] / 2  # what this pair alone shows, where as much is known of it
            assert found.part[i, j] == pytest.approx(max(pooled[i, j], floor), rel=1e-6)
        assert found.freedom[i, j] == freedom


def test_cells_that_vary_much_say_little_of_a_repetition() -> None:
    """A steady pair of which one lacks a repetition, among wild cells: it is compared on what both have, nearly."""
    random = np.random.default_rng(5)
    y_CR = np.concatenate([0.001 * random.normal(size=(2, 5)), random.normal(size=(4, 5))])
    y_CR[0, 0] = np.nan
    found = two_way(y_CR, ["a", "a", "b", "b", "b", "b"])
    assert found.mean_C[0] - found.mean_C[1] == pytest.approx((y_CR[0] - y_CR[1])[1:].mean(), abs=1e-3)


def test_two_cells_are_compared_on_what_both_have() -> None:
    y_CR = np.array([[0.80, 0.80, 0.80], [0.84, 0.84, np.nan]])
    found = two_way(y_CR, ["a", "a"])
    assert found.mean_C[1] - found.mean_C[0] == pytest.approx(0.04)


def test_cells_that_nothing_connects_are_not_compared() -> None:
    y_CR = np.array([[1.0, 2.0, np.nan, np.nan], [1.5, 2.5, np.nan, np.nan], [np.nan, np.nan, 7.0, 9.0], [np.nan] * 4])
    found = two_way(y_CR, ["a"] * 4)
    np.testing.assert_allclose(found.mean_C[:3], [1.5, 2.0, 8.0])
    assert np.isnan(found.mean_C[3])
    assert np.isnan(found.part[0, 2])
    assert np.isfinite(found.part[0, 1])


def test_one_repetition_says_nothing_of_others() -> None:
    found = two_way(np.array([[1.0], [2.0], [3.0]]), ["a", "a", "a"])
    assert np.isnan(found.part).all()
    assert found.mean_C.tolist() == [1.0, 2.0, 3.0]
