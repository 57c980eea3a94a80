"""What is drawn for each image of a batch: a function of the seed, the image and the pass, and of nothing else.

Numbers are made by counting (SplitMix64: Steele, Lea and Flood, 2014), for all images at once. No generator has a
state, so that it does not matter which images are in a batch, in which order, on which device, or who makes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from tlfw.identity.names import seed_from

_STEP = np.uint64(0x9E3779B97F4A7C15)


def _mixed(state: np.ndarray) -> np.ndarray:
    """Each uint64 as one that looks unrelated to its neighbours'."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def streams(seed: int, place: int, positions: Sequence[int], passes: Sequence[int]) -> np.ndarray:
    """What the draws of each image begin with, uint64 `[B]`.

    Args:
        place: of the augmentation among those that are done: each has draws of its own.
        positions: of the images in their data set.
        passes: how often each has been seen before.
    """
    position_B, pass_B = (np.asarray(given, dtype=np.uint64) for given in (positions, passes))
    start_B = np.full(len(position_B), seed_from("augment", seed, place), dtype=np.uint64)
    return _mixed(_mixed(start_B + position_B * _STEP) + pass_B * _STEP)


class Draws:
    """The next draws of each image, one after the other.

    Args:
        stream_B: of each image, from `streams`.
    """

    def __init__(self, stream_B: np.ndarray) -> None:
        self._state_B = stream_B

    def uniform(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """A number from [low, high) for each image, float64 `[B]`."""
        self._state_B = self._state_B + _STEP
        return low + (high - low) * ((_mixed(self._state_B) >> np.uint64(11)) * 2.0**-53)

    def below(self, count: int | np.ndarray) -> np.ndarray:
        """A whole number from 0 to `count` - 1 for each image, int64 `[B]`."""
        return (self.uniform() * count).astype(np.int64)

    def coin(self) -> np.ndarray:
        """True or False for each image, bool `[B]`."""
        return self.uniform() < 0.5


@contextlib.contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Inside, torch's CPU generator draws from `seed`; outside, nothing has happened."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed GPUs too, which are not forked here, and take thirty times as long.
        torch.default_generator.manual_seed(seed)
        yield
