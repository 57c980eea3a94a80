"""The settings that changed, where a run is a new one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tlfw.records.settings import REPETITION, Settings
from tlfw.sweeps.task_graph import Agenda, Candidate

MOST = 3
"""A run that differs in more fields is another one, and no changed one."""


def changes(agenda: Agenda, earlier: Iterable[Settings]) -> list[str]:
    """For the runs that are to be made: how they differ from the most similar `earlier` ones, a line a difference."""
    alike: defaultdict[tuple[Any, ...], list[Settings]] = defaultdict(list)
    for settings in earlier:
        alike[_cell(settings)].append(settings)
    found: Counter[str] = Counter()
    for job in agenda.missing:
        candidate = agenda.candidates[job]
        if difference := _difference(candidate, alike[_cell(candidate.settings)]):
            found[difference] += 1
    return [
        f"  {count} of these runs because a setting changed: {difference}" for difference, count in found.most_common()
    ]


def _cell(settings: Settings) -> tuple[Any, ...]:
    fields = ("backbone.name", "data_mix.order", "freeze_policy._target_", "freeze_policy.n")
    return tuple(str(settings.get(field)) for field in (*fields, *REPETITION))


def _difference(candidate: Candidate, earlier: Sequence[Settings]) -> str:
    ours = candidate.settings
    names = [name for name in sorted(ours) if name not in candidate.idle]
    found = [[name for name in names if ours.get(name) != theirs.get(name)] for theirs in earlier]
    least = min(range(len(found)), key=lambda i: len(found[i]), default=None)
    if least is None or not 0 < len(found[least]) <= MOST:
        return ""
    return ", ".join(f"{name}: {_said(earlier[least].get(name))} -> {_said(ours.get(name))}" for name in found[least])


def _said(value: Any) -> str:
    return "null" if value is None else str(value)
