"""Lightning 2.6: what checkpoints hold of its loops, and how it starts processes."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher


def starts_processes(trainer: L.Trainer) -> bool:
    """Whether it makes the processes of a strategy itself, by fork or spawn, and not a scheduler. No public base class
    of these launchers exists.
    """
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def begin_validation_anew(checkpoint: dict[str, Any]) -> None:
    """Mark a checkpoint that is written during validation, so that a resumed trainer validates from the first batch.

    Lightning marks its own checkpoints so; one that a callback writes in mid-validation would count its batches twice.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    progress["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    progress["current"] = {"ready": 0, "started": 0, "processed": 0, "completed": 0}
