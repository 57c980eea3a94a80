"""Names may hold anything, and do nothing."""

from __future__ import annotations

import csv
import io
import os

import pytest

from tlfw.escape import csv_text, is_printable, printable, spreadsheet


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\xe9 灰 [/x] <b>", "caf\xe9 灰 [/x] <b>"),
        ("\x1b[2Ja", "\\x1b[2Ja"),
        ("a\nb\r", "a\\x0ab\\x0d"),
        ("\x9b1m\x7f", "\\x9b1m\\x7f"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("a\u2028b", "a\\u2028b"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800x", "\\ud800x"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown_by_its_number(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert is_printable(text) == (text == shown)
    assert printable(shown) == shown
    assert shown.encode()


def test_lines_are_kept_where_they_are_meant() -> None:
    assert printable("a\n\x1bb\tc", keep="\n") == "a\n\\x1bb\\x09c"


@pytest.mark.parametrize(
    "text", ["=1+1", '=HYPERLINK("http://x")', "+1+1", "-cmd|x", "@SUM(A1)", "\t=1", "\r=1", "＝1"]
)
def test_a_formula_is_text_in_a_spreadsheet(text: str) -> None:
    assert spreadsheet(text) == f"'{text}"


@pytest.mark.parametrize("value", ["a=b", "", "-1.5", "+3e-4", "-inf", -1.5, None, 0, "'=1", "cat"])
def test_numbers_and_other_text_stay(value: object) -> None:
    assert spreadsheet(value) == value


def test_a_table_is_read_back_by_any_reader_of_csv() -> None:
    rows = [["name", "value"], ['a,"b"', -1], ["=1+1", "x\ny"]]
    assert list(csv.reader(io.StringIO(csv_text(rows)))) == [["name", "value"], ['a,"b"', "-1"], ["'=1+1", "x\ny"]]
