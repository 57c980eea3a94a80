"""tlfw: which way of transferring is best, what does it cost, and is the difference real?"""

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_HERE = Path(__file__).resolve().parent
CONF: Path = next(p for p in (_HERE.parent / "conf", _HERE / "conf") if (p / "config.yaml").is_file())
"""The folder of configs: beside the package in a checkout, inside it where it was installed."""


def __getattr__(name: str) -> Any:
    """`tlfw.load`: a run's model, rebuilt (see `tlfw.runs.load`). Imported when it is asked for: it needs torch."""
    if name == "load":
        return importlib.import_module("tlfw.runs.trained_model").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
