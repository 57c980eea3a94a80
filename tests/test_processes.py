"""Which processes live."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.status.invented import ended_process
from tlfw.processes import lives


def test_this_one_lives() -> None:
    assert lives(os.getpid(), time.time())


@pytest.mark.parametrize("pid", [0, -1, 1, 10**30])
def test_what_is_no_number_of_a_process_does_not(pid: int) -> None:
    assert not lives(pid, time.time())


def test_one_that_has_ended_does_not() -> None:
    assert not lives(ended_process(), time.time())
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 60
    while lives(process.pid, time.time()) and time.monotonic() < deadline:  # nobody has asked how it ended
        time.sleep(0.01)
    assert not lives(process.pid, time.time())
    process.wait()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="when a process began is read in /proc")
def test_one_that_began_much_later_is_another() -> None:
    assert not lives(os.getpid(), time.time() - 10**6)
