"""Intervals and tests are as sure as they say: simulated where the truth is known, with seeds and images drawn anew."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from tlfw.report.statistics import (
    LEVEL,
    accuracies_of,
    accuracy,
    adjusted,
    differences,
    images_to_decide,
    prior_of,
    seeds_to_decide,
)


def draw(
    random: np.random.Generator,
    seeds: int,
    images: int,
    *,
    mean: float = 1.2,
    by_seed: float = 0.1,
    by_image: float = 0.8,
    hard_N: np.ndarray | None = None,
) -> np.ndarray:
    """Whether seeds are right on images: a normal value above 0 whose parts are a seed's, an image's, and the rest."""
    hard_N = by_image * random.normal(size=images) if hard_N is None else hard_N
    return mean + by_seed * random.normal(size=(seeds, 1)) + hard_N + random.normal(size=(seeds, images)) > 0


def truth(mean: float, by_seed: float, by_image: float) -> float:
    return float(stats.norm.cdf(mean / np.sqrt(1 + by_seed**2 + by_image**2)))


WORLDS = [
    # seeds, images, and of the latent value: mean, by seed, by image
    (1, 300, 1.2, 0.0, 0.8),
    (3, 300, 1.2, 0.1, 0.8),
    (5, 300, 1.2, 0.0, 0.8),
    (5, 300, 1.2, 0.1, 0.8),
    (5, 900, 0.4, 0.15, 1.0),
    (5, 900, 1.2, 0.05, 1.0),
    (3, 900, 2.5, 0.1, 1.0),
    (10, 300, 2.2, 0.1, 0.8),
]


@pytest.mark.parametrize(("seeds", "images", "mean", "by_seed", "by_image"), WORLDS)
def test_an_interval_covers_the_truth_as_often_as_it_says(
    seeds: int, images: int, mean: float, by_seed: float, by_image: float
) -> None:
    """From accuracies of 60 to 96 %, and seeds that differ by nothing to four points."""
    random = np.random.default_rng(0)
    expected = truth(mean, by_seed, by_image)
    found = [accuracy(draw(random, seeds, images, mean=mean, by_seed=by_seed, by_image=by_image)) for _ in range(2000)]
    assert 0.93 <= np.mean([each.low <= expected <= each.high for each in found]) <= 0.97


@pytest.mark.parametrize("seeds", [3, 5])
def test_an_interval_of_a_difference_covers_the_truth(seeds: int) -> None:
    """Cells share images, and seeds by name alone."""
    random = np.random.default_rng(1)
    expected = truth(1.3, 0.1, 0.8) - truth(1.1, 0.1, 0.8)
    covered = []
    for _ in range(2000):
        hard_N = 0.8 * random.normal(size=300)
        a, b = (draw(random, seeds, 300, mean=mean, hard_N=hard_N) for mean in (1.3, 1.1))
        found = differences([dict(enumerate(a)), dict(enumerate(b))])
        covered.append(found.low[0, 1] <= expected <= found.high[0, 1])
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize(("seeds", "by_seed"), [(1, 0.0), (3, 0.1), (5, 0.0), (5, 0.1), (10, 0.1)])
def test_equal_cells_are_told_apart_no_more_often_than_the_level(seeds: int, by_seed: float) -> None:
    random = np.random.default_rng(2)
    p = []
    for _ in range(2000):
        hard_N = 0.8 * random.normal(size=300)
        a, b = (draw(random, seeds, 300, by_seed=by_seed, hard_N=hard_N) for _ in range(2))
        p.append(differences([dict(enumerate(a)), dict(enumerate(b))]).p[0, 1])
    assert np.mean(np.array(p) < LEVEL) < 0.062  # of 2000, 5 % are within 1 % of that 19 times in 20
    assert np.mean(np.array(p) < 0.001) <= 0.004


def test_a_hierarchical_bootstrap_of_few_seeds_is_less_sure_of_itself() -> None:
    """Why there is none: where seeds matter, its percentiles cover less than they say."""
    random = np.random.default_rng(3)
    expected = truth(0.4, 0.2, 0.5)
    covered = {"bootstrap": 0, "ours": 0}
    for _ in range(400):
        correct_SN = draw(random, 3, 900, mean=0.4, by_seed=0.2, by_image=0.5)
        means = [correct_SN[random.integers(0, 3, 3)][:, random.integers(0, 900, 900)].mean() for _ in range(300)]
        low, high = np.quantile(means, [0.025, 0.975])
        covered["bootstrap"] += low <= expected <= high
        one = accuracy(correct_SN)
        covered["ours"] += one.low <= expected <= one.high
    assert covered["bootstrap"] / 400 < 0.85
    assert covered["ours"] / 400 > 0.90


def test_one_seed_is_compared_by_mcnemar() -> None:
    random = np.random.default_rng(4)
    a, b, c = (draw(random, 1, 200, mean=mean)[0] for mean in (1.5, 0.8, 1.5))
    found = differences([{0: a}, {0: b}, {0: c}])
    for i, j, x, y in ((0, 1, a, b), (0, 2, a, c), (2, 1, c, b)):
        table = [[(x & y).sum(), (x & ~y).sum()], [(~x & y).sum(), (~x & ~y).sum()]]
        assert found.p[i, j] == pytest.approx(mcnemar(table, exact=True).pvalue)
        assert found.mean[i, j] == pytest.approx(x.mean() - y.mean())


def test_the_table_is_that_of_a_two_way_analysis_of_variance() -> None:
    """Against mean squares written down as a textbook does."""
    random = np.random.default_rng(5)
    a, b = draw(random, 4, 50), draw(random, 4, 50, mean=0.5)
    d = a.astype(float) - b
    seed, image, mean = d.mean(1, keepdims=True), d.mean(0, keepdims=True), d.mean()
    seed_square = 50 * ((seed - mean) ** 2).sum() / 3
    image_square = 4 * ((image - mean) ** 2).sum() / 49
    rest_square = ((d - seed - image + mean) ** 2).sum() / (3 * 49)
    found = differences([dict(enumerate(a)), dict(enumerate(b))])
    assert found.rest[0, 1] == pytest.approx(rest_square)
    assert found.by_seed[0, 1] == pytest.approx(max(seed_square - rest_square, 0) / 50)
    assert found.by_image[0, 1] == pytest.approx(max(image_square - rest_square, 0) / 4)
    together = max(seed_square + image_square - rest_square, image_square)
    spread = seed_square**2 / 3 + image_square**2 / 49 + rest_square**2 / (3 * 49)
    expected = 2 * stats.t.sf(abs(mean) / np.sqrt(together / 200), together**2 / spread)
    assert found.p[0, 1] == pytest.approx(expected)
    assert found.mean[0, 1] == -found.mean[1, 0] == pytest.approx(mean)
    assert found.p[0, 1] == found.p[1, 0]


def worlds(random: np.random.Generator, spread: str, cells: int) -> list[np.ndarray]:
    """Cells that are equal in the mean, with three seeds each, whose seeds differ by as much or not."""
    by_seed = {"alike": np.full(cells, 0.1), "unlike": 0.1 * np.exp(0.7 * random.normal(size=cells))}[spread]
    hard_N = 0.8 * random.normal(size=300)
    return [draw(random, 3, 300, by_seed=each, hard_N=hard_N) for each in by_seed]


@pytest.mark.parametrize("spread", ["alike", "unlike"])
def test_what_cells_lend_each_other_does_not_make_them_too_sure(spread: str) -> None:
    """Of equal cells, whether their seeds differ alike or not."""
    random = np.random.default_rng(10)
    found = [differences([dict(enumerate(each)) for each in worlds(random, spread, 6)]) for _ in range(600)]
    p = np.array([each.p[np.triu_indices(6, 1)] for each in found])
    assert np.mean(p < LEVEL) < 0.06
    assert np.mean(p.min(axis=1) < LEVEL / 15) < 0.07  # 5 %, and two standard errors
    assert np.mean([each.borrowed for each in found]) > 3


def test_with_three_seeds_a_large_difference_is_found_among_many_cells() -> None:
    """A pair alone has two degrees of freedom: hardly anything is known at the level of 45 comparisons."""
    random = np.random.default_rng(11)
    hard_N = 0.8 * random.normal(size=900)
    cells = [draw(random, 3, 900, mean=mean, by_seed=0.05, hard_N=hard_N) for mean in (2.2, *[1.2] * 9)]
    found = differences([dict(enumerate(each)) for each in cells])
    assert (found.p[0, 1:] < LEVEL / 45).all()
    alone = differences([dict(enumerate(each)) for each in cells[:2]])
    assert alone.borrowed == 0
    assert alone.p[0, 1] > found.p[0, 1]


def test_a_pair_that_varies_more_than_others_keeps_its_own_variance() -> None:
    random = np.random.default_rng(12)
    hard_N = 0.8 * random.normal(size=300)
    cells = [draw(random, 5, 300, by_seed=each, hard_N=hard_N) for each in (1.5, *[0.05] * 7)]
    together = differences([dict(enumerate(each)) for each in cells])
    alone = differences([dict(enumerate(each)) for each in cells[:2]])
    assert together.by_seed[0, 1] == alone.by_seed[0, 1]
    assert together.by_seed[2, 3] >= differences([dict(enumerate(each)) for each in cells[2:4]]).by_seed[0, 1]


def test_the_prior_is_that_of_the_squares_it_is_of() -> None:
    random = np.random.default_rng(13)
    scales = 5 * 8 / random.chisquare(8, size=20_000)  # an inverse chi-squared of 8 degrees of freedom about 5
    found = prior_of(scales * random.chisquare(3, size=20_000) / 3, np.full(20_000, 3.0))
    assert found.freedom == pytest.approx(8, rel=0.1)
    assert found.square == pytest.approx(5, rel=0.03)
    equal = prior_of(5 * random.chisquare(3, size=50) / 3, np.full(50, 3.0))
    assert equal.freedom > 20
    assert prior_of(np.zeros(5), np.full(5, 2.0)).freedom == 0


def test_cells_are_compared_on_the_seeds_that_both_have() -> None:
    random = np.random.default_rng(6)
    a, b = draw(random, 3, 60), draw(random, 3, 60, mean=0.5)
    some = differences([{0: a[0], 1: a[1], 2: a[2]}, {1: b[1], 2: b[2], 7: b[0]}, {9: b[0]}])
    both = differences([{1: a[1], 2: a[2]}, {1: b[1], 2: b[2]}])
    assert some.p[0, 1] == both.p[0, 1]
    assert some.seeds[0].tolist() == [3, 2, 0]
    assert np.isnan(some.p[0, 2])
    assert np.isnan(some.mean[0, 2])
    assert not some.identical[0, 2]


def test_identical_predictions_are_no_difference() -> None:
    a = draw(np.random.default_rng(7), 3, 60)
    found = differences([dict(enumerate(a)), dict(enumerate(a))])
    assert found.identical[0, 1]
    assert (found.p[0, 1], found.mean[0, 1], found.low[0, 1], found.high[0, 1]) == (1, 0, 0, 0)


def test_all_right_is_not_known_to_be_all() -> None:
    one = accuracy(np.ones((5, 20), dtype=bool))
    assert one.mean == one.high == 1
    assert 0.75 < one.low < 0.9  # Wilson's for 20 of 20 is 0.839
    none = accuracy(np.zeros((1, 20), dtype=bool))
    assert none.low == 0
    assert none.high == pytest.approx(1 - one.low, abs=0.02)  # of one seed
    assert none.seed_sd is None


def test_always_right_and_always_wrong_are_told_apart() -> None:
    right, wrong = np.ones((3, 30), dtype=bool), np.zeros((3, 30), dtype=bool)
    found = differences([dict(enumerate(right)), dict(enumerate(wrong))])
    assert found.p[0, 1] < 1e-6
    assert found.low[0, 1] > 0.9


def test_one_image_decides_nothing() -> None:
    found = differences([dict(enumerate(np.ones((2, 1), dtype=bool))), dict(enumerate(np.zeros((2, 1), dtype=bool)))])
    assert not found.p[0, 1] < LEVEL


def test_holm_corrects_for_all_that_were_compared() -> None:
    found = adjusted(np.array([0.01, np.nan, 0.04, 0.03]))
    np.testing.assert_allclose(found, [0.03, np.nan, 0.06, 0.06])
    assert np.isnan(adjusted(np.array([np.nan]))).all()


def test_the_seeds_that_would_decide_do() -> None:
    """With as many seeds as are said, drawn from the same world, most draws decide; with what there was, few do."""
    random = np.random.default_rng(8)
    hard_N = 0.8 * random.normal(size=400)

    def compare(seeds: int) -> float:
        a, b = (draw(random, seeds, 400, mean=mean, by_seed=0.1, hard_N=hard_N) for mean in (1.36, 1.2))
        return differences([dict(enumerate(a)), dict(enumerate(b))]).p[0, 1]

    needed = []
    for _ in range(200):
        a, b = (draw(random, 3, 400, mean=mean, by_seed=0.1, hard_N=hard_N) for mean in (1.36, 1.2))
        found = differences([dict(enumerate(a)), dict(enumerate(b))])
        if found.p[0, 1] >= LEVEL and 0.015 < found.mean[0, 1] < 0.05:  # about what there is
            needed.append(seeds_to_decide(found, 0, 1, 1) or 1000)
    seeds = int(np.median(needed))
    assert 4 < seeds < 60
    assert np.mean([compare(seeds) < LEVEL for _ in range(200)]) > 0.6
    assert np.mean([compare(3) < LEVEL for _ in range(200)]) < 0.4


def test_what_decides_is_fewer_where_less_is_compared() -> None:
    random = np.random.default_rng(9)
    hard_N = 0.8 * random.normal(size=300)
    a, b = (draw(random, 1, 300, mean=mean, hard_N=hard_N)[0] for mean in (1.6, 1.2))
    found = differences([{0: a}, {0: b}])
    few, many = (images_to_decide(found, 0, 1, comparisons) for comparisons in (1, 45))
    assert few is not None
    assert many is not None
    assert 300 < few < many
    assert seeds_to_decide(found, 0, 1, 1) is None  # one seed says nothing of others


@pytest.mark.parametrize("spread", ["alike", "unlike"])
def test_intervals_with_what_cells_lend_each_other_cover_the_truth(spread: str) -> None:
    """In the mean over the cells, and no worse where their seeds differ unlike each other."""
    random = np.random.default_rng(14)
    expected = truth(1.2, 0.1, 0.8)
    if spread == "unlike":  # the truth is each cell's own; a seed's part is small beside the others'
        expected = truth(1.2, 0.12, 0.8)
    found = [one for _ in range(300) for one in accuracies_of(worlds(random, spread, 6))]
    assert 0.93 <= np.mean([one.low <= expected <= one.high for one in found]) <= 0.97


def test_two_seeds_among_many_cells_say_more_than_alone() -> None:
    random = np.random.default_rng(15)
    cells = [draw(random, 2, 300, by_seed=0.1) for _ in range(8)]
    together, alone = accuracies_of(cells), [accuracy(each) for each in cells]
    widths = [np.mean([one.high - one.low for one in each]) for each in (together, alone)]
    assert widths[0] < 0.5 * widths[1]
