"""tlfw: which way of transferring is best, what does it cost, and is the difference real?"""

from pathlib import Path

__version__ = "0.1.0"

_HERE = Path(__file__).resolve().parent
CONF: Path = next(p for p in (_HERE.parent / "conf", _HERE / "conf") if (p / "config.yaml").is_file())
"""The folder of configs: beside the package in a checkout, inside it where it was installed."""
