"""Weights & Biases: the one place that imports wandb.

`wandb_run` opens, fills and ends a W&B run; `connection` finds out, in bounded time, whether a server can be used. It
imports base modules only. Begin with `wandb_run`.
"""

from tlfw.tracking.wandb_run import Tracking

__all__ = ["Tracking"]
