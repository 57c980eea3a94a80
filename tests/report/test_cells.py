"""Settings are chosen on validation data, and what is compared is named by what differs."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.report import invented
from tlfw.report.cells import SOURCE_KEPT, Cell, cells_of
from tlfw.report.gather import Wanted, gather

RIGHT = np.arange(20) % 3 > 0
WRONG = ~RIGHT


def found(
    place: Path, *, compare: tuple[str, ...] | None = None, metric: str | None = None
) -> tuple[list[Cell], list[str]]:
    gathered = gather([place], Wanted(compare=compare, metric=metric))
    return cells_of(gathered.runs, gathered.metric, compare=gathered.compare, diverged=gathered.diverged)


def cells(place: Path, **given) -> list[Cell]:
    return found(place, **given)[0]


def test_the_settings_that_validate_best_are_chosen_whatever_the_test_says(tmp_path: Path) -> None:
    for seed in (0, 1):
        invented.run(tmp_path, "joint", "full", seed, RIGHT, val=(0.5, 0.9)[seed], lr=0.1)  # mean 0.7
        invented.run(tmp_path, "joint", "full", seed, WRONG, val=(0.75, 0.75)[seed], lr=0.01)  # mean 0.75
    (cell,) = cells(tmp_path)
    assert (cell.tried, cell.incomplete, cell.settings) == (2, 0, {"freeze_policy.lr_head": 0.01})
    assert cell.validation == 0.75
    assert {run.record.settings["freeze_policy"]["lr_head"] for run in cell.runs.values()} == {0.01}
    assert [repetition.seed for repetition in cell.runs] == [0, 1]


def test_no_test_number_is_read_to_choose(tmp_path: Path) -> None:
    record = invented.run(tmp_path, "joint", "full", 0, RIGHT)
    path = next(tmp_path.glob("runs/*/record.json"))
    (path.parent / "predictions.npz").unlink()
    record.metrics.pop("target/test/acc")
    record.write(path.parent)
    assert len(cells(tmp_path)) == 1


def test_settings_with_fewer_seeds_are_not_considered(tmp_path: Path) -> None:
    for seed in (0, 1):
        invented.run(tmp_path, "joint", "full", seed, RIGHT, val=0.5, lr=0.1)
    invented.run(tmp_path, "joint", "full", 0, RIGHT, val=0.99, lr=0.01)
    (cell,) = cells(tmp_path)
    assert (cell.tried, cell.incomplete, len(cell.runs)) == (1, 1, 2)


def test_of_equals_always_the_same_is_chosen(tmp_path: Path) -> None:
    for lr in (0.3, 0.1, 0.2):
        invented.run(tmp_path, "joint", "full", 0, RIGHT, val=0.5, lr=lr)
    assert cells(tmp_path)[0].settings == {"freeze_policy.lr_head": 0.1}


def test_cells_are_named_by_what_differs(tmp_path: Path) -> None:
    invented.run(tmp_path, "joint", "full", 0, RIGHT)
    assert [cell.name for cell in cells(tmp_path)] == ["joint / full"]
    invented.run(tmp_path, "joint", "full", 0, RIGHT, backbone="vgg11")
    invented.run(tmp_path, "target_only", "full", 0, RIGHT)
    assert {cell.name for cell in cells(tmp_path)} == {
        "joint / full, resnet18", "joint / full, vgg11", "target_only / full, resnet18",
    }  # fmt: skip


def test_other_sources_weights_and_labelled_images_are_other_cells(tmp_path: Path) -> None:
    invented.run(tmp_path, "joint", "full", 0, RIGHT)
    invented.run(
        tmp_path, "joint", "full", 0, RIGHT, source="other", settings={"source": {"split_seed": 0, "root": "o"}}
    )
    published = {"backbone": {"name": "resnet18", "weights": "DEFAULT"}}
    invented.run(tmp_path, "joint", "full", 0, RIGHT, settings=published)
    invented.run(tmp_path, "joint", "full", 0, RIGHT, labelled=50)
    found = cells(tmp_path)
    assert len(found) == 4
    assert {(cell.source, cell.labelled) for cell in found} == {("general", 10), ("other", 10), ("general", 50)}
    assert any("resnet18 (DEFAULT)" in cell.name for cell in found)


def test_fields_that_decide_nothing_do_not_divide_a_cell(tmp_path: Path) -> None:
    invented.run(
        tmp_path, "joint", "full", 0, RIGHT, settings={"outputs": "a", "workers": 0, "tracking": {"mode": "x"}}
    )
    invented.run(
        tmp_path, "joint", "full", 1, RIGHT, settings={"outputs": "b", "workers": 2, "tracking": {"mode": "y"}}
    )
    (cell,) = cells(tmp_path)
    assert (len(cell.runs), cell.tried) == (2, 1)


def test_who_made_a_run_first_does_not_divide_a_cell(tmp_path: Path) -> None:
    """A run that two sweeps share has the fields of the first, also those that decided nothing for it."""
    for seed, fields in enumerate(({"threads": 1}, {"checkpoint_seconds": 30.0}, {"joint": {"target_share": 0.3}})):
        invented.run(tmp_path, "target_only", "full", seed, RIGHT, settings=fields, setting="equal")
    (cell,) = cells(tmp_path)
    assert (len(cell.runs), cell.tried, cell.settings) == (3, 1, {})


def test_other_training_images_are_not_mixed(tmp_path: Path) -> None:
    """What was made later counts, as the records say and not the files' times: a copied folder has others."""
    new = {"target": {"train": "new", "val": "new", "test": invented.content_of(20)}}
    for seed in (0, 1, 2):
        invented.run(tmp_path, "joint", "full", seed, RIGHT, ended=f"2026-11-01T00:00:0{seed}Z")
    for seed, run_id in ((0, "a" * 32), (1, "b" * 32)):
        invented.run(tmp_path, "joint", "full", seed, RIGHT, content=new, run_id=run_id, ended="2026-11-02T00:00:00Z")
    for times in ((1, 2), (2, 1)):
        for path in tmp_path.glob("runs/*/record.json"):
            later = path.parent.name.endswith(("a" * 12, "b" * 12))
            os.utime(path, (times[later], times[later]))
        (cell,), notes = found(tmp_path)
        assert {run.record.content["target"]["train"] for run in cell.runs.values()} == {"new"}
        assert len(cell.runs) == 2
        assert notes[0].startswith("3 runs learnt from other images than later ones")


def test_the_latest_command_wins_over_the_time_of_a_run(tmp_path: Path) -> None:
    """Images that are put back as they were: what was made with them first is there already, and is asked for again."""
    new = {"target": {"train": "new", "val": "new", "test": invented.content_of(20)}}
    old = invented.run(tmp_path, "joint", "full", 0, RIGHT, ended="2026-11-01T00:00:00Z").run_id
    invented.run(tmp_path, "joint", "full", 0, WRONG, content=new, run_id="a" * 32, ended="2026-11-02T00:00:00Z")
    folder = invented.plan(tmp_path, [old, "a" * 32])
    plan = json.loads((folder / "plan.json").read_text())
    plan["asked"] *= 3
    plan["runs"][0]["asked"], plan["runs"][1]["asked"] = [0, 2], [1]
    (folder / "plan.json").write_text(json.dumps(plan))
    (cell,), _ = found(folder)
    assert [run.record.run_id for run in cell.runs.values()] == [old]


def test_seeds_and_draws_are_repetitions(tmp_path: Path) -> None:
    for seed in (0, 1):
        for draw in (0, 1, 2):
            invented.run(tmp_path / "crossed", "joint", "full", seed, RIGHT, draw=draw)
            if draw == seed:
                invented.run(tmp_path / "tied", "joint", "full", seed, RIGHT, draw=draw)
    (cell,), notes = found(tmp_path / "crossed")
    assert [(r.seed, r.draw[-1]) for r in cell.runs] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert notes == []
    (cell,), notes = found(tmp_path / "tied")
    assert (len(cell.runs), notes) == (2, [])


def test_a_tie_on_validation_is_told_as_a_tie(tmp_path: Path) -> None:
    for lr, val in ((0.1, 0.5), (0.2, 0.5), (0.3, 0.4)):
        invented.run(tmp_path, "joint", "full", 0, RIGHT, val=val, lr=lr)
    (cell,) = cells(tmp_path)
    assert (cell.tried, cell.tied) == (3, 2)


def test_what_a_person_compares_makes_cells_and_is_not_tuned(tmp_path: Path) -> None:
    for n in (1, 3):
        for lr in (0.1, 0.2):
            invented.run(
                tmp_path,
                "joint",
                "last_layers",
                0,
                RIGHT,
                val=lr + n / 10,
                settings={"freeze_policy": {"n": n, "lr_head": lr}},
            )
    (tuned,) = cells(tmp_path)
    assert (tuned.tried, tuned.settings) == (4, {"freeze_policy.lr_head": 0.2, "freeze_policy.n": 3})
    compared = cells(tmp_path, compare=("freeze_policy.n",))
    assert {cell.name: (cell.tried, cell.settings) for cell in compared} == {
        "joint / last_layers, n = 1": (2, {"freeze_policy.lr_head": 0.2}),
        "joint / last_layers, n = 3": (2, {"freeze_policy.lr_head": 0.2}),
    }
    assert {cell.name[-1]: cell.compared for cell in compared} == {n: {"freeze_policy.n": n} for n in "13"}


def test_the_metric_selects_by_its_direction(tmp_path: Path) -> None:
    for lr, accuracy, loss in ((0.1, 0.9, 2.0), (0.2, 0.5, 1.0)):
        metrics = {"target/val/acc": accuracy, "target/val/loss": loss, "target/val/macro_f1": 1 - accuracy}
        invented.run(tmp_path, "joint", "full", 0, RIGHT, lr=lr, metrics=metrics)
    chosen = {name: cells(tmp_path, metric=name)[0] for name in ("accuracy", "log_loss", "macro_f1")}
    rates = {name: cell.settings["freeze_policy.lr_head"] for name, cell in chosen.items()}
    assert rates == {"accuracy": 0.1, "log_loss": 0.2, "macro_f1": 0.2}
    assert chosen["log_loss"].validation == 1.0


def test_names_are_those_that_were_asked_for(tmp_path: Path) -> None:
    """A run that another grid made first, under other option names, and one that is asked for under two names."""
    ids = [invented.run(tmp_path, "pretrain_finetune", "full", seed, RIGHT).run_id for seed in (0, 1)]
    folder = invented.plan(tmp_path, ids, names={id: {"data_mix": "mine", "freeze_policy": "own"} for id in ids})
    (cell,) = cells(folder)
    assert (cell.name, cell.data_mix, cell.freeze_policy, len(cell.runs)) == ("mine / own", "mine", "own", 2)
    plan = json.loads((folder / "plan.json").read_text())
    plan["runs"] += [{**run, "data_mix": "other"} for run in plan["runs"]]
    (folder / "plan.json").write_text(json.dumps(plan))
    assert {cell.name for cell in cells(folder)} == {"mine / own", "other / own"}


def test_a_run_repeats_what_the_sweep_asked_for(tmp_path: Path) -> None:
    """One that an earlier grid made, in which every seed had a pretraining of its own, and one of this grid."""
    made = [
        invented.run(tmp_path, "pretrain_finetune", "full", seed, RIGHT, setting=setting).run_id
        for seed, setting in ((0, "each its own"), (1, "one for all"))
    ]
    assert [len(cell.runs) for cell in cells(invented.plan(tmp_path, made))] == [1]
    asked = {id: {"setting": "one for all"} for id in made}
    (cell,) = cells(invented.plan(tmp_path, made, "asked", names=asked))
    assert (len(cell.runs), cell.incomplete) == (2, 0)


def test_weights_that_differ_by_seed_are_repetitions_of_one_cell(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        weights = {"backbone": {"name": "resnet18", "weights": f"run{seed}"}}
        invented.run(tmp_path / "each", "joint", "full", seed, RIGHT, settings=weights)
        invented.run(tmp_path / "same", "joint", "full", seed, RIGHT, settings=weights)
        invented.run(
            tmp_path / "same", "joint", "full", seed, RIGHT, settings={"backbone": {"name": "resnet18", "weights": "x"}}
        )
    (cell,), notes = found(tmp_path / "each")
    assert ([r.seed for r in cell.runs], cell.weights) == ([0, 1, 2], None)
    assert notes == ["joint / full: 3 given weights, one for each seed, count as repetitions."]
    both = cells(tmp_path / "same")
    assert {(len(each.runs), each.weights) for each in both} == {(3, "x"), (3, None)}


def test_two_weights_on_the_same_seeds_are_two_cells(tmp_path: Path) -> None:
    for weights in ("a", "b"):
        for seed in (0, 1):
            settings = {"backbone": {"name": "resnet18", "weights": weights}}
            invented.run(tmp_path, "joint", "full", seed, RIGHT, settings=settings)
    assert [len(cell.runs) for cell in cells(tmp_path)] == [2, 2]


def test_repetitions_that_diverged_are_counted_with_their_cell(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        invented.run(tmp_path, "joint", "full", seed, RIGHT)
    invented.run(tmp_path, "joint", "full", 3, RIGHT, status="diverged")
    invented.run(tmp_path, "target_only", "full", 0, RIGHT, status="diverged")
    (cell,), notes = found(tmp_path)
    assert (len(cell.runs), cell.diverged) == (3, 1)
    assert notes == ["target_only / full diverged in every repetition, and is last."]


def test_the_source_before_the_last_stage_is_as_it_was_last_measured(tmp_path: Path) -> None:
    """By any earlier stage; where one repetition never measured it, nothing is said."""
    for seed in (0, 1):
        invented.run(tmp_path, "joint", "full", seed, RIGHT)
    (cell,) = cells(tmp_path)

    def known(*stages: tuple[float | None, ...]) -> float | None:
        """Of two repetitions, each with what its stages measured."""
        runs = {}
        for (repetition, run), measured in zip(cell.runs.items(), stages, strict=True):
            own = [{} if each is None else {"metrics": {SOURCE_KEPT: each}} for each in measured]
            runs[repetition] = dataclasses.replace(run, record=dataclasses.replace(run.record, stages=own))
        return dataclasses.replace(cell, runs=runs).before_last_stage(SOURCE_KEPT)

    assert known((0.9, 0.5, None, 0.1), (0.7, None)) == pytest.approx(0.6)
    assert known((0.9, 0.5), (0.7,)) is None
    assert known((0.9, 0.5), (None, 0.7)) is None


def test_what_trains_is_the_kin_of_a_cell_and_random_features_have_none(tmp_path: Path) -> None:
    for mix, policy in invented.GRID:
        invented.run(tmp_path, mix, policy, 0, RIGHT)
    kin = {cell.name: cell.kin for cell in cells(tmp_path)}
    assert kin["pretrain_joint / last_layers"] == "blocks"
    assert kin["target_only / full"] == kin["joint / full"] == "all"
    assert kin["joint / last_layer"] is None
    assert [cell.name for cell in cells(tmp_path) if cell.control] == ["target_only / full"]


def test_what_trains_is_known_of_records_that_do_not_say_it(tmp_path: Path) -> None:
    for policy in ("last_layer", "last_layers", "full"):
        invented.run(tmp_path, "pretrain_joint", policy, 0, RIGHT, trains=None)
    assert {cell.freeze_policy: cell.trains for cell in cells(tmp_path)} == {
        "last_layer": "head", "last_layers": "blocks", "full": "all",
    }  # fmt: skip


def test_cells_with_and_without_a_source_have_names_of_their_own(tmp_path: Path) -> None:
    for source in ("general", None):
        invented.run(tmp_path, "pretrain_finetune", "full", 0, RIGHT, source=source, settings={"lr": str(source)})
    assert {cell.name for cell in cells(tmp_path)} == {
        "pretrain_finetune / full, from general", "pretrain_finetune / full, without source",
    }  # fmt: skip


def test_fields_that_go_together_are_named_once(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        settings = {"data_mix": {"stages": {"adapt": {"lr": lr}}}, "lr": lr}
        invented.run(tmp_path, "joint", "full", 0, RIGHT, val=lr, settings=settings, lr=0.001)
    assert cells(tmp_path)[0].settings == {"lr": 0.2}


def test_a_mean_of_what_does_not_apply_is_none(tmp_path: Path) -> None:
    invented.run(tmp_path, "target_only", "full", 0, RIGHT)
    (cell,) = cells(tmp_path)
    assert cell.mean("source/val/acc") is None
    assert cell.mean("target/test/acc") == pytest.approx(RIGHT.mean())
