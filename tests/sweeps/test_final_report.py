"""What a sweep says when it ends."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.report import invented
from tests.report.sketched import instead
from tests.tracking.test_wandb_run import read, records
from tlfw.sweeps.final_report import conclude
from tlfw.tracking.wandb_run import Tracking


def test_a_sweeps_report_is_in_its_folder_on_the_terminal_and_in_wandb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = invented.sweep(tmp_path, seeds=2, best={("joint", "full"): 1.5})
    conclude(folder, Tracking(mode="offline"), track=True)
    verdict = json.loads((folder / "report.json").read_text())
    said = capsys.readouterr().out
    assert "joint / full" in said
    assert str(folder / "report.html") in said.replace("\n", "")
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + 60
    while all(record.WhichOneof("record_type") != "exit" for record in records(path)):  # W&B's own process writes it
        assert time.monotonic() < deadline
        time.sleep(0.1)
    begun = next(record.run for record in records(path) if record.WhichOneof("record_type") == "run")
    assert (begun.run_group, begun.job_type, begun.display_name) == ("invented", "report", "report-invented")
    assert "Training budgets differ" in begun.notes
    assert begun.notes.count("joint / full") >= 1
    found = read(path)
    assert found["summary"]["first/cell"] == "joint / full"
    assert found["summary"]["first/verdict"] == "not answered"
    assert "The model to use is" in begun.notes
    (table,) = path.parent.glob("files/media/table/leaderboard*.json")
    assert len(json.loads(table.read_text())["data"]) == 10
    figures = {each.name.split("_")[0] for each in path.parent.glob("files/media/images/figures/*.png")}
    assert {each.stem for each in (folder / "figures").glob("*.png")} == figures
    assert verdict


def test_where_nothing_is_new_wandb_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch)
    folder = invented.sweep(tmp_path, seeds=1)
    conclude(folder, Tracking(mode="offline"), track=False)
    assert (folder / "report.html").exists()
    assert not (folder / "wandb").exists()


def test_a_sweep_that_cannot_be_reported_has_ended_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conclude(invented.plan(tmp_path, ["f" * 32]), Tracking(mode="offline"), track=True)
    assert "no report: " in capsys.readouterr().out
