"""Which images are held out, and which of the others are labelled."""

from __future__ import annotations

import numpy as np
import pytest

from tlfw.data.hold_out import deal, deal_groups, first_per_class, hold_out, hold_out_groups, ranks, share
from tlfw.errors import ConfigError

LABELS = np.repeat([0, 1, 2], [30, 20, 10])
NAMES = [f"image {i}" for i in range(60)]
ALONE = np.arange(60)
CLASSES = ("a", "b", "c")


def counts(labels: np.ndarray, chosen: np.ndarray) -> list[int]:
    return np.bincount(labels[chosen], minlength=3).tolist()


def test_an_images_place_depends_on_its_name_and_the_key_alone() -> None:
    one, other = ranks(NAMES, "test", 0), ranks(NAMES, "test", 1)
    assert len(np.unique(one)) == 60
    assert ranks(NAMES[::-1], "test", 0).tolist() == one[::-1].tolist()
    assert ranks(NAMES[:7], "test", 0).tolist() == one[:7].tolist()
    assert np.argsort(one).tolist() != np.argsort(other).tolist()
    assert ranks(NAMES, "draw", 0).tolist() != one.tolist()
    assert ranks(["caf\udce9"], 0).shape == (1,)  # a file name in no encoding


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.25, 0.5, 0.7, 0.99])
def test_the_share_grows_by_one_at_the_most(fraction: float) -> None:
    """So the first of a class's order on both sides are nested."""
    shares = [share(n, fraction) for n in range(200)]
    assert set(np.diff(shares)) <= {0, 1}
    assert shares[:3] == [0, 0, 1]
    assert all(n - 1 >= held >= 1 for n, held in enumerate(shares) if n > 1)
    assert abs(shares[-1] - fraction * 199) <= 1


def test_ten_are_eight_and_two() -> None:
    assert [share(n, 0.2) for n in (2, 5, 7, 8, 10, 12, 13, 50)] == [1, 1, 1, 2, 2, 2, 3, 10]


def test_hold_out_is_stratified_and_spares_the_last_image() -> None:
    held = hold_out(LABELS, ALONE, ranks(NAMES, 0), 0.2)
    assert counts(LABELS, held) == [6, 4, 2]
    labels = np.array([0, 1, 1, 2])
    for fraction in (0.1, 0.9):
        held = hold_out(labels, np.arange(4), ranks(NAMES[:4], 0), fraction)
        assert counts(labels, held) == [0, 1, 0]
    assert not hold_out(labels[:0], np.arange(0), ranks([], 0), 0.5).any()


def test_what_is_held_out_depends_on_the_order() -> None:
    one, other = (set(np.flatnonzero(hold_out(LABELS, ALONE, ranks(NAMES, s), 0.2))) for s in (0, 1))
    assert one != other
    larger = set(np.flatnonzero(hold_out(LABELS, ALONE, ranks(NAMES, 0), 0.4)))
    assert one < larger


def test_copies_are_held_out_together_and_never_all_of_a_class() -> None:
    random = np.random.default_rng(0)
    for seed in range(30):
        units = 100 * LABELS + random.integers(0, random.integers(1, 9), len(LABELS))
        order = ranks(NAMES, seed)
        for fraction in (0.2, 0.97):
            held = hold_out(LABELS, units, order, fraction)
            assert all(len(set(held[units == unit])) == 1 for unit in units)
            for c in range(3):
                own = units[c == LABELS]
                assert 0 < held[c == LABELS].sum() < len(own) or len(set(own)) == 1
                assert not held[c == LABELS].all()
        folds = deal(LABELS, units, order, 3)
        assert all(len(set(folds[units == unit])) == 1 for unit in units)


def test_a_large_unit_does_not_take_the_place_of_many() -> None:
    """Nine copies and eleven other pictures: four of twenty are held out, and not nine."""
    labels, units = np.zeros(20, dtype=int), np.array([0] * 9 + list(range(1, 12)))
    for seed in range(10):
        held = hold_out(labels, units, ranks(NAMES[:20], seed), 0.2)
        assert held.sum() == 4
        assert not held[:9].any()
    two = np.repeat([0, 1], [9, 8])
    held = hold_out(np.zeros(17, dtype=int), two, ranks(NAMES[:17], 0), 0.2)
    assert held.tolist() == (two == 1).tolist()  # the smaller of two, though it is more than was asked for


def test_folds_are_stratified_and_each_image_is_in_one() -> None:
    folds = deal(LABELS, ALONE, ranks(NAMES, 0), 7)
    assert set(folds) == set(range(7))
    table = np.array([counts(LABELS, folds == k) for k in range(7)])
    assert (table.max(0) - table.min(0)).max() <= 1
    assert np.ptp(table.sum(1)) <= 1
    assert deal(LABELS, ALONE, ranks(NAMES, 1), 7).tolist() != folds.tolist()


def test_a_class_of_one_picture_is_in_no_fold() -> None:
    labels, units = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 3])
    folds = deal(labels, units, ranks(NAMES[:5], 0), 2)
    assert folds[3:].tolist() == [-1, -1]
    assert sorted(folds[:3]) == [0, 0, 1]


def test_folds_of_groups_are_whole_and_about_stratified() -> None:
    labels, groups = np.tile([0, 1], 60), np.repeat(np.arange(20), 6)
    order = ranks([str(i) for i in range(120)], 0)
    folds = deal_groups(labels, groups, order, 5)
    assert all(len(set(folds[groups == g])) == 1 for g in range(20))
    assert [np.bincount(labels[folds == k]).tolist() for k in range(5)] == [[12, 12]] * 5
    assert deal_groups(labels, groups, ranks([str(i) for i in range(120)], 1), 5).tolist() != folds.tolist()


def test_folds_of_groups_depend_on_no_order() -> None:
    labels, groups = np.tile([0, 1], 60), np.repeat(np.arange(20), 6)
    order, mixed = ranks([str(i) for i in range(120)], 0), np.random.default_rng(0).permutation(120)
    other = np.random.default_rng(1).permutation(20)[groups]  # the same groups under other numbers
    assert deal_groups(labels, groups, order, 5)[mixed].tolist() == (
        deal_groups(labels[mixed], other[mixed], order[mixed], 5).tolist()
    )


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"folds: 5 are too many for 4 groups. Use at most 4"):
        deal_groups(np.tile([0, 1], 10), np.repeat(np.arange(4), 5), ranks(NAMES[:20], 0), 5)
    with pytest.raises(ConfigError, match=r"folds: 5 are too many .* Use at most 3"):
        deal_groups(np.tile([0, 1], 3), np.arange(6), ranks(NAMES[:6], 0), 5)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.8])
def test_groups_are_held_out_whole_with_every_class_on_both_sides(fraction: float) -> None:
    labels, groups = np.tile([0, 1, 2], 80), np.repeat(np.arange(40), 6)
    chosen = set()
    for seed in range(8):
        order = ranks([str(i) for i in range(240)], seed)
        held = hold_out_groups(labels, groups, order, fraction, CLASSES, "the test")
        assert all(len(set(held[groups == g])) == 1 for g in range(40))
        assert set(labels[held]) == set(labels[~held]) == {0, 1, 2}
        assert held.mean() == pytest.approx(fraction, abs=0.05)
        chosen.add(tuple(held))
    assert len(chosen) > 4


def test_groups_of_unlike_sizes_are_held_out_by_turns() -> None:
    """scikit-learn deals out the largest first, to folds that follow from the sizes: the seed chooses the fold."""
    groups = np.repeat(np.arange(20), np.arange(3, 23))
    labels, names = groups % 2, [str(i) for i in range(len(groups))]
    held = [hold_out_groups(labels, groups, ranks(names, seed), 0.2, CLASSES, "the test") for seed in range(12)]
    assert len({tuple(each) for each in held}) >= 4


def test_no_class_is_held_out_wholly(monkeypatch: pytest.MonkeyPatch) -> None:
    """However groups were dealt out: another fold is taken, or it is refused."""
    labels, groups = np.repeat([0, 1], 12), np.repeat(np.arange(6), 4)
    order = ranks(NAMES[:24], 0)
    dealt = {3: [0, 1, 2, 0, 0, 0], 2: [0, 1, 0, 1, 0, 0]}
    monkeypatch.setattr("tlfw.data.hold_out.deal_groups", lambda y, g, r, folds: np.array(dealt[folds])[groups])
    held = hold_out_groups(labels, groups, order, 0.3, CLASSES, "the test")
    assert np.bincount(labels[held]).tolist() in ([8, 8], [4, 4])
    dealt[2] = [0, 1, 0, 0, 0, 0]
    with pytest.raises(ConfigError, match=r"group: there are too few for the test"):
        hold_out_groups(labels, groups, order, 0.3, CLASSES, "the test")


def test_few_groups_are_shared_out_as_far_as_they_reach() -> None:
    """Two subjects a class: one is held out, though that is more than a fifth. Whichever it is, no class is lost."""
    labels, groups = np.repeat([0, 1], 12), np.repeat(np.arange(4), 6)
    for seed in range(8):
        held = hold_out_groups(labels, groups, ranks(NAMES[:24], seed), 0.2, CLASSES, "the test")
        assert np.bincount(labels[held]).tolist() == [6, 6]
        assert all(len(set(held[groups == g])) == 1 for g in range(4))


def test_a_class_of_one_group_is_named() -> None:
    labels, groups = np.repeat([0, 1], [18, 6]), np.repeat(np.arange(4), 6)
    with pytest.raises(ConfigError, match=r"group: there are too few for the test .* class 'b' has 1 of 4 groups"):
        hold_out_groups(labels, groups, ranks(NAMES[:24], 0), 0.2, CLASSES, "the test")


def test_labelled_images_are_nested_on_both_sides() -> None:
    order = ranks(NAMES, 0)
    held = hold_out(LABELS, ALONE, order, 0.2)
    before = np.zeros(60, dtype=bool)
    for count in range(2, 11):
        chosen = first_per_class(LABELS, held, order, count, 0.2, CLASSES)
        assert counts(LABELS, chosen) == [count] * 3
        assert counts(LABELS, chosen & held) == [share(count, 0.2)] * 3
        assert not (before & ~chosen).any()
        before = chosen


def test_a_side_that_has_too_few_is_filled_from_the_other() -> None:
    labels, held = np.zeros(20, dtype=int), np.arange(20) < 1
    for count in (10, 20):
        chosen = first_per_class(labels, held, ranks(NAMES[:20], 0), count, 0.2, ("a",))
        assert (chosen.sum(), (chosen & held).sum()) == (count, 1)
    held = np.arange(20) < 18
    chosen = first_per_class(labels, held, ranks(NAMES[:20], 0), 10, 0.2, ("a",))
    assert (chosen.sum(), (chosen & held).sum()) == (10, 8)


def test_a_class_that_is_too_small_is_named() -> None:
    with pytest.raises(
        ConfigError,
        match=r"train_per_class: 11 labelled .* class 'c' has 10, without those that are kept for test. Use at most 10",
    ):
        first_per_class(LABELS, np.zeros(60, dtype=bool), ranks(NAMES, 0), 11, 0.2, CLASSES)
