"""What a person sees while something takes long."""

from __future__ import annotations

import pytest
from rich.console import Console

from tlfw.progress import numbered


def test_lines_of_one_of_several_processes_are_numbered(capsys: pytest.CaptureFixture[str]) -> None:
    with numbered(12):
        print("one")
        print("  two", end="\n  three\n", flush=True)
        assert not Console().is_terminal
    print("after")
    assert capsys.readouterr().out == "[12] one\n[12]   two\n[12]   three\nafter\n"
