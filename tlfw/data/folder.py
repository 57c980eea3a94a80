"""A person's own images in folders: `root/train/CLASS/IMAGE`, and if there are any, `root/val/…` and `root/test/…`."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.data.listing import (
    LeftOut,
    composed,
    files_below,
    folders_in,
    in_order,
    listed,
    said,
)
from tlfw.data.rows import Row, Rows, SplitName
from tlfw.data.sets import CONTENT, LIES, DataSet
from tlfw.errors import ConfigError, first_three, nearest
from tlfw.escape import is_printable, printable
from tlfw.identity.names import named
from tlfw.strictness import STRICT

Nested = Literal["refuse", "merge", "split"]

_PART = re.compile(
    r"(?P<train>train(ing)?|trn)|(?P<val>val(id(ation)?)?|dev(elopment)?)|(?P<test>test(ing)?|tst)", re.IGNORECASE
)
_PART_TAIL = re.compile(r"([ _.-]?(set|data|images?|imgs?|split|part|dir|folder|\d+))?", re.IGNORECASE)
_UNCLEAR = re.compile(r"eval(uation)?|hold[ _-]?out", re.IGNORECASE)

BESIDE = "in folders beside the parts"


@named("tlfw.ImageFolder")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageFolder(DataSet):
    """Your own images: `root/train/CLASS/IMAGE`, and if you like `root/val/…` and `root/test/…`.

    The parts may have other usual names: `training`, `valid`, `validation`, `dev`, `Test`, `train_images`, `val2017`.

    Args:
        root: the folder; relative to where the command is run.
        nested: what folders within a class's folder are: `merge`: all their images are of the class; `split`: each
            folder that has images is a class, called by its path; `refuse`: nobody said. Not needed where `group`
            names them.
    """

    root: Annotated[str, LIES] = Field(min_length=1)
    nested: Annotated[Nested, CONTENT] = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nested == "split" and isinstance(self.group, int):
            raise ConfigError(
                "group",
                f"with nested=split there is no folder {self.group} below a class's.",
                "Give a regular expression with (?P<group>…), or nested=merge.",
            )

    @property
    def title(self) -> str:
        return printable(Path(self.root).resolve().name)

    def rows(self, splits: Sequence[SplitName]) -> Rows:
        root = Path(self.root).expanduser()
        if not root.is_dir():
            what = "it is no folder" if root.exists() else f"there is no folder {root.absolute()}"
            raise ConfigError("root", f"{what}.", "Give the folder that holds train/.")
        places, left_out = _parts(root)
        remarks: list[str] = []
        classes: Mapping[str, int] = {}
        found: list[Row] = []
        for split in ("train", *(split for split in splits if split != "train")):
            if split in places:
                part = _Part(root, places[split], self.nested)
                classes = classes or part.as_train()
                found += part.rows(split, classes)
                left_out += part.left_out
                remarks += part.remarks
        if self.nested == "refuse":
            _check_nested([row.path for row in found], self.group)
        if line := said(left_out):
            remarks.insert(0, line)
        above = None if self.nested == "split" else 2
        return Rows.of_files(root, found, list(classes), above, tuple(remarks))


class _Part:
    """One part of an image folder.

    Attributes:
        folders: the name of each class -> its folders' paths below the part's, of which a class has one.
        images: class -> paths below the root.
    """

    def __init__(self, root: Path, name: str, nested: Nested) -> None:
        self.place, self.name = root / name, name
        self.left_out: list[LeftOut] = []
        self.remarks: list[str] = []
        self.images: dict[str, list[str]] = {}
        self.holds: dict[str, list[LeftOut]] = {}
        names, loose = folders_in(self.place, f"{name}/")
        self.left_out += loose
        self.bare = sum(each.files for each in loose)
        _check_apart(self.place, names)
        folders: defaultdict[str, list[str]] = defaultdict(list)
        for folder in names:
            listing = listed(self.place / folder, f"{name}/{folder}/")
            self.left_out += listing.left_out
            if nested == "split":
                by_folder: defaultdict[str, list[str]] = defaultdict(list)
                for path in listing.images:
                    by_folder[path[len(name) + 1 :].rpartition("/")[0]].append(path)
            else:
                by_folder = defaultdict(list, {folder: list(listing.images)})
            for place, images in by_folder.items() or [(folder, [])]:
                called = self._called(place)
                folders[called].append(place)
                self.images[called] = images
                self.holds[called] = list(listing.left_out)
        _check_distinct(self.place, folders)
        if odd := [called for called, (place, *_) in folders.items() if called != composed(place)]:
            self.remarks.append(
                f"{len(odd)} class folders of {name} have names that are no UTF-8, and are called {first_three(odd)}"
            )

    def _called(self, folder: str) -> str:
        """What a class is called that has this folder."""
        called = composed(printable(folder))
        if not is_printable(os.fsencode(folder).decode("utf-8", "backslashreplace")):
            raise ConfigError(
                "root",
                f"the name of {printable(str(self.place / folder))} has characters that control a terminal.",
                "Rename the folder.",
            )
        return called

    def as_train(self) -> Mapping[str, int]:
        """The classes, which training images decide: name -> label.

        Raises:
            ConfigError: there are none, or one has no image.
        """
        if not self.images:
            raise ConfigError(
                "root", f"{self.place} has no class folders.", f"Put the images into {self.place}/CLASS/."
            )
        return {called: label for label, called in enumerate(sorted(self.images, key=in_order))}

    def rows(self, split: SplitName, classes: Mapping[str, int]) -> list[Row]:
        """The images, by class.

        Raises:
            ConfigError: there is a class that the training images lack, or no image where there has to be one.
        """
        if unknown := sorted(set(self.images) - set(classes)):
            near = nearest(unknown[0], classes, 1)
            raise ConfigError(
                "root",
                f"{self.place} has the class {unknown[0]!r}, which the training images do not have.",
                f"Use the same class folders in each part{f' ({near[0]!r}?)' if near else ''}.",
            )
        found = [Row(path, classes[called], split) for called in classes for path in self.images.get(called, ())]
        empty = [called for called, images in self.images.items() if not images]
        if not found or (split == "train" and empty):
            held = self.holds[empty[0]] if empty else self.left_out
            here = self.place / empty[0] if empty else self.place
            but = f", but {said(held)}" if held else ""
            remedy = "Put some there, or remove the folder."
            if not self.images:
                remedy = f"Give each class a folder, or move {self.name} away: python -m tlfw.predict names its images."
            raise ConfigError("root", f"{here} has no images{but}.", remedy)
        return found


def _parts(root: Path) -> tuple[dict[SplitName, str], list[LeftOut]]:
    """Which folder below the root is which part, and what else is there.

    Raises:
        ConfigError: there are none for training, or several for one part, or one of which that is not clear.
    """
    names, left_out = folders_in(root)
    places: dict[SplitName, str] = {}
    others: list[str] = []
    for name in names:
        split = _part(name)
        if split is None:
            others.append(name)
        elif split in places:
            raise ConfigError(
                "root",
                f"{root} has {places[split]} and {name}, both for {split}.",
                "Keep one, and move the other away.",
            )
        else:
            places[split] = name
    if "train" not in places:
        raise ConfigError("root", f"{root} has no folder train.", _how_to_begin(root, names))
    if unclear := [name for name in others if _UNCLEAR.fullmatch(name)]:
        raise ConfigError(
            "root",
            f"{root / unclear[0]} may be for validation or for the test.",
            "Call it val or test, or move it away.",
        )
    left_out += [LeftOut(f"{name}/", BESIDE, files_below(str(root / name))) for name in others]
    return places, left_out


def _part(name: str) -> SplitName | None:
    """Which part a folder of this name is."""
    found = _PART.match(name)
    if found is None:
        return None
    # `train_images` is one, `trainer` is none.
    tail = name[max(found.end(split) for split in ("train", "val", "test")) :]
    return found.lastgroup if _PART_TAIL.fullmatch(tail) else None  # type: ignore[return-value]


def _how_to_begin(root: Path, names: Sequence[str]) -> str:
    """What to do with a root that has no part for training."""
    for name in names:
        with contextlib.suppress(ConfigError):
            if any(_part(inner) == "train" for inner in folders_in(root / name)[0]):
                return f"{root / name} has one: give that folder."
    classes = [name for name in names if _part(name) is None]
    if classes:
        return f"If {first_three(classes)} are classes, move them into {root / 'train'}/."
    return f"Put the images into {root / 'train'}/CLASS/."


def _check_apart(place: Path, names: Iterable[str]) -> None:
    """See that no folder is two classes, by a link."""
    there: dict[tuple[int, int], str] = {}
    for name in names:
        stat = os.stat(place / name)
        other = there.setdefault((stat.st_dev, stat.st_ino), name)
        if other != name:
            raise ConfigError(
                "root", f"{place / other} and {place / name} are one and the same folder.", "Remove the link."
            )


def _check_distinct(place: Path, folders: Mapping[str, Sequence[str]]) -> None:
    """See that people can tell the classes apart by their names."""
    looks: dict[str, str] = {}
    for called, places in folders.items():
        other = looks.setdefault(_look(called), places[0])
        pair = places if len(places) > 1 else (other, places[0])
        if pair[0] != pair[1]:
            raise ConfigError(
                "root",
                f"the names of two folders in {place} look equal: {pair[0]!a} and {pair[1]!a}.",
                "Move the images into one of them.",
            )


def _look(name: str) -> str:
    """Equal for names that look equal: without invisible characters, all white space as one blank."""
    return " ".join("".join(each for each in name if unicodedata.category(each) != "Cf").split())


def _check_nested(paths: Sequence[str], group: str | int | None) -> None:
    """See that somebody said what folders within class folders are."""
    nested = [path for path in paths if path.count("/") > 2 and not _named(path, group)]
    if nested:
        folders = sorted({path.rpartition("/")[0] for path in nested}, key=in_order)
        raise ConfigError(
            "nested",
            f"{len(nested):,} images are in folders within class folders: {first_three(folders)}.",
            "Set nested=split where each is a class, nested=merge where they are of the class above; or let group name "
            "them (group=1: CLASS/GROUP/IMAGE).",
        )


def _named(path: str, group: str | int | None) -> bool:
    """Whether a group is named by one of the folders between the class's and the image."""
    if not isinstance(group, str):
        return group is not None
    match = re.search(group, path)
    if match is None or not match["group"]:
        return True  # that it has no group is said where groups are made
    begin = path.index("/", path.index("/") + 1)
    return match.start("group") < path.rindex("/") and match.end("group") > begin
