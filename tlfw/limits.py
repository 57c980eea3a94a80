"""What the machine has, to see that nobody asks for much more of it."""

from __future__ import annotations

import os
from pathlib import Path

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Main memory that this process may use: the machine's, or what a container has of it."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(MEMORY_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return machine


def most_threads() -> int:
    """Of torch. More than there are cores are of use to repeat what a larger machine computed, to the last bit."""
    return max(64, 4 * cores())


def most_workers() -> int:
    """Processes that load images."""
    return max(16, 2 * cores())


def most_images(image_size: int) -> int:
    """Images of a batch: three channels of float32 that together take half of the memory."""
    return memory_bytes() // 2 // (3 * image_size**2 * 4)
