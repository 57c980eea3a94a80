"""report.html, as text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.report import invented, sketched
from tests.report.documents.test_tables import ODD
from tlfw.report.documents import page as room
from tlfw.report.documents.page import _lead, html
from tlfw.report.findings import Findings, find_out
from tlfw.report.number_format import chance, percent, points
from tlfw.report.sentences import shipped

VOID = {"meta", "link", "img", "source", "wbr"}


class Page(HTMLParser):
    """What a page holds, read as a browser does; complains where an element is not closed.

    Attributes:
        text: of the whole page, without style and script.
        tables: each table's rows, head included, as texts.
        attributes: of every element, with its name.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(given)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(given)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data
            if {"td", "th"} & set(self.open):
                self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [given for name, given in self.attributes if name == tag]


def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Findings, str]:
    sketched.instead(monkeypatch)
    findings = find_out([folder])
    return findings, html(findings, sketched.drawings(findings))


def spaced(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Findings, str]:
    """Two tasks, a lead, and odd class names."""
    best = {("pretrain_finetune", "full"): 1.1, ("joint", "full"): 1.1}
    folder = invented.sweep(tmp_path, seeds=4, labelled=(10, None), images=400, classes=ODD, best=best)
    return made(folder, monkeypatch)


def test_the_verdict_comes_first_but_for_budgets_that_differ(written: tuple[Findings, str]) -> None:
    findings, text = written
    said = spaced(Page(text).text)
    order = [said.index(spaced(each)) for each in (*findings.unequal, *(task.sentence for task in findings.tasks))]
    assert order == sorted(order)
    assert order[-1] < said.index("Leaderboard with 10 labelled images a class")
    for task in findings.tasks:
        for text in (task.advice, *task.remarks, shipped(task, task.shipped)):
            assert spaced(text) in said


def test_its_numbers_are_the_findings(written: tuple[Findings, str]) -> None:
    findings, text = written
    tables = Page(text).tables
    for t, task in enumerate(findings.tasks):
        shown = tables[3 * t]
        assert len(shown) == 1 + len(task.cells)
        for i, (cell, row) in enumerate(zip(task.cells, shown[1:], strict=True)):
            mean = task.means[i]
            assert row[0].startswith(cell.name + ("*" if cell.random_features else " "))
            assert row[1] == f"{percent(mean.value)}{100 * mean.low:.1f} to {100 * mean.high:.1f}"
            if i:
                assert row[3].startswith(points(task.estimate.difference[i, 0]))
                assert row[4] == chance(task.adjusted[i, 0])
            assert ("worse" in row[0]) == task.worse(i, 0)


def test_names_are_shown_and_are_no_markup(written: tuple[Findings, str]) -> None:
    _, text = written
    assert "<script>alert" not in text
    assert "<i>Two" not in text
    page = Page(text)
    for name in ODD:
        assert name in page.text
    assert "<i>Two</i>" in page.text
    assert {given.get("alt") for given in page.all("img")} == {"A line", '"<x>"'}
    assert len(page.all("script")) == len(page.all("style")) == 1


def test_it_needs_nothing_else(written: tuple[Findings, str]) -> None:
    """No address but `data:` and places on the page itself; and the policy allows its own script and style alone."""
    page = Page(written[1])
    for tag, given in page.attributes:
        for name, value in given.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style"
            if name in ("src", "srcset", "href", "action"):
                assert value.startswith(("data:", "#")), value
    ids = [given["id"] for _, given in page.attributes if "id" in given]
    assert len(ids) == len(set(ids))
    assert {given["href"][1:] for given in page.all("a")} <= set(ids)
    policy = next(g["content"] for g in page.all("meta") if g.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", written[1], re.DOTALL)
        assert f"sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}" in policy
    assert "url(" not in written[1]
    assert "@import" not in written[1]


def test_a_picture_has_both_drawings(written: tuple[Findings, str]) -> None:
    page = Page(written[1])
    light = [base64.b64decode(given["src"].split(",")[1]).decode() for given in page.all("img")]
    dark = [base64.b64decode(given["srcset"].split(",")[1]).decode() for given in page.all("source")]
    assert ["light" in each for each in light] == ["dark" in each for each in dark] == [True, True]
    assert written[1].index("How sure it is") < written[1].index("What goes wrong")


def test_the_same_findings_give_the_same_page(written: tuple[Findings, str]) -> None:
    findings, text = written
    assert html(findings, sketched.drawings(findings)) == text


def test_many_pairs_are_left_to_the_json(written: tuple[Findings, str], monkeypatch: pytest.MonkeyPatch) -> None:
    findings, text = written
    assert text.count("All pairs with") == 2
    monkeypatch.setattr(room, "MOST_PAIRS", 89)
    fewer = html(findings, [])
    assert "All pairs with" not in fewer
    assert "There are more than 89 pairs" in fewer
    assert fewer.count("The first against each other") == 2


def test_one_cell_one_seed_and_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = invented.run(tmp_path, "target_only", "full", 0, np.ones(50, dtype=bool))
    _, text = made(invented.plan(tmp_path, [record.run_id], name="<b>&"), monkeypatch)
    said = spaced(Page(text).text)
    assert "there is nothing to compare it with" in said
    assert "Training on “mine” alone, with 10 labelled images a class, 1 repetition each" in said
    assert "the same 50 images" in said
    for nothing in ("No two cells were given", "No cell was trained on a source", "No class is taken", "there is none"):
        assert nothing in said
    assert "nan" not in said.lower().replace("finance", "")
    assert "<title>&lt;b&gt;&amp;" in text


def test_the_lead_counts_what_was_compared(tmp_path: Path) -> None:
    folder = invented.sweep(tmp_path, seeds=2, images=40, labelled=(10, 50, None), backbones=("a", "b"))
    assert _lead(find_out([folder])) == (
        "9 ways of transferring to “mine”, and training on it alone, on 2 backbones, "
        "with 10, 50 or all labelled images a class, 2 repetitions each, tested on the same 40 images of 5 classes."
    )
    right = np.ones(1, dtype=bool)
    for number, source in enumerate(("this", "that")):
        invented.run(tmp_path / "two", "joint", "full", number, right, source=source, classes=("x", "y"))
    assert _lead(find_out([tmp_path / "two"])) == (
        "1 way of transferring to “mine”, from 2 sources, with 10 labelled images a class, 1 repetition each, "
        "tested on 1 image of 2 classes."
    )


def test_a_figure_is_as_wide_as_its_text_is_legible(written: tuple[Findings, str]) -> None:
    """Not stretched: the shape is the drawing's."""
    assert {(given["width"], given["height"]) for given in Page(written[1]).all("img")} == {("832", "416")}


def test_sixty_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = invented.sweep(tmp_path, seeds=2, images=100, backbones=[f"backbone{i}" for i in range(6)])
    findings, text = made(folder, monkeypatch)
    assert len(findings.tasks[0].cells) == 60
    assert len(Page(text).tables[0]) == 61
    assert "There are more than 500 pairs" in text
