"""What libraries announce on standard error, which is no news to a person."""

from __future__ import annotations

import logging
import warnings


def silence() -> None:
    """Keep the libraries' announcements away from what tlfw has to say."""
    for package in ("pytorch", "fabric"):
        for name in (f"lightning.{package}", f"lightning.{package}.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
