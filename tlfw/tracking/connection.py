"""Whether a server can be used, found out in a time that has a limit, and said once."""

from __future__ import annotations

import netrc
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from tlfw.records.secret import masked

T = TypeVar("T")

Mode = Literal["online", "shared", "offline", "disabled"]

HEARD: Mapping[str, Mode] = {
    "online": "online", "run": "online", "shared": "shared", "offline": "offline", "dryrun": "offline",
    "disabled": "disabled",
}  # fmt: skip
"""What WANDB_MODE can say."""

SECONDS = 3.0
"""How long a server may take to answer."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises. It goes on in a thread of its own when its time is over.

    Raises:
        TimeoutError: it took longer than `seconds`.
    """
    found: list[T] = []
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            found.append(call())
        except BaseException as problem:
            raised.append(problem)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not found:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return found[0]


def silence(url: str) -> str | None:
    """Why a server does not answer, or None if it does; any HTTP status is an answer, and a bad certificate too."""

    def ask() -> None:
        try:
            urllib.request.urlopen(url, timeout=SECONDS).close()
        except urllib.error.HTTPError as answer:
            answer.close()

    try:
        within(SECONDS, ask)  # looking up a name has no limit of its own
    except Exception as problem:  # urllib lets many kinds through: OSError, ValueError, http.client's
        reason = getattr(problem, "reason", problem)
        if isinstance(reason, TimeoutError):  # the socket's own, or the one above: whichever came first
            return f"no answer in {SECONDS:g} s"
        return None if isinstance(reason, ssl.SSLError) else str(reason) or type(reason).__name__
    return None


def has_login(url: str) -> bool:
    """Whether `~/.netrc`, or the file that NETRC names, has a login for a server."""
    try:
        host = url.split("//")[-1].split("/")[0]
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def brief(problem: BaseException) -> str:
    """An exception in one line."""
    text = str(problem).strip()
    return f"{type(problem).__name__}: {text.splitlines()[0]}"[:200] if text else type(problem).__name__


class Line:
    """The line to the W&B server: tried once per process, and once lost not tried again."""

    def __init__(self) -> None:
        self.state: Literal["untried", "works", "lost"] = "untried"
        self._said: set[str] = set()

    def works(self, check: Callable[[], str | None], files: str) -> bool:
        """Whether to try to be online.

        Args:
            check: why there is no sense in it, or None; asked at the first call.
            files: where offline runs are left.
        """
        if self.state == "untried":
            self.state = "works"
            if why := check():
                self.lose(f"it is offline: {why}", [files])
        return self.state == "works"

    def lose(self, why: str, files: Sequence[str]) -> None:
        """From now on runs are offline."""
        self.state = "lost"
        self.say(f"{why}. Send the runs later with: wandb sync {' '.join(files)}")

    def say(self, text: str) -> None:
        """One line, once per process."""
        if text not in self._said:
            self._said.add(text)
            print(masked(f"W&B: {text}"), flush=True)
