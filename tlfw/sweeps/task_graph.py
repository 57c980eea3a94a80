"""What a sweep is about to do: which runs are equal, what of them is shared, and in which order it is made.

All of it follows from keys and from what the store and the records already have; no result decides anything.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from tlfw.records.plan_file import NAMES

if TYPE_CHECKING:
    from tlfw.runs.plan import Plan

Key = tuple[str, str]
"""Where the store has it: kind, key."""


@dataclasses.dataclass(frozen=True)
class Step:
    """Something that a run needs and the store keeps: a stage's weights, or the features that a stage trains on.

    Attributes:
        until: what brings a run just so far: `pretrain`, or `adapt/features`.
        images: that are trained on, each as often as it is; for features, that are looked at.
        trains: whether it is a stage's training.
    """

    until: str
    keys: tuple[Key, ...]
    images: int
    trains: bool


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One job of a sweep, checked and planned.

    Attributes:
        overrides: that make it.
        run_id: equal for equal runs.
        steps: what it needs, in the order in which it needs them.
        settings: the whole config, flat: a field's full name -> value.
        done: whether its record is there, so that nothing is left to do.
        names: group of `NAMES` -> the option that was chosen here; an equal run may have been made under another one.
        tested_on: a name for the content of the images that it will be tested on.
        idle: those of these fields that are no reason for another result.
        setting: what it repeats, as it is asked for here: see `tlfw.runs.plan.Plan`.
        numerics: what its keys hold of the machine that computes it.
        company: equal for runs whose heads are trained together (`tlfw.runs.plan.Plan.company`); None: it trains alone.
    """

    overrides: tuple[str, ...]
    run_id: str
    steps: tuple[Step, ...]
    settings: Mapping[str, Any]
    done: bool
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tested_on: str | None = None
    idle: frozenset[str] = frozenset()
    setting: str | None = None
    numerics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    company: str | None = None


@dataclasses.dataclass(frozen=True)
class Speeds:
    """What earlier runs say of time: medians, of runs and stages of one kind.

    Attributes:
        stages: kind of stage -> seconds for an image that is trained on, with those of its features.
        runs: kind of run -> seconds beside its stages, for reading, checking and testing.
    """

    stages: Mapping[tuple[Any, ...], float]
    runs: Mapping[tuple[Any, ...], float]


@dataclasses.dataclass(frozen=True)
class Task:
    """What one job of a wave does: a whole run, or with `step` no more of it than others need too.

    Attributes:
        candidate: its index.
        needs: what earlier waves bring it.
        others: further runs that the job makes, whose heads are trained with this one's.
    """

    candidate: int
    step: Step | None
    needs: frozenset[Key]
    others: tuple[int, ...] = ()

    @property
    def runs(self) -> tuple[Task, ...]:
        """Each of its runs by itself; itself where it is a part of one."""
        return tuple(dataclasses.replace(self, candidate=each, others=()) for each in (self.candidate, *self.others))


@dataclasses.dataclass(frozen=True)
class Agenda:
    """A sweep's plan.

    Attributes:
        candidates: all jobs, in the order in which they were asked for.
        same_as: job -> the earlier job that is the same run.
        missing: job -> its steps that the store does not have, for each run that is to be made.
        waves: tasks that can run side by side; each needs nothing but earlier waves and the store.
    """

    candidates: tuple[Candidate, ...]
    same_as: Mapping[int, int]
    missing: Mapping[int, tuple[Step, ...]]
    waves: tuple[tuple[Task, ...], ...]

    def trainings(self) -> tuple[int, int]:
        """Stages that are trained if every run is made alone, and as they are shared."""
        alone = [step for job in self.missing for step in self.candidates[job].steps if step.trains]
        shared = {step.keys for steps in self.missing.values() for step in steps if step.trains}
        return len(alone), len(shared)

    def images(self) -> tuple[int, int]:
        """Images to process, in the same two ways."""
        alone = sum(step.images for job in self.missing for step in self.candidates[job].steps)
        shared = {step.keys: step.images for steps in self.missing.values() for step in steps}
        return alone, sum(shared.values())

    def seconds(self, speeds: Speeds) -> float | None:
        """How long it takes, one after the other; None where no earlier run says how fast some of the trainings are."""
        found: dict[tuple[Key, ...], float] = {}
        beside = 0.0
        for job, steps in self.missing.items():
            candidate = self.candidates[job]
            beside += speeds.runs.get(_kind(candidate.settings), 0.0)
            for step in steps:
                if step.trains:
                    pace = speeds.stages.get(
                        _stage_kind(candidate.settings, step.until, last=step is candidate.steps[-1])
                    )
                    if pace is None:
                        return None
                    found[step.keys] = step.images * pace
        return sum(found.values()) + beside

    def cost(self, task: Task, speeds: Speeds | None) -> float:
        """Of a task by itself: seconds where earlier runs say how fast its kind is, else images."""
        candidate = self.candidates[task.candidate]
        left = [step for each in task.runs for step in self.missing.get(each.candidate, ())]
        mine = [task.step] if task.step else [step for step in left if task.needs.isdisjoint(step.keys)]
        last = candidate.steps[-1].until
        if speeds is None or self.seconds(speeds) is None:
            return float(sum(step.images for step in mine))
        paces = (
            step.images * speeds.stages[_stage_kind(candidate.settings, step.until, last=step.until == last)]
            for step in mine
            if step.trains
        )
        return sum(paces) + speeds.runs.get(_kind(candidate.settings), 0.0) * len(task.runs)

    def text(self, speeds: Speeds, made_of: str = "") -> str:
        """For people: what there is to do, and what sharing saves.

        Args:
            made_of: which cells and repetitions the runs are; empty: nothing is said of that.
        """
        done = sum(c.done for job, c in enumerate(self.candidates) if job not in self.same_as)
        (alone, shared), (images_alone, images) = self.trainings(), self.images()
        asked = len(self.candidates)
        lines = [
            f"plan: {asked} run{'s' * (asked != 1)}{f' ({made_of})' * bool(made_of)}, {done} done, "
            f"{len(self.missing)} to do" + (f", {len(self.same_as)} equal to another" if self.same_as else "")
        ]
        if self.missing:
            seconds = self.seconds(speeds)
            about = "" if seconds is None else f"; about {_duration(seconds)} one by one, as fast as earlier runs"
            lines.append(
                f"  {shared} stages to train ({alone} if every run were alone), {images:,} images "
                f"({images_alone:,}){about}"
            )
            for number, wave in enumerate(self.waves, 1):
                steps = Counter(task.step.until for task in wave if task.step)
                jobs = [task for task in wave if task.step is None]
                runs = sum(len(task.runs) for task in jobs)
                within = f" in {len(jobs)} job{'s' * (len(jobs) != 1)}" if len(jobs) < runs else ""
                parts = [
                    *(f"{count} x {until}" for until, count in steps.items()),
                    *([f"{runs} run{'s' * (runs != 1)}{within}"] if runs else []),
                ]
                lines.append(f"  wave {number}: {', '.join(parts)}")
        return "\n".join(lines)

    def facts(self, sweep: str, speeds: Speeds) -> dict[str, Any]:
        """The same for programs, and all of it: what `tlfw.records.plan_file` adds to `plan.json`."""
        (alone, shared), (images_alone, images) = self.trainings(), self.images()
        return {
            "sweep": sweep,
            "stages": {"alone": alone, "shared": shared},
            "images": {"alone": images_alone, "shared": images},
            "seconds": self.seconds(speeds),
            "runs": [
                {
                    "overrides": list(candidate.overrides),
                    "run_id": candidate.run_id,
                    **{group: candidate.names.get(group) for group in NAMES},
                    "tested_on": candidate.tested_on,
                    "setting": candidate.setting,
                    "done": candidate.done,
                    "same_as": self.same_as.get(job),
                    "missing": [step.until for step in self.missing.get(job, ())],
                    "steps": [
                        {"until": step.until, "keys": step.keys, "images": step.images} for step in candidate.steps
                    ],
                    "settings": dict(candidate.settings),
                }
                for job, candidate in enumerate(self.candidates)
            ],
            "waves": [
                [
                    {"run": each.candidate, "until": each.step.until if each.step else None}
                    for task in wave
                    for each in task.runs
                ]
                for wave in self.waves
            ],
        }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def steps_of(plan: Plan) -> tuple[Step, ...]:
    """What a run needs, in order."""
    found = []
    for stage in plan.stages:
        if stage.features:
            parts = [getattr(plan.divisions[name], part) for name, part in stage.features]
            keys = tuple(("features", key) for key in stage.features.values())
            found.append(Step(f"{stage.name}/features", keys, sum(map(len, parts)), trains=False))
        found.append(Step(stage.name, (("stages", stage.key),), stage.images, trains=True))
    return tuple(found)


def make_agenda(candidates: Sequence[Candidate], stored: Callable[[Key], bool], *, together: bool = True) -> Agenda:
    """Put the jobs of a sweep in order.

    What several runs need is made once, as early as it can be: by one of them, which goes just so far.

    Args:
        stored: whether the store has it, whole.
        together: whether runs in company are made by one job.
    """
    first: dict[str, int] = {}
    for job, candidate in enumerate(candidates):
        first.setdefault(candidate.run_id, job)
    to_do = [job for job in first.values() if not candidates[job].done]
    missing_keys = {
        job: {key for step in candidates[job].steps for key in step.keys if not stored(key)}
        | set(candidates[job].steps[-1].keys if candidates[job].settings.get("force") else ())
        for job in to_do
    }
    missing = {
        job: tuple(step for step in candidates[job].steps if missing_keys[job].intersection(step.keys)) for job in to_do
    }
    users = Counter(key for keys in missing_keys.values() for key in keys)
    wave_of: dict[Key, int] = {}
    waves: defaultdict[int, list[Task]] = defaultdict(list)
    # A run that needs more of the same features makes those of the others too.
    for job in sorted(to_do, key=lambda job: -len(missing_keys[job])):
        needs: set[Key] = set()
        for step in missing[job]:
            here = [key for key in step.keys if key in missing_keys[job]]
            shared = {key for key in here if users[key] > 1}
            if any(key not in wave_of for key in shared):
                ready = max((wave_of[key] for key in needs | shared if key in wave_of), default=0)
                waves[ready + 1].append(Task(job, step, frozenset(needs | {k for k in shared if k in wave_of})))
                wave_of |= {key: ready + 1 for key in here if key not in wave_of}
            needs |= shared
        after = max((wave_of[key] for key in needs), default=0)
        waves[after + 1].append(Task(job, None, frozenset(needs)))
    return Agenda(
        candidates=tuple(candidates),
        same_as={job: first[c.run_id] for job, c in enumerate(candidates) if first[c.run_id] != job},
        missing=missing,
        waves=tuple(
            tuple(sorted(_packed(tasks, candidates) if together else tasks, key=lambda task: task.candidate))
            for _, tasks in sorted(waves.items())
        ),
    )


def _packed(wave: Sequence[Task], candidates: Sequence[Candidate]) -> list[Task]:
    """The tasks of a wave, with one for all runs that are in company."""
    found: list[Task] = []
    packs: defaultdict[tuple[Any, ...], list[Task]] = defaultdict(list)
    for task in wave:
        company = candidates[task.candidate].company
        if task.step or company is None or candidates[task.candidate].settings.get("force"):
            found.append(task)
        else:
            packs[company, task.needs].append(task)
    for first, *others in (sorted(each, key=lambda task: task.candidate) for each in packs.values()):
        found.append(dataclasses.replace(first, others=tuple(task.candidate for task in others)))
    return found


def blocked(task: Task, failed: Iterable[Key]) -> bool:
    """Whether a task needs what could not be made."""
    return not task.needs.isdisjoint(failed)


def _kind(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the speed of a run depends on most."""
    return tuple(settings.get(name) for name in ("backbone.name", "image_size", "trainer.accelerator"))


def _stage_kind(settings: Mapping[str, Any], stage: str, *, last: bool) -> tuple[Any, ...]:
    """What the speed of one of its stages depends on most; the policy is the last one's."""
    policy = ("freeze_policy._target_", "freeze_policy.n") if last else ()
    return (stage, *_kind(settings), *(settings.get(name) for name in policy))


def speeds(records: Iterable[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], float]]) -> Speeds:
    """What earlier runs say of time.

    Args:
        records: of each, its flat settings, its stages as they are in the record, and the seconds that it took.
    """
    stages: defaultdict[tuple[Any, ...], list[float]] = defaultdict(list)
    runs: defaultdict[tuple[Any, ...], list[float]] = defaultdict(list)
    for settings, made, spent in records:
        for stage in made:
            if stage["images_seen"]:
                kind = _stage_kind(settings, stage["name"], last=stage is made[-1])
                stages[kind].append(stage["seconds"] / stage["images_seen"])
        trained = sum(stage["seconds"] for stage in made if not stage["reused"])
        runs[_kind(settings)].append(max(spent - trained, 0.0))
    return Speeds(*({kind: median(each) for kind, each in found.items()} for found in (stages, runs)))
