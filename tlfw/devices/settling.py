"""How a process becomes one that computes a run: its threads, its machine, and what it hands on to those it starts."""

from __future__ import annotations

import os
import re
from typing import Any

import torch

from tlfw.devices.nodes import Node, this_node
from tlfw.devices.ranks import here

FOREIGN = re.compile(r"RANK|LOCAL_RANK|GROUP_RANK|ROLE_\w+|NODE_RANK|(?:LOCAL_)?WORLD_SIZE|MASTER_\w+|TORCHELASTIC_\w+")
"""Variables of whatever started this process that would tell its own processes who they are."""


def environment() -> dict[str, str]:
    """The environment of processes that this one starts, and that are to have as many threads as it."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    return kept | {"OMP_NUM_THREADS": str(torch.get_num_threads())}


_THREADS = torch.get_num_threads()


def use_threads(threads: int | None) -> None:
    """Let torch have so many threads; None: as many as it began with, whatever an earlier run of this process had."""
    torch.set_num_threads(threads or _THREADS)


def settle(trainer: Any, threads: int | None) -> Node:
    """Make this process one that can compute a run: -> its machine among those of the run.

    Raises:
        ConfigError: a scheduler has started it in another way than the trainer says.
    """
    use_threads(threads)
    return Node() if here() else this_node(given(trainer, "num_nodes") or 1)


def given(trainer: Any, name: str) -> Any:
    """A setting that a trainer's factory was given; None: it was not."""
    return getattr(trainer, "keywords", {}).get(name)
