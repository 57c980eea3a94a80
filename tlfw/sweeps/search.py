"""The paradigm as a hyper-parameter: runs are drawn from a space, and validation says where to draw next.

No trial looks at a test image: it goes just as far as its last stage. When the search is over, the trial that
validated best is made a whole run, which does so once.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep
from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.errors import ConfigError
from tlfw.identity.names import digest
from tlfw.records.metric import TARGET_VAL, Metric
from tlfw.runs.trial import import_optuna, open_journal
from tlfw.strictness import STRICT
from tlfw.sweeps.launch import Crew, conduct
from tlfw.sweeps.task_graph import Agenda, Candidate, Key, Task, make_agenda

MONITOR = TARGET_VAL
"""What the trials are compared on, by the config's metric."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Search:
    """What to draw from, and how often.

    Args:
        trials: how many in all, those of an interrupted search included.
        at_a_time: how many are drawn before the results of any of them are known.
        seed: of the draws.
        space: field or group -> Hydra's `a,b,c`, `range(1,4)`, `interval(0.1,0.9)` or `tag(log,interval(…))`.
        when: `field=a,b` -> a space that is drawn from only where that field was drawn as `a` or `b`.
    """

    trials: int = Field(ge=1)
    at_a_time: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)
    space: dict[str, str] = Field(min_length=1)
    when: dict[str, dict[str, str]] = Field(default_factory=dict)

    def draw(self, trial: Any) -> list[str]:
        """A trial's overrides.

        Raises:
            ConfigError: something in the space cannot be drawn from.
        """
        drawn = {field: _draw(trial, field, text) for field, text in self.space.items()}
        for condition, space in self.when.items():
            field, _, values = condition.partition("=")
            if str(drawn.get(field)) in values.split(","):
                drawn |= {name: _draw(trial, name, text) for name, text in space.items()}
        return [f"{field}={value}" for field, value in drawn.items()]

    def options(self) -> list[list[str]]:
        """Lists of overrides in which each option that a trial can draw is once, with what it is drawn under.

        Of an interval there are none: its bounds say all that there is.
        """
        found = [[f"{field}={value}"] for field, text in self.space.items() for value in _options(field, text)]
        for condition, space in self.when.items():
            field, _, values = condition.partition("=")
            under = f"{field}={values.partition(',')[0]}"
            found += [[under, f"{name}={value}"] for name, text in space.items() for value in _options(name, text)]
        return found

    def __str__(self) -> str:
        spaces = [" ".join(f"{field}={text}" for field, text in self.space.items())]
        spaces += [f"{' '.join(f'{f}={t}' for f, t in space.items())} where {c}" for c, space in self.when.items()]
        return f"{self.trials} trials, {self.at_a_time} at a time, of {'; '.join(spaces)}"


MOST_OPTIONS = 50
"""Of a range of numbers that has more, the two ends stand for all."""


def _options(field: str, text: str) -> list[Any]:
    value = OverridesParser.create().parse_override(f"{field}={text}").value()
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        every = range(int(value.start), int(value.stop))
        return list(every) if len(every) <= MOST_OPTIONS else [every[0], every[-1]]
    return [str(each) for each in value.list] if isinstance(value, ChoiceSweep) else []


def _draw(trial: Any, field: str, text: str) -> Any:
    value = OverridesParser.create().parse_override(f"{field}={text}").value()
    if isinstance(value, IntervalSweep):
        return trial.suggest_float(field, value.start, value.end, log="log" in value.tags)
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        return trial.suggest_int(field, int(value.start), int(value.stop) - 1)
    if isinstance(value, ChoiceSweep):
        return trial.suggest_categorical(field, [str(each) for each in value.list])
    raise ConfigError(
        "hydra.sweeper.search", f"{field}: {text} cannot be drawn from.", "Use a,b,c, range(1,4) or interval(0.1,0.9)."
    )


@dataclasses.dataclass(frozen=True)
class Best:
    """The trial that validated best: its overrides, what it drew and how well; and how many trials there were."""

    overrides: list[str]
    drawn: list[str]
    metric: Metric
    value: float
    trials: int
    pruned: int

    def __str__(self) -> str:
        early = f", of which {self.pruned} ended early," if self.pruned else ""
        return (
            f"best of {self.trials} trials{early} on validation data: {self.metric.told(self.value)} with "
            f"{' '.join(self.drawn)}"
        )


JOURNAL = "search.journal"


def study_name(settings: Search, name: str, metric: Metric, deciding: object) -> str:
    """What a search's trials are kept under: all that decides which there can be and what their numbers are.

    Args:
        name: the sweep's.
        metric: by which trials are compared.
        deciding: the numbers of any trial: settings, code, first weights, images, versions.
    """
    return f"{name}-{digest([settings.space, settings.when, metric.name, deciding])[:12]}"


def trials_there(folder: Path, name: str) -> tuple[int, int]:
    """How many trials of a study have ended, and how many other trials the folder's journal has. Writes nothing."""
    if not (folder / JOURNAL).is_file():
        return 0, 0
    optuna = import_optuna()
    storage = open_journal(str((folder / JOURNAL).absolute()))
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    ended = {
        each: len(optuna.load_study(study_name=each, storage=storage).get_trials(states=states))
        for each in optuna.get_all_study_names(storage)
    }
    return ended.pop(name, 0), sum(ended.values())


def search(
    settings: Search,
    name: str,
    folder: Path,
    fixed: Sequence[str],
    metric: Metric,
    *,
    checked: Callable[[Sequence[list[str]]], Sequence[Candidate]],
    stored: Callable[[Key], bool],
    crew: Callable[[Agenda], Crew],
    said: Callable[[BaseException], str],
) -> Best:
    """Draw, launch in waves, and learn from what validation says, until there are enough trials.

    Args:
        name: of its study, see `study_name`; the same one goes on where it was.
        folder: the sweep's, for its journal.
        fixed: overrides of all trials.
        metric: by which trials are compared.
        checked: jobs, composed, checked and planned.

    Raises:
        ConfigError: the space is wrong, or no trial ended well.
    """
    if "metric" in {*settings.space, *(field for space in settings.when.values() for field in space)}:
        raise ConfigError("hydra.sweeper.search", "metric is what trials are compared by.", "Take it out of the space.")
    optuna = import_optuna()
    there, others = trials_there(folder, name)
    if others and not there:
        print(
            f"search: {others} earlier trials under this sweep's name were of other data or settings, and count for "
            "nothing here",
            flush=True,
        )
    journal = str((folder / JOURNAL).absolute())
    study = optuna.create_study(
        study_name=name,
        storage=open_journal(journal),
        direction="maximize" if metric.higher_is_better else "minimize",
        load_if_exists=True,
    )
    over = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # of a process that died
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    failures = 0
    while (left := settings.trials - len(study.get_trials(states=over)) - failures) > 0:
        # What is drawn depends on the results so far, and not on how often the search was interrupted.
        study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.get_trials(states=over)))
        asked = [study.ask() for _ in range(min(left, settings.at_a_time))]
        jobs = [[*fixed, *settings.draw(trial)] for trial in asked]
        agenda = make_agenda([dataclasses.replace(c, done=False) for c in checked(jobs)], stored, together=False)
        outcomes = conduct(
            agenda, crew(agenda), said, lambda *_: None, whole=partial(_as_trial, agenda, asked, journal, name)
        )
        for number, trial in enumerate(asked):
            outcome = outcomes[agenda.same_as.get(number, number)]
            what = " ".join(jobs[number][len(fixed) :])
            if isinstance(outcome, Mapping):
                value = outcome[metric.at(MONITOR)]
                study.tell(trial, value)
                print(f"trial {trial.number}: target val {metric.told(value)} of {what}", flush=True)
            else:
                pruned = str(outcome).startswith(("pruned", "diverged"))  # what would end so again
                failures += not pruned
                state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL
                study.tell(trial, state=state)
                print(f"trial {trial.number}: {outcome} ({what})", flush=True)
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise ConfigError("hydra.sweeper.search", "no trial ended well.", "Look at what they said above.")
    best = study.best_trial
    # Asked again for what it drew, a fixed trial says the same.
    drawn = settings.draw(optuna.trial.FixedTrial(best.params))
    ended = len(study.get_trials(states=over))
    return Best([*fixed, *drawn], drawn, metric, float(best.value), ended, ended - len(complete))


def _as_trial(agenda: Agenda, asked: Sequence[Any], journal: str, study: str, task: Task) -> list[str]:
    candidate = agenda.candidates[task.candidate]
    fields = f"journal:{json.dumps(journal)},study:{study},id:{asked[task.candidate]._trial_id}"
    return [
        *candidate.overrides,
        f"until={candidate.steps[-1].until}",
        f"trial={{_target_:tlfw.runs.trial.Trial,{fields}}}",
    ]
