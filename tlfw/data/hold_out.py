"""Which labelled images are held out for the test or for validation, and which of the others are labelled.

All images of a class have one order, which looks drawn at random and is a function of a seed and of what each image is
called within its source: no other image, and not the order in which they were listed, moves it. What is held out are
the first of each order; what is labelled are the first on both sides of that. So a smaller `train_per_class` is a
subset of a larger one, in training and in validation.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from tlfw.errors import ConfigError
from tlfw.identity.names import seed_from


def ranks(names: Sequence[str], *key: object) -> np.ndarray:
    """Places in an order that looks random, each a function of `key` and of the one name: uint64 `[N]`."""
    salt = seed_from("order", *key).to_bytes(8)
    digests = [
        hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8, key=salt).digest() for name in names
    ]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def share(count: int, fraction: float) -> int:
    """How many of `count` are held out: the nearest to `fraction`, at least one of two, and never the last one."""
    return min(max(math.floor(fraction * count + 0.5), 1), count - 1) if count else 0


def _by_class(labels_N: np.ndarray, ranks_N: np.ndarray) -> Iterator[np.ndarray]:
    """The images of each class that occurs, int64 indices in their order."""
    order = np.lexsort((ranks_N, labels_N))
    yield from np.split(order, np.flatnonzero(np.diff(labels_N[order])) + 1) if len(order) else ()


def _units(order: np.ndarray, units_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images of `order`, each unit's together where its first one stands, and how many each unit has."""
    _, first, of = np.unique(units_N[order], return_index=True, return_inverse=True)
    place = first[of]
    together = np.argsort(place, kind="stable")
    return order[together], np.unique(place, return_counts=True)[1]


def hold_out(labels_N: np.ndarray, units_N: np.ndarray, ranks_N: np.ndarray, fraction: float) -> np.ndarray:
    """The first of each class, as near to `fraction` of it as whole units allow: bool `[N]`.

    At least one unit of each class that has two, and never the last one.

    Args:
        units_N: int64, equal for images that stay together; all of a unit are of one class.
        ranks_N: each image's place in its class's order.
    """
    held_N = np.zeros(len(labels_N), dtype=bool)
    for order in _by_class(labels_N, ranks_N):
        order, sizes_U = _units(order, units_N)
        if len(sizes_U) < 2:
            continue
        wanted, held = share(len(order), fraction), 0
        held_U = np.zeros(len(sizes_U), dtype=bool)
        for unit, size in enumerate(sizes_U.tolist()):
            if 2 * held + size <= 2 * wanted and held + size < len(order):
                held_U[unit] = True
                held += size
        if not held:
            held_U[sizes_U.argmin()] = True
        held_N[order] = np.repeat(held_U, sizes_U)
    return held_N


def deal(labels_N: np.ndarray, units_N: np.ndarray, ranks_N: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each image, whose units are dealt out class by class: int64 `[N]` in `[0, folds)`.

    A class that is one unit is in no fold, -1, for there would be nothing to learn it from.

    Args:
        units_N, ranks_N: as of `hold_out`.
    """
    folds_N = np.full(len(labels_N), -1)
    dealt = 0
    for order in _by_class(labels_N, ranks_N):
        order, sizes_U = _units(order, units_N)
        if len(sizes_U) > 1:
            folds_N[order] = np.repeat((dealt + np.arange(len(sizes_U))) % folds, sizes_U)
            dealt += len(sizes_U)
    return folds_N


def deal_groups(labels_N: np.ndarray, groups_N: np.ndarray, ranks_N: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each image where groups stay whole, its classes shared out as evenly as can be: int64 `[N]`.

    By scikit-learn's StratifiedGroupKFold.

    Args:
        groups_N: int64, equal for images that stay together, whatever their class.
        ranks_N: decide between groups that are alike.

    Raises:
        ConfigError: there are fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # loads in a second

    if (most := min(len(np.unique(groups_N)), int(np.bincount(labels_N).max()))) < folds:
        raise ConfigError(
            "folds", f"{folds} are too many for {len(np.unique(groups_N))} groups.", f"Use at most {most}."
        )
    first_G = np.full(int(groups_N.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first_G, groups_N, ranks_N)
    folds_N = np.empty(len(labels_N), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a class that is smaller than the folds are many
        # Of groups that are alike it takes the one with the lower number first.
        divided = StratifiedGroupKFold(folds).split(labels_N, labels_N, first_G[groups_N])
        for fold, (_, held) in enumerate(divided):
            folds_N[held] = fold
    return folds_N


def hold_out_groups(
    labels_N: np.ndarray, groups_N: np.ndarray, ranks_N: np.ndarray, fraction: float, classes: Sequence[str], use: str
) -> np.ndarray:
    """Whole groups, so that of each class about `fraction` is held out and every class is on both sides: bool `[N]`.

    Args:
        groups_N, ranks_N: as of `deal_groups`.
        classes: their names, for a complaint.
        use: what it is held out for.

    Raises:
        ConfigError: there are too few groups.
    """
    there = np.unique(labels_N)
    groups = {int(c): len(np.unique(groups_N[labels_N == c])) for c in there}
    fewest = min(groups, key=lambda c: groups[c])
    part = min(fraction, 1 - fraction)
    for folds in range(min(max(round(1 / part), 2), groups[fewest]), 1, -1):
        folds_N = deal_groups(labels_N, groups_N, ranks_N, folds)
        for turn in range(folds):
            held_N = folds_N == (int(ranks_N.min()) + turn) % folds
            if len(np.unique(labels_N[held_N])) == len(np.unique(labels_N[~held_N])) == len(there):
                return held_N if fraction <= 0.5 else ~held_N
    raise ConfigError(
        "group",
        f"there are too few for {use} beside the rest: class {classes[fewest]!r} has {groups[fewest]} of "
        f"{len(np.unique(groups_N))} groups left, and no whole groups hold some images of every class and leave some.",
        "Give more groups to each class, or test images of their own.",
    )


def first_per_class(
    labels_N: np.ndarray, held_N: np.ndarray, ranks_N: np.ndarray, count: int, fraction: float, classes: Sequence[str]
) -> np.ndarray:
    """`count` images of every class, about `fraction` of them from those held out: bool `[N]`.

    On each side they are the first of the class's order.

    Raises:
        ConfigError: a class has fewer.
    """
    chosen_N = np.zeros(len(labels_N), dtype=bool)
    sizes = np.bincount(labels_N, minlength=len(classes))
    if sizes.min() < count:
        smallest = int(sizes.argmin())
        raise ConfigError(
            "train_per_class",
            f"{count} labelled images a class were asked for, but class {classes[smallest]!r} has "
            f"{sizes[smallest]}, without those that are kept for test.",
            f"Use at most {sizes[smallest]}, or null for all.",
        )
    for order in _by_class(labels_N, ranks_N):
        held, kept = order[held_N[order]], order[~held_N[order]]
        n = min(max(share(count, fraction), count - len(kept)), len(held))
        chosen_N[held[:n]] = chosen_N[kept[: count - n]] = True
    return chosen_N
