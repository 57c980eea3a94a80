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

    def get(self, make: Callable[[], Any], *what: object) -> Any:
        """What `make` returns, of plain JSON types: lists for tuples, whether it was there or is made now.

        Args:
            what: all that decides it beside tlfw's own code, as `digest` takes it.
        """
        if self.folder is None:
            return json.loads(json.dumps(make()))
        file = self.folder / f"fact-{digest([own_revision(), *what])}.json"
        try:
            return json.loads(file.read_text(encoding="utf-8"))["found"]
        except (OSError, ValueError, KeyError, TypeError):
            text = json.dumps({"found": make()})
        with contextlib.suppress(OSError):  # a store that can only be read; it is found out again then
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_text(file, text)
        return json.loads(text)["found"]
