"""What a person typed, and how it would be typed."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tlfw.command_line.arguments import as_typed, quoted


@pytest.mark.parametrize(
    "value",
    ["2024", "a b", "x=y", "photos (1)", "it's", 'a "b"', "a,b", "[a]", "{a}", "${x}", "~", "null", "true", "1e3",
     "a:b", "back\\slash", "ends\\", 'a\\"b', "größe 灰", "$HOME", "`x`", "#1", "%", "!x", "a;b", "&"],
)  # fmt: skip
def test_what_is_quoted_comes_back_as_text(value: str) -> None:
    (word,) = shlex.split(quoted(f"target.root={value}"))
    (override,) = OverridesParser.create().parse_overrides([word])
    assert override.get_key_element() == "target.root"
    assert str(override.value()).replace("\\${", "${") == value
    assert not isinstance(override.value(), int | float | bool | list | dict)


def test_the_last_word_that_gives_a_field_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tlfw", "-m", "a.b=1", "+a.b=0020", "a.bc=2", "a.b"])
    assert as_typed("a.b") == "+a.b=0020"
    assert as_typed("a") is None
