"""The verdict: that it is the one which the data allow, and that all its words come from one computation."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pytest

from tests.report.statistics.test_estimate import cells_of, draw
from tlfw.records.metric import METRICS
from tlfw.report.cells import Cell
from tlfw.report.comparisons import standing
from tlfw.report.sentences import advice, remarks, sentence
from tlfw.report.statistics.estimate import estimate
from tlfw.report.statistics.score_tables import Repetition
from tlfw.report.verdict import (
    OTHER_LEVEL,
    PLANNED_LEVEL,
    Floor,
    Task,
    above,
    best,
    claims_of,
    corrected,
    gain,
    holm,
    judge,
    leads,
    level_of,
)

ACCURACY, LOSS = METRICS["accuracy"], METRICS["log_loss"]


def cell(name: str, **changes) -> Cell:
    return dataclasses.replace(
        Cell(
            name=name, data_mix=name, freeze_policy="full", backbone="b", weights=None, source="s", labelled=10,
            compared={}, runs={}, settings={}, tried=1, tied=1, incomplete=0, diverged=0, validation=0.5, trains="all",
            random_features=False, control=False,
        ),
        **changes,
    )  # fmt: skip


def tasks_of(
    *groups: Sequence[tuple[Cell, dict[Repetition, np.ndarray]]],
    planned: int | None = None,
    whole: bool = True,
    margin: float | None = None,
    metric=ACCURACY,
    floor: float = 0.2,
    enough: bool | None = None,
    folds: int | None = None,
) -> list[Task]:
    """As the report makes them, of cells and their scores."""
    cells, estimates = [], []
    for group in groups:
        found = estimate(
            [own for _, own in group], [each.kin for each, _ in group], bounds=(metric.low, metric.high), folds=folds
        )
        sign = -1 if metric.higher_is_better else 1
        order = sorted(range(len(group)), key=lambda i: (sign * found.means[i].value, group[i][0].name))
        cells.append([group[i][0] for i in order])
        estimates.append(found.ordered(order))
    big = [each.images >= metric.fewest if enough is None else enough for each in estimates]
    claims = [claims_of(each, metric, fine) for each, fine in zip(estimates, big, strict=True)]
    made = []
    for own, found, claim, p, fine in zip(
        cells, estimates, claims, corrected(estimates, claims, cells), big, strict=True
    ):
        task = Task(
            labelled=10, metric=metric, cells=tuple(own), estimate=found, floor=Floor(chance=floor, majority=floor),
            shortage="" if fine else f"100 test images, and there are {found.images}",
            level=level_of(found, planned, whole), adjusted=p, kind="undecided", group=(), scope="over seeds",
            shipped=None,
        )  # fmt: skip
        task = judge(task, claim, margin)
        made.append(
            dataclasses.replace(task, sentence=sentence(task, margin), advice=advice(task), remarks=remarks(task))
        )
    return made


def task(*tables: np.ndarray, cells: Sequence[Cell] | None = None, **given) -> Task:
    """Of cells a, b, … with repetitions 0, 1, … unless they are given."""
    cells = cells or [cell("abcdefghijklmnop"[i]) for i in range(len(tables))]
    given = {"planned": max(map(len, tables)), **given}
    return tasks_of(list(zip(cells, cells_of(tables), strict=True)), **given)[0]


def grid(
    random: np.random.Generator, means: Sequence[float], seeds: int, images: int, by_seed: float = 0.08, **given
) -> Task:
    hard_N = 0.8 * random.normal(size=images)
    return task(*(draw(random, seeds, images, mean=mean, by_seed=by_seed, hard_N=hard_N) for mean in means), **given)


@pytest.mark.parametrize(("cells", "seeds"), [(10, 3), (10, 5), (2, 5)])
def test_where_all_are_alike_hardly_ever_is_one_best_or_worse(cells: int, seeds: int) -> None:
    random = np.random.default_rng(0)
    found = [grid(random, [1.2] * cells, seeds, 300) for _ in range(100)]
    assert np.mean([each.kind == "best" for each in found]) <= 0.04
    told = [any(each.apart(i, j) for i in range(cells) for j in range(i)) for each in found]
    assert np.mean(told) <= 0.06


def test_a_clear_best_is_found_and_named() -> None:
    one = grid(np.random.default_rng(1), [1.2, 2.2, 1.0, 1.1], 5, 900)
    assert (one.kind, one.best, one.group, one.cells[0].name) == ("best", 0, (0,), "b")
    points = 100 * one.estimate.difference[0, 1]
    half = 100 * float(one.estimate.reach(0, 1))
    assert f"is the best way: {points:.1f} points better than {one.cells[1].name}, the next" in one.sentence
    assert f"(95 % interval {points - half:.1f} to {points + half:.1f}, p" in one.sentence
    assert one.advice == ""
    assert [standing(one, i) for i in range(4)] == ["best", "worse", "worse", "worse"]


def test_best_needs_no_correction_but_every_comparison() -> None:
    """p of 0.03 against each of two others: best, though Holm would call neither worse at 0.04."""
    p = np.array([[1, 0.03, 0.03], [0.03, 1, 0.9], [0.03, 0.9, 1]])
    found = grid(np.random.default_rng(2), [2.0, 1.0, 1.0], 4, 200).estimate
    found = dataclasses.replace(found, difference=np.array([[0, 0.1, 0.1], [-0.1, 0, 0.0], [-0.1, 0.0, 0]]))
    found.__dict__["p"] = p
    every = np.ones((3, 3), bool)
    assert best(found, ACCURACY, 0.04, every) == 0
    assert best(found, ACCURACY, 0.02, every) is None
    assert best(found, LOSS, 0.04, every) is None  # whose low values are good: none is below both others
    assert best(found, ACCURACY, None, every) is None
    assert best(found, ACCURACY, 0.04, every & ~np.eye(3, k=1, dtype=bool)) is None
    assert holm(np.array([0.03, 0.03, 0.9])).tolist() == [0.09, 0.09, 0.9]


def test_who_is_behind_is_never_best_however_significant() -> None:
    """Five repetitions against three; on those that both have, the other is better."""
    images = np.arange(2000) / 2000
    shares = {"A": (0.80, 0.80, 0.80, 0.95, 0.95), "B": (0.84, 0.84, 0.84)}
    one = task(*(np.stack([images < share for share in own]) for own in shares.values()), cells=[cell("A"), cell("B")])
    assert one.cells[0].name == "B"
    assert (one.kind, one.best) == ("best", 0)
    assert one.sentence.startswith("B (84.0 %) is the best way: 4.0 points better than A")
    assert any("2 runs have no part in this" in remark for remark in one.remarks)


def test_one_shared_repetition_is_as_one() -> None:
    random = np.random.default_rng(3)
    a, b = cells_of([draw(random, 2, 300, mean=2.5)])[0], cells_of([draw(random, 2, 300, mean=0.5)], first=1)[0]
    (one,) = tasks_of([(cell("a"), a), (cell("b"), b)], planned=2)
    assert (one.kind, one.level) == ("unanswered", None)
    assert one.sentence.startswith("One repetition cannot say which way is better")
    assert not one.apart(0, 1)


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_repetitions_do_not_answer_which_way_is_better(seeds: int) -> None:
    """However large the difference is."""
    one = grid(np.random.default_rng(4), [3.0, 0.0, 0.0], seeds, 900)
    assert (one.kind, one.level, one.best) == ("unanswered", None, None)
    assert not any(one.apart(i, j) for i in range(3) for j in range(3))
    assert [standing(one, i) for i in range(3)] == ["not answered"] * 3
    assert " p " not in one.sentence
    assert "best way" not in one.sentence
    assert (
        "repeat=5" in one.advice
        if seeds == 1
        else re.search(r"3 repetitions would show gaps of about [\d.]+ points", one.advice)
    )


def test_the_level_follows_from_the_plan_alone() -> None:
    found = {s: grid(np.random.default_rng(5), [1.2, 1.2], s, 100).estimate for s in (1, 2, 3, 5)}
    assert level_of(found[5], 5, True) == PLANNED_LEVEL
    assert level_of(found[5], 5, False) == OTHER_LEVEL  # some are still to come: a look before the end
    assert level_of(found[5], 3, True) == level_of(found[5], None, True) == OTHER_LEVEL
    assert level_of(found[3], 3, True) == PLANNED_LEVEL
    assert level_of(found[2], 2, True) is level_of(found[1], 1, True) is None


def test_few_test_images_carry_no_claim() -> None:
    one = grid(np.random.default_rng(6), [3.0, 0.0], 5, 80)
    assert one.kind == "abstained"
    assert "cannot say which way is better: a claim on accuracy takes 100 test images, and there are 80" in one.sentence
    assert "folds=5" in one.advice


def test_fewer_than_five_errors_carry_no_claim() -> None:
    """Two cells that are nearly always right; beside a bad one there is enough to see."""
    right = np.ones((5, 900), dtype=bool)
    nearly = right.copy()
    nearly[:, :4] = False
    bad = np.arange(900) % 3 > 0
    one = task(right, nearly, np.tile(bad, (5, 1)))
    assert not one.apart(0, 1)
    assert one.apart(0, 2)


def test_a_group_that_cannot_be_told_apart_is_named() -> None:
    one = grid(np.random.default_rng(2), [2.2, 2.2, 0.5, 0.4], 5, 900)
    assert one.kind == "group"
    assert {one.cells[i].name for i in one.group} == {"a", "b"}
    bound = 100 * (abs(one.estimate.difference[0, 1]) + float(one.estimate.reach(0, 1)))
    assert f"which differs from it by no more than {bound:.1f} points (95 % interval); 2 of 4 are worse" in one.sentence
    assert [standing(one, i) for i in range(4)] == ["best group", "best group", "worse", "worse"]
    assert leads(one) == (0, 1)
    assert not any("ranks below it" in remark for remark in one.remarks)


def test_so_many_repetitions_as_are_advised_would_show_what_was_seen_and_fewer_would_not() -> None:
    one = grid(np.random.default_rng(2), [2.2, 1.9], 3, 900)
    assert one.level == PLANNED_LEVEL
    assert leads(one) == ()  # nothing is known to be worse
    found = re.search(r"takes about (\d+) repetitions", one.advice)
    assert found
    seen, count = abs(one.estimate.difference[0, 1]), int(found.group(1))
    assert one.estimate.gap(0, 1, PLANNED_LEVEL, repetitions=count - 1) > seen
    assert one.estimate.gap(0, 1, PLANNED_LEVEL, repetitions=count) <= seen


def test_nothing_is_advised_where_there_are_no_more_folds_to_make() -> None:
    random = np.random.default_rng(0)
    hard_KN = [0.8 * random.normal(size=200) for _ in range(5)]
    a, b = (
        {Repetition(seed=0, fold=k): draw(random, 1, 200, mean=mean, hard_N=hard_KN[k])[0] for k in range(5)}
        for mean in (1.4, 1.3)
    )
    (one,) = tasks_of([(cell("a"), a), (cell("b"), b)], folds=5)
    assert (one.kind, one.advice) == ("undecided", "")


def test_who_lacks_a_repetition_is_named() -> None:
    tables = [draw(np.random.default_rng(k), 3, 900) for k in range(3)]
    a, b, c = cells_of(tables)
    del b[list(b)[1]]
    (one,) = tasks_of(list(zip(map(cell, "abc"), (a, b, c), strict=True)), planned=3)
    assert any(remark.startswith("b lacks some of the 3 repetitions.") for remark in one.remarks)


def test_what_ranks_higher_and_is_worse_is_explained() -> None:
    """A steady cell just behind is known to be worse; a wild one further behind is not."""
    random = np.random.default_rng(7)
    hard_N = 0.8 * random.normal(size=2000)
    steady = [draw(random, 5, 2000, mean=mean, by_seed=0.01, hard_N=hard_N) for mean in (1.5, 1.3, 1.31)]
    wild = draw(random, 5, 2000, mean=1.1, by_seed=0.6, hard_N=hard_N)
    cells = [*(cell(name, trains="head") for name in "abc"), cell("wild")]
    one = task(*steady, wild, cells=cells)
    assert one.cells[3].name == "wild"
    assert one.group == (0, 3)
    assert any("wild, which ranks below it, is not known to be" in remark for remark in one.remarks)


def test_nothing_has_learnt_comes_first() -> None:
    chance = np.tile(np.arange(900) % 10 == 0, (5, 1))
    one = task(*[np.roll(chance, k, axis=1) for k in range(10)], floor=0.1)
    assert one.kind == "nothing"
    assert one.sentence.startswith("Nothing has learnt: no way is better than")
    assert "best" not in {standing(one, i) for i in range(10)}
    little = task(*[draw(np.random.default_rng(k), 3, 120, mean=0.05) for k in range(2)], floor=0.5)
    assert little.sentence.startswith("Nothing is known to have learnt: no interval is better than")
    assert not any(above(ACCURACY, mean, little.floor) for mean in little.means)


def test_a_margin_allows_to_say_equally_good() -> None:
    random = np.random.default_rng(8)
    hard_N = 1.5 * random.normal(size=4000)
    tables = [draw(random, 5, 4000, mean=1.2, by_seed=0.0, hard_N=hard_N) for _ in range(3)]
    one = task(*tables, margin=0.03)
    assert one.kind == "equal"
    assert one.sentence.startswith("Equally good: ")
    assert "each differ from it by less than 3.0 points" in one.sentence
    assert standing(one, 1) == "equally good"
    assert task(*tables, margin=0.001).kind == task(*tables).kind == "undecided"
    assert task(tables[0][:2], tables[1][:2], margin=0.03).kind == "unanswered"


def test_a_way_that_diverges_is_not_best() -> None:
    random = np.random.default_rng(9)
    tables = [draw(random, 5, 900, mean=mean) for mean in (3.0, 0.5)]
    one = task(*tables, cells=[cell("a", diverged=1), cell("b")])
    assert one.kind != "best"
    assert one.sentence.startswith("a (")
    assert "and 1 of 2 is worse; but it is not known to be better" in one.sentence
    assert one.remarks[0] == "a diverged in 1 of 6 repetitions, so it is not called best."


def test_comparisons_of_all_tasks_are_corrected_together() -> None:
    random = np.random.default_rng(7)
    tables = [draw(random, 3, 100, mean=1.0), draw(random, 3, 100, mean=1.5)]
    members = list(zip([cell("a"), cell("b")], cells_of(tables), strict=True))
    (alone,), (one, two) = tasks_of(members), tasks_of(members, members)
    assert alone.adjusted[0, 1] == alone.estimate.p[0, 1]
    assert one.adjusted[0, 1] == two.adjusted[0, 1] == pytest.approx(min(2 * alone.adjusted[0, 1], 1))


def test_a_control_on_random_features_is_corrected_for_nothing() -> None:
    """It differs wildly from repetition to repetition; others are not corrected for it, and lend it nothing."""
    random = np.random.default_rng(0)
    tables = [draw(random, 4, 900, mean=mean) for mean in (2.0, 1.85, 1.7)]
    members = list(zip(map(cell, "abc"), cells_of(tables), strict=True))
    wild = np.concatenate([draw(random, 1, 900, mean=mean) for mean in (0.6, -1.5, 1.0, -1.0)])
    control = (cell("z", random_features=True), cells_of([wild])[0])
    (without,), (one,) = tasks_of(members, planned=4), tasks_of([*members, control], planned=4)
    assert one.cells[3].name == "z"
    assert one.adjusted[0, 3] == one.estimate.p[0, 3]
    assert without.adjusted[0, 2] < 0.5
    np.testing.assert_allclose(one.adjusted[:3, :3], without.adjusted)


def test_holm_corrects_for_all_that_were_compared() -> None:
    found = holm(np.array([0.01, np.nan, 0.04, 0.03]))
    np.testing.assert_allclose(found, [0.03, np.nan, 0.06, 0.06])
    assert np.isnan(holm(np.array([np.nan]))).all()
    assert holm(np.array([0.6, 0.7])).tolist() == [1, 1]


def test_equal_predictions_are_called_equal() -> None:
    right = draw(np.random.default_rng(5), 3, 160)
    one = task(right, right, right)
    assert one.kind == "undecided"
    assert one.sentence.startswith("No difference at all: a (")
    assert one.sentence.endswith(") and b and c give the same predictions.")
    assert one.advice == ""


def test_a_lower_loss_is_better() -> None:
    random = np.random.default_rng(11)
    image_N = random.exponential(1.0, size=900)
    tables = [image_N * scale + 0.05 * random.random((5, 900)) for scale in (0.5, 0.3, 0.55)]
    one = task(*tables, metric=LOSS, floor=1.6)
    assert [each.name for each in one.cells] == ["b", "a", "c"]
    assert one.kind == "best"
    difference = float(one.estimate.difference[0, 1])
    assert difference < 0
    assert f"is the best way: {-difference:.3f} nats better than a" in one.sentence
    assert one.worse(1, 0)
    assert not one.worse(0, 1)


RELATIONS = {"best": "is the best way", "group": "ahead", "undecided": "No way is known", "unanswered": "repetition"}


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_design_words_badges_and_numbers_agree(seed: int) -> None:
    """Of designs with missing repetitions, ties, one image, all right, all wrong, controls, steady and wild cells."""
    random = np.random.default_rng([2026, seed])
    count, seeds = int(random.integers(1, 7)), int(random.integers(1, 7))
    images = int(random.choice([1, 30, 120, 600]))
    members = []
    hard_N = random.normal(size=images)
    for c in range(count):
        table = draw(
            random, seeds, images, mean=random.normal(1, 1), by_seed=random.choice([0, 0.05, 0.5]), hard_N=hard_N
        )
        if random.random() < 0.1:
            table[:] = random.random() < 0.5
        if members and random.random() < 0.1:
            table = np.stack([*members[0][1].values()])[: len(table)]
        own = cells_of([table])[0]
        for r in list(own)[1:]:
            if random.random() < 0.2:
                del own[r]
        changes = {"trains": str(random.choice(["head", "all"])), "random_features": bool(random.random() < 0.15)}
        members.append((cell("abcdefg"[c], diverged=int(random.random() < 0.1), **changes), own))
    planned, margin = (None if random.random() < 0.5 else seeds), (0.05 if random.random() < 0.3 else None)
    (one,) = tasks_of(members, planned=planned, margin=margin, floor=0.1)
    found, ahead = one.estimate, gain(one.estimate, ACCURACY)
    values = [mean.value for mean in one.means]
    assert values == sorted(values, reverse=True)
    for mean in one.means:
        assert 0 <= mean.low <= mean.value <= mean.high <= 1
    known = np.isfinite(ahead)
    np.testing.assert_allclose(ahead[known], (-ahead.T)[known])
    # The difference that is told is that of the means that are shown.
    np.testing.assert_allclose(ahead[known], np.subtract.outer(values, values)[known], atol=1e-9)
    for i in range(count):
        for j in range(count):
            if one.worse(i, j):
                assert one.level is not None
                assert ahead[i, j] < 0
                assert one.adjusted[i, j] < one.level
                assert found.shared[i, j] >= 3
                assert not one.worse(j, i)
        badge = standing(one, i)
        assert (badge == "best") == (one.kind == "best" and i == 0)
        assert badge != "worse" or one.worse(i, 0)
        assert (i in one.group) or one.kind == "best" or one.worse(i, 0)
    assert 0 in one.group
    if one.kind == "best":
        assert (ahead[0, 1:] > 0).all()
        assert (found.p[0, 1:] < one.level).all()
        assert not one.cells[0].diverged
        quoted = re.search(r"is the best way: ([\d.]+) points better than (\w), the next", one.sentence)
        assert quoted is not None
        assert float(quoted[1]) == pytest.approx(100 * ahead[0, 1], abs=0.051)
        assert quoted[2] == one.cells[1].name
    else:
        assert "best way" not in one.sentence.replace("best way:", "") or one.kind == "best"
    if len(found.repetitions) < 3:
        assert one.level is None
        assert one.kind in ("unanswered", "nothing", "alone")
    for number in re.findall(r"\(([\d.]+) %\)", one.sentence)[:1]:
        if one.kind not in ("nothing",):
            assert float(number) == pytest.approx(100 * values[0], abs=0.051)
