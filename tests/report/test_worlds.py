"""Small ones of the simulations in `benchmarks/verdict_worlds.py`: six worlds, few reports of each."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scipy import stats

FILE = Path(__file__).parents[2] / "benchmarks" / "verdict_worlds.py"
REPORTS = 60


@pytest.fixture(scope="module")
def worlds() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verdict_worlds", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["verdict_worlds"] = module
    spec.loader.exec_module(module)
    return module


def unlikely(share: float, most: float) -> bool:
    """Whether so many of the reports are hardly to be had by chance, where the rate is `most`."""
    return bool(stats.binom.sf(round(share * REPORTS) - 1, REPORTS, most) < 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "null, 3 repetitions",
        "null, nine steady and one wild, 5",
        "null, draws move all by 5 points, 3",
        "null, a third is missing, 5",
        "null, 12 clusters",
        "null, looks at 3 to 8, 3 planned",
    ],
)
def test_where_nothing_differs_little_is_said_and_intervals_cover(worlds: ModuleType, name: str) -> None:
    (world,) = (each for each in worlds.WORLDS if each.name == name)
    found = worlds.simulate(world, REPORTS)
    for what in ("false best", "false worse", "false at any look"):
        assert not unlikely(found[what], 0.06), what
    assert found["p < .001"] <= 0.004 + 0.01
    assert found["mean covers"] >= 0.9
    assert found["difference covers"] >= 0.93
    assert found["right best"] == 0


@pytest.mark.slow
def test_a_clear_best_is_found(worlds: ModuleType) -> None:
    (world,) = (each for each in worlds.WORLDS if each.name == "a steady one 6 points ahead, 8")
    found = worlds.simulate(world, REPORTS)
    assert found["right best"] >= 0.95
    assert found["worse found"] >= 0.85
    assert not unlikely(found["false worse"], 0.06)
