"""What earlier versions of tlfw wrote in other words, so that their runs still load, predict and export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = {"tlfw.zoo.TorchvisionBackbone": "tlfw.Torchvision"}
"""What a class was called in `model.json` and in the headers of weights, while names were places in the code -> its
public name."""

UNNAMED = (
    *("name", "outputs", "store.", "force", "until", "trial", "workers", "tracking.", "backbone.runs", "sweep"),
    *("repeat", "folds", "compare", "margin"),
    *("seed", "source.split_seed", "target.split_seed", "fold", "source.fold", "target.fold"),
    *("target.train_per_class", "threads", "checkpoint_seconds", "match_budget", "metric"),
)
"""Fields, or what they begin with, in which runs are not said to differ whose records do not say it themselves."""


def today(name: str) -> str:
    """The public name of a class, of whichever version."""
    return NAMES.get(name, name)


def inputs_of(folder: Path) -> Mapping[str, Any] | None:
    """How images were prepared for a run whose weights do not say it: as its `model.json` does; None: it does not."""
    try:
        view = json.loads((folder / "model.json").read_text(encoding="utf-8"))["view"]
        return {name: view[name] for name in ("size", "resize", "interpolation", "mean", "std")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
