"""Images that judge a model and are also among those that it learns from, in parts that were given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tlfw.data.copies import Copies
from tlfw.data.division import Division
from tlfw.errors import ConfigError

PartName = tuple[str, str]

JUDGES: Mapping[PartName, tuple[PartName, ...]] = {
    ("target", "test"): (("target", "train"), ("target", "val"), ("source", "train")),
    ("target", "val"): (("target", "train"), ("source", "train")),
    ("source", "val"): (("source", "train"),),
}
"""Parts that judge a model, and where their images must not be found again."""


def pairs(
    sums: Mapping[str, Mapping[str, Sequence[str]]], published: Mapping[str, bool]
) -> Iterator[tuple[PartName, int, PartName, int]]:
    """Images that judge a model and are also among those that it learns from.

    Args:
        sums: data set -> part -> a name for each image's content.
        published: data set -> whether its splits are known as they are; their own copies stay.

    Returns:
        The part that judges, the image's position in it, the other part, and the position there of one that is equal.
    """
    for (name, part), others in JUDGES.items():
        for other, other_part in others:
            if {name, other} <= set(sums) and not (name == other and published[name]):
                where = {each: i for i, each in enumerate(sums[other][other_part])}
                for i, each in enumerate(sums[name][part]):
                    if each in where:
                        yield (name, part), i, (other, other_part), where[each]


def overlap(divisions: Mapping[str, Division], published: Mapping[str, bool], copies: Copies) -> list[str]:
    """What is to be said of such images.

    Args:
        published: as `pairs` has it.

    Raises:
        ConfigError: there are some, and they are not accepted.
    """
    parts = {name: division.parts for name, division in divisions.items()}
    sums = {name: {part: images.sums_M for part, images in own.items()} for name, own in parts.items()}
    found = list(pairs(sums, published))
    if not found:
        return []
    (name, part), i, (other, other_part), j = found[0]
    what = (
        f"{parts[name][part].called(i)}, which is for {part}, is the same image as "
        f"{parts[other][other_part].called(j)}, which {other} has for {other_part}"
    )
    if copies == "accept":
        return [f"{name}: {len(found)} images that judge the model are also learnt from (copies=accept): {what}"]
    raise ConfigError(
        name,
        f"{what}; there are {len(found)} such pairs.",
        "Remove one of each, for a model is not judged by what it learns from; or set copies=leave_out, which leaves "
        "them out of what is learnt from, or copies=accept.",
    )
