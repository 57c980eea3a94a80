"""What a run was made with."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import tlfw


def environment() -> dict[str, Any]:
    """Versions, and the commit of tlfw, for a record."""
    return {
        "tlfw": tlfw.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "git": _git(),
    }


@functools.cache
def _git() -> str | None:
    """The commit of the checkout that tlfw runs from, with `-dirty` where it was changed; None from a wheel."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
