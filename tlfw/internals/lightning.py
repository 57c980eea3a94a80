"""Lightning 2.6: what checkpoints hold of its loops, and how a strategy starts processes."""

from __future__ import annotations

import copy
from typing import Any

from lightning.pytorch.strategies import DDPStrategy


def started_elsewhere(strategy: DDPStrategy) -> DDPStrategy:
    """A copy of a strategy that starts no processes by fork or spawn. Nothing public says how one was told to."""
    found = copy.copy(strategy)
    found._start_method = "popen"
    return found


def begin_validation_anew(checkpoint: dict[str, Any]) -> None:
    """Mark a checkpoint that is written during validation, so that a resumed trainer validates from the first batch.

    Lightning marks its own checkpoints so; one that a callback writes in mid-validation would count its batches twice.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    progress["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    progress["current"] = {"ready": 0, "started": 0, "processed": 0, "completed": 0}
