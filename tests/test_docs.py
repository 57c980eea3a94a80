"""README and pages are true: their commands run, their links lead somewhere, and their lists are those of the code."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import tlfw
import tlfw.identity.names
import tlfw.methods.freeze
from tests.conftest import paint
from tests.methods import test_freeze
from tests.report import invented
from tests.report.sketched import instead
from tests.status import invented as watched
from tlfw import CONF
from tlfw.export import FORMATS
from tlfw.records.ledger import State
from tlfw.records.record import Record
from tlfw.report import __main__ as report_door
from tlfw.status import __main__ as status_door
from tlfw.store import Store
from tlfw.store import __main__ as store_door

ROOT = Path(__file__).parent.parent
FRONT = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
TEXTS = {name: (ROOT / name).read_text() for name in FRONT} | PAGES
"""All that people read, by the file's name."""


def blocks(language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language (the page, the text), in the order of the pages."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [(name, block) for name, text in TEXTS.items() for block in fence.findall(text)]


LINES = [line.partition(" #")[0].strip() for _, block in blocks("sh") for line in block.splitlines()]
SHELL = list(dict.fromkeys(filter(None, LINES)))
"""Every command once, without its comment."""
COMMANDS = [line for line in SHELL if line.startswith("python -m tlfw ")]
USES = [line for line in SHELL if line.startswith(("python -m tlfw.predict ", "python -m tlfw.export "))]
REPORTS = [line for line in SHELL if line.startswith("python -m tlfw.report ")]
KEEPING = [line for line in SHELL if line.startswith("python -m tlfw.store ")]
WATCHING = [line for line in SHELL if line.startswith("python -m tlfw.status ")]
OTHERS = [line for line in SHELL if line not in COMMANDS + USES + KEEPING + REPORTS + WATCHING]
CODE = [(name, block) for language in ("python", "yaml") for name, block in blocks(language)]
FILES = {found[1]: block for _, block in CODE if (found := re.search(r"^# (own/\S+)", block, re.MULTILINE))}
"""As they are copied, with the comment that names them."""
CHANGE = {block.partition("\n")[0].removeprefix("# "): block for name, block in CODE if name == "CONTRIBUTING.md"}
"""The example of a whole change: file -> what goes into it."""
SNIPPETS = [block for _, block in CODE if block not in (*FILES.values(), *CHANGE.values())]
SYNC = "wandb sync outputs/runs/*/wandb/offline-run-* outputs/sweeps/*/wandb/offline-run-*"
QUICK = ("trainer=smoke", "tracking=disabled", "image_size=32")


def test_every_block_is_of_a_language_that_is_run() -> None:
    """Without a language is the tree of files alone; the others are Sphinx's."""
    found = {(name, word) for name, text in TEXTS.items() for word in re.findall(r"^```(\S+)$", text, re.MULTILINE)}
    assert {word for _, word in found if not word.startswith("{")} == {"sh", "python", "yaml"}
    fences = {name: re.findall(r"^```(.*)$", text, re.MULTILINE) for name, text in TEXTS.items()}
    assert [name for name, words in fences.items() if not all(words[::2])] == ["docs/reference/files.md"]


def test_all_other_commands_are_known() -> None:
    """`make` is what CI runs; `wandb sync` needs a server and is W&B's own."""
    assert OTHERS == ["make grid", "make test", "make docs", SYNC]
    ci = (ROOT / ".ci" / "run").read_text()
    assert " test" in ci
    assert " grid" in ci
    assert " docs" in ci


def anchors(text: str) -> set[str]:
    """What a link can name within a page, as GitHub and MyST make it of headings."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", TEXTS)
def test_links_within_the_project_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.is_file(), link
        assert not anchor or anchor in anchors(file.read_text()), link


def test_every_page_is_in_the_index_and_in_the_readme() -> None:
    listed = re.findall(r"^(\S+/\S+)$", PAGES["docs/index.md"], re.MULTILINE)
    assert sorted(f"docs/{name}.md" for name in listed) == sorted(set(PAGES) - {"docs/index.md"})
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", TEXTS["README.md"]))
    assert set(PAGES) - linked == {"docs/index.md", "docs/explanation/architecture.md"}  # which is ARCHITECTURE.md


@pytest.mark.parametrize("name", re.findall(r"^\.\. auto\w+:: (\S+)$", PAGES["docs/reference/api.md"], re.MULTILINE))
def test_the_python_interface_names_what_there_is(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages' files, in the folder that the command is run in."""
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
    """The current folder, with a run and photos under the names that the pages use."""
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
    """And leaves the files that its page lists."""
    made = invented.sweep(tmp_path / "outputs", seeds=2)
    made.rename(made.parent / "NAME")
    if "--out" in command:  # figures take their time, and are drawn by the other one
        instead(monkeypatch)
    monkeypatch.chdir(tmp_path)
    report_door.main(shlex.split(command)[3:])
    assert " points" in capsys.readouterr().out
    out = tmp_path / ("report" if "--out" in command else "outputs/sweeps/NAME")
    listed = PAGES["docs/how-to/report.md"].split("## The files")[1].split("## ")[0]
    files = re.findall(r"`((?:report|leaderboard|runs|classes)\.\w+)`", listed)
    assert sorted(files) == sorted(path.name for path in out.iterdir() if path.is_file() and path.name != "plan.json")
    assert (out / "figures").is_dir()


@pytest.mark.parametrize("command", WATCHING)
def test_a_sweep_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, command: str) -> None:
    made = watched.sweep(tmp_path / "outputs", [watched.planned(1)])
    watched.entry(made, 1, "waiting" if "--cancel" in command else "done")
    made.rename(made.parent / "NAME")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        status_door.main(shlex.split(command)[3:])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert any(said in out for said in ("1 of 1 run done", '"done": 1', "1 task that had not begun"))


def test_every_state_and_exit_code_of_a_sweep_is_explained() -> None:
    page = PAGES["docs/how-to/clusters.md"].split("## Watch a sweep")[1]
    states = {word for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for word in re.findall(r"`(\w+)", row)}
    assert states == {*get_args(State), "silent", "dead", "unknown"}
    codes = re.findall(r"^\| (\d) \|", page, re.MULTILINE)
    assert codes == re.findall(r"^  (\d) ", status_door.CODES, re.MULTILINE)


def test_a_run_is_used_in_python(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = SNIPPETS
    exec(snippet, {})
    assert capsys.readouterr().out in ("c0\n", "c1\n", "c2\n")


def test_every_use_is_shown() -> None:
    assert {re.search(r"--format (\w+)", line)[1] for line in USES if "export" in line} == set(FORMATS)


@pytest.mark.usefixtures("own")
def test_parts_of_ones_own_do_what_their_page_says(cli, tmp_path: Path) -> None:
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
    rows = dict(re.findall(r"^\| `(\w+)[@`][^|]*\| (.*) \|$", PAGES["docs/reference/config.md"], re.MULTILINE))
    for group in (p for p in CONF.iterdir() if p.is_dir() and p.name != "backbone"):
        options = {p.stem for p in group.glob("*.yaml")} - {"base"}
        named = set(re.findall(r"`(\w+)`", rows[group.name]))
        assert options <= named, (group.name, options - named)


def test_the_example_of_a_whole_change_is_one(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class where it says, its test, and a run with its option; a row of the groups' table is for it to take."""
    source, test, option = CHANGE
    assert [source, test] == ["tlfw/methods/freeze.py", "tests/methods/test_freeze.py"]
    assert (ROOT / source).is_file()
    assert (ROOT / test).is_file()
    assert (ROOT / option).parent.is_dir()
    monkeypatch.setattr("tlfw.identity.names._DECLARED", {**tlfw.identity.names._DECLARED})  # which `named` adds to
    made: dict[str, Any] = {}
    exec(compile(CHANGE[source], source, "exec", dont_inherit=True), vars(tlfw.methods.freeze), made)
    ((name, policy),) = made.items()
    policy.__module__ = "tlfw.methods.freeze"
    monkeypatch.setattr(tlfw.methods.freeze, name, policy, raising=False)
    tests: dict[str, Any] = {**vars(test_freeze), name: policy}
    exec(CHANGE[test], tests)
    (tried,) = [value for key, value in tests.items() if key.startswith("test_") and key not in vars(test_freeze)]
    tried()
    own = tmp_path / option
    own.parent.mkdir(parents=True)
    own.write_text(CHANGE[option])
    code, out, err = cli(
        "--config-dir", str(tmp_path / "conf"), "+experiment=quickstart", f"freeze_policy={own.stem}", *QUICK,
        "source.per_class=10",
    )  # fmt: skip
    assert code == 0, err
    assert own.stem in out
