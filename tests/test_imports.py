"""What a command imports: nothing that takes seconds and that it has no need of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import paint
from tests.report import invented

TRAINING = {"lightning", "torchmetrics", "torchvision", "wandb", "triton", "torch._dynamo", "sympy"}
TABLES_AND_PICTURES = {"matplotlib", "pandas", "scipy", "sklearn", "statsmodels", "jinja2"}

COMMAND = """
import runpy, sys
try:
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
except SystemExit as end:
    print("ended with", end.code)
finally:
    print("imported:", *sys.modules)
"""


def imported(module: str, *arguments: str, folder: Path) -> tuple[str, set[str]]:
    """What `python -m MODULE ARGUMENTS` prints, and the modules that it has imported when it ends."""
    command = [sys.executable, "-c", COMMAND, module, *arguments]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    text, _, modules = said.stdout.rpartition("imported: ")
    return text + said.stderr, set(modules.split())


@pytest.mark.parametrize("wrong", ["+experiment=nope", "nofield=3"])
def test_what_is_mistyped_needs_hydra_alone(tmp_path: Path, wrong: str) -> None:
    text, modules = imported("tlfw", wrong, folder=tmp_path)
    assert "ended with" in text
    assert "Did you mean" in text
    assert not modules & {*TRAINING, *TABLES_AND_PICTURES, "torch", "numpy", "rich"}


def test_help_needs_hydra_alone(tmp_path: Path) -> None:
    text, modules = imported("tlfw", "--help", folder=tmp_path)
    assert "Groups" in text
    assert not modules & {*TRAINING, *TABLES_AND_PICTURES, "torch", "numpy", "rich"}


@pytest.fixture
def one(tmp_path: Path) -> list[str]:
    """Arguments of a small run on image folders."""
    for name in ("source", "target"):
        for i in range(80):
            file = tmp_path / name / ("train" if i % 2 else "test") / f"c{i // 2 % 2}" / f"{name}{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            paint(i % 2, 2 * i + (name == "source"), 16).save(file)
    places = [f"{name}.root={tmp_path / name}" for name in ("source", "target")]
    small = ["target.train_per_class=10", "image_size=32", "trainer=smoke", "tracking=disabled", "threads=1"]
    return ["+experiment=folder", *places, *small]


def test_a_run_with_nothing_to_do_imports_nothing_that_trains(tmp_path: Path, one: list[str]) -> None:
    _, first = imported("tlfw", *one, folder=tmp_path)
    text, again = imported("tlfw", *one, folder=tmp_path)
    assert "all" in text
    assert {"lightning", "torchvision"} <= first
    assert not again & {*TRAINING, *TABLES_AND_PICTURES}
    sweep = ["-m", *one, "hydra.sweeper.report=false"]
    text, swept = imported("tlfw", *sweep, folder=tmp_path)
    assert "all" in text
    assert not swept & {*TRAINING, *TABLES_AND_PICTURES}


def test_a_report_imports_no_tables(tmp_path: Path) -> None:

    sweep = invented.sweep(tmp_path, seeds=1, images=20)
    _, modules = imported("tlfw.report", str(sweep), folder=tmp_path)
    assert "matplotlib" in modules
    assert not modules & {*TRAINING, "torch", "pandas", "sklearn", "statsmodels", "matplotlib.pyplot", "scipy.stats"}
