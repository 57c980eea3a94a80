"""What a run was made with."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import tlfw
from tlfw.numerics.hardware import decoders, processor

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "numpy", "pillow", "safetensors")
"""Distributions whose versions a record has."""


def environment() -> dict[str, Any]:
    """Versions, the commit of tlfw, and what computes and decodes here, for a record."""
    return {
        "tlfw": tlfw.__version__,
        **{name: version(name) for name in PACKAGES},
        "torch": torch.__version__,  # with the build
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor("cpu"),
        "gpu": processor("cuda") if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "decoders": decoders(),
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
