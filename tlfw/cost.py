"""What training costs: floating-point operations and memory."""

from __future__ import annotations

import contextlib
import copy
import resource
import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from tlfw.freeze import Freezing
from tlfw.model import Model


def flops_per_image(model: Model, head: str, *, start: int, stop: int | None, train: bool) -> int:
    """Floating-point operations for one image, multiply and add counted apart.

    Counted by torch over matrix products, convolutions and attention, on tensors without
    data: nothing is computed and the model is not touched.

    Args:
        start, stop: the blocks that it passes; with `stop` None also the head.
        train: with the backward pass to what requires a gradient.
    """
    ghost = copy.deepcopy(model).to("meta")
    size = model.image_size
    x = torch.empty(2, 3, size, size, device="meta")
    with torch.no_grad():
        x = ghost.trunk(x, 0, start)
    counter = FlopCounterMode(display=False)
    with counter, torch.set_grad_enabled(train):
        z = ghost.trunk(x, start, stop)
        if stop is None:
            z = ghost.heads[head](z)
        if train:
            z.sum().backward()
    return counter.get_total_flops() // 2


def stage_flops(freezing: Freezing, *, start: int, head: str, images_seen: int, images_stored: int) -> tuple[int, int]:
    """Training operations of a stage: every image seen, forward and backward, and each stored feature made once.

    Returns:
        The operations, and what they would be if no feature were stored.
    """
    model = freezing.model
    direct = flops_per_image(model, head, start=0, stop=None, train=True) * images_seen
    if start == 0:
        return direct, direct
    seen = flops_per_image(model, head, start=start, stop=None, train=True) * images_seen
    return seen + flops_per_image(model, head, start=0, stop=start, train=False) * images_stored, direct


def start_measuring_memory() -> None:
    """Forget earlier peaks, where the system can: on CUDA and Linux. Elsewhere a peak is the process's whole life's."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # see proc(5): resets the peak resident set size


def peak_memory_bytes() -> int:
    """The most memory that this process held since then: on the GPU if it used one, else resident in RAM."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
