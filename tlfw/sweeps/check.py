"""Whether all jobs of a multirun can work, and can be compared, before the first one trains."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from tlfw.command_line.config_fields import known_fields
from tlfw.command_line.messages import explain
from tlfw.errors import ConfigError, Refused
from tlfw.identity import fields
from tlfw.identity.names import canonical
from tlfw.internals.omegaconf import parsing_once
from tlfw.records.comparison import check_compared
from tlfw.records.plan_file import NAMES
from tlfw.records.record import FINISHED, Record, Status, find_record
from tlfw.records.secret import masked
from tlfw.records.settings import Settings, flat
from tlfw.sweeps.composer import Instantiator
from tlfw.sweeps.jobs import Compose, Repeated, check_agreed
from tlfw.sweeps.task_graph import Candidate, steps_of

if TYPE_CHECKING:
    from tlfw.runs.experiment_data import Memo
    from tlfw.sweeps.search import Search


def search_settings(given: Any, found: Repeated) -> Search:
    """The settings of a search.

    Raises:
        ConfigError: they are wrong, or something is swept or repeated besides.
    """
    from tlfw.sweeps.search import Search

    if found.times is not None:
        raise ConfigError(
            "repeat",
            "a search tests one run, the one that validated best.",
            "Leave it out, and repeat what the search finds: it says the overrides.",
        )
    if len(found.overrides) > 1:
        raise ConfigError(
            "hydra.sweeper.search",
            f"{len(found.overrides)} jobs are asked for besides.",
            "Put what is to be varied into its space.",
        )
    try:
        return Search(**given)
    except ValidationError as problem:
        raise ConfigError(
            "hydra.sweeper.search",
            "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in problem.errors()) + ".",
            "Look at conf/experiment/search.yaml.",
        ) from problem


@dataclasses.dataclass(frozen=True)
class Checked:
    """Jobs that can work.

    Attributes:
        candidates: the jobs.
        done: run id -> record of those that are done already.
        judged: by what they are, as `tlfw.records.plan_file.Ask` has it: `compare`, `metric`, `margin`.
        moved: what was brought up to date in results of those that are done, in sentences.
    """

    candidates: list[Candidate]
    done: dict[str, Record]
    judged: dict[str, Any]
    moved: list[str]


def checked(found: Sequence[Sequence[str]], compose: Compose, sweep: DictConfig, memo: Memo) -> Checked:
    """Compose, instantiate and plan every job, each once.

    Args:
        sweep: the multirun's own config.
        memo: what is known of data and weights already.

    Raises:
        Refused: some of them cannot work.
        ConfigError: `compare` names what no job has.
    """
    from tlfw.runs.run import follow
    from tlfw.runs.trained_model import LEFT

    errors: dict[str, list[str]] = {}
    candidates: list[Candidate] = []
    done: dict[str, Record] = {}
    moved: list[str] = []
    first: DictConfig | None = None
    known: set[str] = set()
    judged: dict[str, Any] = {}
    untouched, make = _plugins(sweep), Instantiator()
    with _imports_at_rest(), parsing_once():
        for job in found:
            config = None
            try:
                config = compose(job)
                _check_untouched(config, untouched)
                check_agreed(config, first := first or config)
                names = _names(config)
                given = flat(OmegaConf.to_container(without_hydra(config)))
                OmegaConf.resolve(config)  # which takes longer than all else, so once for all that follows
                experiment = make(config)
                plan = experiment.plan(memo)
                finished = find_record(experiment.runs, plan.key, LEFT)
                there = finished is not None and finished[1].status in FINISHED and not experiment.force
                if there and finished is not None:
                    done[plan.key] = finished[1]
                    if not sweep.hydra.sweeper.dry_run and (line := follow(experiment, plan, finished, memo)):
                        moved.append(line)
                settings = masked(_settings(given, config))  # as it is kept, and compared with what was
                candidates.append(
                    Candidate(
                        overrides=tuple(job),
                        run_id=plan.key,
                        steps=steps_of(plan),
                        settings=settings,
                        done=there,
                        names=names,
                        tested_on=plan.data.tested_on,
                        idle=frozenset(fields.idle(experiment, settings)),
                        setting=plan.setting,
                        numerics=plan.numerics,
                        company=plan.company,
                    )
                )
                if experiment.compare:
                    known.update(given)
                judged = judged or {
                    "compare": experiment.compare,
                    "metric": config.get("metric", "accuracy"),
                    "margin": experiment.margin,
                }
            except Exception as problem:
                as_written = None if config is None else compose(job)
                message = explain(problem, functools.partial(known_fields, tuple(job)), as_written)
                if message is None:
                    raise
                errors.setdefault(message, []).append(" ".join(job))
    if errors:
        bad = sum(map(len, errors.values()))
        lines = [f"{bad} of {len(found)} jobs cannot work; nothing was trained."]
        for message, jobs_ in errors.items():
            lines += ["", message, *(f"  in {job or 'the job'}" for job in jobs_[:3])]
            lines += [f"  and {len(jobs_) - 3} more"] if len(jobs_) > 3 else []
        raise Refused("\n".join(lines))
    check_compared(judged["compare"], known)
    return Checked(candidates, done, judged, moved)


def compared(
    candidates: Sequence[Candidate], earlier: Mapping[str, Any] | None, name: str, *, reported: bool
) -> frozenset[str]:
    """See that a sweep's report can compare all of it, and find what was asked for before and cannot be compared.

    Args:
        earlier: what `tlfw.records.plan_file.read` says of the sweep's folder.
        name: the sweep's.
        reported: whether there is to be a report; if not, nothing is refused.

    Returns:
        Ids of earlier runs, which were tested on images that have changed since.

    Raises:
        ConfigError: not all are tested on the same images.
    """
    try:
        check_comparable(candidates)
        return outdated(candidates, earlier, name)
    except ConfigError:
        if reported:
            raise
        return frozenset()


def check_comparable(candidates: Iterable[Candidate]) -> None:
    """See that all are tested on the same images. Of folds, which have images of their own, each is one comparison.

    Raises:
        ConfigError: they are not; says which fields of the target differ.
    """
    sets: defaultdict[str, defaultdict[str, list[Settings]]] = defaultdict(lambda: defaultdict(list))
    for candidate in candidates:
        sets[_fold(candidate.settings)][str(candidate.tested_on)].append(candidate.settings)
    for tested in sets.values():
        if len(tested) > 1:
            raise ConfigError(
                _telling(list(tested.values())) or "target",
                f"these runs would be tested on {len(tested)} different sets of images, which cannot be compared.",
                "Make a sweep of each, under a name=… of its own; or set hydra.sweeper.report=false to have no report.",
            )


def outdated(candidates: Iterable[Candidate], earlier: Mapping[str, Any] | None, name: str) -> frozenset[str]:
    """Which runs that were asked for before were tested on images that are not there as they were.

    Args:
        earlier: what `tlfw.records.plan_file.read` says.
        name: the sweep's.

    Returns:
        Their ids.

    Raises:
        ConfigError: some are tested on other images because they were asked for with others.
    """
    ours: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        ours[_fold(candidate.settings)].append(candidate)
    found = set()
    for run in earlier["runs"] if earlier else ():
        settings = run.get("settings", {})
        now = ours[_fold(settings)]
        if not now or run.get("tested_on") in (None, *(each.tested_on for each in now)):
            continue
        if told := _telling([[each.settings for each in now], [settings]]):
            raise ConfigError(
                "name",
                f"under {name} runs were asked for that are tested on other images: they differ in {told}.",
                "Give this sweep another name=…; or set hydra.sweeper.report=false to have no report.",
            )
        found.add(run["run_id"])
    return frozenset(found)


def _fold(settings: Settings) -> str:
    return str(settings.get("fold"))


def _telling(groups: Sequence[Sequence[Settings]]) -> str:
    """The target's fields that have no value in common between groups, the first three."""
    names = sorted({name for group in groups for each in group for name in each if name.startswith("target.")})
    values = {name: [{str(each.get(name)) for each in group} for group in groups] for name in names}
    told = [name for name, each in values.items() if len(set().union(*each)) == sum(map(len, each))]
    return "data@target" if "target._target_" in told else ", ".join(told[:3])


def deciding(found: Iterable[Sequence[str]], compose: Compose, memo: Memo) -> list[Any]:
    """All that decides the numbers of trials of a search: of each of these jobs its settings, and what they stand for.

    Args:
        found: jobs that together have every option that a trial can have. Not each has to work by itself.

    Raises:
        ConfigError, HydraException, OmegaConfBaseException: none of them does.
    """
    from hydra.utils import instantiate

    settings: list[dict[str, Any]] = []
    basis: list[Any] = []
    problems: list[Exception] = []
    with _imports_at_rest():
        for job in found:
            try:
                config = without_hydra(compose(job))
                values = flat(OmegaConf.to_container(config, resolve=True))
                experiment = instantiate(config)
                basis.append(canonical(experiment.basis(memo)))
                settings.append({name: values[name] for name in fields.deciding(experiment, values)})
            except (ConfigError, HydraException, OmegaConfBaseException, TypeError) as problem:
                problems.append(problem)  # of a job that is only a part of what a trial is; or the first trial says it
    if not basis:
        raise problems[0]
    return [settings, basis]


def without_hydra(config: DictConfig) -> DictConfig:
    """The config, from which Hydra's part is taken."""
    with open_dict(config):
        del config["hydra"]
    return config


def _names(config: DictConfig) -> dict[str, str]:
    """By whose options a run is called."""
    choices = config.hydra.runtime.choices
    return {group: str(choices.get(group, "custom")) for group in NAMES}


@contextlib.contextmanager
def _imports_at_rest() -> Iterator[None]:
    """Inside, collections of garbage do not look through what was there before, a million objects of libraries."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _settings(given: Settings, config: DictConfig) -> dict[str, Any]:
    """Every field that has a value of its own, and does not take that of another.

    Args:
        given: the fields as they were written.
        config: the same, resolved.
    """
    resolved = flat(OmegaConf.to_container(config))
    return {name: resolved[name] for name, value in given.items() if name in resolved and "${" not in str(value)}


def _plugins(config: DictConfig) -> dict[str, Any]:
    """The settings of what makes jobs and of what starts them."""
    return {plugin: OmegaConf.to_container(config.hydra[plugin]) for plugin in ("sweeper", "launcher")}


def _check_untouched(config: DictConfig, used: Mapping[str, Any]) -> None:
    """Launcher and sweeper are chosen before jobs are made: a job that sets them would silently not be heard."""
    for plugin, own in _plugins(config).items():
        if own != used[plugin]:
            raise ConfigError(
                "experiment",
                f"it sets hydra.{plugin}, which a job of a sweep cannot.",
                "Run one such experiment at a time, without sweeping over experiment.",
            )


def leave(config: DictConfig, sweep: str, status: Status, why: str, memo: Memo) -> None:
    """Leave a record of a run that cannot be made.

    Args:
        config: the job's, whole.
        sweep: the sweep's name.
        status: `blocked`, or `diverged`.
        memo: as `checked` has it.
    """
    from hydra.utils import instantiate

    from tlfw.runs.job import Job
    from tlfw.runs.run import leave_unmade

    choices = {group: str(option) for group, option in config.hydra.runtime.choices.items()}
    settings: Any = OmegaConf.to_container(without_hydra(config), resolve=True)
    job = Job(choices=choices, config=settings, folder=None, sweep=sweep)
    leave_unmade(instantiate(config), job, status, why, memo)
