"""The settings that changed, where a run is a new one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tlfw.agenda import Agenda
from tlfw.settings import REPETITION, UNKEYED, Settings

MOST = 3
"""A run that differs in more fields is another one, and no changed one."""


def changes(agenda: Agenda, earlier: Iterable[Settings]) -> list[str]:
    """For the runs that are to be made: how they differ from the most similar `earlier` ones, a line a difference."""
    alike: defaultdict[tuple[Any, ...], list[Settings]] = defaultdict(list)
    for settings in earlier:
        alike[_cell(settings)].append(settings)
    found: Counter[str] = Counter()
    for job in agenda.missing:
        ours = agenda.candidates[job].settings
        if difference := _difference(ours, alike[_cell(ours)]):
            found[difference] += 1
    return [
        f"  {count} of these runs because a setting changed: {difference}" for difference, count in found.most_common()
    ]


def _cell(settings: Settings) -> tuple[Any, ...]:
    fields = ("backbone.name", "data_mix.order", "freeze_policy._target_", "freeze_policy.n")
    return tuple(str(settings.get(field)) for field in (*fields, *REPETITION))


def _difference(ours: Settings, earlier: Sequence[Settings]) -> str:
    judged_only = ["metric"] * (ours.get("select") != "best_val")
    names = [name for name in sorted(ours) if not name.startswith(UNKEYED) and name not in judged_only]
    found = [[name for name in names if ours.get(name) != theirs.get(name)] for theirs in earlier]
    least = min(range(len(found)), key=lambda i: len(found[i]), default=None)
    if least is None or not 0 < len(found[least]) <= MOST:
        return ""
    return ", ".join(f"{name}: {_said(earlier[least].get(name))} -> {_said(ours.get(name))}" for name in found[least])


def _said(value: Any) -> str:
    return "null" if value is None else str(value)
