"""Facts are kept under all that decides them, and found out again where they cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlfw.store.facts import Facts


def test_a_fact_is_found_out_once_in_whichever_process(tmp_path: Path) -> None:
    calls: list[str] = []

    def make() -> tuple[str, ...]:
        calls.append("made")
        return ("stem", "last")

    facts = Facts(tmp_path / "facts")
    first = facts.get(make, "network", 32)
    assert facts.get(make, "network", 32) == first
    assert not (tmp_path / "facts").exists()
    facts.keep()
    assert first == Facts(tmp_path / "facts").get(make, "network", 32) == ["stem", "last"]
    assert calls == ["made"]
    Facts(tmp_path / "facts").get(make, "network", 33)
    assert len(calls) == 2
    assert Facts(None).get(make) == ["stem", "last"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_what_cannot_be_read_is_found_out_again(tmp_path: Path, content: str) -> None:
    facts = Facts(tmp_path)
    facts.get(lambda: None, "optimizer")
    facts.keep()
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert facts.get(lambda: 7, "optimizer") == 7
    assert facts.get(lambda: 8, "optimizer") == 7


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    facts = Facts(tmp_path / "file")
    assert facts.get(lambda: 1, "x") == 1
    facts.keep()


def test_another_version_of_tlfw_finds_out_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = Facts(tmp_path)
    facts.get(lambda: 1, "x")
    facts.keep()
    monkeypatch.setattr("tlfw.store.facts.own_revision", lambda: "other")
    assert Facts(tmp_path).get(lambda: 2, "x") == 2


def test_what_fails_is_not_kept(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    with pytest.raises(ZeroDivisionError):
        facts.get(lambda: 1 / 0, "x")
    facts.keep()
    assert not [*tmp_path.iterdir()]
    assert facts.get(lambda: 1, "x") == 1
