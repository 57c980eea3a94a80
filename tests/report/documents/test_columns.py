"""The columns of the report: each is written once, and all of its texts come from there."""

from __future__ import annotations

import csv
import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.report import invented
from tests.report.documents.test_page import Page
from tlfw.records.metric import METRICS
from tlfw.report.documents import columns
from tlfw.report.documents.column_type import Appearance, Column, places
from tlfw.report.documents.columns import columns_of, fields, notes_of, values
from tlfw.report.documents.page import html
from tlfw.report.documents.page_tables import details, leaderboard
from tlfw.report.documents.tables import csv_text, json_text, md_text, tex_text
from tlfw.report.documents.terminal import show
from tlfw.report.findings import Findings, find_out
from tlfw.report.gather import Wanted
from tlfw.report.number_format import chance, duration, short
from tlfw.sweeps.final_report import leave

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


def test_details_say_how_a_cell_was_tuned_what_varied_and_what_it_took(tmp_path: Path) -> None:
    """Seeds and draws are crossed, settings tie, and a repetition diverged."""
    random = np.random.default_rng(0)
    for mix in ("joint", "pretrain_finetune"):
        for lr in (0.1, 0.2):
            for seed, draw in itertools.product(range(2), range(2)):
                right = random.random(100) < 0.7 + 0.1 * seed
                invented.run(tmp_path, mix, "full", seed, right, draw=draw, lr=lr, val=0.75)
    invented.run(tmp_path, "joint", "full", 9, right, lr=0.1, status="diverged")
    findings = find_out([tmp_path / "runs"])
    head, *rows = Page(html(findings, [])).tables[2]
    for at, texts in zip(places(findings)[0], rows, strict=True):
        said, own = dict(zip(head, texts, strict=True)), values(at)
        assert said["Cell"] == at.cell.name
        assert said["Repetitions"] == "4" + "1 diverged" * (at.cell.data_mix == "joint")
        assert said["SD of repetitions, points"] == f"{100 * own['sd']:.1f}"
        assert own["from_repetitions"] == pytest.approx(own["from_seeds"] + own["from_draws"])
        percents = [f"{100 * own[f'from_{part}']:.0f}" for part in ("seeds", "draws", "images", "rest")]
        assert said["Variance: repetitions, images, rest"] == "{} + {}, {}, {} %".format(*percents)
        assert said["Validation accuracy"] == "75.0 %"
        assert said["Accuracy"] == said["Balanced accuracy"] == f"{100 * own['value']:.1f} %"
        assert said["Macro F1"] == f"{own['macro_f1']:.3f}"
        assert said["Log-loss, nats"] == f"{own['log_loss']:.3f}"
        assert said["ECE"] == f"{100 * findings.mistakes[0][at.position].ece:.1f} %"
        assert (said["Target epochs"], said["Steps"]) == (f"{own['epochs']:.3g}", "650")
        assert said["Images seen"] == f"{short(own['images'])}{short(own['shared_images'])} shared"
        assert said["FLOPs"] == f"{short(own['flops'])}{short(own['shared_flops'])} shared"
        assert said["Settings tried"] == "22 tie"
        assert said["Settings chosen"] == "freeze_policy.lr_head = 0.1"


def test_where_a_column_does_not_apply_it_is_empty_or_a_dash(tmp_path: Path) -> None:
    record = invented.run(tmp_path, "target_only", "full", 0, np.arange(60) % 3 > 0, labelled=None)
    findings = find_out([invented.plan(tmp_path, [record.run_id])])
    (row,) = csv.DictReader(io.StringIO(csv_text(findings)))
    nothing = {name for name, field in row.items() if field == ""}
    assert nothing >= {"source", "sd", "source_kept", "from_repetitions", "from_seeds", "p_to_first", "difference_low"}
    assert row["labelled"] == "all"
    leaderboard, _, details = Page(html(findings, [])).tables[:3]
    said = dict(zip(*leaderboard, strict=True)) | dict(zip(*details, strict=True))
    assert said["Points to the first"] == "first"
    for head in ("p, corrected", "Source kept", "SD of repetitions, points", "Settings chosen"):
        assert said[head] == "–"
    assert said["Settings tried"] == "1"
    assert r"& -- & -- & -- &" in tex_text(findings)


def test_what_the_page_sorts_by(findings: Findings) -> None:
    """Numbers by their values and not by their texts; the first is ahead of none."""
    text = html(findings, [])
    for task, members in zip(findings.tasks, places(findings), strict=True):
        board = leaderboard(task, members, "")
        assert board.ordered == (1, False)
        for at, row in zip(members, board.rows, strict=True):
            own = values(at)
            assert [entry.value for entry in row[1:4]] == [own["value"], own["value"], own["difference"] or 0.0]
            assert f'data-v="{own["seconds"]}"' in text
    assert [head.sorts for head in board.heads] == [True, True, False, True, True, True, True, True]
    assert [head.title for head in details(task, members, "").heads if head.wide] == ["Settings chosen"]


def test_latex_sets_numbers_as_a_paper_does(findings: Findings) -> None:
    """Ranges with a dash, p in italics, and no unit that the head has."""
    lines = [line for line in tex_text(findings).splitlines() if " & " in line][1:]
    for at, line in zip(itertools.chain(*places(findings)), lines, strict=True):
        own, (_, value, interval, gap, p, kept, time) = values(at), line.removesuffix(r" \\").split(" & ")
        assert value.removeprefix(r"\textbf{").removesuffix("}") == f"{100 * own['value']:.1f}"
        assert interval == f"{100 * own['low']:.1f}--{100 * own['high']:.1f}"
        assert gap == ("--" if at.position == 0 else f"$-${-100 * own['difference']:.1f}")
        assert p == ("--" if own["p_to_first"] is None else f"${chance(own['p_to_first'])}$")
        assert kept == ("--" if own["source_kept"] is None else f"{100 * own['source_kept']:.1f}")
        assert time == duration(own["seconds"]).replace(" ", r"\,")


def test_what_is_above_the_first_has_a_plus(tmp_path: Path) -> None:
    """Of a loss the first is the lowest."""
    findings = find_out([invented.sweep(tmp_path, images=60)], Wanted(metric="log_loss"))
    rows = [line.split(" | ") for line in md_text(findings).splitlines() if line.startswith("| ")][1:]
    gaps = [values(at)["difference"] for at in places(findings)[0]]
    assert [row[4] for row in rows] == ["–", *(f"+{gap:.3f}" for gap in gaps[1:])]
    assert min(gaps[1:]) > 0.0005
