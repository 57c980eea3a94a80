"""Images that judge a model and are also learnt from."""

from __future__ import annotations

from tlfw.data.overlap import pairs

SUMS = {
    "target": {"train": ["a", "b", "c"], "val": ["d", "b"], "test": ["e", "c", "d", "s", "t"]},
    "source": {"train": ["s", "d", "u"], "val": ["t", "u"]},
}


def test_pairs_are_all_in_which_one_image_judges_and_another_teaches() -> None:
    found = set(pairs(SUMS, {"target": False, "source": False}))
    target = {(("target", "test"), 1, ("target", "train"), 2), (("target", "test"), 2, ("target", "val"), 0),
              (("target", "val"), 1, ("target", "train"), 1)}  # fmt: skip
    across = {(("target", "test"), 2, ("source", "train"), 1), (("target", "test"), 3, ("source", "train"), 0),
              (("target", "val"), 0, ("source", "train"), 1)}  # fmt: skip
    source = {(("source", "val"), 1, ("source", "train"), 2)}
    assert found == target | across | source
    assert set(pairs(SUMS, {"target": True, "source": False})) == across | source
    assert set(pairs(SUMS, {"target": True, "source": True})) == across
    assert set(pairs({"target": SUMS["target"]}, {"target": False})) == target
