"""Do the report's intervals hold what is true? Real networks, many draws and seeds, and a truth that is held out.

    python benchmarks/verdict_against_truth.py --out truth.md [override ...]     one or two hours on one core

Three cells of the quickstart are trained with 100 repetitions, each with its own seed and its own ten labelled images a
class. Then 200 reports are made. Each report divides repetitions and test images into halves anew. It takes five
repetitions of the one half and the images of that half, as `repeat=5` would. The truth comes from the other halves: all
its repetitions, on the other images. So the truth is an estimate too, and its own error is allowed for: an interval is
counted as holding if the truth is as near as both errors together say, at 95 %.

Expected: 93 to 97 % of intervals hold, for means and for differences; no way is called best, or worse, falsely.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from verdict_worlds import ACCURACY, judge

from tlfw.report.cells import cells_of
from tlfw.report.gather import gather
from tlfw.report.statistics.estimate import Estimate, estimate
from tlfw.report.statistics.score_tables import Repetition
from tlfw.report.verdict import PLANNED_LEVEL

NAME = "verdict_against_truth"
WAYS = (
    ("data_mix=pretrain_finetune", "freeze_policy=last_layer,full"),
    ("data_mix=target_only", "freeze_policy=full"),
)
PLANNED, REPORTS = 5, 200
Z = float(stats.norm.ppf(0.975))

Scores = dict[Repetition, np.ndarray]


def train(repetitions: int, overrides: Sequence[str]) -> Path:
    """All runs, as a user makes them: -> the sweep's folder."""
    for way in WAYS:
        command = [
            sys.executable, "-m", "tlfw", "-m", "+experiment=quickstart", f"name={NAME}", *way, "match_budget=null",
            f"repeat={repetitions}", "outputs=outputs", "hydra.sweeper.report=false", *overrides,
        ]  # fmt: skip
        subprocess.run(command, check=True)
    return Path("outputs/sweeps") / NAME


def read(folder: Path) -> tuple[list[str], list[str], list[Scores], float]:
    """Of each cell its name, what trains, and its hits by repetition; and the share of the pool that was drawn."""
    gathered = gather([folder])
    cells, _ = cells_of(gathered.runs, gathered.metric)
    scores: list[Scores] = []
    for cell in cells:
        found = {r: run.predictions() for r, run in cell.runs.items()}
        scores.append({r: each["prediction"] == each["label"] for r, each in found.items()})
    drawn = max(run.record.drawn or 1.0 for run in gathered.runs)
    return [cell.name for cell in cells], [str(cell.kin) for cell in cells], scores, drawn


def some(scores: Scores, repetitions: Sequence[Repetition], images: np.ndarray) -> Scores:
    """The scores of these repetitions on these images."""
    return {r: scores[r][images] for r in repetitions}


def halves(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of so many, at random."""
    order = random.permutation(count)
    return order[: count // 2], order[count // 2 :]


def holds(found: float, half: float, truth: float, half_of_truth: float) -> bool:
    """Whether a truth that is itself known to within `half_of_truth` lies in an interval about `found`."""
    return abs(found - truth) <= float(np.hypot(half, half_of_truth))


def judged(
    kinds: Sequence[str], cells: Sequence[Scores], drawn: float, reports: int, planned: int = PLANNED, seed: int = 0
) -> dict[str, np.ndarray]:
    """Many reports: of each, for each cell and each pair, whether the interval holds; and what was said falsely.

    Returns:
        `means [reports, C]`, `differences [reports, pairs]`, `false [reports]` and `best [reports]`, all bool.
    """
    random = np.random.default_rng(seed)
    repetitions = sorted(set.intersection(*(set(cell) for cell in cells)), key=lambda r: (r.seed, r.draw))
    images = len(cells[0][repetitions[0]])
    pairs = list(itertools.combinations(range(len(cells)), 2))
    rows: dict[str, list[object]] = {"means": [], "differences": [], "false": [], "best": []}
    for _ in range(reports):
        ours, others = halves(random, len(repetitions))
        own, held = halves(random, images)
        taken = [repetitions[i] for i in ours[:planned]]
        found = estimate([some(cell, taken, own) for cell in cells], kinds, drawn=drawn)
        truth = estimate([some(cell, [repetitions[i] for i in others], held) for cell in cells], kinds, drawn=drawn)
        rows["means"].append([_mean_holds(found, truth, i) for i in range(len(cells))])
        rows["differences"].append(
            [
                holds(
                    found.difference[i, j], float(found.reach(i, j)), truth.difference[i, j], float(truth.reach(i, j))
                )
                for i, j in pairs
            ]
        )
        said = judge(found, PLANNED_LEVEL, enough=len(own) >= ACCURACY.fewest)
        top = int(np.argmax([mean.value for mean in truth.means]))
        # Of two that are known to be equal to within the truth's error nothing false can be said.
        known = {(i, j) for i, j in itertools.permutations(range(len(cells)), 2) if _differs(truth, i, j)}
        wrong = any((j, i) in known for i, j in said.worse) or (said.best not in (None, top))
        rows["false"].append(wrong)
        rows["best"].append(said.best == top)
    return {name: np.array(values) for name, values in rows.items()}


def _mean_holds(found: Estimate, truth: Estimate, i: int) -> bool:
    one, other = found.means[i], truth.means[i]
    # An interval of a share is not symmetric: the side that looks towards the truth counts.
    half = one.high - one.value if other.value > one.value else one.value - one.low
    return holds(one.value, half, other.value, (other.high - other.low) / 2)


def _difference_holds(found: Estimate, truth: Estimate, i: int, j: int) -> bool:
    half, half_of_truth = (float(each.reach(i, j)) for each in (found, truth))
    return holds(float(found.difference[i, j]), half, float(truth.difference[i, j]), half_of_truth)


def _differs(truth: Estimate, i: int, j: int) -> bool:
    """Whether i is known to be worse than j."""
    return bool(truth.difference[i, j] < -truth.reach(i, j))


def share(holding: np.ndarray) -> str:
    """A share with its own 95 % interval, as if reports were independent."""
    count, total = int(holding.sum()), holding.size
    low, high = proportion_confint(count, total, alpha=0.05, method="wilson")
    return f"{100 * count / total:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def table(names: Sequence[str], found: Mapping[str, np.ndarray]) -> str:
    """In Markdown."""
    lines = ["| interval of | holds the truth, in % of reports |", "|---|--:|"]
    lines += [f"| {name} | {share(found['means'][:, i])} |" for i, name in enumerate(names)]
    for k, (i, j) in enumerate(itertools.combinations(range(len(names)), 2)):
        lines.append(f"| {names[i]} minus {names[j]} | {share(found['differences'][:, k])} |")
    lines += [
        f"| all means | {share(found['means'].all(1))} at once |",
        f"| *something false is said* | {share(found['false'])} |",
        f"| *the best is named* | {share(found['best'])} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, draw reports, and say how often they are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    parser.add_argument("--repetitions", type=int, default=100, help="of each cell (%(default)s)")
    parser.add_argument("--reports", type=int, default=REPORTS, help="how many (%(default)s)")
    parser.add_argument("--folder", type=Path, help="a sweep's folder of before: nothing is trained")
    parser.add_argument("override", nargs="*", help="as `python -m tlfw` takes them")
    given = parser.parse_args()
    names, kinds, cells, drawn = read(given.folder or train(given.repetitions, given.override))
    for name, cell in zip(names, cells, strict=True):
        values = [float(hits.mean()) for hits in cell.values()]
        print(f"{name}: {len(values)} repetitions, {np.mean(values):.2%}, SD {np.std(values, ddof=1):.2%}")
    text = table(names, judged(kinds, cells, drawn, given.reports))
    print(text)
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
