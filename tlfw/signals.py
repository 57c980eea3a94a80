"""How a signal ends a run: at once where nothing is lost, and inside a stage after the step, once it is saved."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGUSR2: signal.SIG_DFL,  # a scheduler's warning that time is nearly up
}

AGAIN_SECONDS = 0.5
"""From then on a signal is a second one; before, it is the first again: some senders signal a process and its group."""

LATER_SECONDS = 0.05


class Interrupted(BaseException):
    """A signal asked for an end.

    No Exception, which somebody would take for a failure and go on after; no KeyboardInterrupt
    either, which Lightning turns into an exit, deafening the process to the next one.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def __str__(self) -> str:
        return signal.Signals(self.signum).name


class _State:
    pid: int | None = None
    signum: int | None = None
    since = 0.0
    deferred = False
    forward: Callable[[int], object] | None = None
    helper = False


def asked() -> int | None:
    """The signal that asked this process for an end, or None."""
    return _State.signum


def _handle(signum: int, frame: FrameType | None) -> None:
    if os.getpid() != _State.pid:
        return  # a forked process, which loads images: the one that forked it ends it
    if _State.signum is not None:
        if time.monotonic() - _State.since > AGAIN_SECONDS and not _State.helper:
            _tell_children(signal.SIGKILL)
            os.write(1, b"\x1b[?25h" if os.isatty(1) else b"")  # a progress bar hides the cursor
            os._exit(128 + signum)
        return
    _State.signum, _State.since = signum, time.monotonic()
    told = _State.forward(signum) if _State.forward else None
    if not _State.deferred or told == 0:
        raise Interrupted(signum)


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGUSR2 raise `Interrupted` inside; a second one ends the process at once, with its children.

    Where someone else handles a signal (a cluster's launcher), or outside the main thread, all stays as it is.
    Within another one, it raises again what was only noted there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {signum: own for signum, own in DEFAULTS.items() if signal.getsignal(signum) == own}
    outer, hook = (_State.deferred, _State.forward), sys.unraisablehook
    if kept:
        _State.pid, _State.signum = os.getpid(), None
        sys.unraisablehook = partial(_raise_later, hook, None)
    _State.deferred, _State.forward = False, None
    try:
        for signum in kept:
            signal.signal(signum, _handle)
        if _State.signum is not None:
            raise Interrupted(_State.signum)
        yield
    finally:
        for signum, own in kept.items():
            signal.signal(signum, own)
        _State.deferred, _State.forward = outer
        if kept:
            sys.unraisablehook, _State.signum = hook, None


def _raise_later(
    otherwise: Callable[[sys.UnraisableHookArgs], object], by: int | None, lost: sys.UnraisableHookArgs
) -> None:
    """What was raised in a destructor or around a fork has gone nowhere: the signal is sent again when that is over.

    Args:
        by: what is sent; None: the same.
    """
    if isinstance(lost.exc_value, Interrupted):
        _State.signum = None
        threading.Timer(LATER_SECONDS, os.kill, (os.getpid(), by or lost.exc_value.signum)).start()
    else:
        otherwise(lost)


@contextlib.contextmanager
def deferred(forward: Callable[[int], object] | None = None) -> Iterator[None]:
    """Inside, a signal raises nothing: whoever asks `asked()` acts on it. What ends with one asked is `Interrupted`.

    Args:
        forward: told a signal for processes that work for this one; where it says that it told 0, the signal raises.
    """
    outer = _State.deferred, _State.forward
    _State.deferred, _State.forward = True, forward
    try:
        yield
    except BaseException as problem:
        if _State.signum is None or isinstance(problem, Interrupted):
            raise
        # Whatever it was, of what the signal brought down: a loader's worker, another process.
        raise Interrupted(_State.signum) from problem
    finally:
        _State.deferred, _State.forward = outer
    if _State.signum is not None and not _State.deferred:
        raise Interrupted(_State.signum)


@contextlib.contextmanager
def delegated() -> Iterator[None]:
    """Inside, processes that this one has started may do its work: they are told a signal, and waited for."""
    with deferred(_tell_children):
        yield


def _tell_children(signum: int) -> int:
    """-> how many there are."""
    children = multiprocessing.active_children()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid or 0, signum)
    return len(children)


def heeded_by_rank(line: int | None, alone: Callable[[], object]) -> None:
    """In one of the processes that compute a run together: the one that started them alone is heeded.

    A cluster's SIGTERM and a person's Ctrl-C may come to all processes of a job, and to the one that waits for the run
    too, which hands it on: to rank 0, which has all save together. Only of the agent that watches over all a SIGTERM
    counts: another has died. Whose agent is gone ends as well.

    Args:
        line: where signals are read that were handed on, each a byte. Where it ends, the process that waits has died,
            which is as good as a signal; after a signal it is a second one. None: of no interest here.
        alone: called when the process that waits has died.
    """
    _State.pid, _State.signum, _State.deferred = os.getpid(), None, False
    agent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(signum, _nothing)
    threading.Thread(target=_heed_agent, args=(agent,), daemon=True).start()
    told: list[int] = []

    def wake(signum: int, frame: FrameType | None) -> None:
        if told:
            _handle(told[0], frame)

    signal.signal(WAKE, wake)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {WAKE})
    sys.unraisablehook = partial(_raise_later, sys.unraisablehook, WAKE)
    if line is not None:
        threading.Thread(target=_heed_line, args=(line, told, alone), daemon=True).start()


WAKE = signal.SIGUSR1
"""By which a thread of a rank tells its main thread that something was handed on."""

AGENT_SECONDS = 1.0
"""How often a rank looks whether its agent is still there."""


def _nothing(signum: int, frame: FrameType | None) -> None:
    """A handler, so that nobody puts another in its place."""


def _heed_line(line: int, told: list[int], alone: Callable[[], object]) -> None:
    while True:
        said = os.read(line, 1)
        if not said:
            alone()
            if told:
                os._exit(1)
        told.append(said[0] if said else signal.SIGTERM)
        os.kill(os.getpid(), WAKE)
        if not said:
            return


def _heed_agent(agent: int) -> None:
    while os.getppid() == agent:
        if not hasattr(signal, "sigtimedwait"):  # on macOS
            time.sleep(AGENT_SECONDS)
        elif (came := signal.sigtimedwait({signal.SIGTERM}, AGENT_SECONDS)) is not None and came.si_pid == agent:
            break
    os._exit(1)


@contextlib.contextmanager
def forwarded(tell: Callable[[int], object]) -> Iterator[None]:
    """Inside, signals that somebody else handles, a cluster's launcher, are told to processes that work for this one.

    Who handles them learns of it when that is over: it may end this process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if not came:
            tell(signum)
        came.append(signum)

    others = {
        signum: own
        for signum in (signal.SIGTERM, signal.SIGUSR2)
        if callable(own := signal.getsignal(signum)) and own is not _handle
    }
    for other in others:
        signal.signal(other, note)
    try:
        yield
    finally:
        for other, own in others.items():
            signal.signal(other, own)
        for signum in dict.fromkeys(came):
            others[signal.Signals(signum)](signum, None)


def heeded_by_loader(worker: int) -> None:
    """In a process that loads images for another one: of SIGTERM it ends only if that one sent it.

    PyTorch lets every SIGTERM end it, also one that a cluster sends to all processes of a job, and with it the step
    that waits for its images, and that step's checkpoint. Where the sender is not known, on macOS, that stays so.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_heed_parent, daemon=True).start()


def _heed_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def heeded_by_helper() -> bool:
    """In a process that makes runs for another one: -> whether this is one.

    From now on its first signal is all it needs; it refuses further runs, and who started it ends it.
    """
    if multiprocessing.current_process().name == "MainProcess":
        return False
    if os.getpid() != _State.pid:
        _State.pid, _State.signum, _State.deferred = os.getpid(), None, True
        for signum in DEFAULTS:
            signal.signal(signum, _handle)
    _State.helper = True
    return True
