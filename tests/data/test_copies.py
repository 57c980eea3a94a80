"""Equal pictures: where they are, under which labels, and what has to stay together."""

from __future__ import annotations

import numpy as np

from tlfw.data.copies import bound, contradictory, numbered


def test_equal_names_get_equal_numbers() -> None:
    assert numbered(["x", "y", "x", "z", "y"]).tolist() == [0, 1, 0, 2, 1]
    assert numbered([]).tolist() == []


def test_a_picture_under_two_labels_contradicts_itself() -> None:
    content = numbered(["x", "y", "x", "z", "y", "x"])
    assert contradictory(np.array([0, 1, 0, 2, 1, 0]), content).tolist() == [False] * 6
    assert contradictory(np.array([0, 1, 0, 2, 0, 5]), content).tolist() == [True, True, True, False, True, True]
    assert contradictory(np.zeros(0, dtype=np.int64), numbered([])).tolist() == []


def test_groups_that_share_a_copy_are_one() -> None:
    content, groups = numbered(["a", "b", "b", "c", "d", "e"]), numbered(["1", "1", "2", "2", "3", "3"])
    units = bound(content, groups)
    assert len(set(units[:4])) == 1
    assert len(set(units[4:])) == 1
    assert units[0] != units[4]
    chain = bound(numbered(["a", "b", "b", "c", "c", "a", "x"]), numbered(["1", "1", "2", "2", "3", "4", "5"]))
    assert len(set(chain[:6])) == 1
    assert chain[6] not in chain[:6]
