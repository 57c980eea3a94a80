"""Damaged and odd files: two hundred of those of which `benchmarks/odd_files.py` makes two thousand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from benchmarks import odd_files
from tlfw.data.images import ImageFiles

SCRIPT = Path(odd_files.__file__)


def test_none_crashes_or_hangs_or_passes_unreported() -> None:
    """In a process of its own, which one of them may end."""
    command = [sys.executable, str(SCRIPT), "--count", "200", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=SCRIPT.parents[1])
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("200 of 200 files were looked at, 0 faults\n")
    for became in ("left out", "unreadable", "read, with the same pixels", "read, with other pixels"):
        assert became in done.stdout


def test_the_script_finds_what_passes_unreported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    made = {"a.png": ("cut", content, "png")}
    assert odd_files.judged(tmp_path, made, "a.png", {}) == "unreadable"
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert odd_files.judged(tmp_path, made, "a.png", {}) == "FAULT: cut, and read with other pixels"


def test_a_cut_file_is_unreadable_and_no_fault_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a.pcx").write_bytes(
        b"\x0a\x05\x01\x08\x00\x00\x00\x00\x0f\x00\x0f\x00" + bytes(53) + b"\x01\x10" + bytes(70)
    )
    assert list(ImageFiles(tmp_path, ["a.pcx"], [0], ["a"]).unreadable(None)) == [0]


@pytest.mark.parametrize(("make", "why"), [("fifo", "regular"), ("empty", "empty"), ("folder", "regular")])
def test_what_holds_no_bytes_is_not_waited_for(tmp_path: Path, make: str, why: str) -> None:
    import os

    file = tmp_path / "a.png"
    {"fifo": os.mkfifo, "empty": Path.touch, "folder": Path.mkdir}[make](file)
    (said,) = ImageFiles(tmp_path, ["a.png"], [0], ["a"]).unreadable(None).values()
    assert why in said
