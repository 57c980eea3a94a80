"""What the verdict promises, as a reader of its files finds it: only `tlfw.report` is used."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report import invented
from tests.report.sketched import instead
from tlfw.report.__main__ import main


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch)


def report(folder: Path, *options: str) -> tuple[dict[str, Any], list[dict[str, str]], str]:
    """The one task of report.json, the rows of leaderboard.csv, and leaderboard.md, on all runs of a folder."""
    out = folder / "report"
    main([str(folder / "runs"), "--out", str(out), *options])
    (task,) = json.loads((out / "report.json").read_text())["tasks"]
    with (out / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    return task, rows, " ".join((out / "leaderboard.md").read_text().replace("\\", "").split())


def right(share: float, images: int = 2000) -> np.ndarray:
    """Hits on the first images: the hard ones are the same for all."""
    return np.arange(images) < round(share * images)


def cell(folder: Path, mix: str, shares: dict[int, float], policy: str = "full", **more: Any) -> None:
    """A cell by the accuracies of its repetitions."""
    for seed, share in shares.items():
        own = {"draw": seed} | more
        invented.run(folder, mix, policy, seed, right(share), **own)


def unlike(folder: Path, random: np.random.Generator, seeds: int, own: Sequence[float]) -> None:
    """Cells that are equally good, whose repetitions vary as `own` says, in points of accuracy."""
    names = [(mix, policy) for mix in invented.MIXES for policy in ("last_layer", "last_layers", "full")]
    for (mix, policy), spread in zip(names, own, strict=False):
        for seed in range(seeds):
            share = 0.83 + spread / 100 * random.normal() + 0.02 * np.random.default_rng(seed).normal()
            hits = random.random(900) < share
            invented.run(folder, mix, policy, seed, hits, draw=seed)


def test_what_is_worse_on_what_both_have_is_not_the_best_way(tmp_path: Path) -> None:
    cell(tmp_path, "joint", {0: 0.80, 1: 0.80, 2: 0.80, 3: 0.95, 4: 0.95})
    cell(tmp_path, "pretrain_finetune", {0: 0.84, 1: 0.841, 2: 0.839})
    task, rows, _ = report(tmp_path)
    assert not task["sentence"].startswith("joint / full (")
    assert rows[0]["cell"] == "pretrain_finetune / full"
    assert float(rows[0]["value"]) - float(rows[1]["value"]) == pytest.approx(0.04, abs=0.001)


def test_one_shared_repetition_makes_no_best(tmp_path: Path) -> None:
    cell(tmp_path, "joint", {0: 0.9, 1: 0.9})
    cell(tmp_path, "pretrain_finetune", {1: 0.8, 2: 0.92})
    task, rows, _ = report(tmp_path)
    assert "is best" not in task["sentence"]
    assert "is the best way" not in task["sentence"]
    assert not {"best", "worse", "winner"} & {row["verdict"] for row in rows}


@pytest.mark.parametrize("repetitions", [1, 2])
def test_one_or_two_repetitions_name_no_best_and_nothing_worse(tmp_path: Path, repetitions: int) -> None:
    cell(tmp_path, "joint", dict.fromkeys(range(repetitions), 0.9))
    cell(tmp_path, "pretrain_finetune", dict.fromkeys(range(repetitions), 0.7))
    task, rows, _ = report(tmp_path)
    assert "is best" not in task["sentence"]
    assert "is the best way" not in task["sentence"]
    assert not {"best", "worse", "winner"} & {row["verdict"] for row in rows}
    assert all(each["p"] is None for each in task["comparisons"])


@pytest.mark.parametrize(
    ("draws", "said"),
    [((0, 1, 2), "new draws of 10 labelled images a class"), ((0, 0, 0), "for these 10 labelled images a class")],
)
def test_the_sentence_says_what_it_holds_for(tmp_path: Path, draws: Sequence[int], said: str) -> None:
    for mix, share in (("joint", 0.9), ("pretrain_finetune", 0.7)):
        for seed, draw in enumerate(draws):
            invented.run(tmp_path, mix, "full", seed, right(share + seed / 1000), draw=draw)
    assert said in report(tmp_path)[0]["sentence"]


def test_a_steady_and_a_wild_way_that_are_equally_good_are_not_called_worse(tmp_path: Path) -> None:
    """Of 25 grids of six steady ways and three wild ones, two repetitions each, at most two say anything."""
    random, said = np.random.default_rng(0), 0
    for k in range(25):
        unlike(tmp_path / str(k), random, 2, [0.2] * 6 + [4.0] * 3)
        task, _, _ = report(tmp_path / str(k))
        said += any((each["adjusted"] or 1) < 0.04 for each in task["comparisons"])
    assert said <= 2


def test_where_nothing_has_learnt_that_comes_first(tmp_path: Path) -> None:
    for mix in invented.MIXES:
        cell(tmp_path, mix, {0: 0.2, 1: 0.2, 2: 0.2})
    task, _, _ = report(tmp_path)
    assert task["sentence"].startswith("Nothing has learnt")


def test_file_times_have_no_part_in_it(tmp_path: Path) -> None:
    """Two runs of one cell and seed, of other training images: the one that ended later counts."""
    for draw in (0, 1):
        invented.run(
            tmp_path, "joint", "full", 0, right(0.7 + draw / 10), content={
                "target": {"train": f"x{draw}", "val": "y", "test": invented.content_of(2000)}
            }, settings={"freeze_policy": {"n": "all", "lr_head": draw}}, val=0.5, setting="same",
        )  # fmt: skip
    folders = sorted((tmp_path / "runs").iterdir())
    found = []
    for times in ((1, 2), (2, 1)):
        for folder, time in zip(folders, times, strict=True):
            for path in (folder, *folder.iterdir()):
                os.utime(path, (time, time))
        found.append(report(tmp_path)[1])
    assert found[0] == found[1]


def test_weights_that_differ_by_seed_make_one_cell_of_several(tmp_path: Path) -> None:
    for seed in range(3):
        weights = {"backbone": {"name": "resnet18", "weights": f"runs/pretrained-s{seed}"}}
        invented.run(tmp_path, "joint", "full", seed, right(0.8), settings=weights, setting="same")
    _, rows, _ = report(tmp_path)
    assert len(rows) == 1
    assert 3 in {int(rows[0].get(name) or 0) for name in ("repetitions", "seeds")}


def test_a_tie_on_validation_is_told_as_a_tie(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        for seed in range(3):
            invented.run(tmp_path, "joint", "full", seed, right(0.8), lr=lr, val=0.9)
    _, _, text = report(tmp_path)
    assert "tie on validation" in text
    assert "has the best of 2 settings" not in text


def test_one_accuracy_borrows_nothing_from_other_ways(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    unlike(tmp_path / "all", random, 3, [2.0] * 9)
    for folder in (tmp_path / "all" / "runs").glob("joint-full-*"):
        (tmp_path / "one" / "runs").mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / "runs" / folder.name).symlink_to(folder)
    (together,) = [row for row in report(tmp_path / "all")[1] if row["cell"] == "joint / full"]
    (alone,) = report(tmp_path / "one")[1]
    assert [together[name] for name in ("low", "high")] == [alone[name] for name in ("low", "high")]


def test_what_ranks_higher_and_is_worse_is_explained(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for seed in range(5):
        for mix, share in (("pretrain_finetune", 0.9), ("joint", 0.86)):
            invented.run(tmp_path, mix, "last_layer", seed, random.random(3000) < share, draw=seed)
        wild = 0.85 + (seed - 2) * 0.06
        invented.run(tmp_path, "pretrain_joint", "full", seed, random.random(3000) < wild, draw=seed)
    _, rows, text = report(tmp_path)
    assert "which ranks below it" in text
    verdicts = {row["cell"]: row["verdict"] for row in rows}
    assert (verdicts["joint / last_layer"], verdicts["pretrain_joint / full"]) == ("worse", "best group")
    assert "joint / last_layer is worse than the first, but pretrain_joint / full, which ranks below it" in text


def test_images_of_one_subject_are_not_independent(tmp_path: Path) -> None:
    hits = np.repeat(np.arange(20) % 3 > 0, 10)
    for name, groups in (("alone", None), ("grouped", [f"subject {i // 10}" for i in range(200)])):
        invented.run(tmp_path / name, "joint", "full", 0, hits, groups=groups)
    alone, grouped = (report(tmp_path / name)[1][0] for name in ("alone", "grouped"))
    assert float(grouped["high"]) - float(grouped["low"]) > 2.5 * (float(alone["high"]) - float(alone["low"]))
