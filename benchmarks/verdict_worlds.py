"""How often the verdict errs, how often its intervals hold, and what it finds: simulated worlds whose truth is known.

    python benchmarks/verdict_worlds.py --reports 2000 --out worlds.md     about an hour on one core
    python benchmarks/verdict_worlds.py --reports 200 --only null          some of them

A world says how cells, repetitions and images vary; a report is one draw from it. Whether a network is right on an
image is a normal value above 0, in which the cell, the repetition, the image and pairs of them have parts.

Expected: a false "best" or "worse" at the planned number of repetitions in at most 6 % of reports; p < 0.001 in at most
0.4 % of equal pairs; intervals that cover in at least 93 %, from 100 images and five expected errors on.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy import stats

from tlfw.records.metric import METRICS
from tlfw.report.statistics.estimate import Estimate, estimate
from tlfw.report.statistics.score_tables import Repetition
from tlfw.report.verdict import OTHER_LEVEL, PLANNED_LEVEL, best, claims_of, holm, worse

ACCURACY = METRICS["accuracy"]
STEADY, WILD = 0.02, 0.135
"""Of the latent value: what a repetition does to a linear probe, and to fine-tuning (0.4 and 2.5 points at 83 %)."""

GRID = ("head", "head", "head", "blocks", "blocks", "blocks", "all", "all", "all", "all")


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """How the scores of a report come about.

    Attributes:
        kinds: of each cell, what trains; accuracies: of each cell.
        own: of each cell, the standard deviation of what a repetition does to it alone.
        common: of what a repetition does to all cells; kind: to all of a kind; pretrained: to all but the last two.
        image, cell_image: of an image, and of an image for one cell.
        clusters: into how many the images fall; 0: they do not. clustered: the deviation of a cluster for a cell.
        missing: the share of runs that are missing, at random.
        looks: numbers of repetitions at which a person looks, besides the planned one.
    """

    name: str
    repetitions: int = 5
    images: int = 900
    kinds: Sequence[str] = GRID
    accuracies: Sequence[float] = (0.83,) * 10
    own: Sequence[float] = (STEADY,) * 6 + (WILD,) * 4
    common: float = 0.1
    kind: float = 0.0
    pretrained: float = 0.0
    image: float = 0.8
    cell_image: float = 0.35
    clusters: int = 0
    clustered: float = 0.0
    missing: float = 0.0
    looks: Sequence[int] = ()

    def draw(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Whether each is right, bool `[C, S, N]`; which runs there are, bool `[C, S]`; the cluster of each image."""
        cells, most = len(self.kinds), max((self.repetitions, *self.looks))
        grouped = np.arange(cells) < cells - 2
        own_C = np.asarray(self.own)
        spread_C = np.sqrt(
            1
            + self.image**2
            + self.cell_image**2
            + own_C**2
            + self.common**2
            + self.kind**2
            + (grouped * self.pretrained) ** 2
            + self.clustered**2
        )
        mean_C = stats.norm.ppf(self.accuracies) * spread_C
        names = list(dict.fromkeys(self.kinds))
        kind_C = np.array([names.index(kind) for kind in self.kinds])
        level_CS = (
            mean_C[:, None]
            + self.common * random.normal(size=most)
            + own_C[:, None] * random.normal(size=(cells, most))
            + self.kind * random.normal(size=(len(names), most))[kind_C]
            + self.pretrained * grouped[:, None] * random.normal(size=most)
        )
        level_CN = self.image * random.normal(size=self.images) + self.cell_image * random.normal(
            size=(cells, self.images)
        )
        clusters_N = None
        if self.clusters:
            clusters_N = np.arange(self.images) * self.clusters // self.images
            level_CN = level_CN + self.clustered * random.normal(size=(cells, self.clusters))[:, clusters_N]
        latent = random.standard_normal((cells, most, self.images), dtype=np.float32)
        latent += level_CS[:, :, None].astype(np.float32)
        latent += level_CN[:, None, :].astype(np.float32)
        there_CS = random.random((cells, most)) >= self.missing
        there_CS[:, 0] |= ~there_CS.any(1)
        return latent > 0, there_CS, clusters_N


def _worlds() -> Iterable[World]:
    for s in range(1, 9):
        yield World(name=f"null, {s} repetitions", repetitions=s)
    for s in (3, 5):
        yield World(name=f"null, all steady, {s}", repetitions=s, own=(STEADY,) * 10)
        yield World(name=f"null, all wild, {s}", repetitions=s, own=(WILD,) * 10)
        yield World(name=f"null, nine steady and one wild, {s}", repetitions=s, own=(STEADY,) * 9 + (WILD,))
        yield World(
            name=f"null, unlike within kinds, {s}",
            repetitions=s,
            own=tuple(0.07 * np.exp(0.7 * np.linspace(-1.5, 1.5, 10))),
        )
        yield World(name=f"null, kinds answer a draw apart, {s}", repetitions=s, kind=0.1)
        yield World(name=f"null, kinds answer a draw far apart, {s}", repetitions=s, kind=0.3)
        yield World(name=f"null, pretrainings differ, {s}", repetitions=s, pretrained=0.1)
        yield World(name=f"null, pretrainings differ much, {s}", repetitions=s, pretrained=0.2)
        yield World(name=f"null, a tenth is missing, {s}", repetitions=s, missing=0.1)
        yield World(name=f"null, a third is missing, {s}", repetitions=s, missing=0.33)
    for s in (2, 3, 5, 8):
        yield World(name=f"null, draws move all by 5 points, {s}", repetitions=s, common=0.3)
    for s in (2, 3, 5):
        two = {"kinds": ("all", "all"), "accuracies": (0.83, 0.83), "own": (0.2, 0.2)}
        yield World(name=f"null, two wild cells, {s}", repetitions=s, **two)
    for n in (20, 50, 100, 300, 3000, 10_000):
        yield World(name=f"null, {n:,} images", images=n)
    yield World(name="null, 100 images, 3 repetitions", images=100, repetitions=3)
    yield World(name="null, 10,000 images, 3 repetitions", images=10_000, repetitions=3)
    for accuracy in (0.5, 0.6, 0.9, 0.95, 0.99):
        yield World(name=f"null, accuracy {accuracy}", accuracies=(accuracy,) * 10)
    yield World(name="null, accuracy 0.99, 10,000 images", accuracies=(0.99,) * 10, images=10_000)
    yield World(name="null, accuracy 0.5, 100 images", accuracies=(0.5,) * 10, images=100)
    for g in (5, 12, 40):
        yield World(name=f"null, {g} clusters", clusters=g, clustered=0.6)
    yield World(name="null, looks at 3 to 8, 5 planned", looks=(3, 4, 6, 7, 8))
    yield World(name="null, looks at 3 to 8, 3 planned", repetitions=3, looks=(4, 5, 6, 7, 8))
    for s in (3, 5, 8):
        first = (0.86, *(0.83,) * 9)
        yield World(name=f"a steady one 3 points ahead, {s}", repetitions=s, accuracies=first)
        yield World(name=f"a steady one 6 points ahead, {s}", repetitions=s, accuracies=(0.89, *(0.83,) * 9))
        yield World(name=f"a wild one 6 points ahead, {s}", repetitions=s, accuracies=(*(0.83,) * 9, 0.89))
        yield World(name=f"a ladder of a point each, {s}", repetitions=s, accuracies=tuple(np.linspace(0.89, 0.80, 10)))


WORLDS = tuple(_worlds())


@dataclasses.dataclass(frozen=True)
class Judged:
    """What one report says: the best cell or None, and which pairs (i, j) it calls: i is worse than j."""

    best: int | None
    worse: frozenset[tuple[int, int]]


def report(
    correct_CSN: np.ndarray, there_CS: np.ndarray, clusters_N: np.ndarray | None, kinds: Sequence[str]
) -> Estimate:
    """The estimate of a table of scores."""
    cells = [
        {Repetition(seed=s, draw=(s,)): own_SN[s] for s in np.flatnonzero(there_S)}
        for own_SN, there_S in zip(correct_CSN, there_CS, strict=True)
    ]
    return estimate(cells, kinds, clusters_N=clusters_N, drawn=0.05)


def judge(found: Estimate, level: float | None, enough: bool) -> Judged:
    """As the report judges."""
    claims = claims_of(found, ACCURACY, enough)
    count = len(found.means)
    pairs = np.triu_indices(count, 1)
    adjusted = np.full((count, count), np.nan)
    adjusted[pairs] = adjusted.T[pairs] = holm(np.where(claims, found.p, np.nan)[pairs])
    said = frozenset(
        (i, j) for i in range(count) for j in range(count) if worse(found, adjusted, ACCURACY, level, i, j)
    )
    return Judged(best(found, ACCURACY, level, claims), said)


def false(judged: Judged, accuracies: Sequence[float]) -> tuple[bool, bool]:
    """Whether it names a false best, and a false worse."""
    top = max(accuracies)
    wrong = judged.best is not None and (accuracies[judged.best] < top or sum(a == top for a in accuracies) > 1)
    return wrong, any(accuracies[i] >= accuracies[j] for i, j in judged.worse)


def simulate(world: World, reports: int, seed: int = 0) -> dict[str, float]:
    """Rates over many reports of one world."""
    random = np.random.default_rng([seed, *world.name.encode()])
    truth = np.asarray(world.accuracies)
    upper = np.triu_indices(len(truth), 1)
    gap = np.subtract.outer(truth, truth)
    rows: list[dict[str, float]] = []
    values, differences = [], []
    for _ in range(reports):
        correct, there, clusters = world.draw(random)
        found_at: dict[int, Judged] = {}
        for s in sorted({world.repetitions, *world.looks}):
            found = report(correct[:, :s], there[:, :s], clusters, world.kinds)
            level = None if len(found.repetitions) < 3 else PLANNED_LEVEL if s == world.repetitions else OTHER_LEVEL
            found_at[s] = judge(found, level, world.images >= ACCURACY.fewest)
            if s == world.repetitions:
                kept = found
        wrong_best, wrong_worse = false(found_at[world.repetitions], world.accuracies)
        anywhere = any(any(false(judged, world.accuracies)) for judged in found_at.values())
        p, equal = kept.p[upper], gap[upper] == 0
        known = np.isfinite(p)
        low, high = (np.array([getattr(mean, name) for mean in kept.means]) for name in ("low", "high"))
        mean = np.array([each.value for each in kept.means])
        half = kept.reach(*upper)
        inside = np.abs(kept.difference[upper] - gap[upper]) <= half + 1e-12
        right = found_at[world.repetitions].best
        alone = world.repetitions == 1
        real = [(i, j) for i in range(len(truth)) for j in range(len(truth)) if truth[i] < truth[j]]
        rows.append(
            {
                "false best": wrong_best,
                "false worse": wrong_worse,
                "false at any look": anywhere,
                "p < .001": float((p[known & equal] < 0.001).mean()) if (known & equal).any() else np.nan,
                # With one repetition an interval is of these trained models, whose truth is another.
                "mean covers": np.nan if alone else float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean()),
                "mean width": np.nan if alone else float((high - low).mean()),
                "difference covers": float(inside[known].mean()) if known.any() else np.nan,
                "difference width": float(2 * half[known].mean()) if known.any() else np.nan,
                "right best": float(right is not None and not wrong_best),
                "worse found": float(np.mean([pair in found_at[world.repetitions].worse for pair in real]))
                if real
                else np.nan,
            }
        )
        values.append(mean)
        differences.append(kept.difference[upper])
    table = {
        name: float(np.nanmean([row[name] for row in rows])) if any(row[name] == row[name] for row in rows) else np.nan
        for name in rows[0]
    }
    oracle = 2 * stats.norm.ppf(0.975)
    table["mean width / oracle"] = table.pop("mean width") / (oracle * float(np.std(values, axis=0, ddof=1).mean()))
    table["difference width / oracle"] = table.pop("difference width") / (
        oracle * float(np.nanstd(differences, axis=0, ddof=1).mean())
    )
    for name in ("false best", "false worse", "false at any look"):
        count = round(table[name] * reports)
        table[f"{name}, at most"] = float(stats.beta.ppf(0.95, count + 1, reports - count)) if count < reports else 1.0
    return table


SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "false best": ("false best, %", lambda x: f"{100 * x:.1f}"),
    "false worse": ("false worse, %", lambda x: f"{100 * x:.1f}"),
    "false at any look": ("false at any look, %", lambda x: f"{100 * x:.1f}"),
    "p < .001": ("p < .001, % of pairs", lambda x: f"{100 * x:.2f}"),
    "mean covers": ("mean covers, %", lambda x: f"{100 * x:.1f}"),
    "mean width / oracle": ("width / oracle", lambda x: f"{x:.2f}"),
    "difference covers": ("difference covers, %", lambda x: f"{100 * x:.1f}"),
    "difference width / oracle": ("width / oracle", lambda x: f"{x:.2f}"),
    "right best": ("right best, %", lambda x: f"{100 * x:.0f}"),
    "worse found": ("real pairs found, %", lambda x: f"{100 * x:.0f}"),
}


def line(name: str, table: dict[str, float]) -> str:
    """A row of the table in Markdown."""
    cells = [say(table[key]) if table[key] == table[key] else "–" for key, (_, say) in SHOWN.items()]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Simulate and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=2000, help="of each world (%(default)s)")
    parser.add_argument("--only", default="", help="worlds whose name begins so")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    given = parser.parse_args()
    lines = ["| world | " + " | ".join(title for title, _ in SHOWN.values()) + " |", "|---|" + "--:|" * len(SHOWN)]
    print("\n".join(lines))
    for world in WORLDS:
        if world.name.startswith(given.only):
            began = time.monotonic()
            lines.append(line(world.name, simulate(world, given.reports)))
            print(lines[-1], f"{time.monotonic() - began:.0f} s", flush=True)
            if given.out:
                given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
