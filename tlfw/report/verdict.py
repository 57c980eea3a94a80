"""Which way of transferring is best, and whether that is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tlfw.report.cells import Cell
from tlfw.report.digits import chance, percent
from tlfw.report.statistics import (
    LEVEL,
    Accuracy,
    Differences,
    accuracies_of,
    adjusted,
    differences,
    images_to_decide,
    seeds_to_decide,
)

Kind = Literal["winner", "group", "undecided", "alone"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """The cells that were given the same number of labelled images, compared. Most accurate first.

    Attributes:
        labelled: images a class, validation included; None: all there are.
        correct: of each cell, repetition -> whether it is right on each test image, bool `[N]`.
        differences: of all pairs `[C, C]`, row minus column.
        adjusted: their p values, corrected for all comparisons of the report; those of a control on random features,
            which is a check and no candidate, stand each for itself.
        kind: `winner`: the first is better than every other. `group`: the first cannot be told from some others, but
            from some it can. `undecided`: it cannot be told from any. `alone`: there is no other.
        group: those that cannot be told from the first, itself included: positions. A control on random features is in
            it where it is the first, or the only other one.
        sentence: the verdict, for people.
        advice: what would decide more, for people; empty where nothing is open.
    """

    labelled: int | None
    cells: tuple[Cell, ...]
    accuracies: tuple[Accuracy, ...]
    correct: tuple[dict[object, np.ndarray], ...]
    differences: Differences
    adjusted: np.ndarray
    kind: Kind
    group: tuple[int, ...]
    sentence: str
    advice: str


def judge(groups: Sequence[tuple[int | None, Sequence[tuple[Cell, dict[object, np.ndarray]]]]]) -> list[Task]:
    """Compare the cells within each group, corrected for the comparisons of candidates within all of them.

    Args:
        groups: the labelled images a class, and cells with whether each repetition is right on each test image.
    """
    ordered, compared = [], []
    for labelled, members in groups:
        ones = accuracies_of([np.stack(list(correct.values())) for _, correct in members])
        measured = [(cell, correct, one) for (cell, correct), one in zip(members, ones, strict=True)]
        measured.sort(key=lambda each: (-each[2].mean, each[0].name))
        ordered.append((labelled, measured))
        compared.append(differences([correct for _, correct, _ in measured]))
    pairs = [np.triu_indices(len(measured), 1) for _, measured in ordered]
    p = np.concatenate([np.array([]), *(found.p[each] for found, each in zip(compared, pairs, strict=True))])
    candidates = [np.array([not cell.random_features for cell, _, _ in measured]) for _, measured in ordered]
    contest = np.concatenate(
        [np.array([], bool), *(own[i] & own[j] for own, (i, j) in zip(candidates, pairs, strict=True))]
    )
    corrected = p.copy()
    corrected[contest] = adjusted(p[contest])
    comparisons = max(int((~np.isnan(p[contest])).sum()), 1)
    tasks, first = [], 0
    for (labelled, measured), found, each in zip(ordered, compared, pairs, strict=True):
        matrix = np.full(found.p.shape, np.nan)
        matrix[each] = corrected[first : first + len(each[0])]
        matrix.T[each] = matrix[each]
        first += len(each[0])
        cells = tuple(cell for cell, _, _ in measured)
        accuracies = tuple(one for _, _, one in measured)
        contenders = [i for i, cell in enumerate(cells) if i == 0 or not cell.random_features]
        contenders = contenders if len(contenders) > 1 else list(range(len(cells)))
        group = tuple(i for i in contenders if i == 0 or not matrix[0, i] < LEVEL)
        kind = _kind(len(contenders), len(group))
        tasks.append(
            Task(
                labelled=labelled,
                cells=cells,
                accuracies=accuracies,
                correct=tuple(correct for _, correct, _ in measured),
                differences=found,
                adjusted=matrix,
                kind=kind,
                group=group,
                sentence=_sentence(kind, cells, accuracies, found, matrix, group),
                advice=_advice(kind, cells, found, group, comparisons),
            )
        )
    return tasks


def _kind(contenders: int, group: int) -> Kind:
    if contenders == 1:
        return "alone"
    if group == 1:
        return "winner"
    return "undecided" if group == contenders else "group"


def _sentence(
    kind: Kind,
    cells: Sequence[Cell],
    accuracies: Sequence[Accuracy],
    found: Differences,
    corrected: np.ndarray,
    group: Sequence[int],
) -> str:
    best = f"{cells[0].name} ({percent(accuracies[0].mean)})"
    seeds = {one.seeds for one in accuracies}
    once = " On one seed: another may say otherwise." if seeds == {1} else ""
    if kind == "alone":
        return f"Only {best} was run: there is nothing to compare it with."
    if kind == "winner":
        margin, low, high = (100 * each[0, 1] for each in (found.mean, found.low, found.high))
        return (
            f"{best} is best: {margin:.1f} points above {cells[1].name}, the next "
            f"(95 % interval {low:.1f} to {high:.1f}, {_p(corrected[0, 1])}).{once}"
        )
    others = [cells[i].name for i in group[1:]]
    same = all(found.identical[0, i] for i in group[1:])
    if same and kind == "undecided":
        return f"No difference at all: {best} and {_listed(others)} are right on the same test images.{once}"
    reach = [100 * max(found.high[0, i], -found.low[0, i]) for i in group[1:] if found.seeds[0, i]]
    most = max(reach, default=np.nan)
    none = "which differs from it by no more" if len(others) == 1 else "none of which differs from it by more"
    possible = 100 * max(accuracies[0].mean, 1 - accuracies[0].mean)
    bound = f", {none} than {most:.1f} points (95 % interval)" if most < possible else ""
    if same:
        bound = ": they are right on the same images"
    if kind == "group":
        worse = int((corrected[0] < LEVEL).sum())
        return (
            f"{best} is ahead, but cannot be told apart from {_listed(others)}{bound}; {worse} of {len(cells)} "
            f"{'is' if worse == 1 else 'are'} worse.{once}"
        )
    rest = f"any of the {len(others)} others" if len(others) > 1 else others[0]
    return f"Too little data: {best} has the highest accuracy, but cannot be told apart from {rest}{bound}.{once}"


def _advice(kind: Kind, cells: Sequence[Cell], found: Differences, group: Sequence[int], comparisons: int) -> str:
    if kind in ("winner", "alone"):
        return "" if kind == "alone" or found.seeds[0, 1] > 1 else "Run at least 3 seeds, to know how much they matter."
    rival = next((i for i in group[1:] if found.seeds[0, i] and not found.identical[0, i]), None)
    if rival is None:
        return ""
    pair = f"{cells[0].name} and {cells[rival].name}"
    ways = []
    images = images_to_decide(found, 0, rival, comparisons)
    if found.seeds[0, rival] == 1:
        ways.append("several seeds (one says nothing of how much another would differ)")
    elif seeds := seeds_to_decide(found, 0, rival, comparisons):
        ways.append(f"about {seeds} seeds")
    if images:
        ways.append(f"about {_round(images):,} test images")
    if not ways:
        return (
            f"If {pair} differ by no more than was seen ({100 * abs(found.mean[0, rival]):.1f} points), neither more "
            "seeds nor more test images alone would show it."
        )
    return f"To tell {pair} apart, if they differ by as much as was seen, takes {' or '.join(ways)}."


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:4], *([f"{len(names) - 4} more"] if len(names) > 4 else [])]
    comma, last = ("; ", "; and ") if any("," in name for name in shown) else (", ", " and ")
    return shown[0] if len(shown) == 1 else f"{comma.join(shown[:-1])}{last}{shown[-1]}"


def _p(value: float) -> str:
    shown = chance(value)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _round(count: int) -> int:
    """To two digits."""
    digits = 10 ** max(len(str(count)) - 2, 0)
    return -(-count // digits) * digits
