"""Weights & Biases: the one place that imports wandb.

`wandb_run` has the settings and opens a W&B run, which `tracked` fills and ends; `connection` finds out, in bounded
time, whether a server can be used. It imports base modules only. Begin with `wandb_run`.
"""

from tlfw import offering

HOMES = {"Tracking": "wandb_run"}
"""What the package offers -> the module that has it."""

__all__ = [*HOMES]
__getattr__ = offering(__name__, HOMES)
