"""Which runs are reported, and what is said where some are missing, damaged, or not comparable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.report import invented
from tlfw.errors import ConfigError
from tlfw.report.gather import Wanted, gather

RIGHT = np.arange(20) % 3 > 0


def made(outputs: Path, seed: int = 0, **changes: object) -> str:
    return invented.run(outputs, "joint", "full", seed, RIGHT, **changes).run_id  # type: ignore[arg-type]


def test_a_sweep_is_the_runs_of_its_plan(tmp_path: Path) -> None:
    ids = [made(tmp_path, seed) for seed in (0, 1)]
    made(tmp_path, 2)  # of another sweep
    found = gather([invented.plan(tmp_path, [*ids, "f" * 32])])
    assert sorted(run.record.run_id for run in found.runs) == sorted(ids)
    assert (found.sweeps, found.asked, found.missing) == (("invented",), 3, {"not there yet": 1})


def test_runs_are_found_by_folder_file_and_folder_of_folders_and_each_counts_once(tmp_path: Path) -> None:
    made(tmp_path, 0)
    made(tmp_path, 1)
    first = sorted((tmp_path / "runs").iterdir())[0]
    for places in ([tmp_path], [tmp_path / "runs"], [first, first / "record.json", tmp_path]):
        found = gather(places)
        assert (len(found.runs), found.asked, found.missing, found.sweeps) == (2, 2, {}, ())
    assert len(gather([first]).runs) == 1


def test_what_did_not_end_well_is_counted(tmp_path: Path) -> None:
    made(tmp_path, 0)
    made(tmp_path, 1, status="failed", error="loss became nan")
    made(tmp_path, 2, status="interrupted")
    assert gather([tmp_path]).missing == {"failed": 1, "interrupted": 1}


def test_damaged_records_and_other_schemas_are_left_out_with_a_note(tmp_path: Path) -> None:
    made(tmp_path, 0)
    for seed, text in ((1, "{"), (2, None)):
        made(tmp_path, seed)
        path = next((tmp_path / "runs").glob(f"*-s{seed}-*/record.json"))
        path.write_text(text or json.dumps(json.loads(path.read_text()) | {"schema": 1}))
    found = gather([tmp_path])
    assert len(found.runs) == 1
    assert found.notes[0].startswith("2 records are left out, for example: ")


def test_runs_of_other_test_images_are_refused_by_name(tmp_path: Path) -> None:
    made(tmp_path, 0)
    invented.run(tmp_path, "joint", "last_layer", 0, RIGHT[:15])
    with pytest.raises(ConfigError, match=r"2 different sets of images.*mine .*joint-full-.*mine .*joint-last_layer"):
        gather([tmp_path])


@pytest.mark.parametrize("place", ["empty", "missing", "unfinished"])
def test_where_nothing_is_finished_that_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    made(tmp_path / "unfinished", 0, status="failed", error="e")
    with pytest.raises(ConfigError, match="1 failed" if place == "unfinished" else place):
        gather([tmp_path / place])


def test_a_plan_that_is_damaged_is_named(tmp_path: Path) -> None:
    made(tmp_path)
    folder = invented.plan(tmp_path, [])
    (folder / "plan.json").write_text('{"runs": [')
    with pytest.raises(ConfigError, match=r"plan\.json"):
        gather([folder])


def test_runs_that_were_computed_in_several_ways_are_noted(tmp_path: Path) -> None:
    made(tmp_path, 0)
    made(tmp_path, 1, environment={"numerics": {"device": "cpu", "threads": 2}})
    assert gather([tmp_path]).notes == ("Runs differ in threads: 1 (1 runs), 2 (1 runs).",) or gather(
        [tmp_path]
    ).notes == ("Runs differ in threads: 2 (1 runs), 1 (1 runs).",)


@pytest.mark.parametrize("damage", ["missing", "cut", "garbled", "short", "no array"])
def test_predictions_that_cannot_be_read_are_named(tmp_path: Path, damage: str) -> None:
    made(tmp_path)
    (run,) = gather([tmp_path]).runs
    path = run.folder / "predictions.npz"
    whole = dict(np.load(path))
    match damage:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:300])
        case "garbled":
            path.write_bytes(b"x" * 300)
        case "short":
            np.savez(path, **{name: values[:7] for name, values in whole.items()})
        case _:
            np.savez(path, **{name: values for name, values in whole.items() if name != "prediction"})
    with pytest.raises(ConfigError, match=r"predictions\.npz"):
        run.predictions()


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", "0"), ("settings", None), ("paradigm", {}), ("images", {}), ("cost", {}), ("stages", []),
     ("stages", [{"key": "k"}]), ("metrics", {}), ("metrics", {"target/val/acc": None}),
     ("metrics", {"target/val/acc": 1.5}), ("content", {"target": {}})],
)  # fmt: skip
def test_records_that_someone_edited_are_left_out(tmp_path: Path, field: str, value: object) -> None:
    made(tmp_path, 0)
    made(tmp_path, 1)
    path = next((tmp_path / "runs").glob("*-s1-*/record.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    found = gather([tmp_path])
    assert len(found.runs) == 1
    assert f"has no usable {field}" in found.notes[0]


def test_a_diverged_run_is_a_result_and_not_missing(tmp_path: Path) -> None:
    ids = [made(tmp_path, 0), made(tmp_path, 1, status="diverged")]
    found = gather([invented.plan(tmp_path, ids)])
    assert [run.record.seed for run in found.diverged] == [1]
    assert (len(found.runs), found.missing, found.whole) == (1, {}, True)


def test_a_sweep_is_whole_when_nothing_is_to_come(tmp_path: Path) -> None:
    ids = [made(tmp_path, 0), made(tmp_path, 1, status="failed", error="e")]
    assert gather([invented.plan(tmp_path, ids)]).whole
    assert not gather([invented.plan(tmp_path, [*ids, "f" * 32], name="more")]).whole
    ids.append(made(tmp_path, 2, status="interrupted"))
    assert not gather([invented.plan(tmp_path, ids, name="cut")]).whole


def test_what_was_planned_is_what_was_first_asked_for_that_can_answer(tmp_path: Path) -> None:
    folder = invented.plan(tmp_path, [made(tmp_path)])
    plan = json.loads((folder / "plan.json").read_text())

    def planned(*counts: int) -> int | None:
        plan["asked"] = [{"repetitions": count} for count in counts]
        plan["runs"][0]["asked"] = [len(counts) - 1]
        (folder / "plan.json").write_text(json.dumps(plan))
        return gather([folder]).planned

    assert planned(5) == planned(5, 8) == planned(1, 2, 5, 3) == 5
    assert planned(1) is planned(1, 2) is None


def test_several_sweeps_with_several_plans_have_none(tmp_path: Path) -> None:
    id = made(tmp_path)
    folders = [
        invented.plan(tmp_path, [id], name=name, repetitions=count) for name, count in (("a", 3), ("b", 5), ("c", 5))
    ]
    assert gather(folders[1:]).planned == 5
    assert gather(folders).planned is None
    assert gather([tmp_path]).planned is None


def test_a_plan_of_before_names_was_written_down_is_read(tmp_path: Path) -> None:
    folder = invented.plan(tmp_path, [made(tmp_path)])
    plan = {"schema": 1, "records": "../../runs", "runs": [{"run_id": made(tmp_path, 1)}], "note": "so it was"}
    (folder / "plan.json").write_text(json.dumps(plan))
    found = gather([folder])
    assert [run.data_mix for run in found.runs] == ["joint"]
    assert found.notes == ("so it was",)


def test_runs_on_images_that_have_changed_since_are_left_out(tmp_path: Path) -> None:
    old = made(tmp_path, 0)
    new = invented.run(tmp_path, "joint", "full", 1, RIGHT[:15]).run_id
    folder = invented.plan(tmp_path, [old, new])
    plan = json.loads((folder / "plan.json").read_text())
    plan["asked"] *= 2
    plan["runs"][1]["asked"] = [1]
    (folder / "plan.json").write_text(json.dumps(plan))
    found = gather([folder])
    assert [run.record.run_id for run in found.runs] == [new]
    assert found.notes == ("1 runs were tested on other images than the latest of their sweep, and are left out.",)


def test_what_is_judged_by_is_asked_for_wanted_or_the_runs_own(tmp_path: Path) -> None:
    id = made(tmp_path, settings={"metric": "macro_f1", "compare": ["freeze_policy.n"], "margin": None})
    alone = gather([tmp_path])
    assert (alone.metric.name, alone.margin, alone.compare) == ("macro_f1", None, ("freeze_policy.n",))
    folder = invented.plan(tmp_path, [id], metric="log_loss", margin=0.02)
    asked = gather([folder])
    assert (asked.metric.name, asked.margin, asked.compare) == ("log_loss", 0.02, ())
    wanted = gather([folder], Wanted(metric="accuracy", margin=0.01, compare=("seed",)))
    assert (wanted.metric.name, wanted.margin, wanted.compare) == ("accuracy", 0.01, ("seed",))


def test_sweeps_that_were_judged_differently_need_a_word(tmp_path: Path) -> None:
    id = made(tmp_path)
    folders = [invented.plan(tmp_path, [id], name=name, metric=name) for name in ("accuracy", "macro_f1")]
    with pytest.raises(ConfigError, match=r"--metric: .*accuracy.*macro_f1"):
        gather(folders)
    assert gather(folders, Wanted(metric="macro_f1")).metric.name == "macro_f1"


@pytest.mark.parametrize(
    ("wanted", "said"), [({"metric": "f1"}, "metric"), ({"compare": ("lr",)}, "compare: no run has")]
)
def test_what_nobody_knows_is_refused(tmp_path: Path, wanted: dict, said: str) -> None:
    made(tmp_path)
    with pytest.raises(ConfigError, match=said):
        gather([tmp_path], Wanted(**wanted))


def test_a_metric_that_the_runs_do_not_have_is_refused(tmp_path: Path) -> None:
    made(tmp_path, metrics={"target/val/acc": 0.5})
    with pytest.raises(ConfigError, match=r"metric: 1 runs have no macro F1 .*joint-full-"):
        gather([tmp_path], Wanted(metric="macro_f1"))
