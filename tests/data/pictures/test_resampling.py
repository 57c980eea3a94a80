"""An image's middle in another size is torch's to the level, however thin the image is."""

from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from torchvision.transforms import InterpolationMode

from tlfw.data.pictures import resampling
from tlfw.data.pictures.resampling import FILTERS, REACH, Interpolation, middle, places

SIZES = [
    (40, 30), (30, 40), (7, 5), (64, 64), (64, 65), (65, 64), (33, 1000), (1000, 33), (200, 3), (3, 200), (1, 500),
    (500, 1), (1, 1), (5, 64), (64, 5), (2, 3), (100, 101), (129, 64), (640, 480),
]  # fmt: skip


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Of few levels, so that sums come to lie at the border of two."""
    random = np.random.default_rng([height, width])
    return (random.integers(0, 2, (height, width, channels)) * 255).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "size"), [(64, 64), (40, 32), (41, 32), (8, 5)])
def test_it_is_torchvisions(interpolation: Interpolation, resize: int, size: int) -> None:
    for height, width in SIZES:
        pixels_HWC = noise(height, width)
        x_CHW = torch.from_numpy(pixels_HWC).permute(2, 0, 1)
        right = F.resize(x_CHW, [resize], interpolation=InterpolationMode(interpolation), antialias=True)
        right = F.center_crop(right, [size, size])
        found = middle(pixels_HWC, resize, size, interpolation)
        assert found.shape == (3, size, size)
        assert torch.equal(found, right), (height, width)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_what_is_cut_out_first_is_the_same(interpolation: Interpolation, monkeypatch: pytest.MonkeyPatch) -> None:
    for resize, size in ((64, 64), (40, 32), (9, 5)):
        for height, width in SIZES:
            for channels in (1, 3):
                pixels_HWC = noise(height, width, channels)
                whole = middle(pixels_HWC, resize, size, interpolation)
                with monkeypatch.context() as thin:
                    thin.setattr(resampling, "THIN", 0)
                    assert torch.equal(middle(pixels_HWC, resize, size, interpolation), whole), (height, width)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(1, 8000), (8000, 1), (30_000, 1), (2, 100_000)])
def test_a_thin_image_takes_no_time_and_no_memory(interpolation: Interpolation, shape: tuple[int, int]) -> None:
    pixels_HWC = noise(*shape)
    tracemalloc.start()
    began = time.process_time()
    found = middle(pixels_HWC, 224, 224, interpolation)
    seconds, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (3, 224, 224)
    assert seconds < 2
    assert most < 100e6
    # What is cut out of it is what few pixels around its middle become, each axis for itself.
    short = 224 * max(shape) // min(shape)
    axis = int(shape[1] > shape[0])
    assert places(*shape, 224, 224)[axis] == (short, round((short - 224) / 2))
    share = (short - 224) / 2 / short
    middle_of = pixels_HWC.take([int(share * max(shape)), -(-max(shape) // 2) - 1], axis)
    assert int(found.min()) <= int(middle_of.max())


def test_the_arithmetic_in_words_is_what_is_done() -> None:
    """As `ARITHMETIC` says it, number by number, in plain Python."""

    def axis(line: list[list[int]], outputs: int, name: Interpolation) -> list[list[int]]:
        inputs = len(line)
        if inputs == outputs:
            return line
        scale = inputs / outputs
        stretch = max(scale, 1)
        reach = REACH[name] * stretch
        every = []
        for i in range(outputs):
            centre = scale * (i + 0.5)
            taken = range(max(math.floor(centre - reach + 0.5), 0), min(math.floor(centre + reach + 0.5), inputs))
            values = [float(FILTERS[name](np.abs(np.array((j + 0.5 - centre) / stretch)))) for j in taken]
            every.append((taken, [value / sum(values) for value in values]))
        largest = max(max(shares) for _, shares in every)
        p = next((p for p in range(22) if math.floor(largest * 2 ** (p + 1) + 0.5) >= 2**15), 22)
        made = []
        for taken, shares in every:
            whole = [math.copysign(math.floor(abs(share) * 2**p + 0.5), share) for share in shares]
            sums = [sum(w * line[j][k] for w, j in zip(whole, taken, strict=True)) for k in range(len(line[0]))]
            made.append([min(max(math.floor((total + 2 ** (p - 1)) / 2**p), 0), 255) for total in sums])
        return made

    def turned(rows: list[list[int]]) -> list[list[int]]:
        return [list(column) for column in zip(*rows, strict=True)]

    for name in REACH:
        for height, width, resize, size in ((13, 9, 6, 6), (5, 8, 12, 9), (40, 3, 6, 4), (20, 20, 20, 7)):
            pixels_HWC = noise(height, width, 1)
            rows, columns = places(height, width, resize, size)
            done = turned(axis(turned(pixels_HWC[:, :, 0].astype(int).tolist()), columns.whole, name))
            done = axis(done, rows.whole, name)
            cut = [row[columns.first : columns.first + size] for row in done[rows.first : rows.first + size]]
            assert middle(pixels_HWC, resize, size, name)[0].tolist() == cut, (name, height, width)
