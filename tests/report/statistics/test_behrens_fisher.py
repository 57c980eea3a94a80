"""p values and intervals of variances that few degrees of freedom speak for, against integrals done by others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from tlfw.report.statistics.behrens_fisher import NORMAL, Variance, beyond, reach, tail


def variance(
    *parts: tuple[float, float], floor: float = 0.0, image: float = 0.0, image_freedom: int = 1000
) -> Variance:
    return Variance(
        repetition=[(np.array([part]), np.array([freedom])) for part, freedom in parts],
        floor=np.array([floor]),
        image=np.array([image]),
        image_freedom=image_freedom,
    )


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 40])
def test_one_part_alone_is_students_t(freedom: int) -> None:
    difference = np.array([0.0, 0.7, 2.5, 8.0])
    found = tail(difference, variance((4.0, freedom)))
    np.testing.assert_allclose(found, 2 * stats.t.sf(difference / 2, freedom), rtol=1e-6)
    assert reach(0.05, variance((4.0, freedom)))[0] == pytest.approx(2 * stats.t.isf(0.025, freedom), rel=1e-6)


def test_a_part_that_is_known_is_normal() -> None:
    assert tail(np.array([3.0]), variance(image=4.0))[0] == pytest.approx(2 * stats.norm.sf(1.5))
    assert reach(0.05, variance(image=4.0))[0] == pytest.approx(2 * 1.959964, rel=1e-6)
    near = tail(np.array([3.0]), variance(image=4.0, image_freedom=NORMAL - 1))[0]
    assert near == pytest.approx(2 * stats.t.sf(1.5, NORMAL - 1), rel=1e-6)


@pytest.mark.parametrize(("difference", "freedom", "floor"), [(2, 4, 0.5), (3, 2, 0.9), (5, 2, 0.2)])
def test_a_part_and_a_known_one_are_the_integral_over_what_is_not_known(
    difference: int, freedom: int, floor: float
) -> None:
    def given(u: float) -> float:
        v = max(freedom / stats.chi2.ppf(u, freedom), floor) + 0.5
        return 2 * float(stats.norm.sf(difference / np.sqrt(v)))

    expected = integrate.quad(given, 0, 1, limit=500)[0]
    own = variance((1.0, freedom), floor=floor, image=0.5)
    assert tail(np.array([float(difference)]), own)[0] == pytest.approx(expected, rel=2e-4)


def test_few_clusters_of_images_are_a_part_that_is_not_known_either() -> None:
    random = np.random.default_rng(1)
    v = np.maximum(4 / random.chisquare(4, 400_000), 0.5) + 4 / random.chisquare(4, 400_000)
    expected = np.mean(2 * stats.norm.sf(2 / np.sqrt(v)))
    own = variance((1.0, 4), floor=0.5, image=1.0, image_freedom=4)
    assert tail(np.array([2.0]), own)[0] == pytest.approx(expected, rel=0.01)


def test_two_parts_of_repetitions_are_added_each_with_its_own_freedom() -> None:
    """Welch's problem: the p value lies between those of the parts' freedoms, and a simulation agrees."""
    random = np.random.default_rng(0)
    both = variance((1.0, 2), (1.0, 5))
    v = 2 / random.chisquare(2, 400_000) + 5 / random.chisquare(5, 400_000)
    expected = np.mean(2 * stats.norm.sf(4 / np.sqrt(v)))
    assert tail(np.array([4.0]), both)[0] == pytest.approx(expected, rel=0.01)


def test_a_floor_is_never_passed() -> None:
    """However small the repetitions' mean square is by chance."""
    tiny = tail(np.array([3.0]), variance((1e-9, 1), floor=1.0))[0]
    assert tiny == pytest.approx(2 * stats.norm.sf(3), rel=1e-2)
    assert variance((1e-9, 1), floor=1.0, image=0.5).total[0] == 1.5


def test_an_interval_holds_what_is_not_significant() -> None:
    own = variance((1.0, 3), floor=0.3, image=0.4)
    for level in (0.05, 0.01):
        assert tail(reach(level, own), own)[0] == pytest.approx(level, rel=1e-6)


def test_nothing_known_is_nothing_said_and_no_variance_no_doubt() -> None:
    assert np.isnan(tail(np.array([1.0]), variance((np.nan, 2)))[0])
    assert np.isnan(reach(0.05, variance((1.0, 2), image=np.nan))[0])
    assert tail(np.array([0.1, 0.0]), variance()).tolist() == [0.0, 1.0]
    assert reach(0.05, variance())[0] == 0


def test_shapes_and_freedoms_may_differ_from_place_to_place() -> None:
    own = Variance(
        repetition=[(np.array([[1.0, 4.0], [np.nan, 1.0]]), np.array([[2.0, 3.9], [1.0, 300.0]]))],
        floor=np.zeros((2, 2)),
        image=np.zeros((2, 2)),
        image_freedom=1000,
    )
    found = tail(np.full((2, 2), 2.0), own)
    assert found[0, 0] == pytest.approx(2 * stats.t.sf(2, 2))
    assert found[0, 1] == pytest.approx(2 * stats.t.sf(1, 3))  # rounded down, which is on the safe side
    assert np.isnan(found[1, 0])
    assert found[1, 1] == pytest.approx(2 * stats.norm.sf(2))
    assert own.at((0, 1)).total == 4.0


def test_equivalence_is_two_one_sided_tests() -> None:
    known = variance(image=1.0)
    assert beyond(3.0, np.array([0.0]), known)[0] == pytest.approx(stats.norm.sf(3))
    assert beyond(3.0, np.array([-2.0]), known)[0] == pytest.approx(stats.norm.sf(1))
    assert beyond(3.0, np.array([5.0]), known)[0] > 0.9
    assert beyond(3.0, np.array([1.0]), variance((1.0, 4)))[0] == pytest.approx(stats.t.sf(2, 4))
