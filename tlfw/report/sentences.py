"""The verdict in words. What is said follows from the task alone; nothing is computed anew."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tlfw.records.metric import Metric
from tlfw.report.cells import Cell
from tlfw.report.number_format import chance, counted, labelled
from tlfw.report.statistics.estimate import LARGEST_DRAW, Estimate
from tlfw.report.sweep_plan import FEWEST_REPETITIONS
from tlfw.report.verdict import FEWEST_ERRORS, PLANNED_LEVEL, Shipped, Task, gain

MOST_REPETITIONS, MOST_TIMES = 100, 100
"""More than anyone would make: so many repetitions, or times as many test images."""

ENOUGH_REPETITIONS = 5
"""What is advised where a question needs repetitions."""


def scope(cells: Sequence[Cell], estimate: Estimate, drawn: float | None) -> str:
    """What claims about these cells hold for.

    Args:
        drawn: the share of the pool that a draw took; None: all repetitions learnt from the same images.
    """
    count = next((cell.labelled for cell in cells), None)
    these = "these labelled images" if count is None else f"these {labelled(count)}"
    repetitions = estimate.repetitions or (tuple(cells[0].runs) if len(cells) == 1 else ())
    seeds = len({repetition.seed for repetition in repetitions}) > 1
    if estimate.folds:
        said = f"over {len(repetitions)} folds of these images"
    elif len(repetitions) < 2:
        said = "for these trained models"
    elif drawn is None:
        said = f"over seeds, for {these}"
    elif drawn > LARGEST_DRAW:
        said = "over seeds and draws of these images" if seeds else "over draws of these images, for this seed"
    else:
        draws = f"new draws of {labelled(count)}"
        said = f"over seeds and {draws}" if seeds else f"over {draws}, for this seed"
    if any(cell.weights for cell in cells):
        said += ", given these pretrained weights"
    elif len(repetitions) > 1 and any(_one_pretraining(cell) for cell in cells):
        said += ", given this pretraining"
    return said


def _one_pretraining(cell: Cell) -> bool:
    """Whether all repetitions of a cell go on from one and the same stage."""
    begun = [run.record.stages[0]["key"] for run in cell.runs.values() if len(run.record.stages) > 1]
    return len(begun) > 1 and len(set(begun)) == 1


def sentence(task: Task, margin: float | None) -> str:
    """Which way is better."""
    cells, metric = task.cells, task.metric
    first = f"{cells[0].name} ({metric.text(task.means[0].value)})"
    if task.kind == "alone":
        return f"Only {first} was run: there is nothing to compare it with."
    if task.kind == "nothing":
        return _nothing(task, first)
    if task.kind == "unanswered":
        return _unanswered(task, first)
    if task.kind == "abstained":
        takes = task.shortage or f"{FEWEST_ERRORS} errors and {FEWEST_ERRORS} hits, and no way makes as many"
        return (
            f"{first} has the best mean, but the test cannot say which way is better: a claim on {metric.title} takes "
            f"{takes}."
        )
    holds = f"This holds {task.scope}."
    if task.kind == "best":
        low, high = interval(task, 0, 1)
        ahead = amount(metric, gain(task.estimate, metric)[0, 1])
        rest = "" if len(cells) == 2 else f", and better than each of the {len(cells) - 1} others"
        return (
            f"{first} is the best way: {ahead} better than {cells[1].name}, the next (95 % interval {low} to {high}, "
            f"{_p(task.estimate.p[0, 1])}){rest}. {holds}"
        )
    others = [cells[i].name for i in task.group[1:]]
    if task.kind == "equal":
        assert margin is not None
        less = "differs from it by less" if len(others) == 1 else "each differ from it by less"
        return f"Equally good: {first} and {listed(others)}, which {less} than {amount(metric, margin)}. {holds}"
    same = all(task.estimate.identical[0, i] for i in task.group[1:])
    if same and task.kind == "undecided":
        return f"No difference at all: {first} and {listed(others)} give the same predictions."
    if task.kind == "group":
        count = len(cells) - len(task.group)
        bound = ", which gives the same predictions" if same and len(others) == 1 else _bound(task)
        worse = f"{count} of {len(cells)} {'is' if count == 1 else 'are'} worse"
        if not others:
            return f"{first} is ahead, and {worse}; but it is not known to be better than each other way. {holds}"
        return f"{first} is ahead, but cannot be told apart from {listed(others)}{bound}; {worse}. {holds}"
    rest = f"any of the {len(others)} others" if len(others) > 1 else others[0]
    return (
        f"No way is known to be better: {first} has the best mean, but cannot be told apart from {rest}{_bound(task)}. "
        f"{holds}"
    )


def _nothing(task: Task, first: str) -> str:
    metric, floor = task.metric, task.floor
    ends = {"chance": floor.chance, "always naming the most frequent class": floor.majority}
    name = max(ends, key=lambda each: ends[each] if metric.higher_is_better else -ends[each])
    ahead = [mean.value for mean in task.means if not np.isclose(mean.value, ends[name], rtol=0, atol=1e-9)]
    if any(metric.better(value, ends[name]) for value in ahead):
        return (
            f"Nothing is known to have learnt: no interval is better than {name} ({metric.text(ends[name])}). "
            f"{first} has the best mean."
        )
    return f"Nothing has learnt: no way is better than {name} ({metric.text(ends[name])})."


def _unanswered(task: Task, first: str) -> str:
    count = len(task.estimate.repetitions)
    if count == 2:
        return f"Two repetitions cannot tell ways apart. {first} has the best mean of the two."
    if count == 1:
        return (
            "One repetition cannot say which way is better: another seed or draw may say otherwise. "
            f"{first} has the best value here."
        )
    return f"No two ways have a repetition in common, so nothing is said of which is better. {first} has the best mean."


def _bound(task: Task) -> str:
    """How far at most the others may be from the first."""
    others = np.array([i for i in task.group[1:] if np.isfinite(task.estimate.difference[0, i])])
    if not len(others):
        return ""
    most = float((np.abs(task.estimate.difference[0, others]) + task.estimate.reach(0, others)).max())
    span = abs((task.metric.high or np.inf) - (task.metric.low or 0.0))
    if not most < span:
        return ""
    none = "which differs from it by no more" if len(others) == 1 else "none of which differs from it by more"
    return f", {none} than {amount(task.metric, most)} (95 % interval)"


def advice(task: Task) -> str:
    """What would decide more."""
    estimate, cells, metric = task.estimate, task.cells, task.metric
    if task.kind in ("best", "alone", "equal", "nothing"):
        return ""
    if task.kind == "unanswered":
        if len(estimate.repetitions) != 2 or estimate.folds:
            return f"Make repetitions: repeat={ENOUGH_REPETITIONS}, or {FEWEST_REPETITIONS} at least."
        gaps = [amount(metric, _typical_gap(task, count)) for count in (FEWEST_REPETITIONS, ENOUGH_REPETITIONS)]
        return (
            f"As far as two can say, {FEWEST_REPETITIONS} repetitions would show gaps of about {gaps[0]}, and "
            f"{ENOUGH_REPETITIONS} gaps of about {gaps[1]}."
        )
    if task.kind == "abstained":
        return "Test on more images, or set folds=5 to test on all there are."
    rival = next((i for i in task.group[1:] if not estimate.identical[0, i] and np.isfinite(estimate.p[0, i])), None)
    if rival is None or task.level is None or estimate.folds:
        return ""
    pair = f"{cells[0].name} and {cells[rival].name}"
    seen = abs(float(estimate.difference[0, rival]))
    level, shared = task.level, int(estimate.shared[0, rival])
    ways = []
    counts = range(shared + 1, MOST_REPETITIONS + 1)
    if (count := _first(counts, lambda each: estimate.gap(0, rival, level, repetitions=each) <= seen)) is not None:
        ways.append(f"about {count} repetitions")
    images = [round(estimate.images * times) for times in np.geomspace(1.1, MOST_TIMES, 64)]
    of = estimate.images
    if (count := _first(images, lambda each: estimate.gap(0, rival, level, units=each / of) <= seen)) is not None:
        ways.append(f"about {_round(count):,} test images")
    if not ways:
        return (
            f"If {pair} differ by no more than was seen ({amount(metric, seen)}), neither {MOST_REPETITIONS} "
            "repetitions nor "
            f"{MOST_TIMES} times as many test images would show it."
        )
    return f"To tell {pair} apart, if they differ by as much as was seen, takes {' or '.join(ways)}."


def _first(amounts: Sequence[int], enough: Callable[[int], bool]) -> int | None:
    """The least of rising amounts that is enough, where all above it are too; None: none is."""
    place = bisect.bisect_left(amounts, True, key=enough)
    return amounts[place] if place < len(amounts) else None


def _typical_gap(task: Task, repetitions: int) -> float:
    """The difference to the first cell that so many repetitions would find in four of five times: the median over the
    other cells.
    """
    found = [
        task.estimate.gap(0, i, PLANNED_LEVEL, repetitions=repetitions)
        for i in range(1, len(task.cells))
        if np.isfinite(task.estimate.p[0, i])
    ]
    return float(np.median(found)) if found else float("nan")


def remarks(task: Task) -> tuple[str, ...]:
    """What else has to be known of the verdict."""
    cells, estimate = task.cells, task.estimate
    found = []
    for cell, mean in zip(cells, task.means, strict=True):
        if cell.diverged:
            total = cell.diverged + mean.repetitions
            found.append(f"{cell.name} diverged in {cell.diverged} of {total} repetitions, so it is not called best.")
    most = len(estimate.repetitions)
    if few := [cell.name for cell, mean in zip(cells, task.means, strict=True) if most and mean.repetitions < most]:
        found.append(
            f"{listed(few)} {'lacks' if len(few) == 1 else 'lack'} some of the {most} repetitions. "
            "Their means are adjusted by what the other cells did in these."
        )
    if estimate.unused:
        found.append(f"{counted(estimate.unused, 'run')} have no part in this: no other cell has their repetition.")
    if task.kind == "abstained" and task.shortage:
        found.append("The intervals are rough for the same reason.")
    elif task.shortage:
        found.append(f"The intervals are rough: those of {task.metric.title} take {task.shortage}.")
    last = max(task.group)
    if task.kind in ("group", "equal") and (above := [i for i in range(last) if i not in task.group]):
        found.append(
            f"{cells[above[0]].name} is worse than the first, but {cells[last].name}, which ranks below it, is not "
            "known to "
            "be: it varies more."
        )
    return tuple(found)


def shipped(task: Task, which: Shipped) -> str:
    """Which trained model to use."""
    metric, run = task.metric, which.run
    tied = ""
    if which.tied > 1:
        others = f"{which.tied - 1} other{'s' * (which.tied > 2)}"
        tied = f", a tie with {others}, of which it has the lowest validation loss"
    return (
        f"The model to use is {task.cells[which.cell].name}, seed {run.record.seed} ({run.folder.name}): it "
        "validated best "
        f"({metric.text(which.validation)}{tied}). Its test {metric.title} is {metric.text(which.tested.value)} (95 % "
        "interval "
        f"{span(metric, which.tested.low, which.tested.high)}, for this trained model)."
    )


def interval(task: Task, i: int, j: int) -> tuple[str, str]:
    """The ends of the 95 % interval of how much better cell i is than cell j, without their unit."""
    middle, reach = float(gain(task.estimate, task.metric)[i, j]), float(task.estimate.reach(i, j))
    return bare(task.metric, middle - reach), bare(task.metric, middle + reach)


def amount(metric: Metric, difference: float) -> str:
    """`3.2 points`, `0.041 nats`."""
    return f"{bare(metric, difference)} {metric.units.unit_of_difference}"


def bare(metric: Metric, value: float) -> str:
    """A value or a difference without its unit."""
    shown = f"{metric.units.scale * value:.{metric.units.decimals}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown.replace("-", "−")


def span(metric: Metric, low: float, high: float) -> str:
    """`83.1 to 87.2`."""
    return f"{bare(metric, low)} to {bare(metric, high)}"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`; of many the first four, and how many more."""
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


KICKERS: Mapping[str, str] = {
    "best": "One is best",
    "equal": "Equally good",
    "group": "Several share the lead",
    "undecided": "Not decided",
    "unanswered": "Not answered: too few repetitions",
    "abstained": "Not answered: too few test images",
    "nothing": "Nothing has learnt",
    "alone": "Nothing to compare",
}
"""Of each kind of verdict, in a few words."""
