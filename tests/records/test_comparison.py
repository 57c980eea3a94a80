"""By what a sweep is judged."""

from __future__ import annotations

import pytest

from tlfw.errors import ConfigError
from tlfw.records.comparison import check_compared, share

FIELDS = {"seed", "freeze_policy.n", "freeze_policy.lr_head", "backbone.weights", "target.split_seed"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("1%", 0.01),
        (" .5 % ", 0.005),
        ("1.5 points", 0.015),
        ("1 point", 0.01),
        ("2.points", 0.02),
        (0.02, 0.02),
    ],
)
def test_a_margin_is_a_share(given: object, expected: float | None) -> None:
    assert share(given) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "given", ["1", "one", "", "-1%", "0%", "100%", "1 % points", 0, 1, 1.5, -0.1, True, [0.1], float("nan")]
)
def test_what_is_no_margin(given: object) -> None:
    with pytest.raises(ConfigError, match=r"margin: .* Use 1%, '1.5 points', or a share"):
        share(given)


def test_rows_are_made_by_fields_that_there_are() -> None:
    check_compared([], FIELDS)
    check_compared(["freeze_policy.n", "backbone.weights"], FIELDS)
    with pytest.raises(ConfigError, match=r"there is no field 'freeze_policy.m'. Did you mean freeze_policy.n"):
        check_compared(["freeze_policy.m"], FIELDS)
    with pytest.raises(ConfigError, match=r"compare: freeze_policy.n is there twice"):
        check_compared(["freeze_policy.n", "freeze_policy.n"], FIELDS)
    for name in ("seed", "target.split_seed", "fold"):
        with pytest.raises(ConfigError, match=rf"compare: {name} tells repetitions"):
            check_compared([name], FIELDS)
