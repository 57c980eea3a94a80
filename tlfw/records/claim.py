"""Who makes something: a small file that says so for as long as it is being made.

It saves double work, and nothing rests on it: what is made is made in a place of its own, and takes its final place by
a rename. So a claim may be wrongly taken for a dead process's, and no result is wrong for it.

All that it needs of a file system is that a file can be created only where there is none (O_EXCL), and renamed. Locks
of the operating system (flock) are asked for nothing: on network folders they are refused, or lock nothing, and no
process can see which.

A claim is stale where its process was on this machine and is dead; or where its beat, a number that its process raises,
has not changed for `STALE_SECONDS` while somebody watched. Clocks of two machines are never compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import secrets
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from tlfw.escape import printable
from tlfw.processes import alive, slurm_job, slurm_restarts, state
from tlfw.records.record import now
from tlfw.signals import Interrupted, asked, deferred

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0

GAP_SECONDS = 5.0
"""The most that counts as watched between two looks: a server that was away, or a watcher that slept, saw nothing."""

QUIET_SECONDS = 0.5
"""Nobody wonders at a shorter wait."""

PAUSES = (0.02, 1.0)
"""Seconds between two tries, at first and at last."""

DIGITS = 12
"""Of the beat: so a claim is always of the same size, and a beat needs no room on a full disk."""


class Held(Exception):
    """A process has claimed it.

    Attributes:
        elsewhere: whether on another machine, so that only watching shows whether it lives.
    """

    def __init__(self, what: str, elsewhere: bool) -> None:
        super().__init__(what)
        self.elsewhere = elsewhere


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """What a claim says. Where it cannot be read, or is being written, nothing is known of its holder.

    Attributes:
        seen: all that was read; it changes with each beat.
        id: of the claim, by which its holder knows its own; empty: not known.
        machine: a name for the machine since it was started, and for what of its processes can be seen.
        started: when the process was, in ticks of its machine; None: not known.
        job: of the cluster's scheduler.
        restarts: how often that had begun the job again.
        since: when it was claimed, in UTC.
    """

    seen: bytes
    id: str = ""
    host: str = ""
    machine: str = ""
    pid: int = 0
    started: int | None = None
    job: str | None = None
    restarts: int = 0
    since: str = ""

    def __str__(self) -> str:
        if not self.id:
            return "a process that cannot be known"
        job = f", job {self.job}" if self.job else ""
        return printable(f"process {self.pid} on {self.host}{job}, since {self.since}")

    @property
    def here(self) -> bool:
        """Whether its process is, or was, on this machine."""
        return bool(self.id) and self.machine == _machine()

    @property
    def dead(self) -> bool:
        """Whether its process is known to have ended."""
        if self.job is not None and self.job == slurm_job() and self.restarts < slurm_restarts():
            return True  # on whichever machine: it was this job before it was begun again
        if not self.here:
            return False
        started = state(self.pid)[1]
        return not alive(self.pid) or (None not in (self.started, started) and self.started != started)


Sight = MutableMapping[Path, tuple[bytes, float, float]]
"""What a watcher saw of claims: of each the last that it read, for how many seconds, and when it looked."""


class Claim:
    """A claim of this process.

    Args:
        path: of the file; its folder exists.
        what: is claimed, for people who wait: `stages/0123abcd`.

    Attributes:
        id: under which what it makes can lie beside what others make.
        followed: ids of claims that stood before, of processes that are dead.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self.id = secrets.token_hex(16)
        self.followed: list[str] = []
        self._ended = threading.Event()
        facts = {
            "id": self.id,
            "what": what,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "started": state(os.getpid())[1],
            "job": slurm_job(),
            "restarts": slurm_restarts(),
            "since": now(),
        }
        self._facts = json.dumps(facts).encode() + b"\n"
        # Also where a signal cuts the end of a `with` short, and when the interpreter ends.
        self._given_back = weakref.finalize(self, _give_back, path, self.id, self._ended, os.getpid())

    def take(self, patience: float, heed: bool, sight: Sight) -> None:
        """Claim it, or wait until that is possible. As for `claimed`."""
        began, pause, said = time.monotonic(), PAUSES[0], set()
        while not self._create():
            holder = look(self.path)
            if holder is not None and self._is_free(holder, sight):
                _take_away(self.path, functools.partial(_is_unchanged, holder))
                continue
            waited = time.monotonic() - began
            if holder is not None and 0 <= patience <= waited:
                raise Held(f"{self.what} is being made by {holder}", not holder.here)
            if heed and (signum := asked()) is not None:  # only noted here: nobody else would act on it
                raise Interrupted(signum)
            if holder is not None and waited >= QUIET_SECONDS and holder.id not in said:
                said.add(holder.id)
                print(f"  waiting for {self.what}, which is being made by {holder}", flush=True)
            time.sleep(pause)
            pause = min(1.5 * pause, PAUSES[1])
        sight.pop(self.path, None)

    def release(self) -> None:
        """Give it back, if it is this process's."""
        with deferred():
            self._given_back()

    def stands(self) -> bool:
        """Whether it is still this process's: nobody took it for dead."""
        try:
            holder = look(self.path)
        except OSError:
            return True
        return holder is not None and holder.id == self.id

    def _create(self) -> bool:
        with deferred():  # else a signal could leave a file that nobody knows as its own
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                return False
            try:
                with open(handle, "wb", buffering=0) as file:
                    file.write(self._facts + _beat(0))
            except BaseException:
                self.path.unlink(missing_ok=True)
                raise
            beating = (self.path, self._facts, self._ended)
            threading.Thread(target=_live, args=beating, name="claim", daemon=True).start()
        return True

    def _is_free(self, holder: Holder, sight: Sight) -> bool:
        if holder.dead:
            self.followed.append(holder.id)
            return True
        if _watched(self.path, holder, sight) < STALE_SECONDS:
            return False
        print(f"  {self.what}: {holder}, gave no sign for {STALE_SECONDS:.0f} s; it is taken over", flush=True)
        return True


@contextlib.contextmanager
def claimed(
    path: Path, what: str, patience: float = -1, *, heed: bool = True, sight: Sight | None = None
) -> Iterator[Claim]:
    """Inside, this process has the claim, unless it is stopped for so long that another one takes it for dead.

    Who has to wait says once for whom. A signal that asks for an end ends the wait.

    Args:
        path: of the claim's file, hidden, in a folder that exists.
        what: is claimed, for people.
        patience: seconds to wait for another process; negative: for as long as it lives.
        heed: whether a signal that is only noted ends the wait too.
        sight: what was seen of claims before; it is added to.

    Raises:
        Held: patience is at its end.
        OSError: the folder cannot be written.
        Interrupted: a signal asked for it.
    """
    claim = Claim(path, what)
    try:
        claim.take(patience, heed, {} if sight is None else sight)
        yield claim
    finally:
        claim.release()


def _live(path: Path, facts: bytes, ended: threading.Event) -> None:
    """Raise the beat until the claim ends or is another's. Only plain calls: a fork may happen at any moment."""
    count = 0
    while not ended.wait(BEAT_SECONDS):
        count += 1
        try:
            # Opened anew each time: on network folders only then others see what was written. And what is written
            # goes where the claim was read, also if that has just been taken away.
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError:
            continue
        try:
            if os.read(handle, len(facts)) != facts:
                return
            os.pwrite(handle, _beat(count), len(facts))
        except OSError:
            continue
        finally:
            with contextlib.suppress(OSError):
                os.close(handle)


def _give_back(path: Path, own: str, ended: threading.Event, pid: int) -> None:
    if os.getpid() != pid:  # a forked process, which has a copy
        return
    with deferred():
        ended.set()
        with contextlib.suppress(OSError):  # the folder is gone, or its server: so the claim goes stale
            holder = look(path)
            if holder is not None and holder.id == own:
                _take_away(path, lambda found: found.id == own)


def look(path: Path) -> Holder | None:
    """What a claim says; None: there is none.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError:  # of a user whose files are for nobody else
        with contextlib.suppress(FileNotFoundError):
            stat = path.lstat()
            return Holder(seen=f"{stat.st_ino} {stat.st_mtime_ns}".encode())
        return None
    try:
        content, number = os.read(handle, 1 << 16), os.fstat(handle).st_ino
    finally:
        os.close(handle)
    seen = b"%d " % number + content
    try:
        facts: dict[str, Any] = json.loads(content.partition(b"\n")[0])
        known = {each.name: facts[each.name] for each in dataclasses.fields(Holder) if each.name != "seen"}
    except (ValueError, KeyError, TypeError):
        return Holder(seen=seen)
    return Holder(seen=seen, **known)


def free(path: Path, sight: Sight) -> bool:
    """Whether nobody has claimed it, or one who is known to be dead. Nothing is written.

    Args:
        sight: what was seen of claims before; it is added to.
    """
    holder = look(path)
    return holder is None or holder.dead or _watched(path, holder, sight) >= STALE_SECONDS


def _watched(path: Path, holder: Holder, sight: Sight) -> float:
    """For how many seconds a claim was watched and did not change."""
    seen, seconds, last = sight.get(path, (b"", 0.0, 0.0))
    moment = time.monotonic()
    seconds = seconds + min(moment - last, GAP_SECONDS) if seen == holder.seen else 0.0
    sight[path] = holder.seen, seconds, moment
    return seconds


def _is_unchanged(holder: Holder, found: Holder) -> bool:
    return found.seen == holder.seen


def _take_away(path: Path, meant: Callable[[Holder], bool]) -> None:
    """Take away the claim that is meant, and no other one."""
    aside = path.with_name(f"{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    with deferred():
        try:
            path.rename(aside)
        except FileNotFoundError:  # another one was faster
            return
        found = look(aside)
        if found is not None and not meant(found):  # its process woke, or it is another's, who was faster
            with contextlib.suppress(OSError):  # yet another one stands, and this one's holder goes on without
                os.link(aside, path)
        aside.unlink(missing_ok=True)


def _beat(count: int) -> bytes:
    return b"%0*d\n" % (DIGITS, count)


@functools.cache
def _machine() -> str:
    """A name for this machine since it was started, and for those of its processes that this one can see."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # containers have numbers of processes of their own
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"
