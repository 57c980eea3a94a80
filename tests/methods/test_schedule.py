"""Schedules reach their peak, and every step has a rate."""

from __future__ import annotations

import pytest
import torch

from tlfw.errors import ConfigError
from tlfw.methods import schedule

MAKE = {
    "cosine": (schedule.cosine, {"warmup": 0.2}),
    "constant": (schedule.constant, {"warmup": 0.2}),
    "step": (schedule.step, {"warmup": 0.2, "milestones": [0.5, 0.75], "gamma": 0.1}),
    "one_cycle": (schedule.one_cycle, {"warmup": 0.2}),
}


def rates(name: str, steps: int = 100, **changes) -> list[float]:
    make, settings = MAKE[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = make(optimizer, steps, **{**settings, **changes})
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", MAKE)
def test_rates_rise_to_the_peak_and_stay_positive(name: str) -> None:
    found = rates(name)
    assert max(found) == pytest.approx(1.0, abs=2e-3)
    assert min(found) > 0
    assert found[:20] == sorted(found[:20])
    assert found[0] < 0.1


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_stages(name: str, steps: int) -> None:
    assert all(rate > 0 for rate in rates(name, steps))


def test_the_ends() -> None:
    assert rates("cosine")[-1] < 0.01
    assert rates("constant")[-1] == 1.0
    assert rates("step")[60] == pytest.approx(0.1)
    assert rates("step")[-1] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("name", "change"), [("cosine", {"warmup": 1.0}), ("one_cycle", {"warmup": 0.0}), ("step", {"milestones": [2]})]
)
def test_out_of_range(name: str, change: dict) -> None:
    with pytest.raises(ConfigError, match=r"schedule\."):
        rates(name, **change)
