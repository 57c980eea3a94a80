"""Numbers as people read them."""

from __future__ import annotations

import pytest

from tlfw.report.number_format import (
    between,
    chance,
    counted,
    duration,
    labelled,
    percent,
    points,
    short,
    tight,
)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (89, "89 s"), (90, "1.5 min"), (5399, "90.0 min"),
     (5400, "1.5 h"), (200_000, "2.3 d")],
)  # fmt: skip
def test_a_duration_has_the_unit_that_fits(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "0"), (999.4, "999"), (999.6, "1 k"), (12_345, "12.3 k"), (999_600, "1 M"), (1.44e12, "1.44 T"),
     (9.999e17, "1 E"), (3e18, "3 E")],
)  # fmt: skip
def test_an_amount_has_three_digits_and_a_letter(amount: float, said: str) -> None:
    assert short(amount) == said


def test_shares_points_and_chances() -> None:
    assert percent(0.8534) == "85.3 %"
    assert (points(0.0321), points(-0.004), points(-0.0001)) == ("+3.2", "−0.4", "0.0")
    assert (chance(0.0123), chance(0.0009)) == ("0.012", "< 0.001")


def test_what_is_not_there_is_a_dash() -> None:
    for say in (percent, points, chance, duration):
        assert say(None) == "–"


def test_words() -> None:
    assert (labelled(1), labelled(10)) == ("1 labelled image a class", "10 labelled images a class")
    assert labelled(None) == "all labelled images"
    assert (counted(1, "seed"), counted(1200, "image")) == ("1 seed", "1,200 images")
    assert (between(5, 5), between(3, 5)) == ("5", "3 to 5")


def test_a_line_ends_between_no_number_and_its_unit() -> None:
    assert tight("from 4.8 k (a / b) to 12 seeds, 95 % of 3 kinds, p < 0.05") == (
        "from 4.8\u00a0k (a / b) to 12\u00a0seeds, 95\u00a0% of 3 kinds, p\u00a0<\u00a00.05"
    )
