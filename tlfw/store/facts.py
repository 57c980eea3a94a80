"""Small facts that take long to find out, such as a network's shape: kept under all that decides them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlfw.identity.code import own_revision
from tlfw.identity.names import digest
from tlfw.records.record import replace_text


class Facts:
    """Facts in a folder, one a file. What this version of tlfw found out, another does not take over.

    Args:
        folder: None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._news: dict[str, str] = {}

    def get(self, make: Callable[[], Any], *what: object) -> Any:
        """What `make` returns, of plain JSON types: lists for tuples, whether it was there or is made now.

        Args:
            what: all that decides it beside tlfw's own code, as `digest` takes it.
        """
        if self.folder is None:
            return json.loads(json.dumps(make()))
        name = f"fact-{digest([own_revision(), *what])}.json"
        try:
            text = self._news[name] if name in self._news else (self.folder / name).read_text(encoding="utf-8")
            return json.loads(text)["found"]
        except (OSError, ValueError, KeyError, TypeError):
            self._news[name] = json.dumps({"found": make()})
        return json.loads(self._news[name])["found"]

    def keep(self) -> None:
        """Write down what was found out: where it turned out that nothing is wrong, for what is refused leaves nothing.

        In a store that can only be read it is found out again.
        """
        if self.folder is None or not self._news:
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, text in self._news.items():
                replace_text(self.folder / name, text)
        self._news.clear()
