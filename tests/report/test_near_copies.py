"""Near copies that runs left, as the report shows them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.report import invented
from tests.report.documents.test_page import Page
from tlfw.report.documents.page import html
from tlfw.report.documents.page_tables import MOST_PAIRS_SHOWN
from tlfw.report.documents.tables import json_text
from tlfw.report.findings import Findings, find_out


def picture(value: int) -> str:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def pair(i: int, correlation: float, *pictures: str) -> dict[str, Any]:
    found: dict[str, Any] = {"test": f"test/<{i}>.png", "other": f"train/{i}.jpg", "part": "target train"}
    return found | {"correlation": correlation} | ({"thumbnails": pictures} if pictures else {})


def found(tmp_path: Path, *lists: dict[str, Any] | str) -> Findings:
    """What two cells of one seed each say, whose runs name these lists of near copies."""
    ids = []
    for i, (policy, facts) in enumerate(zip(("full", "last_layer"), lists, strict=True)):
        name = f"list{i}"
        own = invented.run(tmp_path, "pretrain_finetune", policy, 0, np.arange(100) % 9 > i, near_copies=name)
        ids.append(own.run_id)
        (tmp_path / "near_copies").mkdir(exist_ok=True)
        text = facts if isinstance(facts, str) else json.dumps(facts)
        (tmp_path / "near_copies" / f"{name}.json").write_text(text)
    return find_out([invented.plan(tmp_path, ids)])


def test_pairs_are_shown_once_with_pictures_the_likest_first(tmp_path: Path) -> None:
    black, white = picture(0), picture(255)
    one = {"schema": 1, "pairs": [pair(0, 0.96, black, white), pair(1, 0.99)]}
    other = {"schema": 1, "pairs": [pair(0, 0.96, black, white), pair(2, 0.98)]}
    findings = found(tmp_path, one, other)
    assert [(each.tested, each.correlation) for each in findings.near_copies] == [
        ("test/<1>.png", 0.99),
        ("test/<2>.png", 0.98),
        ("test/<0>.png", 0.96),
    ]
    page = Page(html(findings, []))
    table = next(rows for rows in page.tables if rows[0][0] == "Test image")
    assert table[1:] == [
        ["test/<1>.png", "train/1.jpg", "target train", "0.990"],
        ["test/<2>.png", "train/2.jpg", "target train", "0.980"],
        ["test/<0>.png", "train/0.jpg", "target train", "0.960"],
    ]
    shown = [given["src"] for given in page.all("img")]
    assert shown == [f"data:image/png;base64,{each}" for each in (black, white)]
    assert "3 of 100 test images look nearly like one that may be learnt from." in page.text
    assert "Near copies" in page.text
    read = json.loads(json_text(findings))["near_copies"]
    assert read[0] == {"tested": "test/<1>.png", "other": "train/1.jpg", "part": "target train", "correlation": 0.99}
    assert len(read) == 3


def test_where_there_are_many_the_likest_are_shown_and_counted(tmp_path: Path) -> None:
    many = {"schema": 1, "pairs": [pair(i // 2, round(1 - i / 1000, 3)) for i in range(2 * MOST_PAIRS_SHOWN)]}
    for i, each in enumerate(many["pairs"]):  # type: ignore[arg-type]
        each["other"] = f"train/{i}.jpg"
    findings = found(tmp_path, many, many)
    page = Page(html(findings, []))
    table = next(rows for rows in page.tables if rows[0][0] == "Test image")
    assert len(table) == 1 + MOST_PAIRS_SHOWN
    assert f"{MOST_PAIRS_SHOWN} of 100 test images" in page.text
    assert f"The {MOST_PAIRS_SHOWN} likest of {2 * MOST_PAIRS_SHOWN} pairs are shown" in page.text
    assert len(json.loads(json_text(findings))["near_copies"]) == 2 * MOST_PAIRS_SHOWN


@pytest.mark.parametrize(
    "damaged", ['{"schema": 2, "pairs": []}', "{", '{"schema": 1, "pairs": [{"test": "a"}]}', "[]"]
)
def test_a_list_that_cannot_be_read_is_said(tmp_path: Path, damaged: str) -> None:
    findings = found(tmp_path, damaged, {"schema": 1, "pairs": [pair(0, 0.96)]})
    assert len(findings.near_copies) == 1
    said = [note for note in findings.notes if "near_copies" in note]
    assert said == ["near_copies/list0.json cannot be read: near copies of test images are not shown."]


def test_without_any_there_is_no_section(tmp_path: Path) -> None:
    findings = find_out([invented.sweep(tmp_path, seeds=1)])
    assert findings.near_copies == ()
    assert "Near copies" not in Page(html(findings, [])).text
    assert json.loads(json_text(findings))["near_copies"] == []
