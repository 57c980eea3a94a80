"""A stage draws from what it is: its seed, its data sets, and how often they were trained on before."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.runs.test_run import JOB
from tests.tiny import FULL, MIXES, SIZE, Tiny, experiment, stage
from tlfw.data.mixture import TrainBatches
from tlfw.methods.mix import DataMix
from tlfw.runs import fold as fold_room
from tlfw.runs import run as fold
from tlfw.runs.experiment import Experiment
from tlfw.runs.fold import Fold


def fixed(mix: str, seed: int) -> DataMix:
    """A mix with `pretrain.seed`."""
    made = MIXES[mix]
    stages = {name: dataclasses.replace(each, seed=seed) for name, each in made.stages.items() if name != "adapt"}
    return dataclasses.replace(made, stages={**made.stages, **stages})


def served(made: Experiment) -> list[TrainBatches]:
    """What each stage of an experiment trains on, without training."""
    plan = made.plan()
    held = Fold(made, plan, "m", open=lambda **_: pytest.fail("opened"))
    found = []
    for each in plan.stages:
        held.add_heads(each)
        found.append(held.mixture(each).train_dataloader().batches)
    return found


def rows(batches: TrainBatches, name: str, count: int = 32) -> list[tuple[int, int]]:
    """The first places of a data set's row, however many lie in a batch."""
    return [row for step in range(count) for row in batches.rows(name, step)][:count]


def test_a_later_stage_sees_a_data_set_in_another_order(tmp_path: Path) -> None:
    first, second = served(experiment(tmp_path, data_mix=MIXES["pretrain_joint"]))
    assert {k for _, k in rows(first, "source")} == {0}  # a whole pass
    assert rows(first, "source") != rows(second, "source")


def test_what_no_stage_trained_on_before_is_seen_alike_in_all_mixes(tmp_path: Path) -> None:
    """So that what two ways share is shared: the target is new in the last stage of all four."""
    last = {mix: served(experiment(tmp_path, data_mix=MIXES[mix]))[-1] for mix in MIXES}
    assert len({str(rows(batches, "target")) for batches in last.values()}) == 1
    source = {mix: rows(last[mix], "source") for mix in ("joint", "pretrain_joint")}
    assert source["joint"] != source["pretrain_joint"]
    assert source["joint"] == rows(served(experiment(tmp_path, data_mix=MIXES["pretrain_finetune"]))[0], "source")


def test_a_probe_that_two_ways_begin_with_is_one(tmp_path: Path) -> None:
    stages = {"probe": stage("target", policy=FULL), "adapt": stage("target")}
    ways = [
        DataMix(stages=stages, order=["probe", "adapt"], full_lr=0.1),
        DataMix(stages={**stages, "adapt": stage("source", "target")}, order=["probe", "adapt"], full_lr=0.1),
    ]
    plans = [experiment(tmp_path, data_mix=way).plan() for way in ways]
    assert plans[0].stages[0].key == plans[1].stages[0].key
    first, again = served(experiment(tmp_path, data_mix=ways[0]))
    assert rows(first, "target", 24) != rows(again, "target", 24)


def augmented(*names: str) -> dict[str, Any]:
    """The same settings, with images that are augmented so."""
    return {
        "source": Tiny(classes=4, first=500, image_size=SIZE, augmentation=list(names)),
        "target": Tiny(image_size=SIZE, augmentation=list(names)),
        "freeze_policy": FULL,
    }


def test_a_later_stage_augments_otherwise(tmp_path: Path) -> None:
    """The same image in the same pass."""

    def pictures(batches: TrainBatches) -> dict[tuple[int, int], torch.Tensor]:
        rows = [(row, step, i) for step in range(16) for i, row in enumerate(batches.rows("source", step))]
        return {row: batches[step]["source"][0][i] for row, step, i in rows}

    first, second = map(
        pictures, served(experiment(tmp_path, data_mix=MIXES["pretrain_joint"], **augmented("flip_crop")))
    )
    common = first.keys() & second.keys()
    assert len(common) > 30
    assert sum(torch.equal(first[row], second[row]) for row in common) < len(common) / 3


def test_a_later_stage_mixes_otherwise(tmp_path: Path) -> None:
    def shares(batches: TrainBatches) -> list[float]:
        return [float(batches[step]["source"][1].max(1).values.min()) for step in range(6)]

    first, second = map(shares, served(experiment(tmp_path, data_mix=MIXES["pretrain_joint"], **augmented("mixup"))))
    assert len({*first, *second}) > 9  # 1 where both images are of a class


def test_a_later_stage_drops_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What decides dropout is no other in another mix, unless other data sets were trained on, or more often."""
    seeds: list[int] = []
    train = fold_room.Fold.train

    def noted(self: Any, planned: Any, *given: Any) -> Any:
        seeds.append(self.lesson(planned).seed)
        return train(self, planned, *given)

    monkeypatch.setattr(fold_room.Fold, "train", noted)
    for mix in ("pretrain_joint", "joint", "target_only"):
        fold.run(experiment(tmp_path, data_mix=MIXES[mix]), JOB)
    assert len(set(seeds)) == 4
    probe = {"probe": stage("target", policy=FULL), "adapt": stage("target")}
    fold.run(experiment(tmp_path, data_mix=DataMix(stages=probe, order=["probe", "adapt"], full_lr=0.1)), JOB)
    assert seeds[4] == seeds[3]  # as in `target_only`
    assert len(set(seeds)) == 5
    fold.run(experiment(tmp_path, data_mix=MIXES["target_only"], seed=1), JOB)
    assert len(set(seeds)) == 6


def weights(made: Experiment) -> list[dict[str, torch.Tensor]]:
    return [
        safetensors.torch.load_file(made.shelf.root / "stages" / each.key / "weights.safetensors")
        for each in made.plan().stages
    ]


def test_one_pretraining_serves_runs_of_two_seeds(tmp_path: Path) -> None:
    """Its weights, head and order are of a seed of its own; the target's head and the last stage are of the run's."""
    mix = fixed("pretrain_finetune", 7)
    runs = [experiment(tmp_path, data_mix=mix, seed=seed, freeze_policy=FULL) for seed in (0, 1)]
    records = [fold.run(each, JOB)[0] for each in runs]
    assert [[each["reused"] for each in record.stages] for record in records] == [[False, False], [True, False]]
    assert len(runs[0].shelf.keys("stages")) == 3
    seals = (tmp_path / "outputs" / "store" / "stages").glob("*/done.json")
    facts = [json.loads(path.read_text())["made_by"] for path in seals]
    assert sorted((each["stage"], each["seed"]) for each in facts) == [("adapt", 0), ("adapt", 1), ("pretrain", 7)]
    (pretrained, one), (again, other) = map(weights, runs)
    assert all(torch.equal(tensor, again[name]) for name, tensor in pretrained.items())
    assert not any(torch.equal(one[name], other[name]) for name in one if name.endswith("target.0.weight"))
    assert records[0].metrics["target/test/loss"] != records[1].metrics["target/test/loss"]
    alone = experiment(tmp_path / "alone", seed=7, freeze_policy=FULL)
    fold.run(alone, JOB)
    assert all(torch.equal(tensor, pretrained[name]) for name, tensor in weights(alone)[0].items())
    cold = experiment(tmp_path / "cold", data_mix=mix, seed=1, freeze_policy=FULL)
    assert fold.run(cold, JOB)[0].metrics == records[1].metrics


def test_heads_are_made_with_the_seed_of_the_stage_that_first_needs_them(tmp_path: Path) -> None:
    both = {
        "pretrain": dataclasses.replace(stage("source", policy=FULL), seed=3),
        "both": dataclasses.replace(stage("source", "target", policy=FULL), seed=4),
        "adapt": stage("target"),
    }
    mix = DataMix(stages=both, order=["pretrain", "both", "adapt"], full_lr=0.1)

    def heads(seed: int) -> dict[str, torch.Tensor]:
        made = experiment(tmp_path, data_mix=mix, seed=seed)
        held = Fold(made, made.plan(), "m", open=lambda **_: None)
        for each in held.plan.stages:
            held.add_heads(each)
        assert held.model.seed == 3
        return {name: head[0].weight for name, head in held.model.heads.items()}

    one, other = heads(0), heads(1)
    assert all(torch.equal(one[name], other[name]) for name in ("source", "target"))
