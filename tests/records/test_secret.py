"""Secrets are not written down."""

from __future__ import annotations

import sys

import pytest

from tlfw.records.secret import masked, masked_arguments

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


@pytest.mark.parametrize(
    "name",
    ["PGPASSWORD", "MYSQL_PWD", "DB_PASS", "GITHUB_PAT", "HTTP_AUTH", "MY_JWT", "AWS_SECRET_ACCESS_KEY", "API_KEYS",
     "OPENAI_APIKEY", "SSHPASS", "NPM_TOKEN_1", "KEY", "PASS", "smtp.pass", "AWS_ACCESS_KEY_ID", "GCP_TOKEN_JSON"],
)  # fmt: skip
def test_names_of_secrets(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "resnet18x")
    assert masked("backbone resnet18x") == "backbone ***"


@pytest.mark.parametrize(
    "name",
    ["MONKEY", "PWD", "OLDPWD", "COMPASS", "PATH", "AUTHOR", "KEYBOARD", "BYPASS", "TURKEY", "SPAT", "HOTKEY_MAP"],
)
def test_names_that_only_look_like_those_of_secrets(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "resnet18x")
    assert masked("backbone resnet18x") == "backbone resnet18x"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgres://me:p@ss/w:rd@db.host:5432/x", "postgres://***@db.host:5432/x"),
        ("see https://me:p@ss@host/a, then https://you:x/y@host/b", "see https://***@host/a, then https://***@host/b"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("https://host/a?token=abc&x=1#y", "https://host/a?token=***&x=1#y"),
        ("s3://b/k?X-Amz-Signature=f00&api_key=1", "s3://b/k?X-Amz-Signature=***&api_key=***"),
        ("https://host/?monkey=1&top=2", "https://host/?monkey=1&top=2"),
    ],
)
def test_passwords_in_urls_with_anything_in_them(url: str, kept: str) -> None:
    assert masked(url) == kept


def test_a_secret_is_masked_as_an_error_quotes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "back\\slash\nand line"
    monkeypatch.setenv("A_TOKEN", secret)
    assert masked(f"it is {secret!r}") == "it is '***'"
