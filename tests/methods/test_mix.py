"""Stages, shares and budgets."""

from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from tests.tiny import FULL, MIXES, stage
from tlfw.errors import ConfigError
from tlfw.methods.mix import Budget, DataMix, Stage
from tlfw.runs.experiment import Adapt

SIZES = {"source": 1000, "target": 80}


def mixed(**changes) -> Stage:
    given = {
        "share": {"target": 0.25, "source": None}, "loss_weight": {"source": 1.0, "target": 1.0}, "batch_size": 64,
        "budget": {"target": "10steps"},
    }  # fmt: skip
    return Stage(**{**given, **changes})


@pytest.mark.parametrize(
    ("text", "budget", "said"),
    [
        ("20epochs", Budget(amount=20, unit="epochs"), "20epochs"),
        ("1 epoch", Budget(amount=1, unit="epochs"), "1epoch"),
        ("1epochs", Budget(amount=1, unit="epochs"), "1epoch"),
        ("450 steps", Budget(amount=450, unit="steps"), "450steps"),
        ("1step", Budget(amount=1, unit="steps"), "1step"),
        ("32000images", Budget(amount=32000, unit="images"), "32000images"),
        ("0epochs", Budget(amount=0, unit="epochs"), "0epochs"),
    ],
)
def test_a_budget_is_typed_with_its_unit(text: str, budget: Budget, said: str) -> None:
    assert Adapt(budget=text, batch_size=1).budget == budget
    assert Adapt(budget=budget, batch_size=1).budget is budget
    assert mixed(budget={"target": text}).budget == {"target": budget}
    assert str(budget) == said


NO_BUDGET = "is no budget. Write a whole number with its unit: 20epochs, 450steps or 32000images."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (2, "2 has no unit. Write 2epochs, 2steps or 2images."),
        ("2", "2 has no unit. Write 2epochs, 2steps or 2images."),
        ("20 parsecs", "there is no unit 'parsecs'. Write 20epochs, 20steps or 20images."),
        ("20 epoch s", f"'20 epoch s' {NO_BUDGET}"),
        ("20  epochs", f"'20  epochs' {NO_BUDGET}"),
        ("epochs", f"'epochs' {NO_BUDGET}"),
        ("-1steps", f"'-1steps' {NO_BUDGET}"),
        ("1.5epochs", f"'1.5epochs' {NO_BUDGET}"),
        ("1e3images", f"'1e3images' {NO_BUDGET}"),
        (1, "1 has no unit. Write 1epoch, 1step or 1image."),
        ("٣epochs", f"'٣epochs' {NO_BUDGET}"),
        (2.0, f"2.0 {NO_BUDGET}"),
        (True, f"True {NO_BUDGET}"),
        (None, f"null {NO_BUDGET}"),
        ({"amount": 2}, f"{{'amount': 2}} {NO_BUDGET}"),
    ],
)
def test_anything_else_is_no_budget(given: object, said: str) -> None:
    with pytest.raises(ValidationError) as problem:
        Adapt(budget=given, batch_size=1)
    (error,) = problem.value.errors()
    assert error["loc"] == ("budget",)
    assert f"{error['msg']}. {error['ctx']['remedy']}" == said


@pytest.mark.parametrize(
    ("budget", "images", "steps"),
    [
        ({"source": "7steps"}, 448, 7),
        ({"source": "640images"}, 640, 10),
        ({"target": "641images"}, 641, 11),
        ({"target": "2epochs"}, 160, 3),
        ({"source": "3epochs"}, 3000, 47),
        ({"source": "3epochs", "target": "2epochs"}, 3160, 50),
        ({"source": "10steps", "target": "2epochs"}, 800, 13),
        ({"source": "20images", "target": "20images"}, 40, 1),
        ({"source": "0epochs", "target": "20epochs"}, 1600, 25),
    ],
)
def test_budgets_become_images_and_images_become_steps(budget: dict[str, str], images: int, steps: int) -> None:
    """Of a batch of 64, of which 16 are the target's."""
    assert mixed(budget=budget).workload(SIZES).images == images
    assert mixed(budget=budget).workload(SIZES).steps == steps


def test_an_epoch_of_a_small_set_alone_is_one_batch() -> None:
    alone = mixed(share={"target": 1.0}, batch_size=128, budget={"target": "3epochs"})
    assert (alone.workload(SIZES).images, alone.workload(SIZES).steps) == (240, 3)


def test_a_budget_stands_under_a_set_of_the_mixture() -> None:
    with pytest.raises(
        ConfigError, match=r"budget\.source: the stage does not train on the source\. Put it under targ"
    ):
        mixed(share={"target": 1.0}, budget={"source": "2epochs"})
    with pytest.raises(ValidationError, match="budget"):
        mixed(budget={})


def test_a_batch_is_divided_by_the_shares() -> None:
    assert mixed().workload(SIZES).per_batch == {"target": 16, "source": 48}
    assert mixed(share={"target": 0.3, "source": 0.7}, batch_size=11).workload(SIZES).per_batch == {
        "target": 3,
        "source": 8,
    }
    alone = mixed(share={"target": 1.0}, batch_size=128)
    assert alone.workload(SIZES).per_batch == {"target": 80}
    with pytest.raises(ConfigError, match=r"batch_size: .* no place for target"):
        mixed(share={"source": None, "target": 0.01}, batch_size=8).workload(SIZES)


@pytest.mark.parametrize("share", [{"target": 0.5}, {"target": 1.5, "source": None}, {"target": 0.0, "source": 1.0}])
def test_shares_must_add_up(share: dict) -> None:
    with pytest.raises(ConfigError, match="share"):
        mixed(share=share)


def test_a_mix_ends_on_the_target_under_the_cells_policy() -> None:
    with pytest.raises(ConfigError, match=r"stages\.adapt\.share"):
        DataMix(stages={"adapt": stage("source")}, order=["adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match=r"stages\.adapt\.policy"):
        DataMix(stages={"adapt": stage("target", policy=FULL)}, order=["adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match=r"stages\.first\.policy"):
        DataMix(stages={"first": stage("source"), "adapt": stage("target")}, order=["first", "adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match="order"):
        DataMix(stages={"adapt": stage("target")}, order=["adapt", "adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match=r"stages\.adapt\.seed: the last stage has the run's own"):
        DataMix(stages={"adapt": dataclasses.replace(stage("target"), seed=3)}, order=["adapt"], full_lr=0.1)


def test_published_weights_stand_in_for_a_stage_without_a_budget() -> None:
    mix = DataMix(
        stages={"pretrain": stage("source", steps=0, policy=FULL), "adapt": stage("target")},
        order=["pretrain", "adapt"],
        full_lr=0.1,
    )
    assert list(mix.trained(published=True)) == ["adapt"]
    with pytest.raises(ConfigError, match=r"stages\.pretrain\.budget\.source: it is 0, but"):
        mix.trained(published=False)
    assert list(MIXES["pretrain_joint"].trained(published=False)) == ["pretrain", "adapt"]
    half = mixed(budget={"source": "0epochs", "target": "4steps"})
    assert list(DataMix(stages={"adapt": half}, order=["adapt"], full_lr=0.1).trained(published=False)) == ["adapt"]
    none = mixed(budget={"source": "0epochs", "target": "0steps"})
    nothing = DataMix(stages={"adapt": none}, order=["adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match=r"stages\.adapt\.budget\.source: it is 0, so nothing would be learnt"):
        nothing.trained(published=True)
