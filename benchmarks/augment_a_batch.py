"""How long a batch is augmented, against torchvision's transforms, image by image.

    python -m benchmarks.augment_a_batch [--batch 256] [--size 32] [--repeats 15] [--threads 1] [--device cpu]

Both take turns, so that a machine that is busy is busy for both. A ratio is that of the medians; beside it stands the
range of the ratios of single turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.augmentation_against_torchvision import TORCHVISION, picture, view


def seconds(call: Callable[[], Tensor]) -> float:
    began = time.perf_counter()
    if call().is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    x_BCHW = picture(given.size).repeat(given.batch, 1, 1, 1).to(given.device)
    print(f"{given.batch} images of {given.size} px on {given.device}, {given.threads} threads, {given.repeats} turns")
    print(f"{'':16}{'tlfw':>10}{'torchvision':>16}{'ratio':>8}")
    for name, make in TORCHVISION.items():
        seen, transform = view(name, 1.0, given.size), make(1.0, given.size)
        turns = [
            (
                seconds(lambda k=k, seen=seen: seen.augment(x_BCHW, 0, range(given.batch), [k] * given.batch)),
                seconds(lambda transform=transform: torch.stack([transform(x_CHW) for x_CHW in x_BCHW])),
            )
            for k in range(given.repeats + 1)
        ][1:]  # the first warms up
        ours, theirs = (statistics.median(each) for each in zip(*turns, strict=True))
        ratios = sorted(a / b for a, b in turns)
        times = f"{1e3 * ours:7.1f} ms{1e3 * theirs:13.1f} ms"
        print(f"{name:16}{times}{ours / theirs:8.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
