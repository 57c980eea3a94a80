"""Which runs are reported, and what is said where some are missing, damaged, or not comparable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.report import invented
from tlfw.errors import ConfigError
from tlfw.report.gather import gather

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
