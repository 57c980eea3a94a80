"""Slurm's commands, as scripts that say what a test lets them say."""

from __future__ import annotations

from pathlib import Path

import pytest


class Commands:
    """The only commands on PATH.

    Args:
        folder: for the scripts, and for what they were called with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def says(self, name: str, text: str = "", code: int = 0, *, to: str = "", otherwise: str | None = None) -> None:
        """Let a command print a text and end with a code.

        Args:
            to: only where this is among its arguments.
            otherwise: what it prints, with code 0, where it is not; None: the same.
        """
        other = text if otherwise is None else otherwise
        for file, said in (("said", text), ("other", other)):
            (self.folder / f"{name}.{file}").write_text(said)
        script = self.folder / name
        script.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >> {script}.calls\n'
            f'case "$*" in *{to}*) /bin/cat {script}.said; exit {code};; esac\n'
            f"/bin/cat {script}.other\n"
        )
        script.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """With which arguments a command was called."""
        file = self.folder / f"{name}.calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(made.folder))
    return made
