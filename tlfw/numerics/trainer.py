"""Lightning's trainer, which is imported when one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tlfw.identity.names import named

if TYPE_CHECKING:
    import lightning as L

TrainerFactory = Callable[..., "L.Trainer"]

LIGHTNINGS = "lightning.pytorch.trainer.trainer.Trainer"
"""The public name of Lightning's own."""

DELIVERED = "32-true"
"""Precision in which a model is judged, whatever it was trained in: that in which it is predicted with and exported."""


@named(LIGHTNINGS)  # in keys it is what it makes
def trainer(**settings: Any) -> L.Trainer:
    """`lightning.Trainer`, as `conf/trainer/` names it: planning need not import Lightning, which takes seconds."""
    import lightning as L

    return L.Trainer(**settings)
