"""How long a sweep takes on so many slots if each task sleeps as long as it took, beside list scheduling of the tasks.

    python -m benchmarks.makespan SWEEP --slots 6

Expected: at most 1.1 times as long as list scheduling that takes the longest way to the end first.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import heapq
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tlfw.cluster.executor import Local
from tlfw.cluster.resources import Resources
from tlfw.records.ledger import Entry, Ledger, working
from tlfw.sweeps.launch import conduct
from tlfw.sweeps.order import enter
from tlfw.sweeps.queue import Queue, weights
from tlfw.sweeps.task_graph import Agenda, Candidate, Step, Task


@dataclasses.dataclass
class Sleep:
    """A job that sleeps, and says that it is done."""

    sweep: Path
    key: str
    seconds: float

    def __call__(self) -> None:
        ledger = Ledger(self.sweep)
        with working(ledger, self.key):
            time.sleep(self.seconds)
        ledger.write(ledger.entry(self.key).changed(state="done", result={}))


def seconds_of(entry: Entry) -> float:
    """How long its job took."""
    began, ended = (datetime.datetime.fromisoformat(text) for text in (entry.began, entry.since))
    return max((ended - began).total_seconds(), 1.0)


def agenda_of(entries: list[Entry]) -> tuple[Agenda, dict[Task, str]]:
    """The same tasks, each known by its key: a task that others need is a step, the others are runs up to a stage."""
    ready: set[str] = set()
    tasks: dict[Task, str] = {}
    waves: list[tuple[Task, ...]] = []
    candidates = []
    left = {entry.key: entry for entry in entries}
    while left:
        wave = []
        for key, entry in list(left.items()):
            if set(entry.needs) <= ready:
                step = Step(entry.name, (("stages", key),), 1, trains=True)
                task = Task(len(candidates), step, frozenset(("stages", need) for need in entry.needs))
                candidates.append(Candidate(overrides=(), run_id=key, steps=(step,), settings={}, done=False))
                tasks[task] = key
                wave.append(task)
                del left[key]
        ready |= {tasks[task] for task in wave}
        waves.append(tuple(wave))
    return Agenda(tuple(candidates), {}, {}, tuple(waves)), tasks


def listed(costs: Mapping[Task, float], longest: Mapping[Task, float], slots: int) -> float:
    """Seconds that list scheduling takes."""
    made: set[tuple[str, str]] = set()
    waiting, at_work, now = list(costs), list[tuple[float, int, Task]](), 0.0
    while waiting or at_work:
        ready = sorted((task for task in waiting if task.needs <= made), key=lambda task: -longest[task])
        for task in ready[: slots - len(at_work)]:
            waiting.remove(task)
            heapq.heappush(at_work, (now + costs[task], id(task), task))
        now, _, task = heapq.heappop(at_work)
        made |= set(task.step.keys) if task.step else set()
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--slots", type=int, default=6)
    parser.add_argument("--times", type=float, default=1.0, help="how much longer each task sleeps than it took")
    given = parser.parse_args()
    entries = [entry for entry in Ledger(given.sweep).entries() if entry.state == "done" and entry.began]
    agenda, tasks = agenda_of(entries)
    took = {entry.key: given.times * seconds_of(entry) for entry in entries}
    costs = {task: took[key] for task, key in tasks.items()}
    longest = weights(agenda, costs.__getitem__)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        enter(agenda, ledger)
        queue = Queue(
            Local(Path(folder), Resources(cpus=1, time=60)),
            ledger,
            job=lambda order: Sleep(Path(folder), order.key, took[order.key]),
            weight=longest.__getitem__,
            at_most=given.slots,
            record=lambda key: None,
        )
        began = time.monotonic()
        conduct(agenda, queue, said=str, leave=print)
        seconds = time.monotonic() - began
    best = listed(costs, longest, given.slots)
    bound = max(max(longest.values()), sum(costs.values()) / given.slots)
    print(
        f"{len(costs)} tasks, {sum(costs.values()):.0f} s in all, on {given.slots} slots: {seconds:.0f} s; list "
        f"scheduling {best:.0f} s (ratio {seconds / best:.2f}); no schedule takes less than {bound:.0f} s"
    )


if __name__ == "__main__":
    main()
