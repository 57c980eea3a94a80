"""The verdict in a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.report import invented
from tlfw.report.comparisons import standing
from tlfw.report.documents.terminal import ROWS, show
from tlfw.report.findings import Findings, find_out
from tlfw.report.number_format import duration, percent

FILES = [Path("here/report.html"), Path("here/[bold]report.json")]


def told(findings: Findings, **how: object) -> str:
    out = io.StringIO()
    show(findings, FILES, Console(file=out, **how) if how else Console(file=out))
    return out.getvalue()


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    best = {("pretrain_finetune", "full"): 2.0}
    return find_out([invented.sweep(tmp_path, images=400, backbones=("resnet18", "[red]net"), best=best)])


def test_it_says_budgets_then_the_verdict_then_numbers_then_files(findings: Findings) -> None:
    said = " ".join(told(findings).split())
    (task,) = findings.tasks
    parts = [*findings.unequal, task.sentence, "accuracy 95 % interval", *map(str, FILES)]
    at = [said.index(" ".join(part.split())) for part in parts]
    assert at == sorted(at)
    assert at[-1] + len(str(FILES[-1])) == len(said)


def test_rows_hold_the_findings_numbers(findings: Findings) -> None:
    lines = told(findings).splitlines()
    (task,) = findings.tasks
    (costs,) = findings.costs
    for i, cell in enumerate(task.cells[:ROWS]):
        (row,) = [line for line in lines if line.startswith(f"{i + 1} ") and " to " in line]
        assert cell.name + ("*" if cell.random_features else "") in row
        assert percent(task.means[i].value) in row
        assert standing(task, i) in row
        assert row.rstrip().endswith(duration(costs[i].shared_seconds))
    assert f"and {20 - ROWS} more" in told(findings)
    assert "* control: features are random" in told(findings)


def test_it_is_plain_where_that_is_no_terminal(findings: Findings) -> None:
    assert "\x1b" not in told(findings)
    assert "\x1b" in told(findings, force_terminal=True, color_system="standard", width=100)


def test_a_narrow_terminal_loses_no_number(findings: Findings) -> None:
    said = told(findings, force_terminal=True, no_color=True, width=80)
    assert percent(findings.tasks[0].means[0].value) in said
    assert "…" not in said


@pytest.mark.parametrize("width", [80, 100, 140])
def test_lines_part_no_name_and_no_number_from_its_unit(tmp_path: Path, width: int) -> None:
    findings = find_out([invented.sweep(tmp_path, images=100)])
    lines = [line.rstrip() for line in told(findings, force_terminal=True, color_system=None, width=width).splitlines()]
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line.endswith(" /") or line.startswith(("/ ", "% ", "k ", "T "))]
    for cell in findings.tasks[0].cells:
        assert any(cell.name in line and " to " in line for line in lines)  # a row of the table
    header = next(line for line in lines if "accuracy" in line and "cell" in line)
    assert ("source kept" in header, "shared" in header) == (width == 140, width > 80)


def test_notes_are_said(tmp_path: Path) -> None:
    folder = invented.sweep(tmp_path, seeds=1)
    invented.plan(tmp_path, ["missing" * 9], name="more")
    findings = find_out([folder, folder.parent / "more"])
    assert findings.notes
    said = " ".join(told(findings).split())
    for note in findings.notes:
        assert " ".join(note.split()) in said
