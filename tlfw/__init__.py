"""tlfw: which way of transferring is best, what does it cost, and is the difference real?"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_HERE = Path(__file__).resolve().parent
CONF: Path = next(p for p in (_HERE.parent / "conf", _HERE / "conf") if (p / "config.yaml").is_file())
"""The folder of configs: beside the package in a checkout, inside it where it was installed."""


def offering(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`, by which a name is imported when it is asked for, and nothing with the package.

    Args:
        homes: what the package offers -> the module in it that has that.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return get


__getattr__ = offering(__name__, {"load": "runs.trained_model"})
"""`tlfw.load`: a run's model, rebuilt (see `tlfw.runs.load`)."""
