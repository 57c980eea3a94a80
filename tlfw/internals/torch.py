"""torch 2.14. `_BatchNorm` is the class that all of its batch normalisations have in common, SyncBatchNorm too."""

from __future__ import annotations

from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

__all__ = ["BatchNorm"]
