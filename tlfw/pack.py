"""A job that makes several runs of a sweep, whose heads are trained at once (`Plan.company`)."""

from __future__ import annotations

import copy
import functools
import shutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tlfw.command_line.messages import explain
from tlfw.errors import Diverged, LauncherFailed
from tlfw.records.record import FINISHED, find_record, replace_text
from tlfw.records.secret import masked
from tlfw.runs.attempt import Attempt
from tlfw.runs.experiment import Experiment
from tlfw.runs.experiment_data import Memo
from tlfw.runs.fold import STAGES
from tlfw.runs.job import Job
from tlfw.runs.run import run
from tlfw.runs.trained_model import LEFT
from tlfw.sweeps.check import without_hydra
from tlfw.sweeps.composer import Composer, Instantiator
from tlfw.sweeps.task import made
from tlfw.training.heads import train_probes
from tlfw.training.probe import Company, TrainedHeads


def make(config: DictConfig, folder: Path, sweep: Path) -> list[Any]:
    """Make the run of a config and those that it names: -> of each what it returned, or the exception that it raised.

    The run of the config, by which the job is known, is at work from the beginning to the end.

    Args:
        folder: Hydra's for the job.
        sweep: the sweep's.

    Raises:
        Interrupted: a signal asked for it.
    """
    configs = _configs(config)
    instantiate, memo = Instantiator(), Memo()
    runs = []
    for each in configs:
        place = folder if each is configs[0] else folder / each.planned[:12]
        hydra = each.hydra
        own = without_hydra(each)
        _written_down(own, hydra.overrides.task, folder / ".hydra", place / ".hydra")
        runs.append((instantiate(own), Job.of(own, hydra.runtime.choices, place, sweep.name)))
    company = Company()
    first, *others = (functools.partial(run, *each, memo=memo, company=company) for each in runs)
    found: list[Any] = []

    def all_of_them() -> Any:
        try:
            company.heads = _heads(runs, memo)
        except Exception as problem:  # of one or of all; each says it itself
            why = explain(problem) or problem
            print(f"heads cannot be trained together ({why}); each is trained alone", flush=True)
        found.extend(
            _tried(lambda each=each, work=work: made(sweep, each.planned, work), folder / each.planned[:12])  # type: ignore[misc]
            for each, work in zip(configs[1:], others, strict=True)
        )
        return first()

    return [_tried(lambda: made(sweep, config.planned, all_of_them), folder), *found]


def _heads(runs: Sequence[tuple[Experiment, Job]], memo: Memo) -> dict[str, TrainedHeads]:
    """Train the heads of all runs that have no record and whose last stage is not in the store: -> by that stage's key.

    Raises:
        Interrupted: a signal asked for it.
        TrainingFailed, Diverged: a stage before failed, which all of them need.
    """
    waiting = []
    for experiment, job in runs:
        plan = experiment.plan(memo)
        found = find_record(experiment.runs, plan.key, LEFT)
        done = found is not None and found[1].status in FINISHED
        if not done and not experiment.shelf.has(STAGES, plan.stages[-1].key):
            waiting.append((plan.stages[-1], Attempt(experiment, plan, job, 0).fold))
    if len(waiting) < 2:
        return {}
    last, first = waiting[0]
    for stage in first.plan.stages[:-1]:
        first.learn(stage, None)
    known = set(first.model.heads)
    first.add_heads(last)
    mixture = first.mixture(last)
    probes = {}
    for stage, fold in waiting:
        heads = {name: copy.deepcopy(head) for name, head in first.model.heads.items()}
        for name in set(heads) - known:
            heads[name] = first.model.fresh_head(name, first.model.classes[name], stage.seed)
        scratch = fold.store.scratch(STAGES, stage.key)
        probes[stage.key] = fold.probe(stage, fold.mixture_of(stage, mixture.train, mixture.val), heads, scratch)
    return train_probes(probes, first.plan.numerics["device"], first.every)


def _configs(config: DictConfig) -> list[DictConfig]:
    """Of the run of a config, and of those that it names."""
    others: Any = OmegaConf.to_container(config.together, resolve=False)
    hydra = HydraConfig.get()
    compose = Composer(GlobalHydra.instance().config_loader(), OmegaConf.create({"hydra": hydra}))
    words = [word for word in hydra.overrides.task if not word.startswith("together=")]
    return [compose(each) for each in (words, *others)]


def _written_down(config: DictConfig, words: Sequence[str], job: Path, place: Path) -> None:
    """Leave what Hydra leaves of a job's config; what it says of itself is that of the whole job.

    Args:
        words: the overrides that made it.
    """
    place.mkdir(parents=True, exist_ok=True)
    if job != place:
        shutil.copyfile(job / "hydra.yaml", place / "hydra.yaml")
    parts = {
        "config.yaml": OmegaConf.to_yaml(config),
        "overrides.yaml": OmegaConf.to_yaml(words),
    }
    for name, text in parts.items():
        replace_text(place / name, masked(text))


def _tried(work: Callable[[], Any], folder: Path) -> Any:
    """What a run returned, or why it did not: one that fails leaves the others alone."""
    try:
        return work()
    except Diverged as problem:
        return problem
    except Exception as problem:
        replace_text(folder / "traceback.txt", masked(traceback.format_exc()))
        return LauncherFailed(explain(problem) or f"{type(problem).__name__}: {problem}")
