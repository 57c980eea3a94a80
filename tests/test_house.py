"""The house: packages import in one direction, and some doors are open to one room alone.

A package is a folder of `tlfw` with an `__init__.py`; the files in `tlfw` itself are packages of their own here.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tlfw

ROOT = Path(tlfw.__file__).parent
ARCHITECTURE = (ROOT.parent / "ARCHITECTURE.md").read_text()

ORDER = (
    "tlfw",
    "internals",
    "escape",
    "strictness",
    "signals",
    "limits",
    "processes",
    "errors",
    "identity",
    "records",
    "status",
    "report.statistics",
    "report",
    "report.figures",
    "report.documents",
    "data.pictures",
    "data",
    "backbones",
    "methods",
    "store",
    "devices",
    "numerics",
    "training",
    "tracking",
    "runs",
    "rank",
    "command_line",
    "cluster",
    "sweeps",
    "pack",
    "predict",
    "export",
    "__main__",
)
"""Each package may import packages before it. Its door, `__main__`, and its `__init__` may import what lies in it."""

MOST_MODULES = 14


def modules() -> Iterator[tuple[str, Path]]:
    """The full name and the file of every module."""
    for file in sorted(ROOT.rglob("*.py")):
        if "_namespace" not in file.parts:
            parts = file.relative_to(ROOT.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


FILES = dict(modules())
PACKAGES = {name for name, file in FILES.items() if file.name == "__init__.py"}


def package(module: str) -> str:
    """That of a module, without `tlfw.`; a file in `tlfw` itself is its own."""
    own = module if module in PACKAGES else module.rpartition(".")[0]
    return (module if own == "tlfw" else own).removeprefix("tlfw.")


def imports(module: str) -> set[str]:
    """Full names of all modules that one imports anywhere, type checking included."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            below = {name for alias in node.names if (name := f"{node.module}.{alias.name}") in FILES}
            found |= below or {node.module}
    return found


def own_imports(module: str) -> set[str]:
    return {name for name in imports(module) if name in FILES}


def test_every_package_has_its_place() -> None:
    assert {package(module) for module in FILES} == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_packages_import_in_one_direction(name: str) -> None:
    before = set(ORDER[: ORDER.index(name)])
    for module in FILES:
        if package(module) != name:
            continue
        used = {package(each) for each in own_imports(module)} - {name}
        if module in PACKAGES or module.endswith(".__main__"):
            used = {each for each in used if not each.startswith(f"{name}.")}
        assert used <= before, f"{module} imports {sorted(used - before)}"


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_modules_of_a_package_import_in_no_circle(name: str) -> None:
    own = {module: own_imports(module) for module in FILES if module != name and package(module) == package(name)}
    left = set(own)
    while free := {module for module in left if not own[module] & (left - {module})}:
        left -= free
    assert not left


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_is_small_and_says_what_belongs_there(name: str) -> None:
    own = [m for m in FILES if m not in PACKAGES and m.rpartition(".")[0] == name and not m.endswith(".__main__")]
    assert len(own) <= MOST_MODULES
    text = ast.get_docstring(ast.parse(FILES[name].read_text()))
    assert text
    if name != "tlfw":
        assert f"`{name.replace('.', '/')}/`" in ARCHITECTURE


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_public_names_are_there(name: str) -> None:
    found = importlib.import_module(name)
    for each in getattr(found, "__all__", ()):
        assert getattr(found, each) is not None


def test_the_map_is_in_the_order_of_imports() -> None:
    rows = re.findall(r"^\| `tlfw/([\w/]+)/` \|", ARCHITECTURE, re.MULTILINE)
    assert [row.replace("/", ".") for row in rows] == [name for name in ORDER if f"tlfw.{name}" in PACKAGES]


def test_the_map_names_what_is_there() -> None:
    for path in re.findall(r"`(tlfw/[\w/]+(?:\.py|/))`", ARCHITECTURE):
        assert (ROOT.parent / path).exists(), path


ARRAYS = ("tlfw.records.metric",)
"""Records that are of arrays."""


@pytest.mark.parametrize("name", ["escape", "signals", "limits", "errors", "identity", "records"])
def test_the_lowest_packages_need_the_standard_library_only(name: str) -> None:
    """So they cost nothing, and the report, which has no torch, can read them."""
    for module in FILES:
        if package(module) == name:
            outside = {each.split(".")[0] for each in imports(module)} - set(sys.stdlib_module_names) - {"tlfw"}
            assert outside == ({"numpy"} if module in ARRAYS else set()), module


@pytest.mark.parametrize("door", ["tlfw.report.documents.terminal", "tlfw.status.__main__"])
def test_reports_and_the_status_need_no_torch(door: str) -> None:
    code = f"import sys, {door}; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_only_tracking_imports_wandb() -> None:
    using = [module for module in FILES if any(name.split(".")[0] == "wandb" for name in imports(module))]
    assert using == ["tlfw.tracking.tracked"]


PUBLIC = {"_replace", "_asdict", "_exit", "_metadata", "_trial_id"}
"""Attributes that begin with an underscore and are public: a named tuple's, `os._exit`, and others in documentation."""


def test_private_interfaces_of_others_stand_in_one_place() -> None:
    for module, file in FILES.items():
        if package(module) == "internals":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and node.attr not in PUBLIC:
                owner = ast.unparse(node.value)
                assert owner in ("self", "cls", "other", "super()"), f"{module}: {ast.unparse(node)}"
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("tlfw"):
                assert not [each.name for each in node.names if re.match("_[a-zA-Z]", each.name)], module


def names(module: str) -> set[str]:
    """Attributes that a module reads, and its text constants."""
    tree = ast.parse(FILES[module].read_text())
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


def having(word: str) -> set[str]:
    """The modules that read something of this name."""
    return {module.removeprefix("tlfw.") for module in FILES if word in names(module)}


def test_test_images_are_reached_by_few_modules_only() -> None:
    """`folder` and `rows` name the parts, `division` cuts them, `overlap` and `near_copies` compare them with what is
    learnt from, `runs.attempt` hands them to `evaluate.examine` when all is decided, `runs.run` lets a finished run's
    predictions name them as they are called now, `report.runs` counts them and `report.near_copies` shows some."""
    assert having("test") == {
        "data.folder", "data.rows", "data.overlap", "data.division", "data.near_copies", "data.published",
        "runs.experiment_data",
        "runs.attempt", "runs.run", "report.runs", "report.gather", "report.near_copies",
    }  # fmt: skip
    examining = {module for module, file in FILES.items() if "examine" in file.read_text()}
    assert examining == {"tlfw.training.evaluate", "tlfw.runs.attempt"}


def test_test_numbers_are_read_by_tables_only() -> None:
    """What selects, prunes or plans cannot open a test field; tables show it and decide nothing."""
    readers = {
        module
        for module, file in FILES.items()
        if any("target/test" in name for name in names(module)) or "TARGET_TEST" in file.read_text()
    } - {"tlfw.records.metric"}  # which says the word
    assert readers == {"tlfw.runs.attempt", "tlfw.sweeps.results_table", "tlfw.report.documents.column_type"}
    assert "tlfw.report.documents.column_type" not in imports("tlfw.report.cells") | imports("tlfw.report.verdict")
    using = [module for module in FILES if any("tlfw.report" in name for name in imports(module))]
    assert [name for name in using if not name.startswith("tlfw.report")] == ["tlfw.sweeps.final_report"]
    table = "tlfw.sweeps.results_table"
    shown = {module for module in FILES if table in imports(module)}
    assert shown == {"tlfw.sweeps.launch", "tlfw.__main__"}


def test_the_plugin_costs_nothing_at_hydras_start() -> None:
    plugins = sorted((ROOT / "_namespace" / "hydra_plugins").glob("*.py"))
    assert [plugin.stem for plugin in plugins] == ["tlfw_launcher", "tlfw_sweeper"]
    for plugin in plugins:
        top = [node for node in ast.parse(plugin.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        used = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0] for node in top}
        assert used <= {"os", "collections", "dataclasses", "functools", "pathlib", "typing", "hydra", "omegaconf"}
