"""What claims hold for, and which model to use, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report import invented
from tlfw.records.metric import METRICS
from tlfw.report.documents.tables import said
from tlfw.report.findings import Findings, find_out
from tlfw.report.gather import Wanted
from tlfw.report.sentences import amount, bare, listed, span

IMAGES = 400


def sweep(folder: Path, count: int = 3, **given: Any) -> Findings:
    """Two ways, one of them far ahead, with `count` repetitions each that have draws of their own."""
    random = np.random.default_rng(0)
    hard_N = 0.5 * random.normal(size=IMAGES)
    ids = []
    for s in range(count):
        for mix, mean in (("pretrain_finetune", 1.5), ("target_only", -1.0)):
            right = invented.correct(random, mean, hard_N=hard_N)
            changes = {name: value(mix, s) if callable(value) else value for name, value in given.items()}
            ids.append(invented.run(folder, mix, "full", s, right, **{"draw": s, **changes}).run_id)
    return find_out([invented.plan(folder, ids, repetitions=count)])


def scope(folder: Path, count: int = 3, **given: Any) -> str:
    task = sweep(folder, count, **given).tasks[0]
    if count >= 3:
        assert task.kind == "best"
        assert task.sentence.endswith(f" This holds {task.scope}.")
    return task.scope


def test_seeds_and_new_draws(tmp_path: Path) -> None:
    assert scope(tmp_path) == "over seeds and new draws of 10 labelled images a class"


def test_seeds_alone(tmp_path: Path) -> None:
    assert scope(tmp_path / "a", draw=0) == "over seeds, for these 10 labelled images a class"
    assert scope(tmp_path / "b", draw=0, labelled=None) == "over seeds, for these labelled images"


def test_most_of_a_pool_says_nothing_of_new_draws(tmp_path: Path) -> None:
    assert scope(tmp_path / "a", drawn=0.51) == "over seeds and draws of these images"
    assert scope(tmp_path / "b", drawn=0.5) == "over seeds and new draws of 10 labelled images a class"
    assert scope(tmp_path / "c", drawn=None) == "over seeds and draws of these images"  # nobody knows


def test_one_repetition_is_of_these_models(tmp_path: Path) -> None:
    assert scope(tmp_path, 1) == "for these trained models"


def test_one_pretraining_is_said(tmp_path: Path) -> None:
    def stages(mix: str, s: int) -> list[dict[str, Any]]:
        one = {
            "seconds": 1.0,
            "images_seen": 1,
            "train_flops": 1,
            "direct_flops": 1,
            "steps": 1,
            "per_batch": {"target": 1},
        }
        last = {"key": f"{mix}{s}", "name": "adapt", **one}
        return [{"key": "the one", "name": "pretrain", **one}, last] if mix == "pretrain_finetune" else [last]

    said_of = scope(tmp_path, stages=stages)
    assert said_of == "over seeds and new draws of 10 labelled images a class, given this pretraining"


def test_given_weights_are_said(tmp_path: Path) -> None:
    def settings(mix: str, s: int) -> dict[str, Any]:
        weights = "IMAGENET1K_V1" if mix == "pretrain_finetune" else None
        return {"backbone": {"name": "resnet18", "weights": weights}}

    assert scope(tmp_path, settings=settings).endswith(", given these pretrained weights")


def test_folds_are_of_these_images(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for k, size in enumerate((40, 40, 39, 41, 40)):
        for mix, mean in (("pretrain_finetune", 1.5), ("target_only", -0.7)):
            right = invented.correct(random, mean, hard_N=np.zeros(size))
            content = {"target": {"train": f"a{k}", "val": f"b{k}", "test": f"t{k}"}}
            invented.run(tmp_path, mix, "full", k, right, fold=k, content=content, settings={"folds": 5, "fold": k})
    found = find_out([tmp_path])
    (task,) = found.tasks
    assert (found.test_images, task.estimate.folds, len(task.estimate.repetitions)) == (200, True, 5)
    assert task.scope == "over 5 folds of these images"
    assert task.estimate.p[0, 1] >= 0.001
    assert task.shipped is None  # each model lacks a part of the images


def test_the_model_to_use_is_named_by_validation_and_judged_by_the_test(tmp_path: Path) -> None:
    """Not the one that tests best; and of equals that with the lowest validation loss."""
    right = np.arange(IMAGES) % 4 > 0
    for seed, (val, loss) in enumerate(((0.9, 0.5), (0.95, 0.4), (0.95, 0.3))):
        metrics = {"target/val/acc": val, "target/val/loss": loss, "target/test/acc": 0.75, "source/val/acc": None}
        invented.run(tmp_path, "joint", "full", seed, right if seed else right | True, metrics=metrics)
    task = find_out([tmp_path]).tasks[0]
    assert (task.shipped.run.record.seed, task.shipped.tied, task.shipped.validation) == (2, 2, 0.95)
    assert task.shipped.tested.value == 0.75
    assert (task.shipped.tested.low, task.shipped.tested.high) == pytest.approx((0.705, 0.790), abs=0.002)  # Wilson
    words = said(task)
    assert words.startswith("The model to use is joint / full, seed 2 (joint-full-resnet18-s2-")
    assert "it validated best (95.0 %, a tie with 1 other, of which it has the lowest validation loss)" in words
    assert "Its test accuracy is 75.0 % (95 % interval 70.5 to 79.0, for this trained model)." in words


def test_images_of_a_group_count_together(tmp_path: Path) -> None:
    right = np.repeat(np.arange(20) % 3 > 0, 10)
    for folder, groups in (("alone", None), ("grouped", [f"subject {i // 10}" for i in range(200)])):
        invented.run(tmp_path / folder, "joint", "full", 0, right, groups=groups)
    alone, grouped = (find_out([tmp_path / folder]).tasks[0] for folder in ("alone", "grouped"))
    assert (alone.estimate.units, grouped.estimate.units) == (200, 20)
    widths = [task.means[0].high - task.means[0].low for task in (alone, grouped)]
    assert widths[1] > 2.5 * widths[0]
    assert grouped.shipped.tested.high - grouped.shipped.tested.low == pytest.approx(widths[1])


def test_another_metric_is_in_its_own_words(tmp_path: Path) -> None:
    folder = invented.sweep(tmp_path, seeds=3, images=900, best={("pretrain_finetune", "full"): 2.5})
    metrics = {name: find_out([folder], Wanted(metric=name)) for name in ("accuracy", "macro_f1", "log_loss")}
    assert [each.tasks[0].cells[0].name for each in metrics.values()] == ["pretrain_finetune / full"] * 3
    assert " %)" in metrics["macro_f1"].tasks[0].sentence
    assert " nats)" in metrics["log_loss"].tasks[0].sentence
    assert "macro F1" in said(metrics["macro_f1"].tasks[0])


def test_unequal_test_classes_are_said_with_the_metric_that_fits(tmp_path: Path) -> None:
    labels = np.repeat([0, 1], [180, 20])
    for seed in (0, 1):
        invented.run(tmp_path, "joint", "full", seed, labels == 0, classes=("a", "b"))
        path = next(tmp_path.glob(f"runs/*-s{seed}-*/predictions.npz"))
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "label": labels, "prediction": np.zeros(200, dtype=int)})
    found = find_out([tmp_path])
    assert any("metric=balanced_accuracy" in note for note in found.notes)
    (task,) = found.tasks
    assert (task.floor.chance, task.floor.majority) == (0.5, 0.9)
    assert not task.learnt(0)
    balanced = find_out([tmp_path], Wanted(metric="balanced_accuracy"))
    assert balanced.tasks[0].means[0].value == 0.5
    assert not any("metric=balanced_accuracy" in note for note in balanced.notes)


def test_amounts_are_in_the_metrics_units() -> None:
    accuracy, loss = METRICS["accuracy"], METRICS["log_loss"]
    assert (amount(accuracy, 0.0321), amount(loss, 0.0321)) == ("3.2 points", "0.032 nats")
    assert (bare(accuracy, -0.0321), bare(accuracy, -0.0001)) == ("−3.2", "0.0")
    assert span(accuracy, 0.831, 0.872) == "83.1 to 87.2"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b, 32 px", "c"]) == "a; b, 32 px; and c"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"
