"""What decides a result is in its key, and what repeats it is not in its setting."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic.dataclasses import dataclass

from tests.test_fold import fixed
from tests.tiny import FULL, LAST_LAYER, LAST_LAYERS, MIXES, SIZE, TRAINER, Tiny, experiment, stage
from tlfw.data import Images
from tlfw.experiment import Adapt, Pretrain
from tlfw.freeze import LastBlocks
from tlfw.mix import DataMix
from tlfw.plan import Plan
from tlfw.strict import STRICT
from tlfw.zoo import TorchvisionBackbone


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WithVal(Tiny):
    """With validation images of its own."""

    val: int = 0

    def read(self, split: str) -> Images | None:
        return Tiny(count=4, first=20_000 + self.val).read("train") if split == "val" else super().read(split)


def plan(folder: Path, **changes: Any) -> Plan:
    return experiment(folder, **changes).plan()


def changed(name: str, mix: DataMix = MIXES["pretrain_joint"], **changes: Any) -> DataMix:
    """A mix of which one stage is another."""
    return dataclasses.replace(mix, stages={**mix.stages, name: dataclasses.replace(mix.stages[name], **changes)})


CLIPPED = partial(TRAINER.func, **TRAINER.keywords, gradient_clip_val=0.5)
BASE = {"freeze_policy": LAST_LAYERS, "data_mix": MIXES["pretrain_joint"], "target": WithVal(image_size=SIZE)}


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({}, []),
        ({"trainer": CLIPPED}, ["pretrain", "adapt"]),
        ({"threads": torch.get_num_threads() + 1}, ["pretrain", "adapt"]),
        ({"seed": 1}, ["pretrain", "adapt"]),
        ({"optimizer": partial(torch.optim.SGD, momentum=0.8)}, ["pretrain", "adapt"]),
        ({"freeze_policy": dataclasses.replace(LAST_LAYERS, lr_head=0.06)}, ["adapt"]),
        ({"freeze_policy": dataclasses.replace(LAST_LAYERS, lr_backbone=0.02)}, ["adapt"]),
        ({"freeze_policy": dataclasses.replace(LAST_LAYERS, batch_norm="train")}, ["adapt"]),
        ({"target": WithVal(image_size=SIZE, val=500)}, ["adapt"]),
        ({"target": WithVal(image_size=SIZE, first=700)}, ["adapt"]),
        ({"target": WithVal(image_size=SIZE, mean=[0.4] * 3, std=[0.5] * 3)}, ["adapt"]),
        ({"target": WithVal(image_size=SIZE, augmentation="flip")}, ["adapt"]),
        ({"source": Tiny(classes=4, first=501, image_size=SIZE)}, ["pretrain", "adapt"]),
        ({"data_mix": changed("adapt", loss_weight={"source": 0.5, "target": 1.0})}, ["adapt"]),
        ({"data_mix": changed("adapt", share={"source": 0.25, "target": 0.75})}, ["adapt"]),
        ({"data_mix": changed("adapt", budget={"target": "5steps"})}, ["adapt"]),
        ({"data_mix": changed("pretrain", seed=1)}, ["pretrain", "adapt"]),
        ({"data_mix": changed("pretrain", seed=0)}, []),
        ({"validations": 3}, []),
        ({"freeze_policy": dataclasses.replace(FULL, batch_norm="train")}, ["adapt"]),
    ],
    ids=str,
)
def test_a_stages_key_changes_with_what_decides_it(tmp_path: Path, change: dict[str, Any], stages: list[str]) -> None:
    base, other = plan(tmp_path, **BASE), plan(tmp_path, **{**BASE, **change})
    assert [a.name for a, b in zip(base.stages, other.stages, strict=True) if a.key != b.key] == stages
    assert (base.key == other.key) == (not stages)


def test_batch_norms_mode_is_in_the_key_also_where_nothing_is_stored(tmp_path: Path) -> None:
    moving = {"freeze_policy": LAST_LAYERS, "target": Tiny(image_size=SIZE, augmentation="flip")}
    drifting = {**moving, "freeze_policy": dataclasses.replace(LAST_LAYERS, batch_norm="train")}
    one, other = plan(tmp_path, **moving), plan(tmp_path, **drifting)
    assert one.stages[-1].stored == other.stages[-1].stored == 0
    assert one.stages[-1].key != other.stages[-1].key
    assert one.setting != other.setting


def test_what_has_no_effect_is_in_no_key(tmp_path: Path) -> None:
    """BatchNorm's mode where nothing is frozen; the last five of five blocks."""
    full = plan(tmp_path, freeze_policy=FULL).key
    assert plan(tmp_path, freeze_policy=dataclasses.replace(FULL, batch_norm="train")).key == full
    assert plan(tmp_path, freeze_policy=dataclasses.replace(FULL, n=5)).key == full


def features(folder: Path, **changes: Any) -> set[str]:
    """The keys of the target's features from random weights, which no stage made."""
    given = {"data_mix": MIXES["target_only"], "freeze_policy": LAST_LAYER, **changes}
    found = plan(folder, **given).stages[-1].features
    assert len(found) == 2
    return set(found.values())


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"threads": torch.get_num_threads() + 1},
        {"target": Tiny(image_size=SIZE, mean=[0.4] * 3, std=[0.5] * 3)},
        {"target": Tiny(image_size=SIZE, first=77)},
        {"freeze_policy": LAST_LAYERS},
        {"backbone": TorchvisionBackbone(name="shufflenet_v2_x1_0")},
    ],
    ids=str,
)
def test_stored_features_are_of_these_images_seen_so_by_these_blocks_computed_so(tmp_path: Path, change: dict) -> None:
    assert not features(tmp_path) & features(tmp_path, **change)


def test_stored_features_know_nothing_of_what_is_trained_on_them(tmp_path: Path) -> None:
    for change in (
        {"freeze_policy": LastBlocks(n=0, lr_head=0.1)},
        {"select": "best_val"},
        {"target": Tiny(image_size=SIZE, balance="loss")},
        {"data_mix": DataMix(stages={"adapt": stage("target", steps=9)}, order=["adapt"], full_lr=0.1)},
    ):
        assert features(tmp_path) == features(tmp_path, **change)


def given(folder: Path, seed: int) -> TorchvisionBackbone:
    """A backbone with weights from a file."""
    made = TorchvisionBackbone(name="shufflenet_v2_x0_5")
    file = folder / f"{seed}.pth"
    torch.save(made.build(4, SIZE, seed).state_dict(), file)
    return dataclasses.replace(made, weights=str(file))


def test_given_weights_are_of_no_seed(tmp_path: Path) -> None:
    """Their features are made once for all seeds; what is trained on them is not."""
    one, other = given(tmp_path, 1), given(tmp_path, 2)
    assert features(tmp_path, backbone=one) == features(tmp_path, backbone=one, seed=1)
    assert not features(tmp_path, backbone=one) & features(tmp_path, backbone=other)
    runs = {plan(tmp_path, backbone=weights, seed=seed).key for weights in (one, other) for seed in (0, 1)}
    assert len(runs) == 4


# ----------------------------------------------------------------------------------------------- seeds and histories


def test_one_pretraining_serves_runs_of_all_seeds(tmp_path: Path) -> None:
    for mix in ("pretrain_finetune", "pretrain_joint"):
        plans = [plan(tmp_path, data_mix=fixed(mix, 7), seed=seed) for seed in (0, 1, 7)]
        assert len({made.stages[0].key for made in plans}) == 1
        assert len({made.stages[1].key for made in plans}) == 3
        assert [[each.seed for each in made.stages] for made in plans] == [[7, 0], [7, 1], [7, 7]]
        assert plan(tmp_path, data_mix=MIXES[mix], seed=7).key == plans[2].key  # the same work
        assert plan(tmp_path, data_mix=MIXES[mix], seed=1).stages[0].key != plans[1].stages[0].key


def pretrain(**changes: Any) -> Pretrain:
    return Pretrain(**{"budget": "4steps", "batch_size": 8, "lr": 0.01, **changes})


def test_mixes_without_a_stage_before_the_last_know_nothing_of_it(tmp_path: Path) -> None:
    for mix in ("joint", "target_only"):
        made = plan(tmp_path, data_mix=MIXES[mix], pretrain=pretrain(seed=3), seed=5)
        assert made.key == plan(tmp_path, data_mix=MIXES[mix], seed=5).key
        assert made.setting == plan(tmp_path, data_mix=MIXES[mix], seed=5).setting
        assert made.stages[0].seed == 5


def test_a_stage_knows_how_many_trained_on_its_data_before(tmp_path: Path) -> None:
    def earlier(mix: DataMix, **changes: Any) -> list[dict[str, int]]:
        return [dict(each.earlier) for each in plan(tmp_path, data_mix=mix, **changes).stages]

    assert earlier(MIXES["pretrain_finetune"]) == [{"source": 0}, {"target": 0}]
    assert earlier(MIXES["pretrain_joint"]) == [{"source": 0}, {"source": 1, "target": 0}]
    assert earlier(MIXES["joint"]) == [{"source": 0, "target": 0}]
    three = {
        "pretrain": stage("source", policy=FULL),
        "both": stage("target", "source", policy=FULL),
        "adapt": stage("source", "target"),
    }
    mix = DataMix(stages=three, order=["pretrain", "both", "adapt"], full_lr=0.1)
    assert earlier(mix)[1:] == [{"target": 0, "source": 1}, {"source": 2, "target": 1}]
    left = dataclasses.replace(mix, stages={**three, "pretrain": stage("source", steps=0, policy=FULL)})
    assert earlier(left, backbone=given(tmp_path, 1)) == [{"target": 0, "source": 0}, {"source": 1, "target": 1}]


# ------------------------------------------------------------------------------------------------------ repetitions


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Fewer(Tiny):
    """One training image less, as a fold or a draw of groups may have."""

    def read(self, split: str) -> Images | None:
        if split != "train":
            return super().read(split)
        images = super().read(split)
        assert images is not None
        return type(images)(images._pixels[1:], images.labels_N[1:], images.classes)


EPOCHS = {
    "pretrain": pretrain(budget="3epochs"),
    "adapt": Adapt(budget="9epochs", batch_size=8),
    "freeze_policy": FULL,
}


def epochs(mix: str) -> DataMix:
    """A mix as conf/ makes it of these budgets."""
    made = MIXES[mix]
    source, target = {"source": "3epochs"}, {"target": "9epochs"}
    budgets = {"pretrain": source, "adapt": {**source, **target} if mix == "joint" else target}
    return dataclasses.replace(
        made, stages={name: dataclasses.replace(each, budget=budgets[name]) for name, each in made.stages.items()}
    )


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("measure", [None, "images", "flops", "steps", "epochs"])
def test_repetitions_have_one_setting(tmp_path: Path, mix: str, measure: str | None) -> None:
    """Whatever their seeds, their images and how many those are, and where they are computed."""
    how = {**EPOCHS, "data_mix": epochs(mix), "match_budget": measure}
    base = plan(tmp_path, **how)
    for change in (
        {"seed": 1},
        {"target": Tiny(image_size=SIZE, split_seed=3)},
        {"target": Tiny(image_size=SIZE, first=77)},
        {"target": Fewer(image_size=SIZE)},
        {"threads": torch.get_num_threads() + 1},
        {"validations": 3},
    ):
        other = plan(tmp_path, **{**how, **change})
        assert other.setting == base.setting, change
        assert (other.key == base.key) == ("validations" in change)
        if change.get("target") == Fewer(image_size=SIZE):
            assert other.stages[-1].steps < base.stages[-1].steps


@pytest.mark.parametrize("mix", ["pretrain_finetune", "joint", "pretrain_joint"])
def test_what_was_asked_for_is_the_same_whether_it_was_matched_or_not(tmp_path: Path, mix: str) -> None:
    """In images, of which these mixes see as many anyway: a run that was made before a grid is one of its own."""
    how = {**EPOCHS, "data_mix": epochs(mix)}
    assert plan(tmp_path, **how).setting == plan(tmp_path, **how, match_budget="images").setting


@pytest.mark.parametrize(
    "change",
    [
        {"freeze_policy": LAST_LAYERS},
        {"freeze_policy": dataclasses.replace(FULL, lr_head=0.06)},
        {"freeze_policy": dataclasses.replace(FULL, lr_backbone=0.06)},
        {"trainer": CLIPPED},
        {"trainer": partial(TRAINER.func, **TRAINER.keywords, precision="bf16-mixed")},
        {"trainer": partial(TRAINER.func, **TRAINER.keywords, max_steps=3)},
        {"optimizer": partial(torch.optim.SGD, momentum=0.8)},
        {"select": "best_val"},
        {"match_budget": "images", "adapt": Adapt(budget="10epochs", batch_size=8)},
        {"match_budget": "epochs"},
        {"target": Tiny(image_size=SIZE, augmentation="flip")},
        {"target": Tiny(image_size=SIZE, balance="loss")},
        {"source": Tiny(classes=4, first=500, image_size=SIZE, mean=[0.4] * 3, std=[0.5] * 3)},
        {"backbone": TorchvisionBackbone(name="shufflenet_v2_x1_0")},
        {"backbone": TorchvisionBackbone(name="shufflenet_v2_x0_5", head_classes=9)},
        {"data_mix": changed("pretrain", epochs("pretrain_joint"), seed=0)},
        {"data_mix": changed("pretrain", epochs("pretrain_joint"), batch_size=16)},
        {"data_mix": changed("adapt", epochs("pretrain_joint"), budget={"target": "10epochs"})},
        {"data_mix": changed("adapt", epochs("pretrain_joint"), batch_size=16)},
        {"data_mix": changed("adapt", epochs("pretrain_joint"), share={"source": 0.25, "target": 0.75})},
        {"data_mix": changed("adapt", epochs("pretrain_joint"), loss_weight={"source": 0.5, "target": 1.0})},
        {"data_mix": changed("pretrain", epochs("pretrain_joint"), policy=LAST_LAYERS)},
    ],
    ids=str,
)
def test_another_way_is_another_setting(tmp_path: Path, change: dict[str, Any]) -> None:
    how = {**EPOCHS, "data_mix": epochs("pretrain_joint")}
    assert plan(tmp_path, **{**how, **change}).setting != plan(tmp_path, **how).setting


def test_the_seed_of_pretraining_is_part_of_the_setting(tmp_path: Path) -> None:
    settings = {plan(tmp_path, data_mix=fixed("pretrain_finetune", seed)).setting for seed in (0, 1)}
    assert len(settings | {plan(tmp_path).setting}) == 3
    assert plan(tmp_path, data_mix=fixed("pretrain_finetune", 1), seed=4).setting in settings


def test_which_weights_were_given_is_not_part_of_the_setting(tmp_path: Path) -> None:
    """Runs that begin with what runs of several seeds have learnt repeat each other; those that begin anew do not."""
    found = {plan(tmp_path, backbone=given(tmp_path, seed), data_mix=MIXES["joint"]).setting for seed in (1, 2)}
    assert len(found) == 1
    assert plan(tmp_path, data_mix=MIXES["joint"]).setting not in found


# ------------------------------------------------------------------------------------------------ what a plan says


@pytest.mark.parametrize(
    ("policy", "trains"),
    [(LAST_LAYER, "head"), (LAST_LAYERS, "blocks"), (FULL, "all"), (dataclasses.replace(FULL, n=5), "all")],
)
def test_a_plan_says_what_a_stage_trains(tmp_path: Path, policy: LastBlocks, trains: str) -> None:
    assert [each.trains for each in plan(tmp_path, freeze_policy=policy).stages] == ["all", trains]


def long(pretrain: int, adapt: int) -> DataMix:
    stages = {"pretrain": stage("source", steps=pretrain, policy=FULL), "adapt": stage("target", steps=adapt)}
    return DataMix(stages=stages, order=["pretrain", "adapt"], full_lr=0.1)


def of_steps(made: Plan) -> tuple[str, ...]:
    """What it remarks of steps; the few images here are remarked too."""
    return tuple(remark for remark in made.remarks if "steps" in remark or " step " in remark)


def test_fewer_than_ten_steps_are_said(tmp_path: Path) -> None:
    assert of_steps(plan(tmp_path, data_mix=long(10, 10))) == ()
    assert of_steps(plan(tmp_path, data_mix=long(9, 10))) == (
        "pretrain takes 9 steps of 8 images; fewer than ten hardly learn",
    )
    assert of_steps(plan(tmp_path, data_mix=long(100, 1))) == (
        "adapt takes 1 step of 8 images; fewer than ten hardly learn",
    )
    matched = plan(
        tmp_path, data_mix=MIXES["pretrain_finetune"], match_budget="images", pretrain=pretrain(budget="4steps"),
        adapt=Adapt(budget="40images", batch_size=8),
    )  # fmt: skip
    assert [each.steps for each in matched.stages] == [4, 5]
    assert of_steps(matched)[-1] == "adapt takes 5 steps of 8 images; fewer than ten hardly learn"


def test_what_the_trainer_cuts_is_said_once_and_is_not_called_few(tmp_path: Path) -> None:
    short = partial(TRAINER.func, **TRAINER.keywords, max_steps=3)
    assert of_steps(plan(tmp_path, data_mix=long(10, 20), trainer=short)) == (
        "trainer.max_steps ends pretrain and adapt after 3 steps: to try out, not to compare",
    )
    assert of_steps(plan(tmp_path, data_mix=long(10, 2), trainer=short)) == (
        "adapt takes 2 steps of 8 images; fewer than ten hardly learn",
        "trainer.max_steps ends pretrain after 3 steps: to try out, not to compare",
    )
    assert of_steps(plan(tmp_path, data_mix=long(3, 12), trainer=short)) == (
        "pretrain takes 3 steps of 8 images; fewer than ten hardly learn",
        "trainer.max_steps ends adapt after 3 steps: to try out, not to compare",
    )
