"""The processes of a run, seen from one of them: rank 0 says what comes next, and the others do it with it."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

MEETING = datetime.timedelta(minutes=30)
"""How long a process waits for the others where all do the same: at the start, and in each step."""

LISTENING = datetime.timedelta(days=30)
"""How long one waits for rank 0 to say what comes next: it may train a stage of its own will for long, and where it
ends, its connection ends with it."""


class Ranks:
    """This process among those of its run.

    Args:
        rank: its number among all; rank 0 alone writes and prints.
        local: its number on its machine, and that of its device.
        count: how many there are.
        device: the type of their devices.
        group: over which they talk, on the CPU.

    Attributes:
        apart: whether they may be at different places now, since one left what they did together.
    """

    def __init__(self, *, rank: int, local: int, count: int, device: str, group: Any = None) -> None:
        self.rank, self.local, self.count, self.device, self.group = rank, local, count, device, group
        self.apart = False

    @property
    def first(self) -> bool:
        return self.rank == 0

    def say(self, what: Any) -> None:
        """Tell all others, who listen."""
        dist.broadcast_object_list([what], src=0, group=self.group)

    def hear(self) -> Any:
        """What rank 0 says next.

        Raises:
            RuntimeError: it is gone.
        """
        heard: list[Any] = [None]
        dist.broadcast_object_list(heard, src=0, group=self.group)
        return heard[0]

    def agree(self, what: Any) -> Any:
        """What rank 0 takes it for."""
        if self.first:
            self.say(what)
            return what
        return self.hear()

    def share(self, tensors: Mapping[str, Tensor]) -> None:
        """Give all the tensors of rank 0, in place."""
        for name in sorted(tensors):
            flat = tensors[name].detach().cpu().contiguous()
            dist.broadcast(flat, src=0, group=self.group)
            if not self.first:
                with torch.no_grad():
                    tensors[name].copy_(flat)

    def send(self, tensor: Tensor) -> None:
        """To rank 0."""
        dist.send(tensor.contiguous(), dst=0, group=self.group)

    def receive(self, tensor: Tensor, rank: int) -> None:
        """Fill a tensor with what a rank sends."""
        dist.recv(tensor, src=rank, group=self.group)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Inside, all do the same. Who leaves it by an exception does not know where the others are."""
        try:
            yield
        except BaseException:
            self.apart = True
            raise


_HERE: list[Ranks] = []


def here() -> Ranks | None:
    """This process among those of its run; None: it is alone."""
    return _HERE[-1] if _HERE else None


def meet(*, rank: int, local: int, count: int, device: str) -> Ranks:
    """Connect this process with the others of its run. Lightning takes the connection over for its own."""
    if device == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=MEETING)
    group = dist.new_group(backend="gloo", timeout=LISTENING)
    _HERE.append(Ranks(rank=rank, local=local, count=count, device=device, group=group))
    return _HERE[-1]
