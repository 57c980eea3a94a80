"""Stages, shares and budgets."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.tiny import FULL, MIXES, stage
from tlfw.errors import ConfigError
from tlfw.mix import Budget, DataMix, Stage

SIZES = {"source": 1000, "target": 80}


def mixed(**changes) -> Stage:
    given = {
        "share": {"target": 0.25, "source": None}, "loss_weight": {"source": 1.0, "target": 1.0}, "batch_size": 64,
        "budget": [Budget(amount=10, unit="steps")],
    }  # fmt: skip
    return Stage(**{**given, **changes})


@pytest.mark.parametrize(
    ("budget", "per_batch", "steps"),
    [
        (Budget(amount=7, unit="steps"), {"target": 64}, 7),
        (Budget(amount=640, unit="images"), {"target": 64}, 10),
        (Budget(amount=641, unit="images"), {"target": 16, "source": 48}, 11),
        (Budget(amount=2, unit="epochs", of="source"), {"source": 50}, 40),
        (Budget(amount=2, unit="epochs", of="target"), {"target": 16, "source": 48}, 10),
        (Budget(amount=3, unit="epochs", of="source"), {"target": 16, "source": 48}, 63),
    ],
)
def test_budgets_become_steps(budget: Budget, per_batch: dict[str, int], steps: int) -> None:
    assert budget.steps(per_batch, SIZES) == steps


def test_budgets_add_up() -> None:
    both = [Budget(amount=10, unit="steps"), Budget(amount=2, unit="epochs", of="target")]
    assert mixed(budget=both).steps(SIZES) == 20


def test_a_batch_is_divided_by_the_shares() -> None:
    assert mixed().per_batch(SIZES) == {"target": 16, "source": 48}
    assert mixed(share={"target": 0.3, "source": 0.7}, batch_size=11).per_batch(SIZES) == {"target": 3, "source": 8}
    alone = mixed(share={"target": 1.0}, batch_size=128)
    assert alone.per_batch(SIZES) == {"target": 80}
    with pytest.raises(ConfigError, match=r"batch_size: .* no place for target"):
        mixed(share={"source": None, "target": 0.01}, batch_size=8).per_batch(SIZES)


@pytest.mark.parametrize("share", [{"target": 0.5}, {"target": 1.5, "source": None}, {"target": 0.0, "source": 1.0}])
def test_shares_must_add_up(share: dict) -> None:
    with pytest.raises(ConfigError, match="share"):
        mixed(share=share)


def test_epochs_say_of_what() -> None:
    with pytest.raises(ConfigError, match=r"of: .*source or target"):
        Budget(amount=1, unit="epochs")
    with pytest.raises(ConfigError, match=r"budget\.of: epochs are of the source, which no stage"):
        Budget(amount=1, unit="epochs", of="source").steps({"target": 8}, {"target": 80})
    with pytest.raises(ValidationError, match="amount"):
        Budget(amount=-1, unit="steps")


def test_a_mix_ends_on_the_target_under_the_cells_policy() -> None:
    with pytest.raises(ConfigError, match=r"stages\.adapt\.share"):
        DataMix(stages={"adapt": stage("source")}, order=["adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match=r"stages\.adapt\.policy"):
        DataMix(stages={"adapt": stage("target", policy=FULL)}, order=["adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match=r"stages\.first\.policy"):
        DataMix(stages={"first": stage("source"), "adapt": stage("target")}, order=["first", "adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match="order"):
        DataMix(stages={"adapt": stage("target")}, order=["adapt", "adapt"], full_lr=0.1)


def test_published_weights_stand_in_for_a_stage_without_a_budget() -> None:
    mix = DataMix(
        stages={"pretrain": stage("source", steps=0, policy=FULL), "adapt": stage("target")},
        order=["pretrain", "adapt"],
        full_lr=0.1,
    )
    assert list(mix.trained(published=True)) == ["adapt"]
    with pytest.raises(ConfigError, match=r"pretrain\.budget\.amount"):
        mix.trained(published=False)
    assert list(MIXES["pretrain_joint"].trained(published=False)) == ["pretrain", "adapt"]
