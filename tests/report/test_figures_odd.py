"""Pictures of one cell or two hundred, of one image, of a hundred classes, of names of any kind."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report import invented
from tests.report.drawn import BEST, drawn, faults, picture, texts
from tlfw.report.figures import pictures
from tlfw.report.figures.accuracy import MOST, rows
from tlfw.report.figures.confusions import chosen, differing, pair
from tlfw.report.figures.figure import Subject, svg
from tlfw.report.findings import Findings, find_out


def test_of_many_classes_those_that_differ_most_are_shown(tmp_path: Path) -> None:
    names = [f"class ${k}_{{" for k in range(100)]
    findings = find_out([invented.sweep(tmp_path, seeds=1, images=300, classes=names)])
    subject = Subject.of(findings)
    assert 2 <= len(chosen(subject)) <= 10
    strongest = max((findings.mistakes[0][i].confused[0] for i in pair(subject)), key=lambda entry: entry[2])
    assert {*strongest[:2]} <= {*chosen(subject)}
    found, shown = differing(subject)
    assert (len(found), len(shown)) == (100, 30)
    assert "The 30 of 100 classes" in picture(findings, "classes").caption
    assert "of 100 classes" in picture(findings, "confusion").caption
    for name in ("confusion", "classes"):
        assert faults(drawn(findings, name)) == []


def test_a_class_without_images_and_a_logit_without_class(tmp_path: Path) -> None:
    findings = find_out([invented.sweep(tmp_path, seeds=1, images=60)])
    looked = findings.mistakes[0][0]
    accuracy_K = looked.accuracy_K.copy()
    accuracy_K[1] = np.nan
    confusion = findings.confusions[0][0].copy()
    confusion[1] = 0
    wide = np.column_stack([confusion, [3, 0, 0, 0, 0]])
    odd = dataclasses.replace(
        findings,
        mistakes=((dataclasses.replace(looked, accuracy_K=accuracy_K), *findings.mistakes[0][1:]),),
        confusions=({**findings.confusions[0], 0: wide},),
    )
    assert differing(Subject.of(odd))[0] == [0, 2, 3, 4]
    assert "no image of 1 more" in picture(odd, "classes").caption
    figure = drawn(odd, "confusion")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()][-1] == "no class"
    assert "–" in [text.get_text() for text in figure.axes[0].texts]
    assert "nan" not in " ".join(text.get_text() for each in pictures(odd) for text in texts(drawn(odd, each.name)))


def one_run(folder: Path, **changes: Any) -> Findings:
    right = np.arange(changes.pop("images", 40)) % 4 > 0
    invented.run(folder, changes.pop("mix", "joint"), "full", 0, right, **changes)
    return find_out([folder])


def test_one_cell_with_one_seed(tmp_path: Path) -> None:
    findings = one_run(tmp_path)
    names = [each.name for each in pictures(findings)]
    assert names == ["accuracy", "curves", "forgetting", "confusion", "classes", "calibration"]
    assert "1 repetition a cell, 40 test images" in picture(findings, "accuracy").caption
    for name in names:
        assert faults(drawn(findings, name)) == [], name


def test_one_image_and_no_curves_and_no_source(tmp_path: Path) -> None:
    findings = one_run(tmp_path, mix="target_only", images=1, classes=("a", "b"))
    for run in findings.gathered.runs:
        for stage in run.record.stages:
            stage["curve"] = []
    assert [each.name for each in pictures(findings)] == ["accuracy", "confusion", "classes", "calibration"]
    for each in pictures(findings):
        assert drawn(findings, each.name)


@pytest.mark.parametrize("classes", [("a", "b"), ("鳥", "\udcff\n--")], ids=["two", "strange"])
def test_names_of_any_kind_become_files(tmp_path: Path, classes: Sequence[str]) -> None:
    findings = one_run(tmp_path, classes=classes)
    for each in pictures(findings):
        ElementTree.fromstring(svg(each, dark=True))


def many(findings: Findings, cells: int) -> Findings:
    """The same cells again and again."""
    task = findings.tasks[0]
    places = sorted(i % len(task.cells) for i in range(cells))
    several = dataclasses.replace(
        task,
        cells=tuple(task.cells[i] for i in places),
        estimate=task.estimate.ordered(places),
        adjusted=task.adjusted[np.ix_(places, places)],
        group=tuple(k for k, i in enumerate(places) if i in task.group),
    )
    return dataclasses.replace(
        findings,
        tasks=(several,),
        costs=(tuple(findings.costs[0][i] for i in places),),
        mistakes=(tuple(findings.mistakes[0][i] for i in places),),
        confusions=({0: findings.confusions[0][0], cells - 1: findings.confusions[0][0]},),
    )


def test_of_many_cells_the_best_are_shown_and_a_control(tmp_path: Path) -> None:
    findings = many(find_out([invented.sweep(tmp_path, best=BEST)]), 200)
    subject = Subject.of(findings)
    shown = rows(subject)
    assert len(shown) == MOST
    assert "target_only" in {findings.tasks[0].cells[i].data_mix for i in shown}
    assert "The best 60 of 200 cells, the control with them." in picture(findings, "accuracy").caption
    assert "The best 30 of 200 cells." in picture(findings, "comparisons").caption
    assert "The best 12 of 200 cells." in picture(findings, "curves").caption
    for name in ("accuracy", "comparisons", "curves", "cost"):
        figure = drawn(findings, name)
        assert faults(figure) == [], name
        assert figure.get_size_inches()[1] < 13, name
