"""`python -m tlfw.report`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.report import invented
from tests.report.sketched import instead
from tlfw.report import folder_for, report
from tlfw.report.__main__ import main

FILES = {
    "report.html", "report.json", "leaderboard.csv", "leaderboard.md", "leaderboard.tex", "runs.csv", "classes.csv",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    instead(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return invented.sweep(tmp_path / "outputs", seeds=2, images=60)


def told(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """-> (exit code, what was said)."""
    code: object = 0
    try:
        main(list(map(str, arguments)))
    except SystemExit as end:
        code = end.code
    out = capsys.readouterr().out
    return (1, code) if isinstance(code, str) else (int(str(code)), out)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_leaves_its_files_in_the_sweeps_folder(sweep: Path, capsys) -> None:
    code, out = told(sweep, capsys=capsys)
    assert code == 0
    assert files(sweep) == FILES | {"plan.json", "figures/one.svg", "figures/two.svg"}
    assert out.rstrip().splitlines()[-3:] == [str(sweep / n) for n in ("report.html", "report.json", "leaderboard.csv")]


def test_it_leaves_them_where_one_says(sweep: Path, tmp_path: Path, capsys) -> None:
    assert told(sweep, "--out", tmp_path / "new" / "place", capsys=capsys)[0] == 0
    assert files(tmp_path / "new" / "place") >= FILES
    assert files(sweep) == {"plan.json"}


def test_without_a_sweep_they_are_in_a_folder_here(sweep: Path, tmp_path: Path, capsys) -> None:
    runs = sorted((tmp_path / "outputs" / "runs").iterdir())
    assert told(*runs, capsys=capsys)[0] == 0
    assert files(tmp_path / "report") >= FILES
    assert folder_for([runs[0], sweep]) == sweep


def test_again_is_the_same_and_nothing_is_left_over(sweep: Path, capsys) -> None:
    report([sweep])
    before = {name: (sweep / name).read_bytes() for name in files(sweep)}
    report([sweep])
    assert {name: (sweep / name).read_bytes() for name in files(sweep)} == before


def test_it_needs_no_torch_and_the_package_is_light(sweep: Path) -> None:
    """Nor does importing it open Matplotlib, SciPy or Jinja."""
    heavy = "{n for n in ('torch', 'matplotlib', 'scipy', 'jinja2', 'numpy') if n in sys.modules}"
    ask = f"import sys, tlfw.report; assert not {heavy}, {heavy}; import tlfw.report.__main__; assert not {heavy}"
    subprocess.run([sys.executable, "-c", ask], check=True)
    ask = (
        f"import sys; from tlfw.report.__main__ import main; main([{str(sweep)!r}]); assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def damage_record(sweep: Path, run: Path) -> str:
    for each in run.parent.iterdir():
        (each / "record.json").write_text("{")
    return "record.json is not a record that this tlfw can read"


def old_schema(sweep: Path, run: Path) -> str:
    for each in run.parent.iterdir():
        facts = json.loads((each / "record.json").read_text())
        (each / "record.json").write_text(json.dumps(facts | {"schema": 1}))
    return "schema 1, where this tlfw reads 2"


def damage_predictions(sweep: Path, run: Path) -> str:
    (run / "predictions.npz").write_bytes((run / "predictions.npz").read_bytes()[:100])
    return f"{run / 'predictions.npz'}: it cannot be read"


def lose_predictions(sweep: Path, run: Path) -> str:
    (run / "predictions.npz").unlink()
    return f"{run / 'predictions.npz'}: it cannot be read"


def old_predictions(sweep: Path, run: Path) -> str:
    with np.load(run / "predictions.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "confidence"}
    np.savez(run / "predictions.npz", **kept)
    return f"{run / 'predictions.npz'}: confidence is not there"


def other_images(sweep: Path, run: Path) -> str:
    facts = json.loads((run / "record.json").read_text())
    facts["content"]["target"]["test"] = "other"
    (run / "record.json").write_text(json.dumps(facts))
    return "tested on 2 different sets of images, which cannot be compared"


def damage_plan(sweep: Path, run: Path) -> str:
    (sweep / "plan.json").write_text("[]")
    return f"{sweep / 'plan.json'}: it cannot be read"


def no_run(sweep: Path, run: Path) -> str:
    shutil.rmtree(run.parent)
    return f"{sweep}: no finished run is there (20 not there yet)"


def empty(sweep: Path, run: Path) -> str:
    shutil.rmtree(run.parent)
    (sweep / "plan.json").unlink()
    return f"{sweep}: no finished run is there"


def nowhere(sweep: Path, run: Path) -> str:
    shutil.rmtree(sweep)
    return f"there is no folder {sweep}"


WRONGS = [damage_record, old_schema, damage_predictions, lose_predictions, old_predictions, other_images]
WRONGS += [damage_plan, no_run, empty, nowhere]


@pytest.mark.parametrize("spoil", WRONGS)
def test_what_cannot_be_reported_is_one_message_and_leaves_nothing(sweep: Path, tmp_path: Path, capsys, spoil) -> None:
    run = sorted((tmp_path / "outputs" / "runs").iterdir())[3]
    named = spoil(sweep, run)
    before = files(tmp_path)
    code, message = told(sweep, capsys=capsys)
    assert code == 1
    assert named in message
    assert "\n" not in message
    assert run.name in message or spoil not in (damage_predictions, lose_predictions, old_predictions, other_images)
    assert files(tmp_path) == before
    assert not (tmp_path / "report").exists()


def test_a_place_that_cannot_be_written_to_is_one_message(sweep: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        code, message = told(sweep, "--out", out, capsys=capsys)
        assert code == 1
        assert str(tmp_path / "file") in message
    (sweep / "figures").write_text("mine")
    code, message = told(sweep, capsys=capsys)
    assert (code, message) == (1, f"--out: {sweep / 'figures'} is a file. Give a folder, there or yet to be made.")
    assert (sweep / "figures").read_text() == (tmp_path / "file").read_text() == "mine"


def test_a_drawing_that_fails_leaves_no_page(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> str:
        raise RuntimeError("no font")

    monkeypatch.setattr("tlfw.report.figures.drawing", fails)
    with pytest.raises(RuntimeError, match="no font"):
        report([sweep])
    assert files(sweep) == {"plan.json"}


def test_it_is_a_command(tmp_path: Path) -> None:
    """One message, no traceback; and it says what it wants."""
    asked = subprocess.run(
        [sys.executable, "-m", "tlfw.report", "nowhere"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ},
    )  # fmt: skip
    assert asked.returncode == 1
    assert asked.stderr.splitlines() == ["FOLDER: there is no folder nowhere. Give a sweep's folder, or runs' folders."]
