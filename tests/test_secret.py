"""Secrets are not written down."""

from __future__ import annotations

import sys

import pytest

from tlfw.secret import masked, masked_arguments

KEY = "0123456789abcdef" * 2 + "01234567"


def test_secrets_of_the_environment_are_masked_however_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("db_password", "correct horse")
    monkeypatch.setenv("TINY_TOKEN", "abc")
    monkeypatch.setenv("NO_SECRET_AT_ALL", "plain text")
    value = {"a": [f"key={KEY}", ("correct horse", 1.5)], KEY: None, "b": "abc plain text"}
    assert masked(value) == {"a": ["key=***", ["***", 1.5]], "***": None, "b": "abc plain text"}


def test_the_longer_of_two_secrets_is_masked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "12345678")
    monkeypatch.setenv("B_TOKEN", "1234567890")
    assert masked("1234567890") == "***"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://me:pass@github.com/a/b", "https://***@github.com/a/b"),
        ("https://token@host:80", "https://***@host:80"),
        ("https://host/a@b", "https://host/a@b"),
        ("mail me@host", "mail me@host"),
    ],
)
def test_who_logs_in_by_a_url_is_masked(url: str, kept: str) -> None:
    assert masked(url) == kept


def test_the_command_line_is_masked_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(sys, "argv", ["tlfw", f"+x={KEY}"])
    with masked_arguments():
        assert sys.argv == ["tlfw", "+x=***"]
    assert sys.argv == ["tlfw", f"+x={KEY}"]
