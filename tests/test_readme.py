"""The README is true: its commands run, and its lists are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tlfw import CONF

README = (Path(__file__).parent.parent / "README.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).splitlines()
COMMANDS = [line for line in SHELL if line.startswith("python -m tlfw")]
OTHERS = [line.split("#")[0].strip() for line in SHELL if line and line not in COMMANDS]
QUICK = ("trainer=smoke", "tracking=disabled", "image_size=32")


def test_all_other_commands_are_known() -> None:
    """`make test` and `make grid` are what CI runs; `wandb sync` needs a server and is W&B's own."""
    assert OTHERS == ["make grid", "make test", "wandb sync outputs/runs/*/wandb/offline-run-*"]
    ci = (Path(__file__).parent.parent / ".ci" / "run").read_text()
    assert " test" in ci
    assert " grid" in ci


@pytest.mark.slow
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
    code, out, err = cli(*arguments, *QUICK, *small)
    assert code == 0, err
    assert "│" in out
    assert "failed" not in out.replace("0 failed", "")


def test_the_table_of_groups_names_every_option() -> None:
    rows = dict(re.findall(r"^\| `(\w+)[@`][^|]*\| (.*) \|$", README, re.MULTILINE))
    for group in (p for p in CONF.iterdir() if p.is_dir() and p.name != "backbone"):
        options = {p.stem for p in group.glob("*.yaml")} - {"base"}
        named = set(re.findall(r"`(\w+)`", rows[group.name]))
        assert options <= named, (group.name, options - named)
