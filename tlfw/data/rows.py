"""The one seam between where images come from and what is done with them.

A source, such as folders or a library's data set, says what it has row by row: an image, its label, which part
it is for if that is given, what it belongs together with if that is known. Unreadable files, groups, copies,
draws and folds are handled here and after, once for all sources.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from tlfw.data.images import AS_USUAL, ImageFiles, Images, Reading
from tlfw.data.listing import composed, kinds
from tlfw.data.pictures.picture import Span
from tlfw.data.pictures.preprocessing import Spanned
from tlfw.errors import ConfigError, first_three

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


class Row(NamedTuple):
    """One image file of a source.

    Attributes:
        path: relative to the source's root, with `/` between folders.
        label: in `[0, len(classes))`.
        split: the part that it is given for; None: not said, and it is as good as given for training.
        group: what it belongs together with; None: nothing is known.
    """

    path: str
    label: int
    split: SplitName | None = None
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a source has.

    Attributes:
        lists: split -> its images, with their labels. `train` is always there; what is for no other part is in it,
            and the parts that are missing are taken from it.
        groups: split -> for each image what it belongs together with; None: nothing is known.
        above: how many folders of a path stand above what lies in a class's folder; None: that is not known.
        remarks: what the source left out or took otherwise than it stands there, in sentences.
        files: how many there are of which kind, for people; empty where the images are in none.
    """

    lists: Mapping[SplitName, Images]
    groups: Mapping[SplitName, tuple[str, ...]] | None = None
    above: int | None = None
    remarks: tuple[str, ...] = ()
    files: str = ""

    @classmethod
    def of_files(
        cls,
        root: Path,
        rows: Iterable[Row],
        classes: Sequence[str],
        above: int | None = None,
        remarks: tuple[str, ...] = (),
    ) -> Rows:
        """The rows of a source whose images are files below `root`.

        Raises:
            ConfigError: only some of them have a group.
        """
        by_split: dict[SplitName, list[Row]] = {}
        for row in rows:
            by_split.setdefault(row.split or "train", []).append(row)
        every = [row for some in by_split.values() for row in some]
        if lacking := [row.path for row in every if row.group is None]:
            if len(lacking) < len(every):
                raise ConfigError(
                    "group",
                    f"{len(lacking)} of {len(every)} images have none: {first_three(lacking)}.",
                    "Give each image one, or none at all.",
                )
            groups = None
        else:
            groups = {split: tuple(str(row.group) for row in some) for split, some in by_split.items()}
        lists = {
            split: ImageFiles(root, [row.path for row in some], [row.label for row in some], classes)
            for split, some in by_split.items()
        }
        return cls(lists, groups, above, remarks, kinds(row.path for row in every))

    def read_as(self, reading: Reading) -> Rows:
        """The same rows, their files read otherwise."""
        lists = {
            split: files.read_as(reading) if isinstance(files, ImageFiles) else files
            for split, files in self.lists.items()
        }
        return dataclasses.replace(self, lists=lists)

    def names(self, split: SplitName) -> Sequence[str]:
        """What each image is called within its source: its path, or its number where there is none.

        Equal in all forms that Unicode has of a path.
        """
        images = self.lists[split]
        if isinstance(images, ImageFiles):
            return tuple(composed(name) for name in images.names)
        return [str(i) for i in range(len(images.labels_N))]

    def readable(self, manifests: Path | None) -> tuple[Rows, tuple[str, ...]]:
        """The rows without files that hold no image that can be read, and a sentence that says which these were.

        Args:
            manifests: a folder where what was found out about files may be kept; None: it is not kept.

        Raises:
            ConfigError: nothing is left of a split, or of a class of the training images.
        """
        lists, groups, bad = dict(self.lists), dict(self.groups or {}), []
        for split, files in self.lists.items():
            if not isinstance(files, ImageFiles) or not (unreadable := files.unreadable(manifests)):
                continue
            left = Counter(label for i, label in enumerate(files.labels_N.tolist()) if i not in unreadable)
            lost = [i for i in unreadable if not left[int(files.labels_N[i])] and (split == "train" or not left)]
            if lost:
                raise ConfigError(
                    files.field,
                    f"none of the images of class {files.classes[int(files.labels_N[lost[0]])]!r} for {split} can be "
                    f"read, {files.called(lost[0])} for one ({unreadable[lost[0]]}).",
                    "Repair some, or remove the class.",
                )
            lists[split] = files.without(unreadable)
            if self.groups is not None:
                groups[split] = tuple(each for i, each in enumerate(groups[split]) if i not in unreadable)
            bad += [files.names[i] for i in unreadable]
        if not bad:
            return self, ()
        total = sum(len(images.labels_N) for images in self.lists.values())
        said = f"{len(bad)} of {total} images cannot be read and are left out: {first_three(bad)}"
        groups_left = None if self.groups is None else groups
        return dataclasses.replace(self, lists=lists, groups=groups_left), (said,)

    def grouped(self, by: str | int) -> Rows:
        """The same rows, each image with the group that its path names.

        Args:
            by: a regular expression with a group named `group`, which is searched in the path; or n, for the n-th
                folder below the class's.

        Raises:
            ConfigError: an image has none.
        """
        groups: dict[SplitName, tuple[str, ...]] = {}
        for split, files in self.lists.items():
            if not isinstance(files, ImageFiles):
                raise ConfigError(
                    "group", "its images lie in no files, so no path says what belongs together.", "Leave it at null."
                )
            found = [self._by_level(name, by) if isinstance(by, int) else _by_match(name, by) for name in files.names]
            if lacking := [name for name, each in zip(files.names, found, strict=True) if not each]:
                what = f"no folder {by} below their class's" if isinstance(by, int) else f"no match of {by}"
                raise ConfigError(
                    "group",
                    f"{len(lacking)} of {len(files.names)} images for {split} have {what}, such as {lacking[0]}.",
                    "Give a regular expression with (?P<group>…) that is found in every path below the root, or the "
                    "level of a folder that every image lies in (1: CLASS/GROUP/IMAGE).",
                )
            groups[split] = tuple(str(each) for each in found)
        return dataclasses.replace(self, groups=groups)

    def _by_level(self, name: str, level: int) -> str | None:
        if self.above is None:
            raise ConfigError(
                "group", "here no folder is known to be a class's.", "Give a regular expression with (?P<group>…)."
            )
        folders = PurePosixPath(name).parts[:-1]
        return folders[self.above + level - 1] if len(folders) >= self.above + level else None


def _by_match(name: str, pattern: str) -> str | None:
    match = re.search(pattern, name)
    return match["group"] if match else None


@dataclasses.dataclass(frozen=True)
class Stock:
    """All images of a source that can be used, each known by its content.

    Attributes:
        rows: where they are, their labels and groups.
        sums: split -> for each image a name for its content.
        spans: split -> for each image what is known of its numbers, if they were looked at.
        remarks: what was left out, in sentences.
    """

    rows: Rows
    sums: Mapping[SplitName, tuple[str, ...]]
    spans: Mapping[SplitName, tuple[Span | None, ...]]
    remarks: tuple[str, ...] = ()

    @property
    def content(self) -> frozenset[str]:
        """The names of all contents."""
        return frozenset(each for sums in self.sums.values() for each in sums)

    def spanned(self, *splits: SplitName) -> Spanned:
        """What is known of the numbers of the images of these splits, all by default."""
        places = [(split, i) for split in splits or self.spans for i in range(len(self.spans[split]))]

        def called(place: int) -> str:
            split, i = places[place]
            return self.rows.lists[split].called(i)

        return Spanned([self.spans[split][i] for split, i in places], called)


def stock(
    rows: Rows, skip_unreadable: bool, by: str | int | None, manifests: Path | None, reading: Reading = AS_USUAL
) -> Stock:
    """Look at every image of `rows`.

    Args:
        skip_unreadable: leave out what cannot be read; otherwise it is an error.
        by: what names groups in paths (`Rows.grouped`); None: nothing does.
        manifests: a folder where what was found out about files may be kept; None: it is not kept.

    Raises:
        ConfigError: some cannot be read, or have no group.
    """
    rows = rows.read_as(reading)
    remarks = rows.remarks
    if skip_unreadable:
        rows, unreadable = rows.readable(manifests)
        remarks += unreadable
    if by is not None:
        rows = rows.grouped(by)
    known = {split: _known(images, manifests) for split, images in rows.lists.items()}
    sums = {split: tuple(each) for split, (each, _) in known.items()}
    spans = {split: tuple(each) for split, (_, each) in known.items()}
    return Stock(rows, sums, spans, remarks)


def _known(images: Images, manifests: Path | None) -> tuple[Sequence[str], Sequence[Span | None]]:
    """The names of all contents, and what is known of all numbers."""
    if isinstance(images, ImageFiles):
        return images.known(manifests)
    every = range(len(images.labels_N))
    return images.sums(every, manifests), images.spans(every, manifests)
