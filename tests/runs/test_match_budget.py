"""Matched budgets: whatever a run trains on and whatever may change in it, its sum is the reference's."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic.dataclasses import dataclass
from torch.utils import flop_counter

from tests.runs.test_run import JOB
from tests.tiny import FULL, LAST_LAYER, LAST_LAYERS, MIXES, SIZE, TRAINER, Tiny, experiment, stage
from tlfw.data import ImageArray, Images, NoData
from tlfw.errors import ConfigError
from tlfw.identity.names import remembered
from tlfw.methods.mix import DataMix
from tlfw.records.record import Record
from tlfw.report.findings import find_out
from tlfw.runs import run as fold
from tlfw.runs.experiment import Adapt, Pretrain
from tlfw.runs.plan import Plan
from tlfw.strictness import STRICT
from tlfw.training import cost

MEASURES = ("epochs", "steps", "images", "flops")
POLICIES = {"last_layer": LAST_LAYER, "last_layers": LAST_LAYERS, "full": FULL}
GRID = (
    ("pretrain_finetune", "full"), ("joint", "last_layers"), ("pretrain_joint", "last_layer"), ("target_only", "full"),
)  # fmt: skip
PRETRAIN = Pretrain(budget="96images", batch_size=8, lr=0.01)
ADAPT = Adapt(budget="10steps", batch_size=6)


def resized(mix: str) -> DataMix:
    """A mix as conf/ makes it of these two budgets, so that no two batches are alike."""
    made = MIXES[mix]
    adapt = dataclasses.replace(
        made.stages["adapt"],
        batch_size=8 if mix == "joint" else 6,
        budget={"source": PRETRAIN.budget, "target": ADAPT.budget} if mix == "joint" else {"target": ADAPT.budget},
    )
    if "joint" in mix:
        adapt = dataclasses.replace(adapt, share={"target": 0.34, "source": 0.66})
    stages = {
        name: dataclasses.replace(each, budget={each.names[0]: PRETRAIN.budget}) for name, each in made.stages.items()
    }
    return dataclasses.replace(made, stages={**stages, "adapt": adapt})


def cell(folder: Path, mix: str, policy: str = "full", **changes: Any) -> Any:
    given = {"data_mix": resized(mix), "freeze_policy": POLICIES[policy], "pretrain": PRETRAIN, "adapt": ADAPT}
    return experiment(folder, **{**given, **changes})


def taken(stages: list[dict[str, Any]], measure: str) -> float:
    """What a record says that stages took."""
    each = {
        "epochs": lambda s: s["steps"] * s["per_batch"].get("target", 0),
        "steps": lambda s: s["steps"],
        "images": lambda s: s["images_seen"],
        "flops": lambda s: s["direct_flops"],
    }[measure]
    return sum(map(each, stages))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matched")


def made(place: Path, mix: str, policy: str, measure: str | None) -> Record:
    job = dataclasses.replace(JOB, choices={"data_mix": mix, "freeze_policy": policy, "backbone": "b"})
    return fold.run(cell(place, mix, policy, match_budget=measure), job)[0]


@pytest.mark.parametrize("measure", MEASURES)
def test_all_runs_take_what_the_reference_takes(place: Path, measure: str) -> None:
    """By what records say after training, which is counted apart from the plan."""
    reference = made(place, "pretrain_finetune", "full", None)
    assert [s["steps"] for s in reference.stages] == [12, 10]
    budget = taken(reference.stages, measure)
    folders = []
    for mix, policy in GRID:
        record = made(place, mix, policy, measure)
        step = taken(record.stages[-1:], measure) / record.stages[-1]["steps"]
        assert abs(taken(record.stages, measure) - budget) <= step / 2, (mix, policy)
        assert record.run_id == reference.run_id or (mix, policy) != GRID[0]  # it is itself
        (folder,) = (place / "outputs" / "runs").glob(f"*-{record.run_id[:12]}")
        folders.append(folder)
    if sentence := {"images": "images seen", "flops": "FLOPs"}.get(measure):
        found = find_out(folders)
        assert len(found.tasks[0].cells) == len(GRID)
        assert not [said for said in found.unequal if sentence in said]


def test_without_it_budgets_differ(place: Path) -> None:
    runs = [made(place, mix, policy, None) for mix, policy in GRID]
    assert len({taken(record.stages, "images") for record in runs}) > 2


def steps(plan: Plan) -> list[int]:
    return [stage.steps for stage in plan.stages]


def plan(folder: Path, mix: str = "target_only", policy: str = "full", **changes: Any) -> Plan:
    return cell(folder, mix, policy, **changes).plan()


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_steps_are_equal_runs(tmp_path: Path, measure: str) -> None:
    """The measure is in no key: a cell that had the matched steps keeps its own, and one that is given them has it."""
    own = plan(tmp_path, "pretrain_finetune")
    assert plan(tmp_path, "pretrain_finetune", match_budget=measure).key == own.key
    matched = plan(tmp_path, "joint", match_budget=measure)
    asked = resized("joint")
    budget = {"target": f"{matched.stages[-1].steps}steps"}
    given = dataclasses.replace(asked, stages={"adapt": dataclasses.replace(asked.stages["adapt"], budget=budget)})
    assert plan(tmp_path, "joint", data_mix=given).key == matched.key


def test_steps_follow_the_measure(tmp_path: Path) -> None:
    """24 images of the target; the reference is 12 steps of 8 and 10 of 6."""
    found = {m: steps(plan(tmp_path, "target_only", match_budget=m))[-1] for m in MEASURES}
    assert found == {"epochs": 10, "steps": 22, "images": 26, "flops": 26}
    assert steps(plan(tmp_path, "joint", match_budget="epochs")) == [20]  # 3 of 8 are the target's
    assert steps(plan(tmp_path, "pretrain_joint", match_budget="images")) == [12, 10]
    probe = steps(plan(tmp_path, "pretrain_finetune", "last_layer", match_budget="flops"))
    assert probe[0] == 12
    assert 25 <= probe[1] <= 30  # forward only, where the reference goes forward and back


def test_published_weights_stand_in_for_the_references_pretraining_too(tmp_path: Path) -> None:
    none = Pretrain(budget="0images", batch_size=8, lr=0.01)
    left = {"pretrain": none, "source": NoData(image_size=SIZE)}
    for measure in MEASURES:
        assert plan(tmp_path, match_budget=measure, **left).key == plan(tmp_path, **left).key


def test_a_reference_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    nothing = NoData(image_size=SIZE)
    with pytest.raises(ConfigError, match=r"match_budget: .* trains on the source: there is none.*match_budget=epochs"):
        plan(tmp_path, match_budget="images", source=nothing)
    assert steps(plan(tmp_path, match_budget="epochs", source=nothing)) == [10]


def test_stages_that_take_more_than_all_may_are_refused(tmp_path: Path) -> None:
    longer = {"pretrain": stage("source", steps=20, policy=FULL), "adapt": stage("target")}
    given = DataMix(stages=longer, order=["pretrain", "adapt"], full_lr=0.01)
    with pytest.raises(
        ConfigError, match=r"come to 156 images, of which the stages before adapt take 160 images and a step of adapt 8"
    ):
        plan(tmp_path, data_mix=given, match_budget="images")
    exact = {**longer, "pretrain": stage("source", steps=19, policy=FULL)}  # 4 images are left: half a step
    given = DataMix(stages=exact, order=["pretrain", "adapt"], full_lr=0.01)
    assert steps(plan(tmp_path, data_mix=given, match_budget="images")) == [19, 1]
    exact = {**longer, "pretrain": stage("source", steps=22, policy=FULL)}
    given = DataMix(stages=exact, order=["pretrain", "adapt"], full_lr=0.01)
    with pytest.raises(ConfigError, match=r"come to 22 steps, .* take 22 steps .* 1 steps: nothing is left"):
        plan(tmp_path, data_mix=given, match_budget="steps")
    with pytest.raises(ConfigError, match=r"come to [\d.e+]+ FLOPs"):
        plan(tmp_path, data_mix=given, match_budget="flops")
    assert not (tmp_path / "outputs" / "runs").exists()


def test_the_trainers_limit_holds(tmp_path: Path) -> None:
    """What is left under trainer=smoke is not matched, and no complaint."""
    short = functools.partial(TRAINER.func, **TRAINER.keywords, max_steps=3)
    for mix in MIXES:
        assert set(steps(plan(tmp_path, mix, match_budget="images", trainer=short))) == {3}


def test_operations_are_counted_once_for_each_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_counted", remembered(cost._counted.__wrapped__))  # which knows none yet
    counted = []
    counter = flop_counter.FlopCounterMode
    monkeypatch.setattr(flop_counter, "FlopCounterMode", lambda **given: counted.append(1) or counter(**given))
    for seed in range(3):
        for mix, policy in GRID:
            plan(tmp_path, mix, policy, match_budget="flops", seed=seed)
    assert len(counted) == 4  # everything by either head; the target's alone, and with the last block


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Overlapping(Tiny):
    def read(self, split: str) -> Images | None:
        images, own = super().read(split), Tiny(image_size=SIZE).read(split)
        if images is None or own is None:
            return None
        pixels = np.concatenate([images._pixels, own._pixels[:30]])
        return ImageArray(pixels, np.concatenate([images.labels_N, own.labels_N[:30]]), images.classes)


def test_what_the_reference_trains_on_is_what_other_runs_do(tmp_path: Path) -> None:
    """Also where the source leaves out what the target has, and the run itself has no source."""
    source = Overlapping(classes=4, first=500, image_size=SIZE)
    epoch = dataclasses.replace(PRETRAIN, budget="3epochs")
    given = {"source": source, "copies": "leave_out", "pretrain": epoch, "match_budget": "images"}
    alone = cell(tmp_path, "target_only", **given).plan()
    both = cell(tmp_path, "pretrain_finetune", **given).plan()
    assert len(both.divisions["source"].train) == 32
    assert [stage.images for stage in both.stages] == [96, 60]
    assert [stage.images for stage in alone.stages] == [156]
