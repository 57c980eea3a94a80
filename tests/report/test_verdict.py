"""The verdict: that it is the sentence which the data allow."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.report.test_statistics import draw
from tlfw.report.cells import Cell
from tlfw.report.leaderboard import standing
from tlfw.report.statistics import adjusted
from tlfw.report.verdict import Task, judge


def cell(name: str) -> Cell:
    return Cell(
        name=name, data_mix=name, freeze_policy="full", backbone="b", source="s", labelled=10, runs={}, settings={},
        tried=1, incomplete=0, val_accuracy=0.5, random_features=False,
    )  # fmt: skip


def task(*correct: np.ndarray) -> Task:
    """Of cells a, b, … with seeds 0, 1, …"""
    named = [(cell("abcdefghijklmnop"[i]), dict(enumerate(each))) for i, each in enumerate(correct)]
    return judge([(10, named)])[0]


def grid(random: np.random.Generator, means: list[float], seeds: int, images: int, by_seed: float = 0.08) -> Task:
    hard_N = 0.8 * random.normal(size=images)
    return task(*(draw(random, seeds, images, mean=mean, by_seed=by_seed, hard_N=hard_N) for mean in means))


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """statsmodels collects garbage at every correction, which takes longer than all else."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(("cells", "seeds"), [(10, 1), (10, 3), (10, 5), (2, 5), (3, 2)])
def test_where_all_are_alike_hardly_ever_is_there_a_winner(cells: int, seeds: int) -> None:
    """At most one grid in twenty; nor is any pair told apart more often."""
    random = np.random.default_rng(0)
    by_seed = 0.08 if seeds > 1 else 0.0  # one seed is judged as it is: nothing is said of others
    tasks = [grid(random, [1.2] * cells, seeds, 300, by_seed) for _ in range(200)]
    assert np.mean([each.kind == "winner" for each in tasks]) <= 0.05
    assert np.mean([np.nanmin(each.adjusted) < 0.05 for each in tasks]) <= 0.08  # 5 %, and two standard errors


@pytest.mark.usefixtures("_quick")
def test_a_clear_winner_is_found_and_named() -> None:
    random = np.random.default_rng(1)
    tasks = [grid(random, [1.2, 2.2, 1.0, 1.1], 5, 900) for _ in range(20)]
    assert all(each.kind == "winner" and each.cells[0].name == "b" for each in tasks)
    one = tasks[0]
    assert one.sentence.startswith("b (")
    assert f"is best: {100 * one.differences.mean[0, 1]:.1f} points above {one.cells[1].name}" in one.sentence
    assert one.advice == ""


def test_a_group_that_cannot_be_told_apart_is_named() -> None:
    one = grid(np.random.default_rng(2), [2.2, 2.2, 0.5, 0.4], 5, 900)
    assert one.kind == "group"
    assert {one.cells[i].name for i in one.group} == {"a", "b"}
    assert "2 of 4 are worse" in one.sentence
    assert "1 of 3 is worse" in grid(np.random.default_rng(2), [2.2, 2.2, 0.5], 5, 900).sentence
    assert "seeds" in one.advice


def test_too_little_data_is_said_to_be_too_little() -> None:
    one = grid(np.random.default_rng(3), [1.2, 1.25, 1.22], 1, 40)
    assert one.kind == "undecided"
    assert one.sentence.startswith("Too little data")
    assert "On one seed" in one.sentence
    assert "several seeds" in one.advice


def test_one_cell_is_compared_with_nothing() -> None:
    one = grid(np.random.default_rng(4), [1.2], 3, 40)
    assert (one.kind, one.group, one.advice) == ("alone", (0,), "")


def test_equal_predictions_are_called_equal() -> None:
    right = draw(np.random.default_rng(5), 3, 60)
    one = task(right, right, right)
    assert one.kind == "undecided"
    assert one.sentence.startswith("No difference at all: a (")
    assert one.sentence.endswith(") and b and c are right on the same test images.")
    assert one.advice == ""
    worse = draw(np.random.default_rng(6), 3, 60, mean=-3.0)
    assert (
        "cannot be told apart from b: they are right on the same images; 1 of 3 is worse"
        in task(right, right, worse).sentence
    )


def test_cells_without_a_seed_in_common_are_not_told_apart() -> None:
    random = np.random.default_rng(6)
    best, worst = draw(random, 1, 300, mean=3.0)[0], draw(random, 1, 300, mean=0.0)[0]
    (one,) = judge([(10, [(cell("a"), {0: best}), (cell("b"), {1: worst})])])
    assert one.kind == "undecided"
    assert np.isnan(one.adjusted[0, 1])


def test_comparisons_of_all_tasks_are_corrected_together() -> None:
    random = np.random.default_rng(7)
    a, b = draw(random, 3, 100, mean=1.0), draw(random, 3, 100, mean=1.5)
    members = [(cell("a"), dict(enumerate(a))), (cell("b"), dict(enumerate(b)))]
    (alone,), (one, two) = judge([(10, members)]), judge([(10, members), (50, members)])
    assert alone.adjusted[0, 1] == alone.differences.p[0, 1]
    assert one.adjusted[0, 1] == two.adjusted[0, 1] == pytest.approx(2 * alone.adjusted[0, 1])


def test_the_bound_is_said_of_those_that_cannot_be_told_apart() -> None:
    one = grid(np.random.default_rng(2), [2.2, 2.2, 0.5, 0.4], 5, 900)
    bound = 100 * max(one.differences.high[0, 1], -one.differences.low[0, 1])
    assert f", which differs from it by no more than {bound:.1f} points (95 % interval); 2 of 4" in one.sentence
    many = grid(np.random.default_rng(3), [1.2, 1.25, 1.22], 1, 40)
    assert "from any of the 2 others, none of which differs from it by more than" in many.sentence


def test_differences_that_cancel_are_compared_and_a_bound_that_says_nothing_is_not_said() -> None:
    two = np.array([[True, False], [False, True]])
    one = task(two, ~two)
    assert one.sentence == "Too little data: a (50.0 %) has the highest accuracy, but cannot be told apart from b."
    assert one.adjusted[0, 1] == 1
    assert one.differences.low[0, 1] < 0 < one.differences.high[0, 1]


def test_a_control_on_random_features_is_no_candidate() -> None:
    """It differs wildly from seed to seed, so that nothing tells it apart; and others are not corrected for it."""
    random = np.random.default_rng(0)
    members = [(cell(name), dict(enumerate(draw(random, 2, 900, mean=2.0)))) for name in "abc"]
    wild = np.stack([draw(random, 1, 900, mean=mean)[0] for mean in (0.6, -1.5)])
    control = (dataclasses.replace(cell("z"), random_features=True), dict(enumerate(wild)))
    (without,), (one,) = judge([(10, members)]), judge([(10, [*members, control])])
    assert one.cells[3].name == "z"
    assert one.group == without.group == (0, 1, 2)
    assert one.kind == "undecided"
    assert one.adjusted[0, 3] == one.differences.p[0, 3] > 0.05
    assert standing(one, 3) == "undecided"
    p = one.differences.p[:3, :3][np.triu_indices(3, 1)]
    assert one.adjusted[:3, :3][np.triu_indices(3, 1)] == pytest.approx(adjusted(p))
    (alone,) = judge([(10, [members[0], control])])
    assert alone.group == (0, 1)


def test_names_with_commas_are_set_apart_by_semicolons() -> None:
    right = dict(enumerate(draw(np.random.default_rng(5), 3, 60)))
    (one,) = judge([(10, [(cell(name), right) for name in ("a", "b, 32 px", "c")])])
    assert one.sentence.endswith(") and b, 32 px; and c are right on the same test images.")
