"""The leaderboard's files and report.json."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.report import invented
from tlfw.report.comparisons import standing
from tlfw.report.documents import tables
from tlfw.report.documents.markup import latex, md
from tlfw.report.documents.tables import csv_text, json_text, md_text, tex_text
from tlfw.report.findings import Findings, find_out

ODD = ("<script>alert(1)</script>", "50 % & more", "a_b^c~d", "\"quoted\" 'it'", "Größe 猫 {x} \\y $z #1")


def found(folder: Path) -> Findings:
    return find_out([folder])


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Two tasks, a lead, and odd class names."""
    return found(
        invented.sweep(
            tmp_path_factory.mktemp("tables"),
            labelled=(10, None),
            seeds=4,
            images=400,
            classes=ODD,
            best={("pretrain_finetune", "full"): 1.1, ("joint", "full"): 1.1},
        )
    )


def test_csv_holds_the_findings_numbers(findings: Findings) -> None:
    read = list(csv.DictReader(io.StringIO(csv_text(findings))))
    assert [row["labelled"] for row in read] == ["10"] * 10 + ["all"] * 10
    at = iter(read)
    for t, task in enumerate(findings.tasks):
        for i, cell in enumerate(task.cells):
            row = next(at)
            assert (int(row["rank"]), row["cell"]) == (i + 1, cell.name)
            assert (row["metric"], float(row["value"])) == ("accuracy", task.means[i].value)
            assert float(row["low"]) == task.means[i].low
            assert float(row["sd"]) == task.means[i].sd
            shares = [float(row[f"from_{part}"]) for part in ("repetitions", "images", "rest")]
            assert shares == pytest.approx(list(task.means[i].shares.values()))
            assert float(row["chance"]) == 1 / 5
            assert float(row["shared_flops"]) == findings.costs[t][i].shared_flops
            assert float(row["ece"]) == findings.mistakes[t][i].ece
            assert float(row["macro_f1"]) == cell.mean("target/test/macro_f1")
            assert row["verdict"] == standing(task, i)
            assert (row["source_kept"] == "") == (cell.data_mix == "target_only") == (row["control"] == "True")
            assert (row["random_features"] == "True") == cell.random_features
            if i:
                assert float(row["p_to_first"]) == task.adjusted[i, 0]
                assert float(row["difference"]) == task.estimate.difference[i, 0] <= 0
            else:
                assert row["p_to_first"] == row["difference"] == ""


def test_json_holds_everything(findings: Findings) -> None:
    read = json.loads(json_text(findings))
    assert (read["schema"], read["metric"], read["planned_repetitions"], read["whole"]) == (2, "accuracy", 4, True)
    assert read["classes"] == list(ODD)
    assert read["unequal"] == list(findings.unequal)
    assert read["comparisons"] == findings.comparisons == 56
    for t, (task, told) in enumerate(zip(findings.tasks, read["tasks"], strict=True)):
        names = [cell.name for cell in task.cells]
        assert (told["kind"], told["sentence"], told["advice"]) == (task.kind, task.sentence, task.advice)
        assert told["group"] == [names[i] for i in task.group]
        assert told["best"] is (names[0] if task.kind == "best" else None)
        assert (told["level"], told["scope"], told["remarks"]) == (0.04, task.scope, list(task.remarks))
        assert [names.index(worse) for worse, _ in told["worse"]] == [
            i for i in range(10) for j in range(i) if task.worse(i, j)
        ]
        assert told["ship"]["cell"] == names[task.shipped.cell]
        assert told["ship"]["tested"]["low"] == task.shipped.tested.low
        assert len(told["comparisons"]) == 45
        for each in told["comparisons"]:
            i, j = names.index(each["one"]), names.index(each["other"])
            assert i < j
            assert each["difference"] == task.estimate.difference[i, j]
            assert each["adjusted"] == task.adjusted[i, j]
            assert each["high"] - each["difference"] == pytest.approx(float(task.estimate.reach(i, j)))
            assert each["apart"] == task.apart(i, j)
        for i, cell in enumerate(told["cells"]):
            looked = findings.mistakes[t][i]
            assert list(cell["accuracy_by_class"].values()) == looked.accuracy_K.tolist()
            assert cell["confused"][0]["class"] == ODD[looked.confused[0][0]]
            assert [v is None for v in cell["calibration"]["right"]] == np.isnan(looked.right_B).tolist()
            assert [run["seed"] for run in cell["runs"]] == [0, 1, 2, 3]
            assert [run["value"] for run in cell["runs"]] == list(task.means[i].values)
        for each in told["equal_budgets"]:
            assert each["best"][0] == each["cells"][0]
            assert each["most"] - each["least"] <= 0.05 * each["most"]
        assert set(told["pareto"]["flops"]) <= set(names)
        assert names[0] in told["pareto"]["seconds"]


def test_json_says_how_many_comparisons_it_leaves_out(findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_COMPARISONS", 89)
    read = json.loads(json_text(findings))
    assert read["comparisons_left_out"] == 90 - 18
    assert all(each["one"] == task["group"][0] for task in read["tasks"] for each in task["comparisons"])


def test_the_same_findings_give_the_same_bytes(findings: Findings) -> None:
    for write in (csv_text, md_text, tex_text, json_text):
        assert write(findings) == write(findings)


def test_latex_is_a_table_whose_rows_have_all_columns(findings: Findings) -> None:
    text = tex_text(findings)
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert len(body) == 1 + 20
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {6}
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 1
    assert [text.count(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule")] == [1, 2, 1]
    caption = next(line for line in text.splitlines() if line.startswith(r"\caption"))
    for said in (
        "4 repetitions",
        "400 test images",
        r"95 \% intervals",
        "56 comparisons (Holm)",
        "Control: features are random",
        "Bold",
    ):
        assert said in caption
    for task in findings.tasks:
        bold = [latex(cell.name) for i, cell in enumerate(task.cells) if i in task.group]
        assert task.kind in ("best", "group")
        for name in bold:
            assert rf"\textbf{{{name}}}" in text
    best = findings.tasks[0].means[0].value
    assert rf"\textbf{{{100 * best:.1f}}}" in text


def test_markdown_is_a_table_with_the_verdict_before_it(findings: Findings) -> None:
    text = md_text(findings)
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 * (10 + 2)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {11}
    assert text.index(md(findings.unequal[0])) < text.index(md(findings.tasks[0].sentence)) < text.index(table[0])
    assert f"**{100 * findings.tasks[0].means[0].value:.1f}**" in text


def test_where_nothing_is_known_to_be_worse_nothing_is_bold(tmp_path: Path) -> None:
    findings = found(invented.sweep(tmp_path, images=120))
    assert findings.tasks[0].kind == "undecided"
    assert "\\textbf" not in tex_text(findings)
    assert "**" not in md_text(findings)
    assert {standing(findings.tasks[0], i) for i in range(10)} == {"undecided"}


def test_one_cell_and_one_seed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    record = invented.run(tmp_path, "joint", "full", 0, random.random(60) < 0.7)
    findings = found(invented.plan(tmp_path, [record.run_id], name="a | <b>_%"))
    read = json.loads(json_text(findings))
    (cell,) = read["tasks"][0]["cells"]
    assert (cell["sd"], cell["p_to_first"], read["comparisons"]) == (None, None, 0)
    assert "# a \\| &lt;b&gt;\\_%" in md_text(findings)
    assert "test images only, for there is one repetition" in tex_text(findings)
    assert len(csv_text(findings).splitlines()) == 2


def test_cells_that_share_no_repetition_have_no_comparison(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids = [
        invented.run(tmp_path, mix, "full", seed, random.random(60) < 0.7).run_id
        for mix, seed in (("joint", 0), ("joint", 1), ("target_only", 2), ("target_only", 3))
    ]
    findings = found(invented.plan(tmp_path, ids))
    (each,) = json.loads(json_text(findings))["tasks"][0]["comparisons"]
    assert (each["repetitions"], each["difference"], each["p"], each["apart"]) == (0, None, None, False)
    assert "| – |" in md_text(findings)
