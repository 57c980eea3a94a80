"""Means, intervals and tests are as sure as they say: against textbooks, and in worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tlfw.report.statistics.estimate import INTERVAL, Estimate, estimate, wilson
from tlfw.report.statistics.score_tables import Repetition


def cells_of(tables: Sequence[np.ndarray], first: int = 0) -> list[dict[Repetition, np.ndarray]]:
    """Tables of scores `[S, N]` as cells with seeds and draws from `first` on."""
    return [{Repetition(seed=first + s, draw=(first + s,)): own for s, own in enumerate(table)} for table in tables]


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


def alone(table: np.ndarray, **given) -> tuple[float, float, float]:
    mean = estimate(cells_of([table]), [None], **given).means[0]
    return mean.value, mean.low, mean.high


@pytest.mark.parametrize(
    ("seeds", "images", "mean", "by_seed"),
    [
        (1, 300, 1.2, 0.0),
        (2, 300, 1.2, 0.2),
        (3, 300, 1.2, 0.1),
        (5, 900, 0.4, 0.15),
        (5, 900, 2.5, 0.1),
        (5, 300, 1.2, 0.0),
    ],
)
def test_an_interval_of_a_mean_covers_the_truth(seeds: int, images: int, mean: float, by_seed: float) -> None:
    random = np.random.default_rng(0)
    expected = truth(mean, by_seed, 0.8)
    found = [alone(draw(random, seeds, images, mean=mean, by_seed=by_seed)) for _ in range(400)]
    assert np.mean([low <= expected <= high for _, low, high in found]) > 0.93


@pytest.mark.parametrize(("seeds", "by_seed"), [(3, 0.1), (5, 0.0), (5, 0.2)])
def test_two_equal_cells_differ_no_more_often_than_the_level(seeds: int, by_seed: float) -> None:
    random = np.random.default_rng(2)
    p, covered = [], []
    for _ in range(400):
        hard_N = 0.8 * random.normal(size=300)
        found = estimate(
            cells_of([draw(random, seeds, 300, by_seed=by_seed, hard_N=hard_N) for _ in range(2)]), ["a", "a"]
        )
        p.append(found.p[0, 1])
        covered.append(abs(found.difference[0, 1]) <= found.reach(0, 1))
    assert np.mean(np.array(p) < 0.05) < 0.06
    assert np.mean(np.array(p) < 0.001) <= 0.0025
    assert np.mean(covered) > 0.94


def test_the_parts_are_those_of_a_two_way_analysis_of_variance() -> None:
    """Against mean squares written down as a textbook does, of any scores."""
    random = np.random.default_rng(5)
    a, b = random.normal(size=(4, 50)), random.normal(0.3, 1, size=(4, 50))
    d = a - b
    seed, image, mean = d.mean(1, keepdims=True), d.mean(0, keepdims=True), d.mean()
    image_square = 4 * ((image - mean) ** 2).sum() / 49
    rest_square = ((d - seed - image + mean) ** 2).sum() / (3 * 49)
    found = estimate(cells_of([a, b]), ["x", "y"], bounds=(None, None))
    (part, freedom), variance = found.variance.repetition[0], found.variance
    assert part[0, 1] == pytest.approx(seed.var(ddof=1) / 4)
    assert freedom[0, 1] == 3
    assert variance.floor[0, 1] == pytest.approx(rest_square / 200)
    assert variance.image[0, 1] == pytest.approx(max(image_square - rest_square, 0) / 200)
    assert variance.image_freedom == 49
    assert found.difference[0, 1] == -found.difference[1, 0] == pytest.approx(mean)
    assert found.p[0, 1] == found.p[1, 0]
    one = found.means[0]
    assert (one.value, one.sd) == (pytest.approx(a.mean()), pytest.approx(a.mean(1).std(ddof=1)))
    assert one.high - one.value == pytest.approx(one.value - one.low)  # nothing bounds it
    assert list(one.shares) == ["repetitions", "images", "rest"]
    assert sum(one.shares.values()) == pytest.approx(1)


def test_one_accuracy_borrows_from_no_other_cell() -> None:
    random = np.random.default_rng(6)
    tables = [draw(random, 3, 200) for _ in range(6)]
    together = estimate(cells_of(tables), ["a"] * 6).means
    for table, mean in zip(tables, together, strict=True):
        assert (mean.value, mean.low, mean.high) == pytest.approx(alone(table))


def test_cells_of_a_kind_lend_each_other_degrees_of_freedom() -> None:
    random = np.random.default_rng(7)
    tables = [draw(random, 3, 400, mean=mean) for mean in (1.6, 1.2, 1.2, 1.2, 1.2, 1.2)]
    together, apart = estimate(cells_of(tables), ["a"] * 6), estimate(cells_of(tables), [None] * 6)
    assert together.variance.repetition[0][1][0, 1] == 10
    assert apart.variance.repetition[0][1][0, 1] == 2
    assert together.p[0, 1] < apart.p[0, 1]


def test_a_worse_cell_with_more_repetitions_is_not_ahead() -> None:
    """A has two easy repetitions more; where both were, B is 4 points better."""
    images = np.arange(2000) / 2000
    accuracies = {"A": (0.80, 0.80, 0.80, 0.95, 0.95), "B": (0.84, 0.84, 0.84)}
    tables = [np.stack([images < share for share in shares]) for shares in accuracies.values()]
    found = estimate(cells_of(tables), ["x", "x"])
    assert found.difference[0, 1] == pytest.approx(-0.04)
    assert [mean.value for mean in found.means] == [pytest.approx(0.80), pytest.approx(0.84)]
    assert (found.unused, len(found.repetitions), found.shared[0, 1]) == (2, 3, 3)


def test_cells_without_a_repetition_in_common_are_not_compared() -> None:
    random = np.random.default_rng(8)
    a, b = cells_of([draw(random, 2, 100)])[0], cells_of([draw(random, 2, 100)], first=2)[0]
    found = estimate([a, b], ["x", "x"])
    assert np.isnan(found.difference[0, 1])
    assert np.isnan(found.p[0, 1])
    assert found.repetitions == ()
    assert [mean.repetitions for mean in found.means] == [2, 2]


def test_one_shared_repetition_says_nothing_of_a_difference() -> None:
    random = np.random.default_rng(9)
    a, b = cells_of([draw(random, 2, 100, mean=3.0)])[0], cells_of([draw(random, 2, 100, mean=0.0)], first=1)[0]
    found = estimate([a, b], ["x", "x"])
    assert found.shared[0, 1] == 1
    assert np.isnan(found.p[0, 1])
    assert np.isnan(found.reach(0, 1))
    assert found.difference[0, 1] > 0.3


def test_missing_repetitions_are_adjusted_for_and_make_less_sure() -> None:
    """All cells are worse in the last repetition, which one of them lacks."""
    random = np.random.default_rng(10)
    effect = np.array([0.0, 0.0, 0.0, -1.5])[:, None]
    hard_N = random.normal(size=4000)
    tables = [1 + effect + hard_N + random.normal(size=(4, 4000)) > 0 for _ in range(4)]
    cells = cells_of(tables)
    lacking = dict(list(cells[0].items())[:3])
    whole, found = estimate(cells, ["a"] * 4), estimate([lacking, *cells[1:]], ["a"] * 4)
    assert abs(found.means[0].value - whole.means[0].value) < 0.02 < tables[0][:3].mean() - whole.means[0].value
    assert found.means[1] == whole.means[1]
    assert found.variance.total[0, 1] > whole.variance.total[0, 1]
    assert found.means[0].repetitions == 3


def test_images_of_one_cluster_count_together() -> None:
    """Ten correlated images a subject: without clusters the interval covers far too little, with them it holds."""
    random = np.random.default_rng(11)
    expected, covered = truth(1.2, 0.0, 0.0), {"images": 0, "clusters": 0}
    clusters_N = np.repeat(np.arange(30), 10)
    expected = float(stats.norm.cdf(1.2 / np.sqrt(2)))
    for _ in range(300):
        correct_N = 1.2 + random.normal(size=30)[clusters_N] + random.normal(size=300) > 0
        for name, given in (("images", None), ("clusters", clusters_N)):
            _, low, high = alone(correct_N[None], clusters_N=given)
            covered[name] += low <= expected <= high
    assert covered["images"] / 300 < 0.8
    assert covered["clusters"] / 300 > 0.92


def test_clusters_of_one_image_are_images() -> None:
    random = np.random.default_rng(12)
    cells = cells_of([draw(random, 3, 60), draw(random, 3, 60)])
    plain, clustered = estimate(cells, ["a", "a"]), estimate(cells, ["a", "a"], clusters_N=random.permutation(60))
    assert clustered.p[0, 1] == pytest.approx(plain.p[0, 1])
    assert clustered.means[0].value == pytest.approx(plain.means[0].value)
    assert estimate(cells, ["a", "a"], clusters_N=np.arange(60) // 20).units == 3


def test_draws_from_a_small_pool_are_corrected_for_its_size() -> None:
    random = np.random.default_rng(13)
    cells = cells_of([draw(random, 4, 200, by_seed=0.3) for _ in range(3)])
    plain, some, most = (estimate(cells, ["a"] * 3, drawn=share) for share in (None, 0.5, 0.9))
    parts = [found.variance.repetition[0][0][0, 1] for found in (plain, some, most)]
    assert parts[1] == pytest.approx(2 * parts[0])
    assert parts[2] == parts[0]  # of which nothing is said but of these images
    assert some.means[0].high > plain.means[0].high


def test_folds_vary_as_nadeau_and_bengio_say() -> None:
    random = np.random.default_rng(14)
    sizes = (40, 40, 39, 39, 39)
    cells = [
        {Repetition(seed=k, fold=k): random.random(size) < share for k, size in enumerate(sizes)}
        for share in (0.9, 0.6)
    ]
    found = estimate(cells, ["a", "a"], folds=5)
    d = np.array([own.mean() - other.mean() for own, other in zip(*(cell.values() for cell in cells), strict=True)])
    t = d.mean() / np.sqrt((1 / 5 + 1 / 4) * d.var(ddof=1))
    assert found.p[0, 1] == pytest.approx(max(2 * stats.t.sf(t, 4), 0.001))
    assert found.reach(0, 1) == pytest.approx(stats.t.isf(0.025, 4) * d.mean() / t)
    assert (found.folds, found.images, found.crossed) == (True, 197, False)
    sure = [
        {r: np.full(len(own), share) for r, own in cell.items()}
        for share, cell in zip((True, False), cells, strict=True)
    ]
    assert estimate(sure, ["a", "a"], folds=5).p[0, 1] == 0.001


def test_crossed_seeds_and_draws_are_two_parts() -> None:
    """Three seeds by three draws: nine runs, but of each only three."""
    random = np.random.default_rng(15)
    seed, draws = random.normal(size=3), random.normal(size=3)

    def table(cell: int) -> dict[Repetition, np.ndarray]:
        own = [0.6 * random.normal(size=3), 0.1 * random.normal(size=3)]
        return {
            Repetition(seed=s, draw=(k,)): 1
            + 0.1 * seed[s]
            + 0.1 * draws[k]
            + own[0][s]
            + own[1][k]
            + random.normal(size=800)
            > 0
            for s in range(3)
            for k in range(3)
        }

    cells = [table(c) for c in range(2)]
    found = estimate(cells, [None, None])
    assert found.crossed
    shares = found.means[0].shares
    assert list(shares) == ["seeds", "draws", "images", "rest"]
    assert shares["seeds"] > 2 * shares["draws"]
    assert sum(shares.values()) == pytest.approx(1)
    d = np.array(
        [[cells[0][r].mean() - cells[1][r].mean() for r in list(cells[0])[3 * s : 3 * s + 3]] for s in range(3)]
    )
    (by_seed, seeds), (by_draw, drawn) = found.variance.repetition
    assert by_seed[0, 1] == pytest.approx(d.mean(1).var(ddof=1) / 3)
    assert by_draw[0, 1] == pytest.approx(d.mean(0).var(ddof=1) / 3)
    assert seeds[0, 1] == drawn[0, 1] == 2
    tied = [{Repetition(seed=s, draw=(s,)): own for s, own in enumerate(list(cell.values())[::4])} for cell in cells]
    assert not estimate(tied, [None, None]).crossed


def test_equal_predictions_are_no_difference() -> None:
    a = draw(np.random.default_rng(7), 3, 60)
    found = estimate(cells_of([a, a]), ["x", "x"])
    assert found.identical[0, 1]
    assert (found.p[0, 1], found.difference[0, 1], found.reach(0, 1)) == (1, 0, 0)
    assert found.equivalence(0.001, 0, 1) == 0


def test_all_right_is_not_known_to_be_all() -> None:
    value, low, high = alone(np.ones((5, 20), dtype=bool))
    assert value == high == 1
    assert low == pytest.approx(0.839, abs=0.001)  # Wilson's for 20 of 20
    value, low, high = alone(np.zeros((1, 20), dtype=bool))
    assert (value, low) == (0, 0)
    assert high == pytest.approx(0.161, abs=0.001)


def test_always_right_and_always_wrong_differ_and_one_image_decides_nothing() -> None:
    right, wrong = np.ones((3, 30), dtype=bool), np.zeros((3, 30), dtype=bool)
    assert estimate(cells_of([right, wrong]), ["x", "x"]).p[0, 1] < 1e-6
    assert not estimate(cells_of([right[:, :1], wrong[:, :1]]), ["x", "x"]).p[0, 1] < 0.05


def test_scores_that_are_no_shares_stay_within_their_bounds() -> None:
    random = np.random.default_rng(16)
    losses = random.exponential(0.02, size=(3, 50))
    value, low, high = alone(losses, bounds=(0.0, None))
    assert 0 <= low < value < high
    assert high - value > value - low or low > 0
    value, low, high = alone(random.exponential(0.02, size=(1, 3)), bounds=(0.0, None))
    assert low == 0 < value < high


def test_few_images_know_their_own_spread_poorly() -> None:
    """Student's interval of one repetition, of its images."""
    scores = np.random.default_rng(20).normal(size=(1, 8))
    value, low, high = alone(scores, bounds=(None, None))
    half = stats.t.isf(0.025, 7) * scores.std(ddof=1) / np.sqrt(8)
    np.testing.assert_allclose([low, high], [value - half, value + half], rtol=1e-3)


def test_the_difference_that_would_be_found_is() -> None:
    """With the repetitions that are said, drawn from the same world, most draws find it; with three few do."""
    random = np.random.default_rng(17)
    hard_N = 0.8 * random.normal(size=400)

    def compare(seeds: int) -> Estimate:
        tables = [draw(random, seeds, 400, mean=mean, by_seed=0.1, hard_N=hard_N) for mean in (1.5, 1.2)]
        return estimate(cells_of(tables), ["a", "a"])

    gaps = np.median([[compare(3).gap(0, 1, 0.05, repetitions=s) for s in (3, 6, 12)] for _ in range(60)], axis=0)
    assert gaps[0] > gaps[1] > gaps[2]
    seen = truth(1.5, 0.1, 0.8) - truth(1.2, 0.1, 0.8)
    assert gaps[2] < seen < gaps[0]
    assert gaps[2] == pytest.approx(np.median([compare(12).gap(0, 1, 0.05) for _ in range(60)]), rel=0.2)
    assert np.mean([compare(12).p[0, 1] < 0.05 for _ in range(60)]) > 0.7
    assert np.mean([compare(3).p[0, 1] < 0.05 for _ in range(60)]) < 0.5
    one = compare(5)
    assert one.gap(0, 1, 0.05, units=4.0) < one.gap(0, 1, 0.05)
    assert np.isnan(compare(1).gap(0, 1, 0.05))


def test_another_order_of_cells_is_the_same_estimate() -> None:
    random = np.random.default_rng(18)
    found = estimate(cells_of([draw(random, 3, 80, mean=mean) for mean in (1.0, 1.5, 0.5)]), ["a", "a", "b"])
    other = found.ordered([2, 0, 1])
    assert other.p[0, 1] == found.p[2, 0]
    assert other.means[2] == found.means[1]
    assert other.reach(1, 2) == pytest.approx(found.reach(0, 1))


def test_a_cell_with_one_repetition_beside_others_varies_as_the_most_variable_of_them() -> None:
    random = np.random.default_rng(19)
    cells = cells_of([draw(random, 3, 400, by_seed=by_seed) for by_seed in (0.5, 0.02, 0.2)])
    few = [*cells[:2], dict(list(cells[2].items())[:1])]
    found, alone_ = estimate(few, ["a"] * 3).means[2], estimate(few[2:], ["a"]).means[0]
    assert (found.repetitions, found.sd) == (1, None)
    wide = estimate(cells, ["a"] * 3).means[0]
    assert found.high - found.low > 1.4 * (wide.high - wide.low)
    assert found.high - found.low > 3 * (alone_.high - alone_.low)


@pytest.mark.parametrize(("share", "units"), [(0.0, 200), (0.3, 17.4), (0.5, 1), (0.995, 1e4), (1.0, 30)])
def test_a_shares_interval_is_wilsons(share: float, units: float) -> None:
    expected = proportion_confint(share * units, units, alpha=INTERVAL, method="wilson")
    assert wilson(share, units) == pytest.approx(expected, abs=1e-14)
