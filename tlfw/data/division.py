"""What each image of a data set is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np

from tlfw.data.copies import Copies, bound, contradictory, numbered
from tlfw.data.hold_out import deal, deal_groups, first_per_class, hold_out, hold_out_groups, ranks
from tlfw.data.images import Images
from tlfw.data.pictures.picture import Span
from tlfw.data.rows import SplitName, Stock
from tlfw.errors import ConfigError
from tlfw.escape import is_printable
from tlfw.identity.names import digest

SHARE = 0.2
"""Of the images that is kept for validation, and for the test, where nobody says another."""

MOST_NAMED = 20
"""Classes are named one by one up to here."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Some images of a list.

    Attributes:
        indices: int64 `[M]` into `images`.
        sums_M: a name for the content of each; empty: not known.
        spans_M: what is known of the numbers of each; empty: nothing is.
        groups_M: what each belongs together with; None: nothing is known.
    """

    images: Images
    indices: np.ndarray
    sums_M: tuple[str, ...] = ()
    groups_M: tuple[str, ...] | None = None
    spans_M: tuple[Span | None, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels_M(self) -> np.ndarray:
        """int64 `[M]`."""
        return self.images.labels_N[self.indices]

    def called(self, i: int) -> str:
        """How a person finds the `i`-th of these images."""
        return self.images.called(int(self.indices[i]))

    def digest(self) -> str:
        """A name for the content of these images and for their labels."""
        assert len(self.sums_M) == len(self)
        return digest([self.sums_M, self.labels_M.tolist(), self.images.classes])

    def class_weights(self) -> np.ndarray:
        """Weights that give every class the same sum: images / (classes x images of the class), float32 `[classes]`.

        Their mean over the images is 1. A class without images has 0. (scikit-learn's `balanced`, King and Zeng, 2001.)
        """
        from sklearn.utils.class_weight import compute_class_weight  # loads in a second

        weights_K = np.zeros(len(self.images.classes), dtype=np.float32)
        there = np.unique(self.labels_M)
        weights_K[there] = compute_class_weight("balanced", classes=there, y=self.labels_M)
        return weights_K


@dataclasses.dataclass(frozen=True)
class Division:
    """A data set's images by what they are used for. No two parts share an image.

    Attributes:
        test: None for a data set that is not tested on.
        pool: of which the labelled images were drawn: all but the test, the set's own validation images, and what was
            left out.
        remarks: what was left out, in sentences.
        files: how many there are of which kind, for people; empty where the images are in none.
    """

    classes: tuple[str, ...]
    train: Part
    val: Part
    test: Part | None
    pool: Part
    remarks: tuple[str, ...] = ()
    files: str = ""

    @property
    def parts(self) -> dict[str, Part]:
        """By name, those that there are."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def counts(self) -> dict[str, int]:
        """Part -> its number of images."""
        return {name: len(part) for name, part in self.parts.items()}

    @property
    def described(self) -> str:
        """How many images each part has, and each class for training, for people."""
        sizes = np.bincount(self.train.labels_M, minlength=len(self.classes))
        each = f"{sizes.min()}" if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
        parts = ", ".join(f"{n} {part}" for part, n in self.counts.items())
        return f"{parts} images of {len(self.classes)} classes, {each} of each for training"

    @property
    def held(self) -> str:
        """Which classes there are and how many images each has in all parts together, for people; and of which kind."""
        own = [self.pool, *([self.test] if self.test else []), *([self.val] if self.own_val else [])]
        sizes = np.bincount(np.concatenate([part.labels_M for part in own]), minlength=len(self.classes)).tolist()
        each = [f"{name} {size}" for name, size in zip(self.classes, sizes, strict=True)]
        more = f" and {len(each) - MOST_NAMED} more" if len(each) > MOST_NAMED else ""
        files = f"; files: {self.files}" if self.files else ""
        return f"classes: {', '.join(each[:MOST_NAMED])}{more}{files}"

    @property
    def own_val(self) -> bool:
        """Whether the set's own images validate, and none of the pool."""
        return self.val.images is not self.pool.images

    @property
    def drawn(self) -> float:
        """The share of the pool that is labelled, (0, 1]: the mean over labelled images of their class's share."""
        own = [part.labels_M for part in ((self.train,) if self.own_val else (self.train, self.val))]
        labelled_K = np.bincount(np.concatenate(own), minlength=len(self.classes))
        pool_K = np.bincount(self.pool.labels_M, minlength=len(self.classes))
        return float((labelled_K**2 / np.maximum(pool_K, 1)).sum() / labelled_K.sum())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw:
    """How images are chosen for their uses; `DataSet` says what each field means."""

    train_per_class: int | None = None
    val_fraction: float | None = None
    test_fraction: float | None = None
    split_seed: int = 0
    test_seed: int = 0
    folds: int | None = None
    fold: int | None = None

    def check_folds(self, own_test: bool) -> None:
        """See that which fold is for the test is known, if there are any.

        Raises:
            ConfigError: it is not, or the set has test images of its own.
        """
        if self.folds is None:
            if self.fold is not None:
                raise ConfigError("fold", f"it is {self.fold} where there are no folds.", "Set folds too, or leave it.")
        elif own_test:
            raise ConfigError(
                "folds", "the set has test images of its own.", "Use repeat instead, or leave out its test part."
            )
        elif self.fold is None or self.fold >= self.folds:
            raise ConfigError(
                "fold",
                f"it is {'null' if self.fold is None else self.fold} of {self.folds} folds.",
                f"Use one of 0 to {self.folds - 1}; a sweep fills it in.",
            )

    def check_test_fraction(self, own_test: bool) -> None:
        """See that a share that is asked for has an effect.

        Raises:
            ConfigError: it has none, for the test images are given, or are one of several folds.
        """
        if self.test_fraction is not None and (own_test or self.folds is not None):
            why = "the set has test images of its own" if own_test else f"one of {self.folds} folds is the test"
            raise ConfigError("test_fraction", f"it is {self.test_fraction}, but {why}.", "Leave it at null.")


def divide(
    stock: Stock,
    draw: Draw,
    *,
    tested: bool = True,
    published: bool = False,
    copies: Copies = "refuse",
    others: Collection[str] = (),
) -> Division:
    """Decide what each image is for. Opens none.

    In what is cut here, copies and groups stay on one side, and pictures with two labels are left out.

    Args:
        tested: whether test images are needed: of the target only.
        published: whether the given parts are known as they are, with the copies that they share.
        copies: what is done with copies across given parts; refusing is left to who knows all data sets.
        others: names of contents that are in another data set; with `copies="leave_out"` they are not learnt from.

    Raises:
        ConfigError: there are too few images, or given parts share a group.
    """
    return _Cut(stock, draw, tested, published, copies, others).division()


class _Cut:
    """One dividing of a stock."""

    def __init__(
        self, stock: Stock, draw: Draw, tested: bool, published: bool, copies: Copies, others: Collection[str]
    ) -> None:
        self.stock, self.draw, self.tested = stock, draw, tested
        self.leave_out = copies == "leave_out"
        self.published, self.others = published, others
        self.labelled = stock.rows.lists["train"]
        self.classes = self.labelled.classes
        self.remarks = list(stock.remarks)

    def division(self) -> Division:
        if len(self.classes) < 2:
            raise ConfigError("", f"there is only the class {self.classes[0]!r}.", "Give at least two.")
        if odd := [name for name in self.classes if not is_printable(name)]:
            raise ConfigError(
                "", f"the class {odd[0]!r} has characters that control a terminal.", "Give it another name."
            )
        lists = self.stock.rows.lists
        if self.tested:
            self.draw.check_folds("test" in lists)
            self.draw.check_test_fraction("test" in lists)
        own_test = self._whole("test") if self.tested and "test" in lists else None
        own_val = self._whole("val") if "val" in lists and self.draw.train_per_class is None else None
        if "val" in lists:
            self.remarks += self._of_own_val(len(lists["val"].labels_N), own_val is not None)
        if own_val is not None and own_test is not None:
            own_val = self._part("val", self._spared("val", own_val.indices, {"test": own_test}))
        given = {name: part for name, part in (("test", own_test), ("val", own_val)) if part is not None}
        content_N = numbered(self.stock.sums["train"])
        usable = self._spared("train", self._agreed(content_N), given)
        if missing := set(self.labelled.labels_N.tolist()) - set(self.labelled.labels_N[usable].tolist()):
            name = self.classes[min(missing)]
            raise ConfigError(
                "", f"all images of class {name!r} are left out, as copies of others.", "Sort out its images."
            )
        self._check_groups({"train": self._part("train", usable), **given})
        units_N = self._units(content_N, usable)
        test, pool = own_test, usable
        if self.tested and own_test is None:
            held_N = self._for_test(units_N, usable)
            test, pool = self._part("train", usable[held_N]), usable[~held_N]
            units_N = units_N[~held_N]
        if own_val is not None:
            train, val = self._part("train", pool), own_val
        else:
            train, val = self._drawn(units_N, pool)
        for part, field in ((val, "val_fraction"), (test, "test_fraction" if self.draw.folds is None else "folds")):
            if part is not None and len(part) == 0:
                raise ConfigError(
                    field, "no class has an image to spare for it.", "Give more images, so that every part has some."
                )
        kept = self._part("train", pool)
        return Division(self.classes, train, val, test, kept, tuple(self.remarks), self.stock.rows.files)

    def _of_own_val(self, count: int, used: bool) -> list[str]:
        """What is to be said where the set has validation images of its own."""
        if not used:
            return [
                f"the set's own {count} images for validation are not used: train_per_class counts all labelled images "
                "a class, and validation is taken out of them"
            ]
        if self.draw.val_fraction is not None:
            return [f"val_fraction={self.draw.val_fraction} is not used: the set has images for validation of its own"]
        return []

    @property
    def _val_share(self) -> float:
        return SHARE if self.draw.val_fraction is None else self.draw.val_fraction

    @property
    def _test_share(self) -> float:
        return SHARE if self.draw.test_fraction is None else self.draw.test_fraction

    def _part(self, split: SplitName, indices: np.ndarray) -> Part:
        sums, groups = self.stock.sums[split], self.stock.rows.groups
        chosen = indices.tolist()
        return Part(
            self.stock.rows.lists[split],
            indices,
            tuple(sums[i] for i in chosen),
            None if groups is None else tuple(groups[split][i] for i in chosen),
            tuple(self.stock.spans[split][i] for i in chosen),
        )

    def _whole(self, split: SplitName) -> Part:
        return self._part(split, np.arange(len(self.stock.sums[split])))

    def _agreed(self, content_N: np.ndarray) -> np.ndarray:
        """Indices of training images that are under no other label too."""
        labels_N = self.labelled.labels_N
        torn_N = contradictory(labels_N, content_N)
        if torn_N.any():
            first = int(np.flatnonzero(torn_N)[0])
            copies = np.flatnonzero((content_N == content_N[first]) & (labels_N != labels_N[first]))
            other = int(copies[0])
            self.remarks.append(
                f"{int(torn_N.sum())} images for training are left out, for their pictures are under more than one "
                f"class: {self.labelled.called(first)} is {self.classes[labels_N[first]]}, and "
                f"{self.labelled.called(other)} is {self.classes[labels_N[other]]}"
            )
        return np.flatnonzero(~torn_N)

    def _spared(self, split: SplitName, indices: np.ndarray, given: Mapping[str, Part]) -> np.ndarray:
        """`indices` without images that judge a model elsewhere, where such are to be left out."""
        if not self.leave_out:
            return indices
        judging: dict[str, Collection[str]] = (
            {} if self.published else {name: set(part.sums_M) for name, part in given.items()}
        )
        judging["the target"] = self.others
        sums = self.stock.sums[split]
        lost = [i for i in indices.tolist() if any(sums[i] in content for content in judging.values())]
        if lost:
            where = [name for name, content in judging.items() if any(sums[i] in content for i in lost)]
            self.remarks.append(
                f"{len(lost)} images for {split} are also in {' and '.join(where)}, and are left out here "
                f"(copies=leave_out): {self.stock.rows.lists[split].called(lost[0])} for one"
            )
        return np.setdiff1d(indices, np.asarray(lost, dtype=np.int64))

    def _check_groups(self, given: Mapping[str, Part]) -> None:
        """See that no group is in two parts that are given."""
        names = list(given)
        for k, name in enumerate(names):
            for other in names[k + 1 :]:
                one, two = given[name].groups_M, given[other].groups_M
                if one is not None and two is not None and (shared := sorted(set(one) & set(two))):
                    raise ConfigError(
                        "group",
                        f"{len(shared)} groups are both in {name} and in {other}, {shared[0]!r} for one: "
                        f"{given[name].called(one.index(shared[0]))} and {given[other].called(two.index(shared[0]))}.",
                        "Move each into one part, or leave the parts to tlfw by having train alone.",
                    )

    def _units(self, content_N: np.ndarray, usable: np.ndarray) -> np.ndarray:
        """What stays together, int64, for each of `usable`."""
        groups = self.stock.rows.groups
        if groups is None:
            return content_N[usable]
        return bound(content_N[usable], numbered(groups["train"])[usable])

    def _ranks(self, indices: np.ndarray, *key: object) -> np.ndarray:
        names = self.stock.rows.names("train")
        return ranks([names[i] for i in indices.tolist()], *key)

    def _for_test(self, units_M: np.ndarray, usable: np.ndarray) -> np.ndarray:
        """Which of `usable` are for the test: bool `[M]`."""
        draw, labels_M = self.draw, self.labelled.labels_N[usable]
        ranks_M = self._ranks(usable, "test", draw.test_seed)
        if self.stock.rows.groups is None:
            if draw.folds is None:
                return hold_out(labels_M, units_M, ranks_M, self._test_share)
            return deal(labels_M, units_M, ranks_M, draw.folds) == draw.fold
        if draw.folds is None:
            return hold_out_groups(labels_M, units_M, ranks_M, self._test_share, self.classes, "the test")
        held_M = deal_groups(labels_M, units_M, ranks_M, draw.folds) == draw.fold
        if missing := set(labels_M.tolist()) - set(labels_M[~held_M].tolist()):
            raise ConfigError(
                "group",
                f"all groups of class {self.classes[min(missing)]!r} are in fold {draw.fold} of {draw.folds}.",
                "Give the class more groups, or use fewer folds.",
            )
        return held_M

    def _drawn(self, units_M: np.ndarray, pool: np.ndarray) -> tuple[Part, Part]:
        """The labelled images of the pool: for training, and for validation."""
        draw, labels_M = self.draw, self.labelled.labels_N[pool]
        ranks_M = self._ranks(pool, "draw", draw.split_seed)
        if self.stock.rows.groups is None:
            held_M = hold_out(labels_M, units_M, ranks_M, self._val_share)
        else:
            held_M = hold_out_groups(labels_M, units_M, ranks_M, self._val_share, self.classes, "validation")
        chosen_M = np.ones(len(pool), dtype=bool)
        if draw.train_per_class is not None:
            chosen_M = first_per_class(labels_M, held_M, ranks_M, draw.train_per_class, self._val_share, self.classes)
        return self._part("train", pool[chosen_M & ~held_M]), self._part("train", pool[chosen_M & held_M])
