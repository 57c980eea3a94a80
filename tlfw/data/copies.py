"""Copies of an image on both sides of a split make a model look better than it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlfw.data.sets import Division
from tlfw.errors import ConfigError

PartName = tuple[str, str]

JUDGES: Mapping[PartName, tuple[PartName, ...]] = {
    ("target", "test"): (("target", "train"), ("target", "val"), ("source", "train")),
    ("target", "val"): (("target", "train"), ("source", "train")),
    ("source", "val"): (("source", "train"),),
}
"""Parts that judge a model, and where their images must not be found again."""


def refuse_copies(
    divisions: Mapping[str, Division], sums: Mapping[str, Mapping[str, Sequence[str]]], published: Mapping[str, bool]
) -> None:
    """See that no image that judges a model is one that it learns from.

    Args:
        sums: data set -> part -> a name for each image's content.
        published: data set -> whether its splits are known as they are; their own copies stay.

    Raises:
        ConfigError: there is one; says which, and how many.
    """
    found = []
    for (name, part), others in JUDGES.items():
        for other, other_part in others:
            if {name, other} <= set(divisions) and not (name == other and published[name]):
                where = {each: i for i, each in enumerate(sums[other][other_part])}
                found += [
                    (name, part, i, other, other_part, where[each])
                    for i, each in enumerate(sums[name][part])
                    if each in where
                ]
    if not found:
        return
    name, part, i, other, other_part, j = found[0]
    raise ConfigError(
        name,
        f"{getattr(divisions[name], part).called(i)}, which is for {part}, is the same image as "
        f"{getattr(divisions[other], other_part).called(j)}, which {other} has for {other_part}; "
        f"there are {len(found)} such pairs.",
        "Remove one of each: a model is not judged by what it learns from.",
    )
