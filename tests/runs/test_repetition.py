"""What a repetition is."""

from __future__ import annotations

from typing import Any

import pytest

from tlfw.errors import ConfigError
from tlfw.runs.repetition import Repeat


@pytest.mark.parametrize(
    ("by", "pairs"),
    [
        ("both", [(3, 7), (4, 8)]),
        ("seed", [(3, 7), (4, 7)]),
        ("cross", [(3, 7), (4, 7), (3, 8), (4, 8)]),
    ],
)
def test_seeds_and_draws_count_from_those_that_were_asked_for(by: Any, pairs: list[tuple[int, int]]) -> None:
    repeat = Repeat(count=2, by=by)
    assert repeat.pairs(3, 7) == pairs
    assert repeat.total == len(pairs)


def test_a_number_alone_says_how_many() -> None:
    assert Repeat.of(5) == Repeat.of({"count": 5}) == Repeat.of(Repeat(count=5)) == Repeat(count=5, by="both")
    made = {"_target_": "tlfw.runs.repetition.Repeat", "count": 3, "by": "seed"}
    assert Repeat.of(made) == Repeat(count=3, by="seed")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0, r"repeat.count: .* greater than or equal to 1"),
        (True, r"repeat.count: .* integer"),
        ("many", r"repeat.count: .* 'many'"),
        (None, r"repeat.count: .* integer"),
        ({"by": "cross"}, r"repeat.count: it is not given"),
        ({"count": 1, "by": "cross"}, r"repeat.by: cross needs two seeds and two draws"),
        ({"count": 2, "by": "draw"}, r"repeat.by: .*'both', 'seed' or 'cross'"),
        ({"count": 2, "times": 2}, r"repeat.times: .* Leave it out"),
    ],
)
def test_what_is_no_repetition(given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Repeat.of(given)
