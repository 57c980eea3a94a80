"""Names that may hold anything, written so that they do nothing: on a terminal, in a table, in a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

# Control characters, separators of lines, and what turns the direction of the text that follows.
_ACTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NOT_UNICODE = re.compile("[\ud800-\udfff]+")
_FORMULA = re.compile("[=+\\-@\t\r\n＝＋－＠]")


def printable(text: str, keep: str = "") -> str:
    r"""`text` without what a terminal would act on: as `\x1b`. Bytes of a file's name that are no UTF-8 are as `\xe9`.

    Args:
        keep: characters that stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ACTIVE.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)
    return _NOT_UNICODE.sub(lambda found: _decoded(found[0]), text)


def is_printable(text: str) -> bool:
    """Whether `printable` would change nothing."""
    return not _ACTIVE.search(text) and not _NOT_UNICODE.search(text)


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"


def _decoded(text: str) -> str:
    try:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a character, and no byte of a file's name
        return text.encode("utf-8", "backslashreplace").decode()


def spreadsheet(value: Any) -> Any:
    """A cell of a CSV file. Text that a spreadsheet would take for a formula has a `'` before it, which makes it text.

    (OWASP, "CSV Injection".) Numbers stay as they are, also those that are text.
    """
    if not isinstance(value, str) or not _FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file of these rows, each cell as `spreadsheet`; files are called as programs find them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([spreadsheet(value) for value in row] for row in rows)
    return text.getvalue()
