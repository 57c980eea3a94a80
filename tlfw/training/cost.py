"""What training costs: floating-point operations and memory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.families import on_meta
from tlfw.backbones.model import Model
from tlfw.identity.names import remembered
from tlfw.methods.freeze import Freezing


def flops_per_image(
    backbone: Backbone,
    image_size: int,
    classes: int,
    trained: tuple[str, ...] = (),
    *,
    start: int = 0,
    stop: int | None = None,
    train: bool = True,
) -> int:
    """Floating-point operations for one image, multiply and add counted apart, of a model that nobody has built.

    Counted by torch over matrix products, convolutions and attention, on tensors without
    data: nothing is computed. Counts are kept, for a sweep asks for the same ones in each run.

    Args:
        classes: of the data set whose head is passed.
        trained: the names of the blocks that train beside it.
        start, stop: the blocks that it passes; with `stop` None also the head.
        train: with the backward pass to what trains.
    """
    plain = dataclasses.replace(backbone.plain, head_classes=backbone.head_classes)
    return _counted(plain, image_size, classes, trained, start, stop, train)


@remembered
def _counted(
    backbone: Backbone,
    image_size: int,
    classes: int,
    trained: tuple[str, ...],
    start: int,
    stop: int | None,
    train: bool,
) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    def make() -> Model:
        model = Model(backbone, image_size, seed=0)
        model.add_head("any", classes)
        return model

    ghost = on_meta(make)
    for name, parameter in ghost.trunk.model.named_parameters():
        parameter.requires_grad_(ghost.trunk.block_of[name] in trained)
    x = torch.empty(2, 3, image_size, image_size, device="meta")
    with torch.no_grad():
        x = ghost.trunk(x, 0, start)
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _conv_backward})
    with counter, torch.set_grad_enabled(train):
        z = ghost.trunk(x, start, stop)
        if stop is None:
            z = ghost.heads["any"](z)
        if train:
            z.sum().backward()
    return counter.get_total_flops() // 2


def _conv_backward(grad_shape: list[int], x_shape: list[int], w_shape: list[int], *rest: Any, **_: Any) -> int:
    """The gradients of a convolution's input and of its weights take as much as its forward pass, each that is asked.

    torch's own formula counts that of the weights for each group once more: 4 to 17 forward passes where convolutions
    are depthwise, as in ShuffleNet or EfficientNet.
    """
    from torch.utils.flop_counter import conv_flop_count

    transposed, asked = rest[4], rest[-1]
    return conv_flop_count(x_shape, w_shape, grad_shape, transposed) * sum(asked[:2])


def stage_flops(freezing: Freezing, *, start: int, head: str, images_seen: int, images_stored: int) -> tuple[int, int]:
    """Training operations of a stage: every image seen, forward and backward, and each stored feature made once.

    Returns:
        The operations, and what they would be if no feature were stored.
    """
    model = freezing.model
    per_image = functools.partial(
        flops_per_image, model.backbone, model.image_size, model.classes[head], freezing.partition.blocks
    )
    direct = per_image() * images_seen
    if start == 0:
        return direct, direct
    return per_image(start=start) * images_seen + per_image(stop=start, train=False) * images_stored, direct


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
