"""A server that is slow, silent or strange costs a limited time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.wandb_server import WandbServer
from tlfw.tracking import connection as server
from tlfw.tracking.connection import Line, has_login, silence, within


def test_what_a_call_returns_or_raises_comes_through() -> None:
    assert within(5, lambda: None) is None
    with pytest.raises(KeyError):
        within(5, lambda: {}["no"])


def test_a_call_that_does_not_end_is_left() -> None:
    never = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer in 0\.1 s"):
        within(0.1, never.wait)
    assert time.monotonic() - began < 5
    never.set()


@pytest.fixture
def standin() -> Iterator[WandbServer]:
    made = WandbServer()
    yield made
    made.close()


@pytest.mark.parametrize("behaviour", ["well", "refuses", "breaks", "answers GET alone"])
def test_any_answer_is_one(standin: WandbServer, behaviour) -> None:
    standin.behaviour = behaviour
    assert silence(standin.url) is None


def test_silence_has_a_reason(standin: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SECONDS", 0.2)
    standin.behaviour = "hangs"
    assert silence(standin.url) == "no answer in 0.2 s"
    assert "refused" in silence("http://127.0.0.1:9")
    assert "unknown url type" in silence("nowhere")
    with socket.create_server(("127.0.0.1", 0)) as accepts_and_no_more:
        assert silence(f"http://127.0.0.1:{accepts_and_no_more.getsockname()[1]}") == "no answer in 0.2 s"


def test_a_login_is_found_where_netrc_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not has_login("https://api.wandb.ai")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert has_login("https://api.wandb.ai/")
    assert not has_login("https://elsewhere")


def test_a_line_is_tried_once_and_lost_once(capsys: pytest.CaptureFixture[str]) -> None:
    line, checks = Line(), []
    assert line.works(lambda: checks.append(1), "f")
    assert line.works(lambda: checks.append(1), "f")
    line.lose("gone", ["a", "b"])
    line.lose("gone", ["a", "b"])
    assert not line.works(lambda: checks.append(1), "f")
    assert checks == [1]
    assert capsys.readouterr().out == "W&B: gone. Send the runs later with: wandb sync a b\n"
