"""Laws 3, 6 and 7, and what a run leaves behind."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import multiprocessing
import os
import re
import signal
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic.dataclasses import dataclass

from tests.data.test_near_copies import jpeg, picture
from tests.runs.test_experiment_data import photographs
from tests.tiny import FULL, LAST_LAYER, LAST_LAYERS, MIXES, SIZE, TRAINER, Tiny, experiment, stage
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import ImageArray, ImageFolder, Images
from tlfw.devices.launch import RanksFailed
from tlfw.errors import ConfigError, Diverged, TrainingFailed
from tlfw.methods.freeze import LastBlocks
from tlfw.methods.mix import DataMix
from tlfw.records.metric import METRICS, Predictions
from tlfw.records.record import Record
from tlfw.runs import attempt
from tlfw.runs import run as fold
from tlfw.runs.job import Job
from tlfw.signals import Interrupted
from tlfw.strictness import STRICT

JOB = Job(choices={"data_mix": "m", "freeze_policy": "f", "backbone": "b"}, config={"a": 1}, folder=None, sweep="s")


MEASURES = ("acc", "balanced_acc", "macro_f1", "loss")


def numbers(record: Record) -> dict:
    return {**record.metrics, "certificate": record.certificate, "keys": [stage["key"] for stage in record.stages]}


def test_what_a_run_leaves_behind(tmp_path: Path) -> None:
    hydra = tmp_path / "job"
    (hydra / ".hydra").mkdir(parents=True)
    (hydra / ".hydra" / "config.yaml").write_text("seed: 0\n")
    record, there = fold.run(experiment(tmp_path), dataclasses.replace(JOB, folder=hydra))
    assert not there
    (folder,) = (tmp_path / "outputs" / "runs").glob("m-f-b-s0-*")
    assert {p.name for p in folder.iterdir()} == {
        "record.json", "predictions.npz", "checkpoint.safetensors", "model.json", ".hydra"
    }  # fmt: skip
    assert Record.read(folder) == record
    assert record.status == "done"
    assert record.ended is not None
    assert 0 <= (datetime.now(UTC) - datetime.fromisoformat(record.ended)).total_seconds() < 60
    assert record.ended.endswith("Z")
    assert record.paradigm == {"data_mix": "m", "freeze_policy": "f"}
    assert [stage["name"] for stage in record.stages] == ["pretrain", "adapt"]
    assert record.certificate["holds"]
    assert record.certificate["train_eval_gap"] == 0.0
    assert set(record.metrics) == {
        *(f"{place}/{key}" for place in ("source/val", "target/val", "target/test") for key in MEASURES),
        "target/test/ece",
    }  # fmt: skip
    for facts, heads in zip(record.stages, (["source"], ["source", "target"]), strict=True):
        assert set(facts["metrics"]) == {f"{name}/val/{key}" for name in heads for key in MEASURES}
        assert all(set(facts["metrics"]) <= set(point) for point in facts["curve"])
        last = {name: facts["curve"][-1][name] for name in facts["metrics"]}
        assert last == pytest.approx(facts["metrics"], rel=1e-5)
    predictions = np.load(folder / "predictions.npz")
    assert predictions["label"].tolist() == np.repeat([0, 1, 2], 10).tolist()
    hits = predictions["prediction"] == predictions["label"]
    assert record.metrics["target/test/acc"] == pytest.approx(hits.mean())
    found = Predictions(**{name: predictions[name] for name in ("label", "prediction", "log_prob")}, classes=3)
    for metric in METRICS.values():  # to the bit: what is judged later is what was recorded
        assert record.metrics[metric.at("target/test")] == metric.value(found)
    assert record.images == {
        "source": {"train": 32, "val": 8}, "target": {"train": 24, "val": 6, "test": 30},
    }  # fmt: skip
    assert record.settings == {"a": 1}
    assert record.trains == "head"
    assert record.remarks == [
        "target: 3 of 3 classes have fewer than 5 images for validation, “c0” has 2: they choose settings by luck",
        *(f"{name} takes 4 steps of 8 images; fewer than ten hardly learn" for name in ("pretrain", "adapt")),
    ]
    assert record.cost["train_flops"] == sum(stage["train_flops"] for stage in record.stages) > 0
    assert record.cost["train_flops_spent"] == record.cost["train_flops"]
    weights = safetensors.torch.load_file(folder / "checkpoint.safetensors")
    assert {"heads.source.0.weight", "heads.target.0.weight", "trunk.model.conv1.0.weight"} <= set(weights)


def test_the_metric_is_in_a_key_where_it_selects_and_nowhere_else(tmp_path: Path) -> None:
    for select, keys in (("last", 1), ("best_val", len(METRICS))):
        plans = [experiment(tmp_path, select=select, metric=name).plan() for name in METRICS]
        assert len({plan.key for plan in plans}) == keys
        assert len({plan.setting for plan in plans}) == keys
        assert len({plan.stages[0].key for plan in plans}) == keys


@pytest.mark.parametrize("name", METRICS)
def test_the_metric_of_the_config_selects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lessons = []
    monkeypatch.setattr("tlfw.runs.fold.train", lambda freezing, mixture, lesson, **_: lessons.append(lesson) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fold.run(experiment(tmp_path, select="best_val", metric=name), JOB)
    assert [(lesson.select, lesson.metric, lesson.monitor) for lesson in lessons] == [
        ("best_val", METRICS[name], "source"),
    ]  # fmt: skip


def test_a_source_that_has_no_part_has_no_metrics(tmp_path: Path) -> None:
    record, _ = fold.run(experiment(tmp_path, data_mix=MIXES["target_only"]), JOB)
    assert [record.metrics[metric.at("source/val")] for metric in METRICS.values()] == [None] * len(METRICS)


def test_every_process_has_an_image_to_validate_on(tmp_path: Path) -> None:
    three = functools.partial(TRAINER, devices=3, strategy="ddp")
    few = Tiny(classes=2, image_size=SIZE, val_fraction=0.1)
    assert experiment(tmp_path, target=few, data_mix=MIXES["target_only"]).plan()
    with pytest.raises(ConfigError, match=r"target\.val_fraction: 2 images .* shared by 3 processes"):
        experiment(tmp_path, target=few, data_mix=MIXES["target_only"], trainer=three).plan()


def test_processes_are_started_where_something_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = functools.partial(TRAINER, devices=2, strategy="ddp")
    started: list[Any] = []
    monkeypatch.setattr(
        "tlfw.runs.attempt.in_ranks", lambda *given, **how: started.append((given, how)) or "made there"
    )
    monkeypatch.setattr("tlfw.runs.attempt.Attempt.go", lambda *_: ("made here", False))
    asked = experiment(tmp_path, trainer=two)
    assert fold.run(asked, JOB) == "made there"
    (given, how) = started.pop()
    assert given == ("tlfw.rank:work", JOB, asked.plan().key)
    assert (how["processes"], how["device"], how["node"].count) == (2, "cpu", 1)
    monkeypatch.setattr("tlfw.store.Store.find", lambda *_: tmp_path)
    assert fold.run(asked, JOB) == ("made here", False)
    assert fold.run(experiment(tmp_path), JOB) == ("made here", False)
    assert not started
    assert fold.run(experiment(tmp_path, trainer=two, force=True), JOB) == "made there"


def test_a_run_whose_processes_are_killed_leaves_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> Any:
        raise RanksFailed("the process of rank 1 was killed by SIGKILL")

    monkeypatch.setattr("tlfw.runs.attempt.in_ranks", killed)
    asked = experiment(tmp_path, trainer=functools.partial(TRAINER, devices=2))
    with pytest.raises(RanksFailed):
        fold.run(asked, JOB)
    (record,) = (Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json"))
    assert (record.status, record.run_id) == ("failed", asked.plan().key)
    assert "rank 1 was killed by SIGKILL" in (record.error or "")


def test_a_run_that_lost_its_stages_trains_none_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlfw.runs.fold.Fold.needs_ranks", lambda *_, **__: False)
    with pytest.raises(TrainingFailed, match="takes 2 processes to train, and this one is alone"):
        fold.run(experiment(tmp_path, trainer=functools.partial(TRAINER, devices=2)), JOB)


def test_a_key_of_another_process_is_compared(tmp_path: Path) -> None:
    asked = experiment(tmp_path)
    with pytest.raises(TrainingFailed, match=rf"{asked.plan().key[:12]} in the processes .* planned as {'0' * 12}"):
        fold.run(asked, JOB, "0" * 32)


def test_a_record_says_what_was_drawn_and_what_was_odd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = photographs(tmp_path / "mine", train=range(60), test=range(100, 120))
    jpeg(picture(4)).save(root / "test" / "a" / "near.png")
    given = {
        "target": ImageFolder(root=str(root), image_size=SIZE, train_per_class=6),
        "data_mix": MIXES["target_only"],
    }
    record, _ = fold.run(experiment(tmp_path, **given), JOB)
    assert record.drawn == pytest.approx(0.2)
    assert record.fold is None
    out = capsys.readouterr().out
    assert "  target: 10 train, 2 val, 21 test images of 2 classes, 5 of each for training\n" in out
    assert [remark.split(",")[0] for remark in record.remarks] == [
        "target: 1 of 21 test images looks nearly like one that some draw learns from",
        "target: 2 of 2 classes have fewer than 5 images for validation",
        "adapt takes 4 steps of 8 images; fewer than ten hardly learn",
    ]
    for remark in record.remarks:
        assert out.count(f"  note: {remark}\n") == 1
    facts = json.loads((tmp_path / "outputs" / "near_copies" / f"{record.near_copies}.json").read_text())
    assert [Path(pair["other"]).name for pair in facts["pairs"]] == ["4.png"]
    assert Record.read(next((tmp_path / "outputs" / "runs").glob("*/record.json"))) == record
    (root / "test" / "a" / "near.png").unlink()
    assert fold.run(experiment(tmp_path, **given), JOB)[0].near_copies is None


def test_what_belongs_together_makes_another_run_of_the_same_stages(tmp_path: Path) -> None:
    """The numbers are the same, but not the intervals that are made of them."""
    root = photographs(tmp_path / "mine", train=range(60), val=range(60, 70), test=range(100, 120))
    plans = [
        experiment(tmp_path, target=ImageFolder(root=str(root), image_size=SIZE, group=group)).plan()
        for group in (None, "(?P<group>.*)", "(?P<group>.*)", "^[a-z]*/(?P<group>.*)[.]")
    ]
    assert len({tuple(stage.key for stage in plan.stages) for plan in plans}) == 1
    assert len({tuple(plan.data.content["target"].values()) for plan in plans}) == 1
    assert plans[1].key == plans[2].key
    assert len({plan.key for plan in plans}) == 3


def test_a_finished_run_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = fold.run(experiment(tmp_path), JOB)
    monkeypatch.setattr("tlfw.runs.fold.train", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr("tlfw.runs.attempt.examine", lambda *_, **__: pytest.fail("opened test images"))
    assert fold.run(experiment(tmp_path), JOB) == (first, True)


def test_a_finished_run_names_images_as_they_are_called_now(tmp_path: Path, folder, capsys) -> None:
    root = folder("one", train=12, test=0)
    given = {"target": ImageFolder(root=str(root), image_size=SIZE)}
    first, _ = fold.run(experiment(tmp_path, **given), JOB)
    (place,) = (tmp_path / "outputs" / "runs").iterdir()
    before = dict(np.load(place / "predictions.npz"))
    assert all(Path(name).is_file() for name in before["name"])
    given["target"] = dataclasses.replace(given["target"], root=str(root.rename(tmp_path / "two")))
    capsys.readouterr()
    again, there = fold.run(experiment(tmp_path, **given), JOB)
    assert there
    assert again.run_id == first.run_id
    after = dict(np.load(place / "predictions.npz"))
    assert all(Path(name).is_file() for name in after["name"])
    assert [name.replace("/two/", "/one/") for name in after.pop("name")] == before.pop("name").tolist()
    assert {name: array.tolist() for name, array in after.items()} == {
        name: array.tolist() for name, array in before.items()
    }
    assert "6 of 6 test images have other paths now; its predictions name these" in capsys.readouterr().out
    fold.run(experiment(tmp_path, **given), JOB)
    assert "other paths" not in capsys.readouterr().out
    (place / "predictions.npz").write_bytes(b"damaged")  # which the report says
    fold.run(experiment(tmp_path, **given), JOB)


def test_a_run_of_an_option_in_a_folder_of_its_own_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = dataclasses.replace(JOB, choices={**JOB.choices, "freeze_policy": "mine/probe"})
    first, _ = fold.run(experiment(tmp_path), mine)
    (folder,) = (tmp_path / "outputs" / "runs").iterdir()
    assert folder.name == f"m-mine.probe-b-s0-{first.run_id[:12]}"
    assert first.paradigm["freeze_policy"] == "mine/probe"
    monkeypatch.setattr("tlfw.runs.fold.train", lambda *_, **__: pytest.fail("trained"))
    assert fold.run(experiment(tmp_path), mine) == (first, True)


@pytest.mark.parametrize("name", ["predictions.npz", "checkpoint.safetensors", "model.json"])
def test_results_that_are_gone_are_made_again(tmp_path: Path, name: str) -> None:
    first, _ = fold.run(experiment(tmp_path), JOB)
    (path,) = (tmp_path / "outputs" / "runs").glob(f"*/{name}")
    before = path.read_bytes()
    path.unlink()
    second, there = fold.run(experiment(tmp_path), JOB)
    assert not there
    assert [stage["reused"] for stage in second.stages] == [True, True]
    assert numbers(second) == numbers(first)
    assert name != "checkpoint.safetensors" or path.read_bytes() == before
    assert path.is_file()


def test_costs_are_as_alone_and_as_spent(tmp_path: Path) -> None:
    first, _ = fold.run(experiment(tmp_path), JOB)
    second, _ = fold.run(experiment(tmp_path, freeze_policy=FULL), JOB)
    assert second.stages[0]["reused"]
    assert second.stages[0]["seconds"] == first.stages[0]["seconds"] > 0
    assert second.cost["train_flops_spent"] == second.stages[1]["train_flops"]
    assert second.cost["train_flops"] == sum(stage["train_flops"] for stage in second.stages)
    assert second.cost["seconds"] > sum(stage["seconds"] for stage in second.stages)


def test_force_trains_the_adaptation_again_and_keeps_what_is_shared(tmp_path: Path) -> None:
    first, _ = fold.run(experiment(tmp_path), JOB)
    second, there = fold.run(experiment(tmp_path, force=True), JOB)
    assert not there
    assert [stage["reused"] for stage in second.stages] == [True, False]
    assert (first.attempt, second.attempt) == (0, 1)
    assert numbers(first) == numbers(second)


def test_force_leaves_a_stage_that_another_run_has_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs that are tested on other images are trained alike: the record of one keeps its stage."""
    fold.run(experiment(tmp_path, target=Retested(image_size=SIZE)), JOB)
    fold.run(experiment(tmp_path), JOB)
    capsys.readouterr()
    again, there = fold.run(experiment(tmp_path, force=True), JOB)
    assert not there
    assert [stage["reused"] for stage in again.stages] == [True, True]
    assert capsys.readouterr().out.count("adapt: m-f-b-s0-") == 1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Retested(Tiny):
    """The same images to learn from, and others for the test."""

    def read(self, split: str) -> Images | None:
        return Tiny(first=333).read("test") if split == "test" else super().read(split)


CELLS = [(mix, policy) for mix in MIXES for policy in (LAST_LAYER, LAST_LAYERS, FULL)]


def test_cold_is_warm(tmp_path: Path) -> None:
    """A run from an empty store, and from one that others have filled, in another order."""
    chosen = [*CELLS[:3], *CELLS[6:8]]
    warm = {
        i: fold.run(experiment(tmp_path / "one", data_mix=MIXES[mix], freeze_policy=policy), JOB)[0]
        for i, (mix, policy) in reversed(list(enumerate(chosen)))
    }
    for i, (mix, policy) in enumerate(chosen):
        torch.manual_seed(i)
        cold, _ = fold.run(experiment(tmp_path / str(i), data_mix=MIXES[mix], freeze_policy=policy), JOB)
        assert numbers(cold) == numbers(warm[i])
    assert [stage["reused"] for stage in warm[0].stages] == [True, False]
    assert len({record.run_id for record in warm.values()}) == len(chosen)
    pretrainings = {record.stages[0]["key"] for record in warm.values() if len(record.stages) == 2}
    assert len(pretrainings) == 1


def _in_a_process(place: Path, cell: int) -> dict:
    torch.set_num_threads(1)
    mix, policy = CELLS[cell]
    return numbers(fold.run(experiment(place, data_mix=MIXES[mix], freeze_policy=policy), JOB)[0])


@pytest.mark.slow
def test_parallel_is_serial(tmp_path: Path) -> None:
    """Two processes on one store, at the same time, need the same pretraining."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        parallel = list(pool.map(_in_a_process, [tmp_path / "parallel"] * 2, (0, 2)))
    assert parallel == [_in_a_process(tmp_path / str(cell), cell) for cell in (0, 2)]
    assert len(experiment(tmp_path / "parallel").shelf.keys("stages")) == 3


def test_a_run_that_failed_goes_on_from_what_was_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = fold.run(experiment(tmp_path / "whole"), JOB)
    with monkeypatch.context() as broken:
        broken.setattr("tlfw.runs.attempt.examine", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError, match="power cut"):
            fold.run(experiment(tmp_path / "cut"), JOB)
    (path,) = (tmp_path / "cut").glob("outputs/runs/*/record.json")
    failed = Record.read(path)
    assert failed.status == "failed"
    assert failed.error == "RuntimeError: power cut"
    assert failed.metrics == {}
    resumed, there = fold.run(experiment(tmp_path / "cut"), JOB)
    assert not there
    assert [stage["reused"] for stage in resumed.stages] == [True, True]
    assert numbers(resumed) == numbers(whole)
    assert resumed.attempt == 0


def test_a_loss_that_is_no_number_is_recorded(tmp_path: Path) -> None:
    bad = experiment(tmp_path, freeze_policy=LastBlocks(n="all", lr_head=1e30, lr_backbone=1e30))
    with pytest.raises(Diverged, match="loss became"):
        fold.run(bad, JOB)
    (path,) = (tmp_path / "outputs" / "runs").glob("*/record.json")
    record = Record.read(path)
    assert record.status == "diverged"
    assert re.fullmatch(r"adapt: the (target validation )?loss became (nan|inf) at step \d: .*", record.error)
    assert record.metrics == {}
    assert [stage["name"] for stage in record.stages] == ["pretrain"]
    good, _ = fold.run(experiment(tmp_path, freeze_policy=FULL), JOB)
    assert good.status == "done"


def test_a_run_that_diverged_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would again: it is not trained again, unless that is asked for."""
    wild = {"freeze_policy": LastBlocks(n="all", lr_head=1e30, lr_backbone=1e30)}
    with pytest.raises(Diverged):
        fold.run(experiment(tmp_path, **wild), JOB)
    with monkeypatch.context() as watched:
        watched.setattr("tlfw.runs.fold.train", lambda *_, **__: pytest.fail("trained"))
        record, there = fold.run(experiment(tmp_path, **wild), JOB)
    assert (record.status, there) == ("diverged", True)
    with pytest.raises(Diverged):
        fold.run(experiment(tmp_path, **wild, force=True), JOB)


@pytest.mark.parametrize("moment", ["the stage's end", "the test"])
def test_weights_that_are_no_numbers_at_a_stages_end_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Where no validation said so before."""
    real = importlib.import_module("tlfw.training.evaluate").measured
    calls = []

    def measured(predictions: Predictions) -> dict[str, float]:
        calls.append(1)
        last = 3 if moment == "the test" else 2
        return real(predictions) | ({"loss": float("nan")} if len(calls) > last else {})

    monkeypatch.setattr("tlfw.training.evaluate.measured", measured)
    with pytest.raises(Diverged, match="/loss is nan: try a lower learning rate"):
        fold.run(experiment(tmp_path), JOB)
    (path,) = (tmp_path / "outputs" / "runs").glob("*/record.json")
    assert Record.read(path).status == "diverged"
    assert len(experiment(tmp_path).shelf.keys("stages")) == (2 if moment == "the test" else 1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Watched(Tiny):
    """Notes when test images are opened."""

    def read(self, split: str):
        images = super().read(split)
        if split == "test":
            images.open = lambda index: OPENED.append(index) or ImageArray.open(images, index)
        return images


OPENED: list[int] = []


def test_test_images_are_opened_once_after_all_is_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OPENED.clear()
    watched = experiment(tmp_path, target=Watched(image_size=SIZE), select="best_val")
    real = attempt.examine

    def examine(*arguments, **keywords):
        assert OPENED == []
        assert len(watched.shelf.keys("stages")) == 2
        return real(*arguments, **keywords)

    monkeypatch.setattr("tlfw.runs.attempt.examine", examine)
    fold.run(watched, JOB)
    assert sorted(OPENED) == list(range(30))


def test_other_test_images_change_nothing_that_is_learnt(tmp_path: Path) -> None:
    """The last stage's key, and so its weights, do not know the test images; the run's key does."""
    one = experiment(tmp_path, target=Tiny(image_size=SIZE)).plan()
    other = experiment(tmp_path, target=Retested(image_size=SIZE)).plan()
    assert [stage.key for stage in one.stages] == [stage.key for stage in other.stages]
    assert one.key != other.key


def test_a_head_may_have_logits_that_no_class_has(tmp_path: Path) -> None:
    """As the course's: ImageNet's head of 1,000, trained on ten classes."""
    wide = TorchvisionBackbone(name="shufflenet_v2_x0_5", head_classes=20)
    target = Tiny(image_size=SIZE, augmentation="mixup", balance="loss")
    record, _ = fold.run(experiment(tmp_path, backbone=wide, target=target, freeze_policy=FULL), JOB)
    (path,) = (tmp_path / "outputs" / "runs").glob("*/checkpoint.safetensors")
    assert safetensors.torch.load_file(path)["heads.target.0.weight"].shape[0] == 20
    assert record.status == "done"
    assert experiment(tmp_path).plan().key != experiment(tmp_path, backbone=wide).plan().key


def test_random_feature_controls_are_labelled(tmp_path: Path) -> None:
    labels = {
        (mix, str(policy.n)): experiment(tmp_path, data_mix=MIXES[mix], freeze_policy=policy).plan().labels
        for mix, policy in CELLS
    }
    controls = {cell for cell, found in labels.items() if "random_features" in found}
    assert controls == {("joint", "0"), ("joint", "1"), ("target_only", "0"), ("target_only", "1")}
    drifting = experiment(tmp_path, freeze_policy=LastBlocks(n=0, lr_head=0.1, batch_norm="train"))
    assert drifting.plan().labels == ["drifting_batch_norm"]


def test_what_changes_no_number_changes_no_key(tmp_path: Path) -> None:
    full = experiment(tmp_path, freeze_policy=FULL).plan()
    assert full.key == experiment(tmp_path / "elsewhere", freeze_policy=FULL, workers=3, force=True).plan().key
    assert full.key == experiment(tmp_path, freeze_policy=FULL, validations=3).plan().key
    best = {"freeze_policy": FULL, "select": "best_val"}
    assert experiment(tmp_path, **best).plan().key != experiment(tmp_path, **best, validations=3).plan().key
    assert full.key != experiment(tmp_path, freeze_policy=dataclasses.replace(FULL, lr_head=0.06)).plan().key
    assert full.stages[0].key == experiment(tmp_path, freeze_policy=LAST_LAYER).plan().stages[0].key


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"select": "best_val"}, {"target": Tiny(image_size=SIZE, split_seed=1)},
     {"target": Tiny(image_size=SIZE, augmentation="flip")}, {"target": Tiny(image_size=SIZE, balance="loss")},
     {"target": Tiny(image_size=SIZE, balance="sampling")},
     {"target": Tiny(image_size=SIZE, mean=[0.5] * 3, std=[0.5] * 3)}],
)  # fmt: skip
def test_what_changes_results_changes_the_key(tmp_path: Path, change: dict) -> None:
    assert experiment(tmp_path).plan().key != experiment(tmp_path, **change).plan().key


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Unequal(Tiny):
    """The last class has a single training image; all are tested on equally."""

    def read(self, split: str):
        images = super().read(split)
        if split != "train":
            return images
        last = np.flatnonzero(images.labels_N == self.classes - 1)
        keep = np.setdiff1d(np.arange(len(images.labels_N)), last[1:])
        return ImageArray(images._pixels[keep], images.labels_N[keep], images.classes)


@pytest.mark.parametrize("balance", ["none", "loss", "sampling"])
@pytest.mark.parametrize("mix", ["pretrain_finetune", "joint"])
def test_a_class_of_one_image_is_trained_on_and_tested(tmp_path: Path, mix: str, balance: str) -> None:
    """Also from stored features; a joint stage balances one data set and leaves the other."""
    target = Unequal(image_size=SIZE, balance=balance)
    made = experiment(tmp_path, data_mix=MIXES[mix], target=target)
    division = made.plan().divisions["target"]
    assert np.bincount(division.train.labels_M).tolist() == [8, 8, 1]
    assert 2 not in division.val.labels_M
    assert (division.train.class_weights() * np.bincount(division.train.labels_M)).tolist() == pytest.approx(
        [17 / 3] * 3
    )
    record, _ = fold.run(made, JOB)
    assert record.stages[-1]["stored_blocks"] > 0
    predictions = np.load(next((tmp_path / "outputs" / "runs").glob("m-*/predictions.npz")))
    recalls = [(predictions["prediction"][predictions["label"] == c] == c).mean() for c in range(3)]
    assert record.metrics["target/test/balanced_acc"] == pytest.approx(np.mean(recalls))


def test_balance_changes_what_is_learnt_and_not_how_it_is_measured(tmp_path: Path) -> None:
    found = {}
    for balance in ("none", "loss", "sampling"):
        target = Unequal(image_size=SIZE, balance=balance, count=30)
        found[balance], _ = fold.run(experiment(tmp_path, target=target), JOB)
    assert len({record.stages[-1]["key"] for record in found.values()}) == 3
    assert len({record.stages[0]["key"] for record in found.values()}) == 1
    assert len({record.metrics["target/test/loss"] for record in found.values()}) == 3


def test_mixing_needs_two_images(tmp_path: Path) -> None:
    adapt = dataclasses.replace(stage("target"), batch_size=1)
    mix = DataMix(stages={"adapt": adapt}, order=["adapt"], full_lr=0.1)
    with pytest.raises(ConfigError, match=r"batch_size: target.augmentation mixes images"):
        experiment(tmp_path, data_mix=mix, target=Tiny(image_size=SIZE, augmentation="mixup")).plan()


def test_a_joint_run_in_which_each_data_set_is_mixed_on_its_own(tmp_path: Path) -> None:
    sets = {
        "source": Tiny(classes=4, first=500, image_size=SIZE, augmentation=["flip", "cutmix"]),
        "target": Tiny(image_size=SIZE, augmentation=["flip_crop", "mixup"], balance="loss"),
    }
    record, _ = fold.run(experiment(tmp_path, data_mix=MIXES["joint"], **sets), JOB)
    assert record.status == "done"
    assert record.stages[-1]["stored_blocks"] == 0


def test_a_stage_in_the_store_says_what_it_was(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    fold.run(made, JOB)
    for key in made.shelf.keys("stages"):
        facts = json.loads((made.shelf.root / "stages" / key / "stage.json").read_text())
        assert facts["images_seen"] == facts["steps"] * 8
        assert facts["certificate"]["holds"]


@pytest.mark.parametrize("moment", ["features", "publication", "test", "record"])
def test_wherever_a_signal_arrives_the_same_run_goes_on_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """What was made by then is kept: a publication that has begun is finished first."""
    expected, _ = fold.run(experiment(tmp_path / "whole"), JOB)
    place = {
        "features": "tlfw.runs.fold.stored",
        "publication": "tlfw.store.seal",
        "test": "tlfw.runs.attempt.examine",
        "record": "tlfw.runs.attempt.leave",
    }[moment]
    room, _, name = place.rpartition(".")
    function = getattr(importlib.import_module(room), name)

    def interrupted(*args, **kwargs):
        if moment != "publication" or args[1]["kind"] == "stages":
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*args, **kwargs)

    made = experiment(tmp_path)
    with monkeypatch.context() as now:
        now.setattr(place, interrupted)
        with pytest.raises(Interrupted, match="SIGTERM"):
            fold.run(made, JOB)
    (path,) = (tmp_path / "outputs" / "runs").glob("*/record.json")
    left = Record.read(path)
    assert left.status == ("done" if moment == "record" else "interrupted")
    there = {"features": 1, "publication": 1, "test": 2, "record": 2}[moment]
    assert len(made.shelf.keys("stages")) == there
    assert len(left.stages) == (0 if moment == "publication" else there)
    found, untouched = fold.run(made, JOB)
    assert untouched == (moment == "record")
    assert (found.metrics, found.certificate) == (expected.metrics, expected.certificate)
    assert not made.shelf.leftovers()
