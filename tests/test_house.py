"""The house: imports point down only, and some doors are open to one room alone (laws 6 and others)."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import tlfw

ROOT = Path(tlfw.__file__).parent

FLOORS = (
    # values: the standard library only
    (
        "tlfw",
        "code",
        "identity",
        "escape",
        "errors",
        "secret",
        "fields",
        "former",
        "settings",
        "judgement",
        "record",
        "interruption",
        "machine",
    ),
    # values of arrays: NumPy too
    ("metric",),
    # what was asked: records of commands, and a lock
    ("ledger",),
    # the report: records and predictions only, and no torch
    (
        "report.number_format",
        "report.behrens_fisher",
        "report.two_way",
        "report.score_tables",
        "report.estimate",
        "report.runs",
        "report.sweep_plan",
        "report.gather",
        "report.cells",
        "report.costs",
        "report.mistakes",
        "report.verdict",
        "report.sentences",
        "report.notes",
        "report.near_copies",
        "report.findings",
        "report.figures.style",
        "report.figures.picture",
        "report.figures.accuracy",
        "report.figures.comparisons",
        "report.figures.confusions",
        "report.figures.cost",
        "report.figures.curves",
        "report.figures.forgetting",
        "report.figures.labels",
        "report.figures.paradigms",
        "report.figures",
        "report.comparisons",
        "report.markup",
        "report.column",
        "report.columns",
        "report.tables",
        "report.html_table",
        "report.page_tables",
        "report.runs_table",
        "report.page",
        "report.terminal",
        "report",
        "report.__main__",
    ),
    # nouns
    (
        "strict",
        "hardware",
        "data.picture",
        "data.decoding",
        "data.resampling",
        "input_spec",
        "data.preprocessing",
        "data.fingerprint",
        "repetition",
        "data.listing",
        "data.images",
        "data.rows",
        "data.copies",
        "data.split",
        "data.division",
        "data.near_copies",
        "data.augment",
        "data.view",
        "data.sets",
        "data.folder",
        "data.published",
        "data.typeset",
        "data.mixture",
        "data",
        "onnx_preprocessing",
    ),
    ("families", "weights", "fit", "download", "backbone", "zoo", "recipe", "model", "freeze", "schedule", "mix"),
    # verbs
    (
        "store.seal",
        "store",
        "loaded",
        "progress",
        "cost",
        "evaluate",
        "features",
        "learner",
        "checkpoint",
        "train",
        "numerics",
        "environment",
    ),
    # a run
    ("server", "tracking", "trial", "seen", "match", "plan", "experiment", "fold", "run"),
    # doors
    (
        "store.__main__",
        "typed",
        "explain",
        "table",
        "jobs",
        "agenda",
        "changes",
        "waves",
        "search",
        "conclusion",
        "sweep",
        "predict",
        "export",
        "__main__",
    ),
)
"""Each room may import rooms before it: lower floors, and its own floor to the left."""

ROOMS = [room for floor in FLOORS for room in floor]


def path(room: str) -> Path:
    if room in ("tlfw", "data", "store", "report", "report.figures"):
        return ROOT / ("" if room == "tlfw" else room.replace(".", "/")) / "__init__.py"
    return ROOT / f"{room.replace('.', '/')}.py"


def imports(room: str) -> set[str]:
    """Full names of all modules that a room imports anywhere, type checking included."""
    found = set()
    for node in ast.walk(ast.parse(path(room).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{room}: relative import"
            assert node.module is not None
            found.add(node.module)
            if node.module in ("tlfw", "tlfw.data", "tlfw.report"):
                found |= {
                    f"{node.module}.{a.name}"
                    for a in node.names
                    if f"{node.module}.{a.name}".removeprefix("tlfw.") in ROOMS
                }
    return found


def test_every_file_is_a_room() -> None:
    files = {p.relative_to(ROOT) for p in ROOT.rglob("*.py") if "_namespace" not in p.parts}
    assert files == {path(room).relative_to(ROOT) for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room: str) -> None:
    own = {name.removeprefix("tlfw.") for name in imports(room) if name.split(".")[0] == "tlfw"}
    below = set(ROOMS[: ROOMS.index(room)])
    assert own <= below, own - below


@pytest.mark.parametrize("room", FLOORS[0])
def test_values_need_the_standard_library_only(room: str) -> None:
    outside = {name.split(".")[0] for name in imports(room)} - set(sys.stdlib_module_names) - {"tlfw"}
    assert not outside


def test_metrics_need_numpy_only() -> None:
    """The report reads them, which has no torch."""
    roots = {name.split(".")[0] for name in imports("metric")} - set(sys.stdlib_module_names)
    assert roots == {"numpy", "tlfw"}


def test_only_tracking_imports_wandb() -> None:
    assert [room for room in ROOMS if any(name.split(".")[0] == "wandb" for name in imports(room))] == ["tracking"]


def names(room: str) -> set[str]:
    """Attributes that a room reads, and its text constants."""
    tree = ast.parse(path(room).read_text())
    docs = {
        id(n.body[0].value)
        for n in ast.walk(tree)
        if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef) and n.body and isinstance(n.body[0], ast.Expr)
    }
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {
        n.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs
    }


def test_test_images_are_reached_by_few_rooms_only() -> None:
    """`rows` names the parts, `folder` finds them, `division` cuts them, `copies` and `near_copies` compare them with
    what is learnt from, `run` hands them to `evaluate.examine` when all is decided, `report.runs` counts
    them and `report.near_copies` shows some."""
    assert {room for room in ROOMS if "test" in names(room)} == {
        "data.rows", "data.folder", "data.copies", "data.division", "data.near_copies", "data.published", "seen", "run",
        "report.runs", "report.gather", "report.near_copies",
    }  # fmt: skip
    assert {room for room in ROOMS if "examine" in path(room).read_text()} == {"evaluate", "run"}


def test_test_numbers_are_read_by_tables_only() -> None:
    """What selects, prunes or plans cannot open a test field; tables show it and decide nothing."""
    readers = {room for room in ROOMS if any("target/test" in name for name in names(room))}
    assert readers == {"run", "table", "report.column"}
    assert "tlfw.report.column" not in imports("report.cells") | imports("report.verdict")
    readers = [room for room in ROOMS if any("tlfw.report" in name for name in imports(room))]
    assert [room for room in readers if not room.startswith("report")] == ["conclusion"]
    assert "table" not in {
        name.removeprefix("tlfw.") for room in ROOMS[: ROOMS.index("table")] for name in imports(room)
    }
    assert "tlfw.table" not in imports("sweep")


def test_the_plugin_costs_nothing_at_hydras_start() -> None:
    plugin = ROOT / "_namespace" / "hydra_plugins" / "tlfw_sweeper.py"
    top = [node for node in ast.parse(plugin.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0] for node in top}
    assert roots <= {"os", "collections", "dataclasses", "pathlib", "typing", "hydra", "omegaconf"}
