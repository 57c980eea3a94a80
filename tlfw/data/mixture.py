"""Serves a mixture of data sets in an order that anyone can repeat.

What a batch holds is a function of (seed, how many stages have trained on each data set before, step), so that a later
stage does not see again what an earlier one saw, in the same order. Each data set is an endless row of
passes, each pass a new order of all its images; a batch takes the next few of each row.
So every batch is full and mixed in the same ratio, an image is seen again only when all
have been seen, and a stage can stop and go on anywhere. Where classes are to be balanced the row
takes one image of every class in turn, the classes in a new order each time, and each class
has passes of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tlfw.data.division import Part
from tlfw.data.pictures.view import View
from tlfw.identity.names import seed_from
from tlfw.limits import cores
from tlfw.signals import heeded_by_loader

INDEPENDENT_PIXELS = 64
"""Images with longer sides are augmented one by one, in processes of their own."""


class Served(Protocol):
    """Inputs and labels that can be asked for by position: pixels, or stored features."""

    @property
    def labels_N(self) -> Tensor: ...

    def open(self) -> None:
        """Have at hand what batches are made of, before several processes make them."""
        ...

    def heavy(self, *, training: bool) -> bool:
        """Whether a batch takes so long that other processes should make it."""
        ...

    def batch(self, positions: Sequence[int], passes: Sequence[int] | None, seed: int) -> Tensor:
        """Inputs at `positions`, float32 with the batch axis first.

        Args:
            passes: how often each has been seen before, for augmentation; None: as in evaluation.
        """
        ...

    def mix(self, x: Tensor, y_B: Tensor, *key: object) -> tuple[Tensor, Tensor]:
        """A training batch's inputs and int64 labels `[B]`, or inputs mixed as a function of `key` and the
        classes' shares in each, float32 `[B, classes]`.
        """
        ...


class Archive(Protocol):
    """Where decoded images of a part may lie: uint8 `[N, 3, size, size]`."""

    def find(self) -> np.ndarray | None:
        """What is there; None: nothing."""
        ...

    def get(self) -> np.ndarray | None:
        """What is there, or comes to be now; None: each image is to be decoded whenever it is asked for."""
        ...


class Pixels:
    """The images of a `part` as seen through a `view`: float32 `[B, 3, size, size]`.

    Args:
        archive: where they may lie decoded; None: nowhere.
    """

    def __init__(self, part: Part, view: View, archive: Archive | None = None) -> None:
        self.part, self.view, self.archive = part, view, archive
        self.labels_N = torch.from_numpy(part.labels_M)
        self._pixels_NCHW: np.ndarray | None = None

    def open(self) -> None:
        if self._pixels_NCHW is None and self.archive is not None:
            self._pixels_NCHW = self.archive.get()

    def heavy(self, *, training: bool) -> bool:
        augmented = training and self.view.size > INDEPENDENT_PIXELS and bool(self.view.augmentation)
        return augmented or (self.archive is not None and self._pixels_NCHW is None)

    def few(self, count: int) -> Tensor:
        """The first images as in evaluation, without having all of them decoded."""
        if self._pixels_NCHW is None and self.archive is not None:
            self._pixels_NCHW = self.archive.find()
        return self.batch(range(min(count, len(self.part))), None, 0)

    def decode(self, positions: Sequence[int]) -> Tensor:
        """uint8 `[B, 3, size, size]`, from the images themselves."""
        opened = (self.part.images.open(int(self.part.indices[position])) for position in positions)
        return torch.stack([self.view.pixels(picture) for picture in opened])

    def batch(self, positions: Sequence[int], passes: Sequence[int] | None, seed: int) -> Tensor:
        if self._pixels_NCHW is not None:
            x_BCHW = torch.from_numpy(np.asarray(self._pixels_NCHW[np.asarray(positions)]))
        else:
            x_BCHW = self.decode(positions)
        if passes is not None and self.view.augmentation:
            x_BCHW = self.view.augment(x_BCHW, seed, positions, passes)
        return self.view.normalise(x_BCHW)

    def mix(self, x: Tensor, y_B: Tensor, *key: object) -> tuple[Tensor, Tensor]:
        return self.view.mix(x, y_B, len(self.part.images.classes), *key)


@lru_cache(maxsize=64)
def _order(seed: int, what: str, k: int, n: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed_from("order", seed, what, k))
    return torch.randperm(n, generator=generator).tolist()


def _by_class(labels_N: np.ndarray) -> list[list[int]]:
    """The positions of each class that occurs."""
    _, counts = np.unique(labels_N, return_counts=True)
    return [part.tolist() for part in np.split(np.argsort(labels_N, kind="stable"), np.cumsum(counts)[:-1])]


class TrainBatches(Dataset):
    """Item `step` is a whole batch: data set name -> (inputs, int64 labels `[B]`, or float32 `[B, classes]` if mixed).

    Args:
        sets: what each data set serves.
        per_batch: how many images of each are in every batch.
        rank, world: under distributed training each process takes every `world`-th image of the batch.
        balanced: the data sets whose classes are served equally often.
        earlier: data set -> how many stages trained on it before; none where it is not named.
    """

    def __init__(
        self,
        sets: Mapping[str, Served],
        per_batch: Mapping[str, int],
        seed: int,
        rank: int = 0,
        world: int = 1,
        balanced: Collection[str] = (),
        earlier: Mapping[str, int] | None = None,
    ) -> None:
        self.sets, self.per_batch, self.rank, self.world = sets, per_batch, rank, world
        for served in sets.values():
            served.open()
        times = earlier or {}
        self.seeds = {name: seed_from("draws", seed, name, times.get(name, 0)) for name in per_batch}
        self._members = {name: _by_class(sets[name].labels_N.numpy()) for name in balanced}

    @property
    def heavy(self) -> bool:
        """Whether a batch takes so long that other processes should make it."""
        return any(served.heavy(training=True) for served in self.sets.values())

    def rows(self, name: str, step: int) -> list[tuple[int, int]]:
        """(position, pass) of each image of data set `name` in the batch of `step`."""
        count, n = self.per_batch[name], len(self.sets[name].labels_N)
        places = range(step * count, (step + 1) * count)[self.rank :: self.world]
        if name in self._members:
            return [self._balanced(name, place) for place in places]
        return [(_order(self.seeds[name], "images", place // n, n)[place % n], place // n) for place in places]

    def _balanced(self, name: str, place: int) -> tuple[int, int]:
        members = self._members[name]
        turn, i = divmod(place, len(members))
        c = _order(self.seeds[name], "classes", turn, len(members))[i]
        k, j = divmod(turn, len(members[c]))
        return members[c][_order(self.seeds[name], f"class {c}", k, len(members[c]))[j]], k

    def __getitem__(self, step: int) -> dict[str, tuple[Tensor, Tensor]]:
        batch = {}
        for name in self.per_batch:
            positions, passes = zip(*self.rows(name, step), strict=True)
            served = self.sets[name]
            x = served.batch(positions, passes, self.seeds[name])
            batch[name] = served.mix(x, served.labels_N[torch.as_tensor(positions)], self.seeds[name], step, self.rank)
        return batch


class Batches(Protocol):
    """Whole batches by number."""

    @property
    def heavy(self) -> bool: ...

    def __getitem__(self, i: int) -> Any: ...


def image_loader(batches: Batches, workers: int | None, indices: range | None = None) -> DataLoader:
    """Serves the batches of these indices, all by default, made ahead by other processes.

    Args:
        workers: how many; None: as many as torch has threads where a batch takes long to make, and none elsewhere.
    """
    if workers is None:
        workers = min(torch.get_num_threads(), cores()) if batches.heavy else 0
    return DataLoader(
        cast(Dataset, batches),
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=heeded_by_loader,
    )


class EvalBatches(Dataset):
    """Item `i` is the `i`-th batch in the data's own order: (inputs, int64 labels `[B]`)."""

    def __init__(self, served: Served, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.served, self.size = served, batch_size
        served.open()
        self.positions = range(len(served.labels_N))[rank::world]

    @property
    def heavy(self) -> bool:
        """As for `TrainBatches`."""
        return self.served.heavy(training=False)

    def __len__(self) -> int:
        return -(-len(self.positions) // self.size)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if not 0 <= i < len(self):
            raise IndexError(i)
        positions = self.positions[i * self.size : (i + 1) * self.size]
        return self.served.batch(positions, None, 0), self.served.labels_N[torch.as_tensor(positions)]

    def loader(self, workers: int | None = None) -> DataLoader:
        return image_loader(self, workers)


class MixtureLoader:
    """The batches of steps `first` to `last` (exclusive). It owns its position and holds no random state."""

    def __init__(self, batches: TrainBatches, first: int, last: int, workers: int | None = None) -> None:
        self.batches, self.first, self.last, self.workers = batches, first, last, workers
        self.step = first

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        for batch in image_loader(self.batches, self.workers, range(self.step, self.last)):
            self.step += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]


class Mixture(L.LightningDataModule):
    """Serves one stage: a training mixture, and for each data set a validation loader of its own.

    A stage is cut into `rounds` of nearly equal length, which Lightning knows as epochs; each
    ends with a validation, the last one at the stage's end.

    Args:
        train: what each data set of the mixture serves.
        val: what each data set with a head serves for validation, in the loaders' order.
        per_batch: images of each data set in a batch, over all processes.
        steps: of the whole stage.
        balanced: the data sets whose classes are trained on equally often.
        earlier: data set -> how many stages trained on it before.
    """

    def __init__(
        self,
        *,
        train: Mapping[str, Served],
        val: Mapping[str, Served],
        per_batch: Mapping[str, int],
        steps: int,
        rounds: int,
        seed: int,
        workers: int | None = None,
        balanced: Collection[str] = (),
        earlier: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.train, self.val, self.per_batch = train, val, per_batch
        self.steps, self.rounds, self.seed, self.workers = steps, min(rounds, steps), seed, workers
        self.balanced, self.earlier = balanced, earlier

    @property
    def val_names(self) -> list[str]:
        return list(self.val)

    @property
    def batch_size(self) -> int:
        """Images in a batch, over all data sets and processes: the effective batch."""
        return sum(self.per_batch.values())

    def end(self, rounds: int) -> int:
        """The step after which so many rounds are over."""
        return self.steps * rounds // self.rounds

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> MixtureLoader:
        i = self.trainer.current_epoch if self.trainer else 0
        first, last = self.end(i), self.end(i + 1)
        batches = TrainBatches(self.train, self.per_batch, self.seed, *self._place(), self.balanced, self.earlier)
        return MixtureLoader(batches, first, last, self.workers)

    def val_dataloader(self) -> list[DataLoader]:
        place = self._place()
        return [EvalBatches(served, self.batch_size, *place).loader(self.workers) for served in self.val.values()]
