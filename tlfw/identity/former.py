"""What earlier versions of tlfw wrote in other words, so that their runs still load, predict and export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = {"tlfw.zoo.TorchvisionBackbone": "tlfw.Torchvision"}
"""What a class was called in `model.json` and in the headers of weights, while names were places in the code -> its
public name."""

MOVED = {
    "lightning.Trainer": "tlfw.numerics.trainer.trainer",
    "tlfw.experiment.": "tlfw.runs.experiment.",
    "tlfw.freeze.": "tlfw.methods.freeze.",
    "tlfw.mix.": "tlfw.methods.mix.",
    "tlfw.repetition.": "tlfw.runs.repetition.",
    "tlfw.schedule.": "tlfw.methods.schedule.",
    "tlfw.tracking.Tracking": "tlfw.tracking.wandb_run.Tracking",
    "tlfw.zoo.": "tlfw.backbones.zoo.",
}
"""What a `_target_` began with in the settings of a record, before the code was divided into packages -> today."""

UNNAMED = (
    *(
        "name",
        "outputs",
        "store.",
        "force",
        "until",
        "trial",
        "planned",
        "together",
        "workers",
        "tracking.",
        "backbone.runs",
        "sweep",
    ),
    *("repeat", "folds", "compare", "margin"),
    *("seed", "source.split_seed", "target.split_seed", "fold", "source.fold", "target.fold"),
    *("target.train_per_class", "threads", "checkpoint_seconds", "match_budget", "metric"),
)
"""Fields, or what they begin with, in which runs are not said to differ whose records do not say it themselves."""


def today(name: str) -> str:
    """The public name of a class, of whichever version."""
    return NAMES.get(name, name)


def targets_today(settings: Any) -> Any:
    """The settings of a record, with each `_target_` of tlfw where it lies today."""
    if isinstance(settings, Mapping):
        return {
            name: _moved(value) if name == "_target_" and isinstance(value, str) else targets_today(value)
            for name, value in settings.items()
        }
    return [targets_today(each) for each in settings] if isinstance(settings, list) else settings


def _moved(target: str) -> str:
    for before, after in MOVED.items():
        if target.startswith(before):
            return after + target.removeprefix(before)
    return target


def inputs_of(folder: Path) -> Mapping[str, Any] | None:
    """How images were prepared for a run whose weights do not say it: as its `model.json` does; None: it does not."""
    try:
        view = json.loads((folder / "model.json").read_text(encoding="utf-8"))["view"]
        return {name: view[name] for name in ("size", "resize", "interpolation", "mean", "std")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
