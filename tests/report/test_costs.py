"""What cells cost, alone and shared, and whose budgets are equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import invented
from tlfw.report.costs import MEASURES, matched, pareto, short
from tlfw.report.findings import find_out


def test_shared_costs_add_up_to_what_all_runs_took(tmp_path: Path) -> None:
    found = find_out([invented.sweep(tmp_path, seeds=2)])
    stages = {stage["key"]: stage for run in found.gathered.runs for stage in run.record.stages}
    runs = [len(cell.runs) for cell in found.tasks[0].cells]
    for name, field in (("images", "images_seen"), ("flops", "train_flops")):
        together = sum(n * getattr(cost, f"shared_{name}") for n, cost in zip(runs, found.costs[0], strict=True))
        assert together == pytest.approx(sum(stage[field] for stage in stages.values()))
        alone = sum(n * getattr(cost, name) for n, cost in zip(runs, found.costs[0], strict=True))
        assert alone == sum(s[field] for run in found.gathered.runs for s in run.record.stages)
    seconds = sum(n * cost.shared_seconds for n, cost in zip(runs, found.costs[0], strict=True))
    assert seconds == pytest.approx(sum(stage["seconds"] for stage in stages.values()) + sum(runs))  # 1 s of test each


def test_epochs_are_of_the_target(tmp_path: Path) -> None:
    found = find_out([invented.sweep(tmp_path, seeds=1)])
    by_name = {cell.name: cost for cell, cost in zip(found.tasks[0].cells, found.costs[0], strict=True)}
    assert by_name["target_only / full"].epochs == 150 * 32 / 40
    assert by_name["joint / full"].epochs == 650 * 16 / 40


def test_the_pareto_set_is_what_nothing_cheaper_reaches() -> None:
    assert pareto([3, 1, 2, 2, 5], [0.9, 0.5, 0.6, 0.7, 0.9]) == [1, 3, 0]
    assert pareto([1, 1], [0.5, 0.5]) == [0]


def test_matched_budgets_are_within_five_percent() -> None:
    assert matched([100, 96, 200, 95, 50, 191]) == [[3, 1, 0], [5, 2], [4]]
    assert matched([0, 0]) == [[0, 1]]


def test_unequal_budgets_are_said_and_equal_ones_are_not(tmp_path: Path) -> None:
    found = find_out([invented.sweep(tmp_path / "grid", seeds=2)])
    assert [said.split(":")[0] for said in found.unequal] == [
        "Training budgets differ in images seen", "Training budgets differ in FLOPs",
    ]  # fmt: skip
    assert "(target_only / full)" in found.unequal[0]
    right = invented.labels_of(20) > 0
    for policy, rates in (("last_layers", (0.1, 0.2)), ("full", (0.1,))):
        for lr in rates:
            invented.run(tmp_path / "tuned", "joint", policy, 0, right, lr=lr)
    (said,) = find_out([tmp_path / "tuned"]).unequal
    assert "joint / last_layers was chosen from 2 settings, joint / full from 1" in said


def test_numbers_are_short() -> None:
    assert [short(x) for x in (0, 12, 4800, 1.25e6, 3.2e12, 5e16)] == ["0", "12", "4.8 k", "1.25 M", "3.2 T", "50 P"]
    assert set(MEASURES) == {"epochs", "steps", "images", "direct_flops"}
