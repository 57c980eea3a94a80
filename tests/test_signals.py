"""How a signal ends a process, and those that work for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest

from tlfw.signals import Interrupted, asked, deferred, delegated, forwarded, heeded


def ask(signum: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), signum)


def interrupted(act: Callable[[], None]) -> str:
    """By what."""
    with pytest.raises(Interrupted) as told, heeded():
        act()
    assert asked() is None
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    return str(told.value)


def test_a_signal_raises_where_it_arrives_or_where_that_is_deferred_to() -> None:
    done = []

    def later() -> None:
        with deferred(), deferred():
            ask()
            done.append("the rest")
        done.append("more")

    def at_once() -> None:
        ask(signal.SIGINT)
        done.append("more")

    assert interrupted(later) == "SIGTERM"
    assert interrupted(at_once) == "SIGINT"
    assert done == ["the rest"]


def test_what_was_noted_outside_is_raised_inside() -> None:
    done = []

    def act() -> None:
        with deferred():
            ask()
            with heeded():
                done.append("began")

    assert interrupted(act) == "SIGTERM"
    assert not done


def test_a_run_that_ends_leaves_the_signal_to_what_it_is_part_of() -> None:
    def act() -> None:
        assert interrupted_inside() == "SIGTERM"
        assert asked() == signal.SIGTERM  # a second one, while all ends, is a second one
        raise Interrupted(signal.SIGTERM)

    def interrupted_inside() -> str:
        with pytest.raises(Interrupted) as told, heeded():
            ask()
        return str(told.value)

    assert interrupted(act) == "SIGTERM"


def test_where_nobody_works_for_it_a_process_ends_itself() -> None:
    done = []

    def act() -> None:
        with delegated():
            ask()
            done.append("more")

    assert interrupted(act) == "SIGTERM"
    assert not done


def test_what_a_launcher_handles_is_told_at_once_and_handled_after() -> None:
    """submitit's handler asks for a new beginning and ends the process."""
    heard: list[object] = []
    earlier = signal.signal(signal.SIGUSR2, lambda signum, _: heard.append("theirs"))
    try:
        with heeded(), forwarded(heard.append):
            ask(signal.SIGUSR2)
            ask(signal.SIGUSR2)
            heard.append("saved")
        assert heard == [signal.SIGUSR2, "saved", "theirs"]
        ask(signal.SIGUSR2)
        assert heard[3:] == ["theirs"]
    finally:
        signal.signal(signal.SIGUSR2, earlier)


class Swallows:
    def __del__(self) -> None:
        ask()


def test_where_python_cannot_raise_it_is_raised_after_that(capsys: pytest.CaptureFixture[str]) -> None:
    """In destructors, callbacks of weak references, and what is called around a fork."""

    def act() -> None:
        Swallows()
        time.sleep(10)

    began = time.monotonic()
    assert interrupted(act) == "SIGTERM"
    assert time.monotonic() - began < 5
    assert capsys.readouterr().err == ""


SCRIPT = textwrap.dedent(
    """
    import multiprocessing, signal, sys, time
    from tlfw.signals import Interrupted, delegated, heeded, heeded_by_helper

    def helper(ready):
        assert heeded_by_helper()
        try:
            with heeded():
                ready.set()
                time.sleep(60)
        except Interrupted as problem:
            print(f"helper: {problem}", flush=True)
        time.sleep(float(sys.argv[1]))  # saves
        print("saved", flush=True)

    if __name__ == "__main__":
        ready = multiprocessing.Event()
        process = multiprocessing.get_context("fork").Process(target=helper, args=(ready,))
        process.start()
        ready.wait()
        try:
            with heeded(), delegated():
                print("ready", flush=True)
                process.join()
        except Interrupted as problem:
            print(problem, "after", process.exitcode, flush=True)
    """
)


def started(saving: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(saving)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("group", [True, False], ids=["the group", "one process"])
def test_helpers_are_told_and_waited_for(group: bool) -> None:
    process = started(0.2)
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert out.splitlines() == ["helper: SIGTERM", "saved", "SIGTERM after 0"]


def test_a_second_signal_ends_all_on_the_spot() -> None:
    process = started(60)
    assert process.stdout is not None
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "helper: SIGINT\n"
    while process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == 128 + signal.SIGINT
    assert process.communicate(timeout=10)[0] == ""  # whose end is the helper's too
