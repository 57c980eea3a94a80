"""The processes of a run: started once, ended together, and heard through rank 0."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.devices.works import BATCH, POLICIES, STEPS, learnt
from tests.training.test_train import TRAIN
from tlfw.devices.agent import DEATHS
from tlfw.devices.launch import Printed, RanksFailed, _outcome, in_ranks
from tlfw.devices.nodes import Node
from tlfw.devices.process import ERR, FAILURE, RESULT, _leave
from tlfw.errors import ConfigError, Diverged, TrainingFailed
from tlfw.signals import Interrupted, heeded
from tlfw.training import evaluate

ALONE = Node()


def work(name: str, *given: Any) -> Any:
    return in_ranks(f"tests.devices.works:{name}", *given, processes=2, device="cpu", node=ALONE)


@pytest.fixture
def left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nothing is, neither a process nor a file."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    mark = f"tlfw-test-{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv("TLFW_TEST_MARK", mark)
    yield
    assert not list(tmp_path.glob("tlfw-ranks-*"))
    assert not marked(mark)


def marked(mark: str) -> list[str]:
    """The processes, but this one, that were started with that mark in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes() and int(place.name) != os.getpid():
                found.append((place / "cmdline").read_text())
        except OSError:  # it has just ended, or is another's
            continue
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("left_over")
def test_two_processes_learn_and_say_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "BATCH", BATCH)  # as `learnt` has it, and not for the tests after this one
    one, two = learnt(str(tmp_path)), work("learnt", str(tmp_path))
    for name in POLICIES:
        alone, together = one[name], two[name]
        (images,) = alone["images"]
        assert [len(each) for each in together["images"]] == [STEPS, STEPS]
        for step in range(STEPS):
            first, second = (each[step] for each in together["images"])
            assert len(first) == len(second) == BATCH // 2
            assert sorted(first + second) == sorted(images[step])
        assert set(alone["gradient"]) == {key.removeprefix("_forward_module.") for key in together["gradient"]}
        for key, gradient in alone["gradient"].items():
            torch.testing.assert_close(together["gradient"][key], gradient, rtol=1e-5, atol=1e-5)
        assert together["losses"] == pytest.approx(alone["losses"], abs=1e-5)
        assert len(alone["losses"]) == STEPS
        for theirs, ours in zip(together["curve"], alone["curve"], strict=True):
            assert theirs == pytest.approx(ours, abs=1e-4)
        for key, tensor in alone["weights"].items():
            torch.testing.assert_close(together["weights"][key], tensor, rtol=1e-4, atol=1e-5)
        assert together["said"].shape == alone["said"].shape == (len(TRAIN.labels_N), 3)
        torch.testing.assert_close(together["said"], alone["said"], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("left_over")
@pytest.mark.parametrize(
    ("rank", "how", "kind", "said"),
    [
        (1, "killed", RanksFailed, r"the process of rank 1 was killed by SIGKILL, as a machine does"),
        (1, "diverged", Diverged, r"^the loss became nan\n"),
        (1, "lost", RanksFailed, r"^rank 1 failed: KeyError: 1$"),
        (0, "refused", ConfigError, r"^a: b\. C\.\n"),
    ],
)
def test_where_one_process_ends_all_end_at_once(rank: int, how: str, kind: type[Exception], said: str) -> None:
    began = time.monotonic()
    with pytest.raises(kind, match=said):
        work("fails", rank, how)
    assert time.monotonic() - began < 120  # 12 s where nobody else is at work


@pytest.mark.slow
@pytest.mark.usefixtures("left_over")
def test_rank_0_is_heard_once_and_has_as_many_threads(capsys: pytest.CaptureFixture[str]) -> None:
    found = work("prints", "hällo")
    assert capsys.readouterr().out == "hällo\n"
    assert found["threads"] == torch.get_num_threads()
    assert found["pid"] != os.getpid()


@pytest.mark.slow
@pytest.mark.usefixtures("left_over")
def test_a_signal_is_handed_on_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READY", str(tmp_path / "ready"))

    def ask() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask, daemon=True).start()
    with pytest.raises(Interrupted, match="SIGTERM"), heeded():
        work("waits")


SCRIPT = textwrap.dedent(
    """
    from tlfw.devices.launch import in_ranks
    from tlfw.devices.nodes import Node
    in_ranks("tests.devices.works:waits", processes=2, device="cpu", node=Node())
    """
)


@pytest.mark.slow
@pytest.mark.usefixtures("left_over")
def test_ranks_end_when_nobody_waits_for_them(tmp_path: Path) -> None:
    place = os.environ | {"READY": str(tmp_path / "ready")}
    waiting = subprocess.Popen([sys.executable, "-c", SCRIPT], env=place)
    began = time.monotonic()
    while not (tmp_path / "ready").exists():
        assert waiting.poll() is None
        assert time.monotonic() - began < 120
        time.sleep(0.05)
    waiting.kill()
    waiting.wait()
    began = time.monotonic()
    while marked(os.environ["TLFW_TEST_MARK"]) or list(tmp_path.glob("tlfw-ranks-*")):
        assert time.monotonic() - began < 60
        time.sleep(0.1)


def test_what_a_rank_left_says_how_it_ended(tmp_path: Path) -> None:
    def outcome(told: int | None = None) -> Any:
        return _outcome(tmp_path, ALONE, 1, told)

    (tmp_path / ERR.format(rank=1)).write_text("first\nlast\n")
    (tmp_path / DEATHS).write_text(json.dumps([[1, 3, 0]]))
    with pytest.raises(RanksFailed, match=r"rank 1 ended without a word. .*:\nfirst\nlast$"):
        outcome()
    _leave(tmp_path / FAILURE.format(rank=1), OSError("no luck"))
    with pytest.raises(RanksFailed, match=r"^rank 1 failed: OSError: no luck$"):
        outcome()
    time.sleep(0.01)
    _leave(tmp_path / RESULT, RuntimeError("connection closed"))  # of what the other's end brought down
    with pytest.raises(RanksFailed, match=r"^rank 1 failed: OSError: no luck$"):
        outcome()
    _leave(tmp_path / FAILURE.format(rank=1), Diverged("nan"))
    os.utime(tmp_path / FAILURE.format(rank=1), (0, 0))
    with pytest.raises(Diverged, match=r"^nan\n") as raised:
        outcome()
    assert "Diverged: nan" in raised.value.__notes__[0]
    (tmp_path / DEATHS).write_text(json.dumps([[0, -9, 0], [1, 1, 0]]))
    with pytest.raises(RanksFailed, match="rank 0 was killed by SIGKILL"):
        outcome()
    _leave(tmp_path / RESULT, Interrupted(signal.SIGTERM))
    with pytest.raises(Interrupted, match="SIGUSR2"):
        outcome(told=signal.SIGUSR2)
    _leave(tmp_path / RESULT, {"a": 1})
    assert outcome() == {"a": 1}


def test_a_machine_without_rank_0_has_nothing_to_say(tmp_path: Path) -> None:
    second = Node(number=1, count=2, address="first", port=1234)
    assert _outcome(tmp_path, second, 0, None) is None
    with pytest.raises(RanksFailed, match="the 2 machines of the run did not meet at first:1234 within 300 s"):
        _outcome(tmp_path, second, 1, None)


class Odd(Exception):
    """One that cannot be made again from what it holds."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} {b}")


def test_an_exception_that_cannot_be_handed_on_keeps_its_words(tmp_path: Path) -> None:
    _leave(tmp_path / RESULT, Odd(1, 2))
    what, trace = pickle.loads((tmp_path / RESULT).read_bytes())
    assert (type(what), str(what)) == (RuntimeError, "Odd: 1 2")
    assert "Odd" in trace
    assert issubclass(RanksFailed, TrainingFailed)


def test_what_is_printed_is_passed_on_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out"
    printed = Printed(file, sys.stdout)
    printed.pass_on()
    content = "ä b\n".encode()
    file.write_bytes(content[:1])
    printed.pass_on()
    file.write_bytes(content)
    printed.pass_on()
    printed.pass_on()
    assert capsys.readouterr().out == "ä b\n"
