"""The README is true: its commands run, and its lists are those of the code."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import tlfw
from tests.conftest import paint
from tests.report import invented
from tests.report.sketched import instead
from tlfw import CONF
from tlfw.export import FORMATS
from tlfw.record import Record
from tlfw.report import __main__ as report_door
from tlfw.store import Store
from tlfw.store import __main__ as store_door

README = (Path(__file__).parent.parent / "README.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).splitlines()
COMMANDS = [line for line in SHELL if line.startswith("python -m tlfw ")]
USES = [line for line in SHELL if line.startswith(("python -m tlfw.predict ", "python -m tlfw.export "))]
REPORTS = [line for line in SHELL if line.startswith("python -m tlfw.report ")]
KEEPING = [line for line in SHELL if line.startswith("python -m tlfw.store ")]
BLOCKS = re.findall(r"```(?:python|yaml)\n(.*?)```", README, re.DOTALL)
FILES = {name[1]: block for block in BLOCKS if (name := re.search(r"^# (own/\S+)", block, re.MULTILINE))}
"""As they are copied, with the comment that names them."""
SNIPPETS = re.findall(r"```python\n(?!# own/)(.*?)```", README, re.DOTALL)
OTHERS = [line.split("#")[0].strip() for line in SHELL if line and line not in COMMANDS + USES + KEEPING + REPORTS]
SYNC = "wandb sync outputs/runs/*/wandb/offline-run-* outputs/sweeps/*/wandb/offline-run-*"
QUICK = ("trainer=smoke", "tracking=disabled", "image_size=32")


def test_all_other_commands_are_known() -> None:
    """`make test` and `make grid` are what CI runs; `wandb sync` needs a server and is W&B's own."""
    assert OTHERS == ["make grid", "make test", SYNC]
    ci = (Path(__file__).parent.parent / ".ci" / "run").read_text()
    assert " test" in ci
    assert " grid" in ci


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's files, in the folder that the command is run in."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` does


@pytest.mark.slow
@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(cli, folder, published, command: str) -> None:
    folder("mine", train=50)
    folder("general", train=50, first=5000)
    arguments = shlex.split(command)[3:]
    if "--help" in arguments or "--cfg" in arguments:
        code, out, _ = cli(*arguments)
        assert code == 0
        assert "freeze_policy" in out
        return
    if "backbone.weights=DEFAULT" in arguments:
        published("resnet18")
    small = [] if "folder" in command else ["source.per_class=10"]
    if "experiment=folder_grid" in command:  # ten runs are enough
        small.append("seed=0")
    if "experiment=search" in command:
        small.append("hydra.sweeper.search.trials=2")
    if "experiment=quickstart_grid" in command:  # which CI runs whole: `make grid`
        small.append("hydra.sweeper.dry_run=true")
    if any("dry_run" in each for each in (*arguments, *small)):
        code, out, err = cli(*arguments, *QUICK, *small)
        assert code == 0, err
        assert "plan: " in out
        return
    code, out, err = cli(*arguments, *QUICK, *small)
    assert code == 0, err
    assert "│" in out
    assert "failed" not in out.replace("0 failed", "")


@pytest.fixture
def ready(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run and photos under the names that the README uses."""
    shutil.copytree(made, tmp_path / "outputs" / "runs" / "NAME-KEY")
    (tmp_path / "photos").mkdir()
    for i, file in enumerate(("photo.jpg", "photos/a.jpg", "photos/b.png")):
        paint(i, i).save(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [pytest.param(line, marks=[pytest.mark.slow] * ("onnx" in line)) for line in USES])
def test_a_run_is_used(ready: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(ready.iterdir())
    module, *arguments = shlex.split(command)[2:]
    importlib.import_module(module).main(arguments)
    made = {path.suffix for path in set(ready.iterdir()) - before}
    assert made
    assert made <= {".csv", ".json", ".onnx", ".safetensors", ".pt"}
    assert "differ from the run's by" in capsys.readouterr().out or "predict" in command


@pytest.mark.parametrize("command", KEEPING)
def test_the_store_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, command: str) -> None:
    shelf = Store(tmp_path / "outputs" / "store")
    shelf.get_or_make("stages", "0123abcd" * 4, lambda draft: (draft / "value").write_text("1"))
    monkeypatch.chdir(tmp_path)
    store_door.main(shlex.split(command)[3:])
    out = capsys.readouterr().out
    assert any(said in out for said in ("1 entry", "removed stages/0123abcd", "0 folders"))


@pytest.mark.parametrize("command", REPORTS)
def test_a_sweep_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, command: str) -> None:
    """And leaves the files that the README lists."""
    made = invented.sweep(tmp_path / "outputs", seeds=2)
    made.rename(made.parent / "NAME")
    if "--out" in command:  # figures take their time, and are drawn by the other one
        instead(monkeypatch)
    monkeypatch.chdir(tmp_path)
    report_door.main(shlex.split(command)[3:])
    assert " points" in capsys.readouterr().out
    out = tmp_path / ("report" if "--out" in command else "outputs/sweeps/NAME")
    listed = README.split("## The verdict")[1].split("## ")[0]
    files = re.findall(r"`((?:report|leaderboard|runs|classes)\.\w+)`", listed)
    assert sorted(files) == sorted(path.name for path in out.iterdir() if path.is_file() and path.name != "plan.json")
    assert (out / "figures").is_dir()


def test_a_run_is_used_in_python(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = SNIPPETS
    exec(snippet, {})
    assert capsys.readouterr().out in ("c0\n", "c1\n", "c2\n")


def test_every_use_is_shown() -> None:
    assert {re.search(r"--format (\w+)", line)[1] for line in USES if "export" in line} == set(FORMATS)


@pytest.mark.usefixtures("own")
def test_parts_of_ones_own_do_what_the_readme_says(cli, tmp_path: Path) -> None:
    """The example's three stages under its own policy, on its own data; and its model is loaded again."""
    given = ("--config-dir", "own/conf", "+experiment=own", *QUICK, "source.per_class=10")
    code, _, err = cli(*given)
    assert code == 0, err
    (folder,) = (path.parent for path in (tmp_path / "outputs" / "runs").glob("*/record.json"))
    record = Record.read(folder)
    assert record.paradigm == {"data_mix": "three_stages", "freeze_policy": "named"}
    assert (record.backbone, record.target) == ("two_convolutions", "stripes")
    assert [stage["name"] for stage in record.stages] == ["pretrain", "both", "adapt"]
    assert record.certificate["holds"]
    assert record.certificate["frozen_tensors"] == 4  # of the body, and of the source's head
    loaded = tlfw.load(folder, trust=("own",))
    assert loaded.classes == ("upright", "lying")
    assert loaded.model(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    code, _, err = cli(*given, "freeze_policy.blocks=[neck]")
    assert code == 1
    assert "freeze_policy.lr_backbone" in err
    code, _, err = cli(*given, "backbone.width=wide")
    assert code == 1
    assert "backbone.width" in err


def test_the_table_of_groups_names_every_option() -> None:
    rows = dict(re.findall(r"^\| `(\w+)[@`][^|]*\| (.*) \|$", README, re.MULTILINE))
    for group in (p for p in CONF.iterdir() if p.is_dir() and p.name != "backbone"):
        options = {p.stem for p in group.glob("*.yaml")} - {"base"}
        named = set(re.findall(r"`(\w+)`", rows[group.name]))
        assert options <= named, (group.name, options - named)
