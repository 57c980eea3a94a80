"""Which jobs a sweep has, and that all are checked before one trains."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

from tests.test_main import SMOKE
from tlfw.errors import ConfigError, TrainingFailed
from tlfw.record import Record
from tlfw.sweep import jobs
from tlfw.zoo import TorchvisionBackbone

GRID = {"data_mix": "a,b", "freeze_policy": "x,y"}
CONTROL = [["data_mix=c", "freeze_policy=x"]]


def test_a_product_and_what_comes_beside_it() -> None:
    found = [" ".join(sorted(job)) for job in jobs(GRID, CONTROL, [])]
    assert found == [
        "data_mix=a freeze_policy=x", "data_mix=a freeze_policy=y", "data_mix=b freeze_policy=x",
        "data_mix=b freeze_policy=y", "data_mix=c freeze_policy=x",
    ]  # fmt: skip


def test_the_control_is_repeated_for_what_else_is_swept() -> None:
    found = jobs(GRID, CONTROL, ["seed=0,1", "+experiment=grid"])
    assert len(found) == 10
    assert all("+experiment=grid" in job for job in found)
    assert sorted(j for j in map(sorted, found) if "data_mix=c" in j) == [
        sorted(["data_mix=c", "freeze_policy=x", f"seed={seed}", "+experiment=grid"]) for seed in (0, 1)
    ]


def test_the_command_line_wins_over_the_file() -> None:
    assert jobs(GRID, [], ["data_mix=c"]) == [["freeze_policy=x", "data_mix=c"], ["freeze_policy=y", "data_mix=c"]]


def test_equal_jobs_are_one() -> None:
    assert jobs({"a": "1,1"}, [["a=1"]], []) == [["a=1"]]


@pytest.mark.parametrize("argument", ["seed=interval(0,1)", "hydra/launcher=basic,joblib"])
def test_what_cannot_be_swept(argument: str) -> None:
    with pytest.raises(ConfigError):
        jobs({}, [], [argument])


def test_all_errors_come_together_before_the_first_trains(cli, tmp_path: Path) -> None:
    code, out, err = cli(
        "-m", *SMOKE, "freeze_policy=last_layers", "freeze_policy.n=1,9", "seed=0,1", "target.train_per_class=10,999"
    )
    assert code == 1
    assert "steps in" not in out
    assert err.splitlines()[0] == "6 of 8 jobs cannot work; nothing was trained."
    assert "freeze_policy.n: 9 blocks were asked for" in err
    assert "target.train_per_class: 999 labelled images" in err
    assert not (tmp_path / "outputs" / "runs").exists()


def test_an_unknown_option_in_a_sweep(cli) -> None:
    code, out, err = cli("-m", *SMOKE, "freeze_policy=full,fulll")
    assert code == 1
    assert "1 of 2 jobs cannot work" in err
    assert "freeze_policy: there is no option 'fulll'. Did you mean full?" in err
    assert "steps in" not in out


def test_experiments_with_grids_of_their_own_cannot_be_swept_over(cli) -> None:
    code, _, err = cli("-m", *SMOKE, "+experiment=quickstart_grid,quickstart")
    assert code == 1
    assert "experiment: it sets hydra.sweeper" in err


TWO = ("-m", *SMOKE, "data_mix=target_only", "freeze_policy.lr_head=1e-3,1e30", "freeze_policy.lr_backbone=1e-3")


def test_a_run_that_diverged_is_no_failure(cli, tmp_path: Path) -> None:
    code, out, err = cli(*TWO)
    assert code == 0, err
    assert "1 done (1 trained now, 0 were there), 0 failed, 1 diverged" in out
    assert "diverged: adapt: the loss became" in out.replace("target validation ", "")
    records = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    assert sorted(record["status"] for record in records) == ["diverged", "done"]
    assert not list((tmp_path / "outputs" / "sweeps" / "run" / "jobs").glob("*/traceback.txt"))
    code, out, err = cli(*TWO)
    assert code == 0, err
    assert "steps in" not in out
    assert "1 done (0 trained now, 1 were there), 0 failed, 1 diverged" in out
    code, out, err = cli(*TWO, "freeze_policy.lr_head=1e-3,1e30,1e-2", "force=true")
    assert code == 0, err
    assert "2 done (2 trained now, 0 were there), 0 failed, 1 diverged" in out


def test_one_failure_does_not_stop_the_others(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = importlib.import_module("tlfw.fold").train

    def fails(freezing, *given, **also):
        if freezing.policy.lr_head > 1:
            raise TrainingFailed("the loss became too dear")
        return train(freezing, *given, **also)

    monkeypatch.setattr("tlfw.fold.train", fails)
    code, out, _ = cli(*TWO)
    assert code == 1
    assert "1 done (1 trained now, 0 were there), 1 failed" in out
    assert "loss became" in out
    records = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    assert sorted(record["status"] for record in records) == ["done", "failed"]
    (trace,) = (tmp_path / "outputs" / "sweeps" / "run" / "jobs").glob("*/traceback.txt")
    assert "TrainingFailed" in trace.read_text()


def test_a_run_in_a_sweep_is_the_run_alone(cli, tmp_path: Path) -> None:
    given = (*SMOKE, "source.per_class=10", "freeze_policy=last_layers")
    assert cli("-m", *given, "seed=0,1")[0] == 0
    assert cli(*given, "seed=1", "outputs=alone")[0] == 0
    (alone,), (swept,) = (
        [json.loads(path.read_text()) for path in (tmp_path / place / "runs").glob("*-s1-*/record.json")]
        for place in ("alone", "outputs")
    )
    assert alone["run_id"] == swept["run_id"]
    assert alone["metrics"] == swept["metrics"]
    assert (alone["sweep"], swept["sweep"]) == (None, "run")


def seen(cli, tmp_path: Path, *given: str) -> dict[str, tuple[int, int]]:
    """Cell -> images that its whole run sees, and that its last stage does, as a sweep's plan says."""
    code, _, err = cli("-m", *given, "trainer=cpu", "hydra.sweeper.dry_run=true", "tracking=disabled")
    assert code == 0, err
    (plan,) = (tmp_path / "outputs" / "sweeps").glob("*/plan.json")
    found = {}
    for run in json.loads(plan.read_text())["runs"]:
        cell = dict(word.split("=", 1) for word in run["overrides"])
        images = [step["images"] for step in run["steps"] if "/features" not in step["until"]]
        found[f"{cell['data_mix']} / {cell['freeze_policy']}"] = sum(images), images[-1]
    plan.unlink()
    return found


SMALL = (
    "+experiment=grid", "source.per_class=10", "backbone=shufflenet_v2_x0_5", "image_size=32",
    "target.train_per_class=10",
)  # fmt: skip


def test_every_run_of_a_grid_sees_as_many_images_unless_that_is_not_wanted(cli, folder, tmp_path: Path) -> None:
    folders = (f"source.root={folder('general', first=500)}", f"target.root={folder('mine')}")
    for given in (SMALL, ("+experiment=quickstart_grid", "source.per_class=10"), ("+experiment=folder_grid", *folders)):
        given = (*given, "target.train_per_class=null") if "folder" in given[0] else given
        found = seen(cli, tmp_path, *given)
        assert len(found) == 10
        assert max(total for total, _ in found.values()) - min(total for total, _ in found.values()) <= 64, found
    own = seen(cli, tmp_path, *SMALL, "match_budget=null")
    assert own["joint / full"] == (5248, 5248)  # 10 x 360 + 20 x 80, in batches of 64
    assert own["pretrain_joint / full"] == own["pretrain_finetune / full"] == (5248, 1600)
    assert own["target_only / full"] == (1600, 1600)


def test_a_grid_from_given_weights(cli, tmp_path: Path) -> None:
    """Its control begins with random ones; without a source there are the mixes that need none."""
    weights = tmp_path / "weights.pth"
    torch.save(TorchvisionBackbone(name="shufflenet_v2_x0_5").build(3, 32, seed=0).state_dict(), weights)
    given = (*SMALL, f"backbone.weights={weights}", "pretrain.budget=0epochs")
    assert set(seen(cli, tmp_path, *given).values()) == {(1600, 1600)}
    given = (*(word for word in given if "source" not in word), "data@source=none", "data_mix=pretrain_finetune")
    without = seen(cli, tmp_path, *given)
    assert without == dict.fromkeys(without, (1600, 1600))
    assert [cell.split(" / ")[0] for cell in without] == ["pretrain_finetune"] * 3 + ["target_only"]
    code, out, err = cli("-m", *given, "trainer=smoke", "tracking=disabled", "freeze_policy=full")
    assert code == 0, err
    assert "2 done (2 trained now, 0 were there), 0 failed" in out
    records = [Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    begun = {record.paradigm["data_mix"]: record.settings["backbone"]["weights"] for record in records}
    assert begun == {"pretrain_finetune": str(weights), "target_only": None}


@pytest.mark.slow
def test_the_grid_shares_its_pretraining_and_is_done_once(cli, tmp_path: Path) -> None:
    code, out, _ = cli("-m", "+experiment=quickstart_grid", *SMOKE, "source.per_class=20")
    assert code == 0
    assert "10 done (10 trained now, 0 were there), 0 failed" in out
    records = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    assert len(records) == 10
    assert all(record["certificate"]["holds"] and record["sweep"] == "quickstart_grid" for record in records)
    stages = [
        (stage["key"], stage["reused"])
        for record in records
        for stage in record["stages"]
        if stage["name"] == "pretrain"
    ]
    assert len(stages) == 6
    assert len({key for key, _ in stages}) == 1
    assert all(reused for _, reused in stages)  # it was made before them
    assert out.count("  pretrain: 3 steps in") == 1
    code, out, _ = cli("+experiment=quickstart_grid", *SMOKE, "source.per_class=20")  # it is a grid, with or without -m
    assert code == 0
    assert "10 done (0 trained now, 10 were there), 0 failed" in out
    assert "steps in" not in out
