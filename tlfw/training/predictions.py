"""The file of what a model said of each test image."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlfw.records.record import replacing

PREDICTIONS = "predictions.npz"


def rename_predictions(folder: Path, names: Sequence[str]) -> int:
    """Let the predictions in a run's folder name their images as these are called now.

    What is in the images is part of the run's key, and their paths are not: folders may be moved. Where the predictions
    cannot be read or written they stay, for whoever reads them to complain.

    Args:
        names: of the images of the test, in the same order.

    Returns:
        How many were called otherwise.
    """
    now = np.asarray(names)
    try:
        with np.load(folder / PREDICTIONS) as file:
            before = file["name"]
            if before.shape != now.shape or not (count := int((before != now).sum())):
                return 0
            predictions = {name: file[name] for name in file.files}
        save_predictions(folder, predictions | {"name": now})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return 0
    return count


def save_predictions(folder: Path, predictions: dict[str, Any]) -> None:
    """Put `predictions.npz` into a run's folder."""
    with replacing(folder / PREDICTIONS) as draft:
        np.savez_compressed(draft, **predictions)
