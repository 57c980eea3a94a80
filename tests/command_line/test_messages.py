"""What can be mended is one message, with the place and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest


def own(place: Path, text: str | bytes, name: str = "mine", group: str = "experiment") -> list[str]:
    """A config of one's own, and the words that choose it."""
    folder = place / "own" / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return ["--config-dir", str(place / "own"), f"+{group}={name}" if group == "experiment" else f"{group}={name}"]


HEAD = "# @package _global_\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEAD}a: [1,\n", ["own/experiment/mine.yaml: line 3", "it is no YAML"]),
        (f"{HEAD}a: b: c\n", ["mine.yaml: line 2, column 5", "has a colon into quotes"]),
        (f"{HEAD}target:\n\troot: x\n", ["mine.yaml: line 3, column 1", "Indent with blanks"]),
        (f"{HEAD}name: @x\n", ["mine.yaml: line 2", "that begins with @ into quotes"]),
        (f"{HEAD}name: 'x\n", ["mine.yaml: line", "it is no YAML"]),
        (f"{HEAD}name: caf\u00e9\n".encode("latin-1"), ["own/experiment/mine.yaml: it is not in UTF-8", "Save it so"]),
        (f"{HEAD}defaults: [mine]\n", ["defaults", "name the file itself"]),
        (f"{HEAD}defaults: {{a: b}}\n", ["defaults"]),
        ("seed: 3\n", ["experiment", "# @package _global_"]),
        (f"{HEAD}name: ${{nowhere}}\n", ["there is no field nowhere, from which ${nowhere} takes"]),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_a_broken_experiment_is_one_message(
    cli, tmp_path: Path, text: str | bytes, said: list[str], many: bool
) -> None:
    code, _, err = cli(*(["-m"] if many else []), *own(tmp_path, text))
    assert code == 1
    assert "Traceback" not in err
    assert all(each in err for each in said), err
    assert len([line for line in err.splitlines() if line.strip()]) <= 6


@pytest.mark.parametrize(
    ("target", "module", "said"),
    [
        ("mynets.Net", None, ["backbone: there is no module mynets (of mynets.Net) in", "PYTHONPATH"]),
        ("mynets.Net", "import notthere\n", ["mynets", "imports notthere, which is not installed here"]),
        ("mynets.Net", "def f(:\n", ["mynets.py: line 1", "Mend it there"]),
        ("mynets.Net", "1 / 0\n", ["mynets cannot be imported: ZeroDivisionError", "mynets.py, line 1"]),
        ("mynets.Net", "class Nets: ...\n", ["mynets.py) has no Net. Did you mean Nets?"]),
        ("mynets.sub.Net", "x = 1\n", ["has no sub"]),
    ],
)
def test_a_module_that_cannot_be_had_says_where_it_was_looked_for(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, module: str | None, said: list[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "mynets", raising=False)
    if module is not None:
        (tmp_path / "mynets.py").write_text(module)
    code, _, err = cli(*own(tmp_path, f"_target_: {target}\n", group="backbone"), "tracking=disabled")
    assert code == 1
    assert "Traceback" not in err
    assert all(each in err for each in said), err
    if module is None:
        assert str(tmp_path) in err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("target.root=2024", """target.root: it is 2024, and no text. Quoted it is one: 'target.root="2024"'."""),
        ("target.root=true", """'target.root="true"'"""),
        ("target.root=a=b", """'target.root="a=b"'"""),
        ("target.root=my photos (1)", """'target.root="my photos (1)"'"""),
        ("target.root=it's", """target.root="it"""),
        ("target.root=[a", "target.root"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_a_path_that_hydra_does_not_take_is_shown_quoted(cli, word: str, said: str, many: bool) -> None:
    code, _, err = cli(*(["-m"] if many else []), "data@target=image_folder", word)
    assert code == 1
    assert "Traceback" not in err
    assert said in err, err
