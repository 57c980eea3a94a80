"""Have made what a sweep has to do, through whichever launcher is configured, and say how it ended."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tlfw.errors import Diverged, LauncherFailed, Pruned
from tlfw.escape import csv_text
from tlfw.records.metric import METRICS, SOURCE_VAL, TARGET_VAL, Metric, metric_of
from tlfw.records.record import Record, Status, replace_text
from tlfw.records.secret import masked
from tlfw.records.settings import flat
from tlfw.signals import Interrupted
from tlfw.store import Store, read_json
from tlfw.sweeps.order import Order, Whole, order_of
from tlfw.sweeps.results_table import APART, Row, how_ended
from tlfw.sweeps.setting_changes import changes
from tlfw.sweeps.task_graph import Agenda, Candidate, Key, Speeds, Task, blocked, speeds


class Returned(Protocol):
    """What a launcher gives back of a job: Hydra's JobReturn."""

    @property
    def return_value(self) -> Any: ...


Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Returned]]
"""From the overrides of a wave's jobs and the number of the first of them."""


class JobFailed(LauncherFailed):
    """A job failed, and has said why, in the ledger and where it makes a run in its record.

    Args:
        status: how its run is recorded.
    """

    def __init__(self, why: str, status: Status = "failed") -> None:
        super().__init__(why)
        self.status = status


class JobLost(JobFailed):
    """A job ended without saying how, and left no record; the text is what its launcher says."""


class Crew(Protocol):
    """Who makes tasks."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Have tasks made, as soon as there is room."""

    def ended(self) -> Sequence[tuple[Order, Returned]]:
        """Tasks that have ended since, at least one; it is waited for."""


class Waves:
    """A launcher of Hydra, which gives nothing back before all jobs of a wave have ended.

    Args:
        launch: the launcher.
        otherwise: what became of a task of a wave whose results the launcher lost.
    """

    def __init__(self, launch: Launch, otherwise: Callable[[Order, str], Returned] | None = None) -> None:
        self.launch, self.otherwise = launch, otherwise
        self.orders: list[Order] = []
        self.launched = 0

    def submit(self, orders: Sequence[Order]) -> None:
        self.orders += orders

    def ended(self) -> Sequence[tuple[Order, Returned]]:
        orders, self.orders = self.orders, []
        try:
            results = self.launch([order.words for order in orders], self.launched)
        except LauncherFailed as problem:
            if self.otherwise is None:
                raise
            print(str(problem), flush=True)
            results = [self.otherwise(order, str(problem)) for order in orders]
        self.launched += len(orders)
        return list(zip(orders, results, strict=True))


@dataclasses.dataclass(frozen=True)
class Given:
    """What became of a run, as Hydra's launchers say it."""

    value: Any

    @property
    def return_value(self) -> Any:
        if isinstance(self.value, Exception) and not isinstance(self.value, Diverged | Pruned):
            raise self.value
        return self.value


def each_of(order: Order, result: Returned) -> list[tuple[Order, Returned]]:
    """What became of each run that a job made."""
    if not order.others:
        return [(order, result)]
    try:
        values = result.return_value
    except Exception as problem:  # as `conduct` has it: of all of them
        values = [problem] * len(order.runs)
    if isinstance(values, Interrupted):
        raise values
    return [(own, Given(value)) for own, value in zip(order.runs, values, strict=True)]


def conduct(
    agenda: Agenda,
    crew: Crew,
    said: Callable[[BaseException], str],
    leave: Callable[[Task, Status, str], None],
    whole: Whole | None = None,
) -> dict[int, Any]:
    """Have the tasks of an agenda made, each as soon as what it needs is there. What failed stops what needs it, and no
    more. What needs a stage that diverged has diverged too.

    Args:
        said: an exception, for people.
        leave: leaves word of a task that cannot be made, with its status, and why.
        whole: what a job is told that makes a whole run; None: the candidate's overrides.

    Returns:
        Job -> what its job returned, or why it did not, for each run that was to be made. The text of one that was
        never begun, or that diverged, has its status before a colon.
    """
    outcomes: dict[int, Any] = {}
    failed: dict[Key, tuple[Status, str]] = {}
    made: set[Key] = set()
    waiting = [task for wave in agenda.waves for task in wave]
    at_work = 0
    while waiting or at_work:
        still: list[Task] = []
        ready: list[Order] = []
        for task in waiting:  # in an order in which each comes after what it needs
            if blocked(task, failed):
                status, why = next(failed[key] for key in sorted(task.needs) if key in failed)
                if task.step:
                    failed |= dict.fromkeys(task.step.keys, (status, why))
                else:
                    outcomes |= {each.candidate: f"{status}: {why}" for each in task.runs}
                for each in task.runs:
                    leave(each, status, why)
            elif task.needs <= made:
                ready.append(order_of(agenda, task, whole))
            else:
                still.append(task)
        waiting = still
        if ready:
            crew.submit(ready)
            at_work += len(ready)
        if not at_work:  # what was waiting is blocked
            continue
        ended = list(crew.ended())
        at_work -= len(ended)
        for order, result in (each for job in ended for each in each_of(*job)):
            task = order.task
            try:
                value = result.return_value
            except Exception as problem:  # what Hydra does where a job failed
                if task.step:
                    why = f"{task.step.until} failed: {said(problem)}"
                    failed |= dict.fromkeys(task.step.keys, ("blocked", why))
                else:
                    outcomes[task.candidate] = said(problem)
                if isinstance(problem, JobFailed) and problem.status in APART and not task.step:
                    outcomes[task.candidate] = f"{problem.status}: {said(problem)}"
                if isinstance(problem, JobLost):
                    leave(task, problem.status, said(problem))
            else:
                if isinstance(value, Interrupted):  # in a process of its own
                    raise value
                if not isinstance(value, Diverged):
                    made |= set(task.step.keys) if task.step else set()
                    outcomes |= {} if task.step else {task.candidate: value}
                elif task.step:
                    failed |= dict.fromkeys(task.step.keys, ("diverged", str(value)))
                else:
                    outcomes[task.candidate] = f"diverged: {value}"
    return outcomes


def rows(agenda: Agenda, done: Mapping[str, Record], outcomes: Mapping[int, Any]) -> list[Row]:
    """For the table, a row for each job that was asked for: its overrides, how it ended, and whether it was there.

    Its record has the names under which it was asked for here, whoever made it first.
    """
    found: list[Row] = []
    for job, candidate in enumerate(agenda.candidates):
        first = agenda.same_as.get(job, job)
        outcome = outcomes.get(first) or done[candidate.run_id]
        outcome = outcome[0] if isinstance(outcome, tuple) else outcome  # as a job returns it
        outcome = _as_asked(outcome, candidate) if isinstance(outcome, Record) else outcome
        if isinstance(outcome, Record) and outcome.status == "diverged":
            outcome = f"diverged: {outcome.error}"
        found.append((candidate.overrides, outcome, first not in outcomes or job != first))
    return found


def _as_asked(record: Record, candidate: Candidate) -> Record:
    names = dict(candidate.names)
    backbone = names.pop("backbone", record.backbone)
    return dataclasses.replace(record, paradigm={**record.paradigm, **names}, backbone=backbone)


def metrics_of(agenda: Agenda, otherwise: str) -> list[Metric]:
    """By which jobs want to be judged: one, unless `metric` differs between them.

    Args:
        otherwise: the metric's name where a job takes that from another field.
    """
    return [metric_of(name) for name in dict.fromkeys(c.settings.get("metric", otherwise) for c in agenda.candidates)]


def summary(found: Sequence[Row]) -> str:
    """How the runs of a sweep ended, in one line."""
    ended = Counter(how_ended(outcome)[0] for _, outcome, _ in found)
    untouched = sum(there and isinstance(outcome, Record) for _, outcome, there in found)
    done = ended["done"]
    return f"{done} done ({done - untouched} trained now, {untouched} were there), {ended['failed']} failed" + "".join(
        f", {ended[status]} {status}" for status in APART if ended[status]
    )


def shared_keys(agenda: Agenda, stored: Callable[[Key], bool]) -> list[Key]:
    """What the waves make apart from the runs that need it.

    Args:
        stored: whether the store has it already.
    """
    keys = dict.fromkeys(key for wave in agenda.waves for task in wave if task.step for key in task.step.keys)
    return [key for key in keys if not stored(key)]


def shared_summary(agenda: Agenda, keys: Sequence[Key], store: Store) -> str | None:
    """What was made before the runs, and how long that took, which is in no run's `seconds_spent`; None: nothing was.

    Args:
        keys: as `shared_keys` said before the waves were launched; what failed is left out.
    """
    made = [key for key in keys if store.has(*key)]
    # A stage's seconds have those of its features in them.
    counted = {
        key
        for candidate in agenda.candidates
        for before, stage in itertools.pairwise(candidate.steps)
        if not before.trains and not set(made).isdisjoint(stage.keys)
        for key in before.keys
    }
    seconds = sum(
        read_json(store.place(kind, key) / FACTS[kind])["seconds"] for kind, key in made if (kind, key) not in counted
    )
    stages = sum(kind == "stages" for kind, _ in made)
    parts = [f"{stages} stage{'s' * (stages != 1)}"] * bool(stages)
    parts += [f"{len(made) - stages} features"] * (len(made) > stages)
    return f"shared before them: {', '.join(parts)}, {seconds:.0f} s" if made else None


FACTS = {"stages": "stage.json", "features": "features.json"}


def leave_summary(folder: Path, found: Sequence[Row]) -> None:
    """Put `summary.csv` into the sweep's folder: a line a run, with what validation said, and where its record is."""
    validated = [metric.at(place) for place in (TARGET_VAL, SOURCE_VAL) for metric in METRICS.values()]
    lines: list[list[Any]] = [["overrides", "status", "run_id", "seed", *validated, "seconds", "error"]]
    for overrides, outcome, there in found:
        if isinstance(outcome, str):
            status, why = how_ended(outcome)
            lines.append([" ".join(overrides), status, "", "", *([""] * len(validated)), "", why])
        else:
            metrics = [outcome.metrics.get(name) for name in validated]
            spent = 0 if there else outcome.cost["seconds_spent"]
            lines.append([" ".join(overrides), outcome.status, outcome.run_id, outcome.seed, *metrics, spent, ""])
    replace_text(folder / "summary.csv", csv_text(masked(lines)))


def earlier_records(runs: Path) -> list[Record]:
    """All readable records of finished runs."""
    found = []
    for path in sorted(runs.glob("*/record.json")):
        try:
            record = Record.read(path)
        except (OSError, ValueError):
            continue
        if record.status == "done":
            found.append(record)
    return found


def announce(agenda: Agenda, runs: Path, made_of: str) -> Speeds:
    """Print the plan, with which settings are new.

    Args:
        runs: the folder of all runs.
        made_of: which cells and repetitions the jobs are; empty: nothing is said of that.

    Returns:
        What earlier runs say of time.
    """
    records = earlier_records(runs)
    settings = [flat(record.settings) for record in records]
    known = speeds((own, r.stages, r.cost["seconds_spent"]) for own, r in zip(settings, records, strict=True))
    print(agenda.text(known, made_of), flush=True)
    for line in changes(agenda, settings):
        print(line, flush=True)
    metrics = list(dict.fromkeys(str(candidate.settings.get("metric")) for candidate in agenda.candidates))
    if len(metrics) > 1:
        print(f"  a report judges by one metric: by {metrics[0]}, the first of {', '.join(metrics)}", flush=True)
    return known
