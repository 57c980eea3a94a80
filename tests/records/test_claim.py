"""Claims: who makes something, without any lock of the operating system."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tlfw.records import claim as claims
from tlfw.records.claim import Held, claimed, free, look
from tlfw.signals import Interrupted, deferred, heeded

HOLDING = """
import os, sys, time
from pathlib import Path
from tlfw.records import claim
claim.BEAT_SECONDS = 0.05
with claim.claimed(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    {then}
"""


@pytest.fixture
def holder(path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that has a claim."""
    with contextlib.ExitStack() as processes:

        def start(then: str = "time.sleep(60)") -> subprocess.Popen[str]:
            command = [sys.executable, "-c", HOLDING.format(then=then), str(path)]
            process = processes.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            processes.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            return process

        yield start


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("BEAT_SECONDS", 0.05), ("STALE_SECONDS", 0.5), ("GAP_SECONDS", 0.3)):
        monkeypatch.setattr(claims, name, seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".it.claim"


def foreign(path: Path, beat: int = 0) -> None:
    """As if a process of another machine had it."""
    facts = {
        "id": "1", "host": "node7", "machine": "m", "pid": 1, "started": 2, "job": "42", "restarts": 0, "since": "now",
    }  # fmt: skip
    path.write_text(json.dumps(facts) + f"\n{beat:012d}\n")


def test_a_claim_says_who_has_it_and_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with claimed(path, "it") as claim:
        found = look(path)
        assert found is not None
        assert (found.pid, found.id, found.here, found.dead) == (os.getpid(), claim.id, True, False)
        assert str(found).startswith(f"process {os.getpid()} on ")
        assert ", job 17, since 20" in str(found)
        assert claim.stands()
        assert not free(path, {})
    assert look(path) is None
    assert free(path, {})
    assert not list(path.parent.iterdir())
    with pytest.raises(ZeroDivisionError), claimed(path, "it"):
        _ = 1 / 0
    assert not list(path.parent.iterdir())


def test_its_file_has_the_mode_that_the_umask_says(path: Path) -> None:
    before = os.umask(0o002)
    try:
        with claimed(path, "it"):
            assert path.stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)


def test_who_waits_says_once_for_whom_and_goes_on(holder, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = holder("time.sleep(1.5)")
    with claimed(path, "it") as claim:
        assert claim.stands()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"  waiting for it, which is being made by process {process.pid} on ")
    assert process.wait() == 0


def test_patience_ends(holder, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = holder()
    for patience in (0, 0.1):
        with (
            pytest.raises(Held, match=f"it is being made by process {process.pid} on") as told,
            claimed(path, "it", patience),
        ):
            pass
        assert not told.value.elsewhere
    assert capsys.readouterr().out == ""
    process.kill()
    process.wait()
    foreign(path)
    with pytest.raises(Held, match="process 1 on node7, job 42") as told, claimed(path, "it", 0):
        pass
    assert told.value.elsewhere


@pytest.mark.parametrize("waited_for", [True, False])
def test_a_killed_process_has_no_claim(holder, path: Path, waited_for: bool) -> None:
    """Also while its parent did not ask how it ended."""
    process = holder()
    process.kill()
    if waited_for:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    left = look(path)
    assert left is not None
    assert left.dead
    with claimed(path, "it", 0) as claim:
        assert claim.followed == [left.id]
    process.wait()


def test_a_job_that_was_begun_again_has_ended_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on another machine; the same job's other processes live."""
    foreign(path)
    for job, restarts in (("42", ""), ("42", "0"), ("41", "1")):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
        with pytest.raises(Held), claimed(path, "it", 0):
            pass
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    with claimed(path, "it", 0):
        pass


def test_another_process_of_the_same_number_is_another(path: Path) -> None:
    with claimed(path, "it"):
        facts = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps({**facts, "started": facts["started"] - 1}) + "\n")
    with claimed(path, "it", 0):
        pass
    path.write_text(json.dumps({**facts, "started": None}) + "\n")  # which some systems do not say
    with pytest.raises(Held), claimed(path, "it", 0):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "1"}'])
def test_what_says_nothing_is_watched(
    quick: None, path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path.write_text(content)
    with pytest.raises(Held, match="by a process that cannot be known"), claimed(path, "it", 0):
        pass
    began = time.monotonic()
    with claimed(path, "it"):
        assert 0.4 < time.monotonic() - began < 5
    assert "a process that cannot be known, gave no sign for" in capsys.readouterr().out


def test_one_on_another_machine_is_watched(quick: None, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its beat decides, by the clock of who watches: for as long as it changes nobody takes it."""
    ended, beats = threading.Event(), []

    def beat() -> None:
        while len(beats) < 12:
            foreign(path, len(beats))
            beats.append(time.monotonic())
            time.sleep(0.1)
        ended.set()

    foreign(path)
    os.utime(path, (0, 0))  # the other machine's clock says nothing
    thread = threading.Thread(target=beat)
    thread.start()
    with claimed(path, "it"):
        assert ended.is_set()
        assert time.monotonic() - beats[-1] > 0.4
    thread.join()
    said = capsys.readouterr().out
    assert "waiting for it, which is being made by process 1 on node7, job 42, since now" in said
    assert "process 1 on node7, job 42, since now, gave no sign" in said


def test_who_did_not_look_has_not_watched(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that slept, or waited for a server, has seen nothing meanwhile."""
    foreign(path)
    sight: claims.Sight = {}
    moments = iter([0.0, 1000.0, 1004.0, *(1004.0 + 4 * i for i in range(1, 20))])
    monkeypatch.setattr(claims.time, "monotonic", lambda: next(moments))
    assert not free(path, sight)
    assert not free(path, sight)
    assert sight[path][1] == claims.GAP_SECONDS
    assert [free(path, sight) for _ in range(14)] == [False] * 13 + [True]
    foreign(path, 1)
    assert not free(path, sight)


def test_who_was_stopped_loses_its_claim_and_leaves_the_new_one(holder, quick: None, path: Path) -> None:
    process = holder("time.sleep(2); print(Path(sys.argv[1]).exists(), flush=True)")
    os.kill(process.pid, signal.SIGSTOP)
    with claimed(path, "it") as claim:
        os.kill(process.pid, signal.SIGCONT)
        out, _ = process.communicate(timeout=20)
        assert out == "True\n"
        assert process.returncode == 0
        assert claim.stands()
        found = look(path)
        assert found is not None
        assert found.pid == os.getpid()
    assert not list(path.parent.iterdir())


def test_beats_are_written_while_it_is_held(quick: None, path: Path) -> None:
    with claimed(path, "it"):
        seen, size = set(), path.stat().st_size
        for _ in range(20):
            found = look(path)
            assert found is not None
            seen.add(found.seen)
            time.sleep(0.05)
        assert len(seen) > 5
        assert path.stat().st_size == size, "on a full disk there is room for them"
        path.unlink()
        time.sleep(0.2)
        assert not path.exists()


def test_only_the_claim_that_was_seen_is_taken_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(path)
    found = look(path)
    assert found is not None
    foreign(path, 1)  # it woke
    claims._take_away(path, lambda other: other.seen == found.seen)
    assert look(path) is not None
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    claims._take_away(path, lambda other: other.seen == found.seen)
    assert not list(path.parent.iterdir()), "then its holder goes on without it"


def test_a_forked_process_cannot_give_it_back(path: Path) -> None:
    with claimed(path, "it") as claim:
        child = os.fork()
        if not child:
            claim.release()
            os._exit(0)
        os.waitpid(child, 0)
        assert claim.stands()


def test_a_process_that_ends_somehow_gives_it_back(holder, path: Path) -> None:
    process = holder("kept = claim.claimed(Path(sys.argv[1] + '2'), 'other'); kept.__enter__(); sys.exit(3)")
    assert process.wait() == 3
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("moment", ["held", "waiting", "waiting, noted"])
def test_a_signal_leaves_no_claim(path: Path, moment: str) -> None:
    if moment != "held":
        foreign(path)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    noted = deferred() if moment == "waiting, noted" else contextlib.nullcontext()
    with pytest.raises(Interrupted), heeded(), noted, claimed(path, "it"):
        os.kill(os.getpid(), signal.SIGTERM)
    found = look(path)
    assert found is None if moment == "held" else found is not None and found.id == "1"


def test_many_at_once_have_it_one_after_the_other(path: Path) -> None:
    inside, most = [0], [0]

    def once() -> None:
        with claimed(path, "it"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            inside[0] -= 1

    threads = [threading.Thread(target=once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not list(path.parent.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError), claimed(path.parent / "none" / ".it.claim", "it"):
        pass
