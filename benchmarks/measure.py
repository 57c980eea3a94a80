"""What a command takes."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any


def measured(command: Sequence[str], **kwargs: Any) -> tuple[float, int]:
    """Run a command: -> seconds, and the bytes that the largest child of this process held so far.

    Raises:
        CalledProcessError: it failed.
    """
    began = time.monotonic()
    subprocess.run(command, check=True, **kwargs)
    unit = 1 if sys.platform == "darwin" else 1024
    return time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
