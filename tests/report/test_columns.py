"""The columns of the report: each is written once."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.report import invented
from tests.report.test_page import Page
from tlfw.conclusion import leave
from tlfw.metric import METRICS
from tlfw.report import columns
from tlfw.report.column import Appearance, Column, places
from tlfw.report.columns import columns_of, fields, notes_of, values
from tlfw.report.findings import Findings, find_out
from tlfw.report.page import html
from tlfw.report.tables import csv_text, json_text, md_text, tex_text
from tlfw.report.terminal import show

TABLES = ("leaderboard", "details", "markdown", "latex", "terminal")

NEW = Column(
    "letters",
    "how many letters the cell's name has",
    lambda at: len(at.cell.name),
    tables={
        "leaderboard": Appearance("Letters & {title}"),
        "markdown": Appearance("letters, {unit}", align="center"),
        "latex": Appearance("Letters", text=lambda value, _: f"${value}$", note="Letters: of the name."),
        "terminal": Appearance("letters", width=9, spared=True),
    },
    text=lambda value, _: f"{value} [b]",
    small=lambda at: f"of {at.metric.name}",
    order=9,
)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = invented.sweep(
        tmp_path_factory.mktemp("columns"), labelled=(10, None), images=300, best={("joint", "full"): 2}
    )
    return find_out([folder])


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report has one more column."""
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, NEW))


def names(findings: Findings) -> list[str]:
    return [cell.name for task in findings.tasks for cell in task.cells]


@pytest.mark.usefixtures("new")
def test_a_new_column_is_in_the_files_for_programs(findings: Findings) -> None:
    read = list(csv.DictReader(io.StringIO(csv_text(findings))))
    assert list(read[0])[-1] == "letters"
    assert [(row["cell"], row["letters"]) for row in read] == [(name, str(len(name))) for name in names(findings)]
    cells = [cell for task in json.loads(json_text(findings))["tasks"] for cell in task["cells"]]
    assert [cell["letters"] for cell in cells] == [len(name) for name in names(findings)]


@pytest.mark.usefixtures("new")
def test_a_new_column_is_in_wandb(findings: Findings, tmp_path: Path) -> None:
    class Tracked:
        """Keeps what it is told."""

        def open(self, **_: object) -> Tracked:
            return self

        def show(self, tables: dict[str, list[dict[str, object]]], _: object) -> None:
            self.tables = tables

        def finish(self, _: object) -> None: ...

    tracked = Tracked()
    leave(findings, tmp_path, tracked)  # type: ignore[arg-type]
    assert [row["letters"] for row in tracked.tables["leaderboard"]] == [len(name) for name in names(findings)]


@pytest.mark.usefixtures("new")
def test_a_new_column_is_on_the_page(findings: Findings) -> None:
    page = Page(html(findings, []))
    for t, task in enumerate(findings.tasks):
        head, *rows = page.tables[3 * t]
        assert head[-1] == "Letters & accuracy"
        assert [row[-1] for row in rows] == [f"{len(cell.name)} [b]of accuracy" for cell in task.cells]
        assert "letters" not in page.tables[3 * t + 2][0]


@pytest.mark.usefixtures("new")
def test_a_new_column_is_in_markdown_and_latex(findings: Findings) -> None:
    lines = md_text(findings).splitlines()
    (heads,) = {line for line in lines if line.startswith("| |")}
    assert heads.endswith("| shared | letters, % |")
    assert next(line for line in lines if line.startswith("|--")).endswith("|--:|:-:|")
    rows = [line for line in lines if line.startswith("| ") and "letters" not in line]
    assert [row.split(" | ")[-1] for row in rows] == [rf"{len(name)} \[b\] |" for name in names(findings)]
    text = tex_text(findings)
    assert r"\begin{tabular}{lrcrrrrr}" in text
    assert r"\multicolumn{8}{l}" in text
    assert r" & Time & Letters \\" in text
    assert "Kept: accuracy on the source. Letters: of the name." in text
    for name in names(findings):
        assert rf"\,s & ${len(name)}$ \\" in text


@pytest.mark.usefixtures("new")
def test_a_new_column_is_on_the_terminal_where_there_is_room(findings: Findings) -> None:
    def told(width: int) -> str:
        out = io.StringIO()
        show(findings, [], Console(file=out, force_terminal=True, color_system=None, width=width))
        return out.getvalue()

    lines = [line.rstrip() for line in told(160).splitlines()]
    assert sum(line.endswith("shared    letters") for line in lines) == 2
    for name in names(findings):
        assert any(name in line and line.endswith(f"  {len(name)} [b]") for line in lines)
    # Those that may be spared go from left to right, until the rest fits.
    for width, there in ((110, {"time alone", "shared", "letters"}), (90, {"letters"}), (70, set())):
        line = next(line for line in told(width).splitlines() if "95 % interval" in line and "verdict" in line)
        assert {head for head in ("source kept", "time alone", "shared", "letters") if head in line} == there, width


def test_each_column_says_what_it_is() -> None:
    assert len({column.name for column in columns.COLUMNS}) == len(columns.COLUMNS)
    for column in columns.COLUMNS:
        assert column.name.isidentifier()
        assert column.meaning == " ".join(column.meaning.split()).removesuffix(".") != ""
        assert len(column.meaning) < 120
        assert "|" not in column.meaning


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_one_column_that_names_its_rows_and_never_goes(table: str) -> None:
    shown = columns_of(table)
    (naming,) = (column for column in shown if column.names_row)
    assert not naming.tables[table].spared
    assert shown[0] is naming or (shown[0].name, shown[1]) == ("rank", naming)


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_heads_have_the_metrics_words(metric) -> None:
    heads = {table: {c.name: c.head_in(table, metric) for c in columns_of(table)} for table in TABLES}
    assert not [head for each in heads.values() for head in each.values() if "{title" in head or "{unit" in head]
    assert metric.title in heads["terminal"]["value"]
    assert metric.units.unit in heads["markdown"]["value"]
    assert metric.units.unit_of_difference in heads["details"]["sd"]
    assert metric.units.unit_of_difference in notes_of("latex", metric)[0]


def test_fields_are_values_but_for_mappings(findings: Findings) -> None:
    for at in places(findings)[0]:
        own = values(at)
        assert list(own) == list(fields(at)) == [column.name for column in columns.COLUMNS]
        for name, field in fields(at).items():
            assert (json.loads(field) if name in ("settings", "compared") else field) == own[name]


def test_the_first_is_compared_with_nothing(findings: Findings) -> None:
    for task, members in zip(findings.tasks, places(findings), strict=True):
        first, *others = map(values, members)
        assert {first[name] for name in ("p_to_first", "difference", "difference_low", "difference_high")} == {None}
        assert [each["difference"] for each in others] == list(task.estimate.difference[1:, 0])
