"""Which jobs a sweep has, and that all are checked before one trains."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import paint
from tests.sweeps.test_task_graph import job, stage
from tests.test_main import SMOKE
from tlfw import CONF
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.errors import ConfigError, TrainingFailed
from tlfw.records.record import Record
from tlfw.report.gather import gather
from tlfw.sweeps.check import check_comparable, compared, outdated
from tlfw.sweeps.task_graph import Candidate


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
    train = importlib.import_module("tlfw.runs.fold").train

    def fails(freezing, *given, **also):
        if freezing.policy.lr_head > 1:
            raise TrainingFailed("the loss became too dear")
        return train(freezing, *given, **also)

    monkeypatch.setattr("tlfw.runs.fold.train", fails)
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


def seen(cli, *given: str) -> dict[str, tuple[int, int]]:
    """Cell -> images that its whole run sees, and that its last stage does, as a sweep is planned."""
    planned = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlfw.sweeps.launch.announce", lambda agenda, *_: planned.append(agenda))
        code, _, err = cli("-m", *given, "trainer=cpu", "hydra.sweeper.dry_run=true", "tracking=disabled")
    assert code == 0, err
    found = {}
    for run in planned[0].candidates:
        images = [step.images for step in run.steps if step.trains]
        found[f"{run.names['data_mix']} / {run.names['freeze_policy']}"] = sum(images), images[-1]
    return found


UNIT = (
    "+experiment=grid", "source.per_class=10", "backbone=shufflenet_v2_x0_5", "image_size=32",
    "target.train_per_class=10",
)  # fmt: skip


def test_every_run_of_a_grid_sees_as_many_images_unless_that_is_not_wanted(cli, folder, tmp_path: Path) -> None:
    folders = (f"source.root={folder('general', first=500)}", f"target.root={folder('mine')}")
    for given in (UNIT, ("+experiment=quickstart_grid", "source.per_class=10"), ("+experiment=folder_grid", *folders)):
        given = (*given, "target.train_per_class=null") if "folder" in given[0] else given
        found = seen(cli, *given)
        assert len(found) == 10
        assert max(total for total, _ in found.values()) - min(total for total, _ in found.values()) <= 64, found
    own = seen(cli, *UNIT, "match_budget=null")
    assert own["joint / full"] == (5248, 5248)  # 10 x 360 + 20 x 80, in batches of 64
    assert own["pretrain_joint / full"] == own["pretrain_finetune / full"] == (5248, 1600)
    assert own["target_only / full"] == (1600, 1600)


def test_a_grid_from_given_weights(cli, tmp_path: Path) -> None:
    """Its control begins with random ones; without a source there are the mixes that need none."""
    weights = tmp_path / "weights.pth"
    torch.save(TorchvisionBackbone(name="shufflenet_v2_x0_5").build(3, 32, seed=0).state_dict(), weights)
    given = (*UNIT, f"backbone.weights={weights}", "pretrain.budget=0epochs")
    assert set(seen(cli, *given).values()) == {(1600, 1600)}
    given = (*(word for word in given if "source" not in word), "data@source=none", "data_mix=pretrain_finetune")
    without = seen(cli, *given)
    assert without == dict.fromkeys(without, (1600, 1600))
    assert [cell.split(" / ")[0] for cell in without] == ["pretrain_finetune"] * 3 + ["target_only"]
    code, out, err = cli("-m", *given, "trainer=smoke", "tracking=disabled", "freeze_policy=full")
    assert code == 0, err
    assert "2 done (2 trained now, 0 were there), 0 failed" in out
    records = [Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    begun = {record.paradigm["data_mix"]: record.settings["backbone"]["weights"] for record in records}
    assert begun == {"pretrain_finetune": str(weights), "target_only": None}


SMALL = ("-m", *SMOKE, "source.per_class=10", "data_mix=target_only")
SWEEP = Path("outputs", "sweeps", "run")
REPORTED = "hydra.sweeper.report=true"


def everything(place: Path) -> dict[str, bytes]:
    """All files, and what is in them, but what planning notes of images that it has looked at."""
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else b""
        for path in sorted(place.rglob("*"))
        if "manifests" not in path.parts
    }


def said_by(plan: Path) -> list[tuple[str, ...]]:
    """Of each run that was asked for, what it is called and which commands asked for it."""
    runs = json.loads((plan / "plan.json").read_text())["runs"]
    return [(run["data_mix"], run["freeze_policy"], run["backbone"], *run["asked"]) for run in runs]


def test_a_dry_run_of_a_finished_sweeps_name_changes_nothing(cli, tmp_path: Path) -> None:
    assert cli(*SMALL, "freeze_policy=full,last_layers")[0] == 0
    before = everything(tmp_path)
    code, out, err = cli(*SMALL, "freeze_policy=full", "seed=1,2", "hydra.sweeper.dry_run=true")
    assert code == 0, err
    assert "plan: 2 runs, 0 done, 2 to do" in out
    assert everything(tmp_path) == before
    assert len(gather([tmp_path / SWEEP]).runs) == 2


def test_a_later_command_of_the_same_name_adds_to_what_is_reported(cli, tmp_path: Path) -> None:
    assert cli(*SMALL, "freeze_policy=full")[0] == 0
    for policy in ("last_layers", "full"):
        code, _, err = cli(*SMALL, f"freeze_policy={policy}")
        assert code == 0, err
        found = gather([tmp_path / SWEEP])
        assert (found.asked, len(found.runs)) == (2, 2)
        assert f"freeze_policy={policy}" in (tmp_path / SWEEP / "multirun.yaml").read_text()
    assert said_by(tmp_path / SWEEP) == [
        ("target_only", "full", "shufflenet_v2_x0_5", 0, 2),
        ("target_only", "last_layers", "shufflenet_v2_x0_5", 1),
    ]


def test_how_a_command_is_to_be_judged_is_remembered_and_makes_no_other_run(cli, tmp_path: Path) -> None:
    assert cli(*SMALL, "freeze_policy=full", "margin=1%")[0] == 0
    code, out, err = cli(*SMALL, "freeze_policy=full", "compare=[freeze_policy.n]", "repeat.by=seed")
    assert code == 0, err
    assert "steps in" not in out
    plan = json.loads((tmp_path / SWEEP / "plan.json").read_text())
    assert [(ask["compare"], ask["margin"], ask["metric"]) for ask in plan["asked"]] == [
        ([], 0.01, "accuracy"), (["freeze_policy.n"], None, "accuracy"),
    ]  # fmt: skip


def test_wandb_is_told_where_a_report_is_of_more_than_before(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all runs were there, made under another name."""
    told: list[bool] = []

    def conclude(folder: Path, tracking: object, *, track: bool) -> None:
        (folder / "report.json").touch()
        told.append(track)

    monkeypatch.setattr("tlfw.sweeps.final_report.conclude", conclude)
    assert cli(*SMALL, "freeze_policy=last_layers", "name=other")[0] == 0
    for policy in ("full", "full", "last_layers", "full,last_layers"):
        code, _, err = cli(*SMALL, f"freeze_policy={policy}", REPORTED)
        assert code == 0, err
    assert told == [True, False, True, False]


def test_a_run_of_another_sweep_repeats_what_this_one_asks_for(cli, tmp_path: Path) -> None:
    """Seed 0 has pretraining 0 anyway; here all have it."""
    command = ("-m", *SMOKE, "source.per_class=10", "data_mix=pretrain_finetune", "freeze_policy=full")
    assert cli(*command, "seed=0,1", "name=each")[0] == 0
    code, out, err = cli(*command, "seed=0,1,2", "pretrain.seed=0", "name=one", REPORTED)
    assert code == 0, err
    assert "3 done (2 trained now, 1 were there)" in out
    folder = tmp_path / "outputs" / "sweeps" / "one"
    (task,) = json.loads((folder / "report.json").read_text())["tasks"]
    (cell,) = task["cells"]
    assert cell["repetitions"] == 3
    assert "given this pretraining" in task["scope"]


def test_a_plan_of_before_names_were_kept_is_added_to(cli, tmp_path: Path) -> None:
    """As it was left by earlier versions: without names, times or commands."""
    assert cli(*SMALL, "freeze_policy=full")[0] == 0
    path = tmp_path / SWEEP / "plan.json"
    plan = json.loads(path.read_text())
    new = ("data_mix", "freeze_policy", "backbone", "tested_on", "setting", "asked")
    plan["runs"] = [{name: value for name, value in run.items() if name not in new} for run in plan["runs"]]
    del plan["asked"]
    path.write_text(json.dumps(plan | {"schema": 1}))
    assert cli(*SMALL, "freeze_policy=last_layers")[0] == 0
    assert said_by(tmp_path / SWEEP) == [
        (None, None, None, 0), ("target_only", "last_layers", "shufflenet_v2_x0_5", 1),
    ]  # fmt: skip
    assert len(gather([tmp_path / SWEEP]).runs) == 2


def test_a_plan_that_cannot_be_read_stops_a_sweep_before_it_trains(cli, tmp_path: Path) -> None:
    (tmp_path / SWEEP).mkdir(parents=True)
    (tmp_path / SWEEP / "plan.json").write_text('{"schema": 2')
    code, out, err = cli(*SMALL, "freeze_policy=full")
    assert code == 1
    assert "plan.json: it cannot be read" in err
    assert "steps in" not in out
    assert (tmp_path / SWEEP / "plan.json").read_text() == '{"schema": 2'


def test_an_equal_run_is_shown_under_the_names_that_were_asked_for(cli, tmp_path: Path) -> None:
    """Also where the option lies in a folder of its own."""
    (tmp_path / "own" / "freeze_policy" / "mine").mkdir(parents=True)
    shutil.copy(CONF / "freeze_policy" / "full.yaml", tmp_path / "own" / "freeze_policy" / "mine" / "all.yaml")
    assert cli(*SMALL, "freeze_policy=full")[0] == 0
    code, out, err = cli("--config-dir", "own", *SMALL, "freeze_policy=mine/all", "name=other")
    assert code == 0, err
    assert "1 done (0 trained now, 1 were there)" in out
    assert "mine/all" in out
    assert said_by(tmp_path / SWEEP.parent / "other") == [("target_only", "mine/all", "shufflenet_v2_x0_5", 0)]
    code, out, err = cli("--config-dir", "own", *SMALL[1:], "freeze_policy=mine/all", "seed=1")
    assert code == 0, err
    (folder,) = (tmp_path / "outputs" / "runs").glob("target_only-mine.all-shufflenet_v2_x0_5-s1-*")
    assert f"record: {folder.relative_to(tmp_path)}" in out


def test_a_sweep_makes_its_repetitions(cli, tmp_path: Path) -> None:
    code, out, err = cli(*SMALL, "freeze_policy=full", "repeat=2")
    assert code == 0, err
    assert (
        "plan: 2 runs (1 cell x 2 repetitions: seeds 0 to 1, each with its own draw of labelled images), 0 done" in out
    )
    records = [Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    assert {(each.seed, each.settings["target"]["split_seed"]) for each in records} == {(0, 0), (1, 1)}
    assert len({each.setting for each in records}) == 1
    assert len({each.content["target"]["test"] for each in records}) == 1
    assert len({each.content["target"]["train"] for each in records}) == 2
    plan = json.loads((tmp_path / SWEEP / "plan.json").read_text())
    assert [ask["repetitions"] for ask in plan["asked"]] == [2]
    code, out, _ = cli(*SMALL[1:], "freeze_policy=full", "seed=1", "target.split_seed=1")  # is the second of them
    assert code == 0
    assert "steps in" not in out
    assert cli(*SMALL, "freeze_policy=full", "seed=0,1,2", "target.split_seed=0", "hydra.sweeper.dry_run=true")[0] == 0


def test_an_experiments_file_can_ask_for_repetitions(cli, tmp_path: Path) -> None:
    file = tmp_path / "own" / "experiment" / "often.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nname: often\nrepeat: 4\n")
    given = ("--config-dir", "own", *SMALL, "+experiment=often", "hydra.sweeper.dry_run=true")
    for typed, said in (((), "4 repetitions: seeds 0 to 3"), (("repeat=2", "seed=5"), "2 repetitions: seeds 5 to 6")):
        code, out, err = cli(*given, *typed)
        assert code == 0, err
        assert f"runs (1 cell x {said}, each with its own draw of labelled images), 0 done" in out
    code, _, err = cli("--config-dir", "own", *SMALL[1:], "+experiment=often")
    assert code == 1
    assert "repeat: a single run cannot be 4. Add -m." in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["repeat=2", "seed=0,1"], "seed: it is swept, where repeat=2 makes its values. Leave one of the two out."),
        (["repeat=1,2"], "repeat: it is swept over (1,2), where a sweep has one. Make a sweep of each value."),
        (["repeat=2", "folds=2"], "folds: each fold is a repetition, and repeat is 2. Leave one of them out."),
        (["repeat=2", "+experiment=course_7_6_controlled"], "seed: it is swept, where repeat=2"),
        (["repeat=2", "+experiment=search"], "repeat: a search tests one run, the one that validated best."),
        (["compare=[freeze_policy.m]", "seed=0,1"], "compare: there is no field 'freeze_policy.m'. Did you mean"),
    ],
)
def test_what_cannot_be_repeated_or_compared_is_said_before_any_training(
    cli, tmp_path: Path, given: list[str], said: str
) -> None:
    code, out, err = cli("-m", *SMOKE, *given)
    assert code == 1
    assert said in err
    assert "steps in" not in out
    assert not (tmp_path / "outputs").exists()


def test_what_would_be_tested_on_other_images_is_refused_before_any_training(cli, folder, tmp_path: Path) -> None:
    """Within a sweep, and after one of the same name; other draws of labelled images are fine."""
    one, other = folder("one"), folder("other", first=9000)
    given = (
        *("-m", *SMOKE, "target.train_per_class=null", "data_mix=target_only", "freeze_policy=full"),
        *("data@target=image_folder", "data@source=none"),
    )
    code, out, err = cli(*given, f"target.root={one},{other}", REPORTED)
    assert code == 1
    assert "target.root: these runs would be tested on 2 different sets of images, which cannot be compared." in err
    assert "steps in" not in out
    code, out, err = cli(
        *given, f"target.root={one}", "target.split_seed=0,1,2", REPORTED, "hydra.sweeper.dry_run=true"
    )
    assert code == 0, err
    code, _, err = cli(*given, f"target.root={one},{other}", "hydra.sweeper.dry_run=true")  # no report, no comparison
    assert code == 0, err
    code, _, err = cli(*given, f"target.root={one}")
    assert code == 0, err
    before = everything(tmp_path)
    code, out, err = cli(*given, f"target.root={other}", REPORTED)
    assert code == 1
    assert "name: under run runs were asked for that are tested on other images: they differ in target.root." in err
    assert "steps in" not in out
    assert everything(tmp_path) == before
    assert cli(*given, f"target.root={other}", "name=another", REPORTED, "hydra.sweeper.dry_run=true")[0] == 0


def test_runs_that_were_tested_on_images_that_changed_are_set_aside(cli, folder, tmp_path: Path) -> None:
    """The same command after somebody has mended the test images: its report is of what it finds now."""
    root = folder("mine")
    given = (
        *("-m", *SMOKE, "target.train_per_class=null", "data_mix=target_only", "freeze_policy=full,last_layers"),
        *("data@target=image_folder", "data@source=none", f"target.root={root}"),
    )
    assert cli(*given)[0] == 0
    assert cli(*given, "seed=1")[0] == 0
    paint(0, 77).save(root / "test" / "class0" / "0.png")
    code, out, err = cli(*given)
    assert code == 0, err
    line = "4 runs that were asked for under this name were tested on images that have changed since: the report is"
    assert line in out
    plan = json.loads((tmp_path / SWEEP / "plan.json").read_text())
    assert [(len(plan[part]), plan[part][0]["asked"]) for part in ("runs", "set_aside")] == [(2, [2]), (4, [0])]
    assert len(gather([tmp_path / SWEEP]).runs) == 2
    code, out, _ = cli(*given)
    assert code == 0
    assert line not in out
    assert len(json.loads((tmp_path / SWEEP / "plan.json").read_text())["set_aside"]) == 4


def test_folds_are_tested_on_images_of_their_own() -> None:
    """Each is compared with itself: over cells, and over commands."""

    def of(fold: int | None, tested_on: str, **settings: object) -> Candidate:
        return dataclasses.replace(job("a", stage("adapt", "a"), fold=fold, **settings), tested_on=tested_on)

    cells = [of(fold, f"images {fold}", **{"target.x": cell}) for fold in (0, 1) for cell in "ab"]
    check_comparable(cells)
    with pytest.raises(ConfigError, match=r"target.y: these runs would be tested on 2"):
        check_comparable([*cells, of(1, "images 7", **{"target.x": "a", "target.y": 1})])
    sets = [of(None, each, **{"target._target_": each, "target.x": each}) for each in "ab"]
    with pytest.raises(ConfigError, match=r"data@target: these runs"):
        check_comparable(sets)
    whole = {"run_id": "w", "tested_on": "all", "settings": {"fold": None}}
    same = {"run_id": "s", "tested_on": "images 1", "settings": {"fold": 1}}
    changed = {"run_id": "c", "tested_on": "images 7", "settings": {"fold": 1, "target.x": "a"}}
    unknown = {"run_id": "u", "settings": {"fold": 1}}
    assert outdated(cells, None, "s") == frozenset()
    assert outdated(cells, {"runs": [whole, same, changed, unknown]}, "s") == {"c"}
    other = {**changed, "settings": {"fold": 1, "target.x": "c"}}
    with pytest.raises(ConfigError, match=r"name: under s .* other images: they differ in target.x"):
        outdated(cells, {"runs": [same, other]}, "s")
    assert compared(cells, {"runs": [other]}, "s", reported=False) == frozenset()
    with pytest.raises(ConfigError, match="name"):
        compared(cells, {"runs": [other]}, "s", reported=True)


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
