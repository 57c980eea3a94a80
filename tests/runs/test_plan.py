"""What decides a result is in its key, and what repeats it is not in its setting."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic.dataclasses import dataclass
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import PolynomialLR

from tests.runs.test_fold import fixed
from tests.tiny import FULL, LAST_LAYER, LAST_LAYERS, MIXES, SIZE, TRAINER, Tiny, experiment, stage
from tlfw.backbones.backbone import Backbone
from tlfw.backbones.families import Block, Family
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import Digits, Images
from tlfw.errors import ConfigError
from tlfw.identity.names import canonical
from tlfw.methods import schedule
from tlfw.methods.freeze import LastBlocks
from tlfw.methods.mix import DataMix
from tlfw.numerics.tag import Numerics
from tlfw.runs.experiment import Adapt, Pretrain
from tlfw.runs.experiment_data import Memo, SeenData
from tlfw.runs.plan import Plan
from tlfw.strictness import STRICT


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


@pytest.mark.parametrize(
    ("name", "augmentation", "stages"),
    [
        ("target", "none", []),
        ("target", ["mixup", "cutmix"], []),  # whole batches are mixed as before
        ("target", ["flip", "mixup"], ["adapt"]),
        ("source", "erasing", ["pretrain", "adapt"]),
    ],
)
def test_how_images_are_drawn_is_in_the_keys_of_what_is_augmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, augmentation: str | list[str], stages: list[str]
) -> None:
    """What was trained on images that were drawn otherwise is not taken for it, and nothing else is made again."""
    change = {name: Tiny(classes=4, first=500, image_size=SIZE, augmentation=augmentation)}
    made = experiment(tmp_path, **change)
    before, basis = made.plan(), canonical(made.basis(Memo()))
    for module in ("keys", "experiment"):
        monkeypatch.setattr(f"tlfw.runs.{module}.REVISION", 10**6)
    after = made.plan()
    assert [a.name for a, b in zip(before.stages, after.stages, strict=True) if a.key != b.key] == stages
    assert (before.key == after.key) == (not stages)
    assert before.setting == after.setting  # the same distribution: runs of both repeat each other
    assert (basis == canonical(made.basis(Memo()))) == (not stages)  # of a search's trials


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


# ---------------------------------------------------------------------------------------------- a person's own parts

OWN = """
from torch.optim.lr_scheduler import PolynomialLR

from own_helper import POWER


def make(optimizer, steps, *, power=1):
    return PolynomialLR(optimizer, steps, power * POWER)
"""


def forget_own(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A schedule of a person's own, as a process has it that begins now."""
    for name in ("own_schedule", "own_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return importlib.import_module("own_schedule").make


def test_a_changed_helper_of_ones_own_is_another_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_schedule.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for text in ("POWER = 1\n", "POWER = 9\n", "POWER = 1\n"):
        (tmp_path / "own_helper.py").write_text(text)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        own = forget_own(monkeypatch)
        found.append([plan(tmp_path, schedule=partial(own, power=power)) for power in (1, 9)])
    for name in ("own_schedule", "own_helper"):
        monkeypatch.delitem(sys.modules, name)
    assert [each.key for each in found[0]] == [each.key for each in found[2]]
    stages = {stage.key for plans in found for made in plans for stage in made.stages}
    assert len(stages) == 2 * 4


def closing(power: int) -> Any:
    def make(optimizer: Optimizer, steps: int) -> object:
        return PolynomialLR(optimizer, steps, power)

    return make


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schedule", closing(9)),
        ("schedule", partial(closing(9))),
        ("schedule", lambda optimizer, steps: PolynomialLR(optimizer, steps)),
        ("optimizer", lambda groups: torch.optim.SGD(groups, lr=0.1)),
        ("trainer", lambda **settings: TRAINER(**settings)),
    ],
)
def test_what_hides_what_it_holds_is_refused_by_its_field(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"may hold what its name does not say\. Use a function or class") as caught:
        plan(tmp_path, **{field: value})
    assert caught.value.field == field


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pulled(LastBlocks):
    """A policy with a field more."""

    alpha: float = 0.0


def test_a_new_field_of_a_policy_is_keyed(tmp_path: Path) -> None:
    given = {"n": 1, "lr_head": 0.05, "lr_backbone": 0.01}
    plans = [plan(tmp_path, freeze_policy=Pulled(alpha=alpha, **given)) for alpha in (0.0, 1.0)]
    plans.append(plan(tmp_path, freeze_policy=LastBlocks(**given)))
    assert len({made.stages[-1].key for made in plans}) == len({made.setting for made in plans}) == 3
    assert len({made.stages[0].key for made in plans}) == 1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Wide(Backbone):
    """A network with a list for a field."""

    widths: list[int]

    def make(self, classes: int, image_size: int) -> nn.Module:
        body = nn.Sequential(nn.Conv2d(3, self.widths[0], 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(OrderedDict(body=body, fc=nn.Linear(self.widths[0], classes)))

    @property
    def family(self) -> Family:
        return Family(self.name, lambda model: (Block("body", ("body",)),), head=("fc",))


def test_a_backbone_may_have_a_list(tmp_path: Path) -> None:
    keys = set()
    for policy in (FULL, LAST_LAYER):
        for widths in ([16, 32], [16, 64], [8]):
            made = plan(tmp_path, backbone=Wide(name="wide", widths=widths), freeze_policy=policy, match_budget="flops")
            keys.add(made.key)
    assert len(keys) == 6


def test_what_test_images_belong_together_with_is_in_the_runs_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decides intervals, and nothing that is learnt."""
    one = plan(tmp_path)
    monkeypatch.setattr(SeenData, "grouping", "by subject")
    other = plan(tmp_path)
    assert [stage.key for stage in one.stages] == [stage.key for stage in other.stages]
    assert one.key != other.key


# -------------------------------------------------------------------------------------------------------- keys stay

STAY: dict[str, dict[str, Any]] = {
    "base": {},
    **{mix: {"data_mix": MIXES[mix]} for mix in ("pretrain_joint", "joint", "target_only")},
    "full": {"freeze_policy": FULL},
    "last layers": {"freeze_policy": LAST_LAYERS},
    "drifting": {"freeze_policy": dataclasses.replace(LAST_LAYERS, batch_norm="train")},
    "seed": {"seed": 1},
    "best": {"select": "best_val"},
    "best by log loss": {"select": "best_val", "metric": "log_loss"},
    "adamw": {"optimizer": partial(torch.optim.AdamW, weight_decay=0.01)},
    "constant": {"schedule": partial(schedule.constant, warmup=0.1)},
    "step": {"schedule": partial(schedule.step, warmup=0.0, milestones=[0.5], gamma=0.1)},
    "one cycle": {"schedule": partial(schedule.one_cycle, warmup=0.3)},
    "resnet18": {"backbone": TorchvisionBackbone(name="resnet18", stem="small")},
    "classes": {"backbone": TorchvisionBackbone(name="resnet18", head_classes=1000)},
    "digits": {"target": Digits(image_size=SIZE, train_per_class=5)},
    "augmented": {"target": Digits(image_size=SIZE, augmentation=["flip", "erasing"], strength=0.5)},
    "mixed": {"target": Digits(image_size=SIZE, augmentation="mixup")},
    "balanced": {"target": Digits(image_size=SIZE, balance="loss", mean=[0.5] * 3, std=[0.25] * 3)},
    "matched": {"match_budget": "images", "adapt": Adapt(budget="72images", batch_size=8)},
}
"""Experiments whose keys moving code does not change."""

KEYS = {
    "base": "4bbf1dc2",
    "pretrain_joint": "6acb66bf",
    "joint": "f965be50",
    "target_only": "5a02d3bc",
    "full": "11bdf57b",
    "last layers": "e8dcd735",
    "drifting": "87f07d5c",
    "seed": "f51e2de0",
    "best": "420ea946",
    "best by log loss": "042494c8",
    "adamw": "70d1e692",
    "constant": "76c45448",
    "step": "76d312ff",
    "one cycle": "81cc6d86",
    "resnet18": "758ea340",
    "classes": "124abdf1",
    "digits": "44650a00",
    "augmented": "17d8b241",
    "mixed": "13d5c7d2",
    "balanced": "101269d4",
    "matched": "15178fef",
}
"""The first digits of their keys."""


def test_keys_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On any machine, with any versions of what computes."""
    anywhere = Numerics({"device": "cpu", "precision": "32-true", "world_size": 1}, {"deterministic": True}, 2**62)
    monkeypatch.setattr("tlfw.runs.check.numerics_known", lambda *_: anywhere)
    memo = Memo()
    assert {name: experiment(tmp_path, **how).plan(memo).key[:8] for name, how in STAY.items()} == KEYS


def test_who_is_in_company(tmp_path: Path) -> None:
    """Runs that differ in what belongs to their heads alone."""
    memo = Memo()

    def company(**changes: Any) -> str | None:
        mix = fixed("pretrain_finetune", 7)
        return experiment(tmp_path, **{"data_mix": mix, **changes}).plan(memo).company

    base = company()
    assert base is not None
    for same in (
        {"seed": 1},
        {"freeze_policy": LastBlocks(n=0, lr_head=0.7)},
        {"target": Tiny(image_size=SIZE, balance="loss")},
    ):
        assert company(**same) == base
    one_stage = company(data_mix=MIXES["target_only"])
    for same in (
        {"optimizer": partial(torch.optim.AdamW)},
        {"select": "best_val"},
        {"schedule": partial(schedule.constant, warmup=0.0)},
    ):
        assert company(**same) != base  # the pretraining is another
        assert company(data_mix=MIXES["target_only"], **same) == one_stage
    for other in (
        {"target": Tiny(image_size=SIZE, count=11)},
        {"backbone": TorchvisionBackbone(name="resnet18")},
        {"data_mix": MIXES["joint"]},
    ):
        assert company(**other) not in (base, None)
    assert company(freeze_policy=FULL) is None
    assert company(freeze_policy=LAST_LAYERS) is None
