"""runs.csv and classes.csv, as a person reads them with pandas."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from tests.report import invented
from tlfw.report.documents.runs_table import classes_csv, runs_csv
from tlfw.report.findings import find_out
from tlfw.report.gather import Wanted


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_a_run_with_a_column_for_whatever_was_swept(tmp_path: Path) -> None:
    right = np.arange(150) % 3 > 0
    for seed in (0, 1):
        for lr in (0.1, 0.2):
            invented.run(tmp_path, "joint", "full", seed, right, lr=lr, val=lr, draw=seed)
    invented.run(tmp_path, "joint", "full", 2, right, lr=0.1, draw=2, status="diverged", metrics={})
    rows = read(runs_csv(find_out([tmp_path])))
    assert len(rows) == 5
    assert {row["freeze_policy.lr_head"] for row in rows} == {"0.1", "0.2"}
    done = [row for row in rows if row["status"] == "done"]
    assert [(row["seed"], row["draw"], row["chosen"]) for row in done] == [
        (str(seed), str(seed), str(row["freeze_policy.lr_head"] == "0.2"))
        for row, seed in zip(done, [int(row["seed"]) for row in done], strict=True)
    ]
    for row in done:
        assert float(row["target/test/acc"]) == pytest.approx(right.mean())
        assert float(row["target/val/acc"]) == float(row["freeze_policy.lr_head"])
        assert (row["data_mix"], row["labelled"], row["target"]) == ("joint", "10", "mine")
        assert float(row["cost/seconds"]) > 0
        assert (tmp_path / "runs" / row["folder"]).is_dir()
    (lost,) = [row for row in rows if row["status"] == "diverged"]
    assert lost["target/test/acc"] == ""
    assert "workers" not in rows[0]


def test_what_the_name_of_an_option_says_has_no_column_of_its_own(tmp_path: Path) -> None:
    right = np.arange(150) % 3 > 0
    for policy, n in (("last_layer", 0), ("full", "all")):
        invented.run(tmp_path, "joint", policy, 0, right, settings={"freeze_policy": {"n": n, "lr_head": 0.1}})
    assert "freeze_policy.n" not in read(runs_csv(find_out([tmp_path])))[0]
    invented.run(tmp_path, "joint", "full", 0, right, settings={"freeze_policy": {"n": 5, "lr_head": 0.1}})
    invented.run(tmp_path, "joint", "full", 1, right, settings={"adapt": {"batch_size": 8}}, val=0.1)
    rows = read(runs_csv(find_out([tmp_path])))
    assert sorted(row["freeze_policy.n"] for row in rows) == ["0", "5", "all", "all"]
    assert "adapt.batch_size" in rows[0]


def test_names_are_those_that_were_asked_for(tmp_path: Path) -> None:
    record = invented.run(tmp_path, "joint", "full", 0, np.arange(50) % 3 > 0)
    names = {record.run_id: {"data_mix": "mine", "freeze_policy": "own"}}
    (row,) = read(runs_csv(find_out([invented.plan(tmp_path, [record.run_id], names=names)])))
    assert (row["data_mix"], row["freeze_policy"]) == ("mine", "own")


def test_a_row_a_class_is_as_scikit_learn_has_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for seed in (0, 1):
        invented.run(tmp_path, "joint", "full", seed, random.random(151) < 0.7)
    findings = find_out([tmp_path])
    rows = read(classes_csv(findings))
    predictions = [run.predictions() for run in findings.gathered.runs]
    label, called = (np.concatenate([each[name] for each in predictions]) for name in ("label", "prediction"))
    precision, recall, f1, count = precision_recall_fscore_support(label, called)
    assert [row["class"] for row in rows] == list(invented.CLASSES)
    for k, row in enumerate(rows):
        assert int(row["predictions"]) == count[k]
        assert float(row["recall"]) == pytest.approx(recall[k])
        assert float(row["precision"]) == pytest.approx(precision[k])
        assert float(row["f1"]) == pytest.approx(f1[k])
        others = np.bincount(called[(label == k) & (called != k)], minlength=5)
        if row["most_often_called"]:
            assert row["most_often_called"] == invented.CLASSES[int(others.argmax())]
            assert float(row["share_called_so"]) == pytest.approx(others.max() / count[k])


def test_a_class_that_nothing_is_called_has_no_precision(tmp_path: Path) -> None:
    invented.run(tmp_path, "joint", "full", 0, invented.labels_of(60, 2) == 0, classes=("a", "b"))
    rows = read(classes_csv(find_out([tmp_path], Wanted())))
    assert [row["recall"] for row in rows] == ["1.0", "0.0"]
    assert rows[1]["precision"] == ""
