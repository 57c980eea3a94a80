"""What a field of the config decides, declared where the field is defined.

A field that declares nothing decides numbers by its value and is in the keys of what it decides. Others say so in their
annotation, as in `workers: Annotated[int, unkeyed("processes that load images change no image")]`. Keys, plans, reports
and searches read it here, and a test goes through all fields (`tests/test_keyed.py`).
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Decides:
    """What a field decides.

    Attributes:
        keyed: whether it changes keys.
        by_value: whether its value is in keys itself; otherwise what comes of it is.
        why: as what it is keyed, or why it is not.
        named: whether a report names it as a setting in which runs differ.
        where: (another field of the same noun, its value) without which it decides nothing.
    """

    keyed: bool = True
    by_value: bool = True
    why: str = ""
    named: bool = True
    where: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Each:
    """For a field that holds settings of its own: what some of these decide, by name, wherever nothing else says it."""

    fields: Mapping[str, Decides]


KEYED = Decides()


def keyed(why: str = "", *, named: bool = True, where: tuple[str, str] | None = None) -> Decides:
    """It decides numbers, and its value is in keys."""
    return Decides(why=why, named=named, where=where)


def by_effect(why: str, *, named: bool = True) -> Decides:
    """It decides numbers; not its value is in keys, but what comes of it: equal effects have equal keys.

    Args:
        why: as what it is keyed.
    """
    return Decides(by_value=False, why=why, named=named)


def unkeyed(why: str, *, named: bool = False) -> Decides:
    """It decides no number, and is in no key.

    Args:
        named: whether runs are still said to differ in it, as in the folder that images lie in.
    """
    return Decides(keyed=False, by_value=False, why=why, named=named)


HYDRA: Mapping[str, Decides] = {
    "_target_": by_effect("the public name of what is made, with its code where that has no number"),
    "_partial_": unkeyed("how an object is made, and not what it is"),
    "_convert_": unkeyed("how an object is made, and not what it is"),
    "_recursive_": unkeyed("how an object is made, and not what it is"),
}
"""Hydra's own words in a config, in any place."""


def decides(noun: Any, name: str) -> Decides:
    """What a field decides.

    Args:
        noun: what holds it: an experiment, or another noun of the config.
        name: the field's full name from there, as in `target.root`.
    """
    found, holder = _declaration(noun, name)
    if found.where is not None and getattr(holder, found.where[0], None) != found.where[1]:
        return unkeyed(f"without {found.where[0]}={found.where[1]} it decides nothing")
    return found


def _declaration(noun: Any, name: str) -> tuple[Decides, Any]:
    """What is declared of a field, and the noun that declares it."""
    found, holder, above = KEYED, noun, dict[str, Decides]()
    for word in name.split("."):
        if word in HYDRA:
            return HYDRA[word], noun
        kind: Any = type(noun)
        own, below = _declared(kind).get(word, (None, {}))
        if (said := above.get(word) or own) is not None:
            found, holder = said, noun
        if not found.keyed:
            break
        noun = noun.get(word) if isinstance(noun, Mapping) else getattr(noun, word, None)
        above = below
    return found, holder


def unnamed(noun: Any, names: Iterable[str]) -> list[str]:
    """Those of a noun's fields, by full name, in which runs are not said to differ."""
    return sorted(name for name in names if not decides(noun, name).named)


def idle(noun: Any, names: Iterable[str]) -> list[str]:
    """Those of a noun's fields, by full name, that are no reason for another result."""
    found = {name: decides(noun, name) for name in names}
    return sorted(name for name, each in found.items() if not each.keyed and not each.named)


def deciding(noun: Any, names: Iterable[str]) -> list[str]:
    """Those of a noun's fields, by full name, that decide numbers, or would where another field had another value."""
    return sorted(name for name in names if _declaration(noun, name)[0].keyed)


@functools.lru_cache(maxsize=256)
def _declared(kind: Any) -> Mapping[str, tuple[Decides | None, dict[str, Decides]]]:
    """Field -> what it declares: of itself, and of what it holds."""
    if not dataclasses.is_dataclass(kind):
        return {}
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {}
    for field in dataclasses.fields(kind):
        notes = getattr(hints.get(field.name), "__metadata__", ())
        own = next((note for note in notes if isinstance(note, Decides)), None)
        below = [dict(note.fields) for note in notes if isinstance(note, Each)]
        found[field.name] = own, below[0] if below else {}
    return found
