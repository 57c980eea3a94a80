"""Draws that are counted."""

from __future__ import annotations

import numpy as np
import pytest

from tlfw.data.pictures.draws import Draws, streams


def drawn(positions, passes, seed: int = 0, place: int = 0, count: int = 3) -> np.ndarray:
    draws = Draws(streams(seed, place, positions, passes))
    return np.stack([draws.uniform() for _ in range(count)], 1)


def test_draws_are_of_an_image_and_not_of_its_batch() -> None:
    positions, passes = [4, 0, 9, 4], [0, 7, 2, 1]
    together = drawn(positions, passes)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2], [1, 1]):
        assert np.array_equal(drawn([positions[i] for i in order], [passes[i] for i in order]), together[order])
    assert len(np.unique(together)) == 12


def test_draws_stay_what_they_are() -> None:
    """On any machine: whatever else they come to be is another `REVISION`."""
    assert drawn([0, 1], [0, 2], seed=5).tolist() == [
        [0.41782077211142155, 0.3304735235065813, 0.6181905794946856],
        [0.3013197401451704, 0.004945890888761406, 0.7749793136092537],
    ]


def test_each_of_seed_place_position_and_pass_gives_others() -> None:
    numbers = np.concatenate(
        [drawn(range(8), [k] * 8, seed, place) for k in range(8) for seed in range(3) for place in range(3)]
    )
    assert len(np.unique(numbers)) == numbers.size
    swapped = drawn([1, 2], [2, 1])
    assert not np.intersect1d(swapped[0], swapped[1]).size


@pytest.mark.parametrize("neighbours", ["positions", "passes", "draws"])
def test_draws_are_uniform_and_neighbours_are_unrelated(neighbours: str) -> None:
    n = 20_000
    if neighbours == "draws":
        u = drawn([3], [1], count=n)[0]
    else:
        u = drawn(*((range(n), [0] * n) if neighbours == "positions" else ([0] * n, range(n))), count=1)[:, 0]
    assert 0 <= u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1
    counts = np.histogram(u, 50, (0, 1))[0]
    assert ((counts - n / 50) ** 2 / (n / 50)).sum() < 90  # chi-square with 49 degrees of freedom: p > 0.0003
    for lag in (1, 2, 3, 64):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 4 / n**0.5


def test_what_is_drawn_of_a_number() -> None:
    n = 6000
    draws = Draws(streams(0, 0, range(n), [0] * n))
    whole = draws.below(6)
    assert np.bincount(whole, minlength=6).tolist() == pytest.approx([1000] * 6, abs=120)
    of_each = draws.below(np.arange(n) % 3 + 1)
    assert (of_each < np.arange(n) % 3 + 1).all()
    assert {int(k) for k in of_each} == {0, 1, 2}
    assert abs(draws.coin().mean() - 0.5) < 0.03
    between = draws.uniform(-2, 3)
    assert (between.min(), between.max()) == pytest.approx((-2, 3), abs=0.01)
    assert not draws.below(1).any()


def test_an_empty_batch() -> None:
    assert Draws(streams(0, 0, [], [])).uniform().shape == (0,)
