"""Which runs a multirun is made of, and whether all of them can work."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from tlfw import CONF
from tlfw.agenda import Candidate, steps_of
from tlfw.errors import ConfigError
from tlfw.explain import explain
from tlfw.record import FINISHED, Record, Status
from tlfw.settings import flat
from tlfw.typed import group_choices

if TYPE_CHECKING:
    from tlfw.search import Search


def jobs(
    params: Mapping[str, object],
    also: Sequence[Sequence[str]],
    arguments: Sequence[str],
    loader: ConfigLoader | None = None,
) -> list[list[str]]:
    """The overrides of every job of a sweep, in order.

    First the product of all that is swept, by `params` or by `arguments` (the command line wins),
    then for each list in `also` the product of all that is swept and that the list does not
    set itself. So a control is added once, and once for each seed where seeds are swept.

    Args:
        loader: knows the options of groups, which `glob(*)` asks for.

    Raises:
        ConfigError: something is swept that cannot be.
    """
    parser = OverridesParser.create(config_loader=loader)
    chosen: dict[str, list[str]] = {}
    for override in parser.parse_overrides([f"{key}={value}" for key, value in params.items()] + list(arguments)):
        chosen.pop(override.get_key_element().lstrip("+"), None)
        chosen[override.get_key_element().lstrip("+")] = _values(override)
    found = _product(chosen.values())
    for extra in also:
        own = parser.parse_overrides(list(extra))
        named = {override.get_key_element().lstrip("+") for override in own}
        rest = [values for key, values in chosen.items() if key not in named]
        found += _product([*rest, *(_values(override) for override in own)])
    return [list(job) for job in dict.fromkeys(map(tuple, found))]


def _values(override: Override) -> list[str]:
    key = override.get_key_element()
    if not override.is_sweep_override():
        return (
            [f"{key}={override.get_value_element_as_str()}"] if not override.is_delete() else [str(override.input_line)]
        )
    if not override.is_discrete_sweep():
        raise ConfigError(key, f"{override.input_line} is no list of values.", "Use a,b,c or range(…).")
    if key.split("/")[0] == "hydra" or key.startswith("hydra."):
        raise ConfigError(key, "Hydra chooses it before it makes jobs, so it cannot be swept.", "Set it to one value.")
    values = [f"{key}={value}" for value in override.sweep_string_iterator()]
    if not values:
        raise ConfigError(key, f"nothing matches {override.input_line}.", "Use a,b,c, or glob(*) of a group.")
    return values


def _product(lists: Iterable[list[str]]) -> list[list[str]]:
    return [list(combination) for combination in itertools.product(*lists)]


def with_threads(found: Sequence[list[str]], config: DictConfig) -> list[list[str]]:
    """The jobs, with the cores divided among as many as the launcher runs at a time on this machine.

    Torch's threads are part of a run's key, so that they have to be known before it is planned.
    """
    at_a_time = config.hydra.launcher.get("n_jobs", 1)  # joblib's
    cores = os.cpu_count() or 1
    at_a_time = max(1, cores + 1 + at_a_time) if at_a_time < 0 else at_a_time
    if at_a_time == 1 or config.threads is not None:
        return list(found)
    return [[*job, f"threads={max(1, cores // at_a_time)}"] for job in found]


def search_settings(given: Any, found: Sequence[list[str]]) -> Search:
    """The settings of a search.

    Raises:
        ConfigError: they are wrong, or something is swept besides.
    """
    from tlfw.search import Search

    if len(found) > 1:
        raise ConfigError(
            "hydra.sweeper.search",
            f"{len(found)} jobs are asked for besides.",
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


class Refused(Exception):
    """A sweep that cannot work as a whole; the text has all errors together. Nothing was trained."""


class SomeFailed(Exception):
    """A sweep that ended, but not every run of it well; the table says which."""


def checked(
    found: Sequence[Sequence[str]], compose: Callable[[Sequence[str]], DictConfig], sweep: DictConfig
) -> tuple[list[Candidate], dict[str, Record]]:
    """Compose, instantiate and plan every job, each once.

    Args:
        compose: a job's whole config from its overrides.
        sweep: the multirun's own config.

    Returns:
        The jobs, and run id -> record of those that are done already, or have diverged.

    Raises:
        Refused: some of them cannot work.
    """
    from hydra.utils import instantiate

    from tlfw.run import find_record
    from tlfw.seen import Memo

    errors: dict[str, list[str]] = {}
    memo = Memo()
    candidates: list[Candidate] = []
    done: dict[str, Record] = {}
    with _imports_at_rest():
        for job in found:
            config = None
            try:
                config = compose(job)
                _check_untouched(config, sweep)
                with open_dict(config):
                    del config["hydra"]
                experiment = instantiate(config)
                plan = experiment.plan(memo)
                record = find_record(experiment.runs, plan.key)
                there = record is not None and record.status in FINISHED and not experiment.force
                if there and record is not None:
                    done[plan.key] = record
                candidates.append(Candidate(tuple(job), plan.key, steps_of(plan), _settings(config), there))
            except Exception as problem:
                message = explain(problem, functools.partial(known_fields, tuple(job)), config)
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
    return candidates, done


@contextlib.contextmanager
def _imports_at_rest() -> Iterator[None]:
    """Inside, collections of garbage do not look through what was there before, a million objects of libraries."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _settings(config: DictConfig) -> dict[str, Any]:
    """Every field that has a value of its own, and does not take that of another."""
    given, resolved = (flat(OmegaConf.to_container(config, resolve=resolve)) for resolve in (False, True))
    return {name: resolved[name] for name, value in given.items() if name in resolved and "${" not in str(value)}


def _check_untouched(config: DictConfig, sweep: DictConfig) -> None:
    """Launcher and sweeper are chosen before jobs are made: a job that sets them would silently not be heard."""
    for plugin in ("sweeper", "launcher"):
        own, used = (OmegaConf.to_container(c.hydra[plugin], resolve=False) for c in (config, sweep))
        if own != used:
            raise ConfigError(
                "experiment",
                f"it sets hydra.{plugin}, which a job of a sweep cannot.",
                "Run one such experiment at a time, without sweeping over experiment.",
            )


@functools.cache
def known_fields(words: tuple[str, ...] = ()) -> list[str]:
    """The full names of all fields of the config with the groups' options that these overrides choose."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with _own_hydra(GlobalHydra.instance()), initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        try:
            config = compose("config", overrides=group_choices(words))
        except (HydraException, OmegaConfBaseException):
            config = compose("config")
        return _leaves(OmegaConf.to_container(config), "")


@contextlib.contextmanager
def _own_hydra(instance: Any) -> Iterator[None]:
    kept, instance.hydra = instance.hydra, None
    try:
        yield
    finally:
        instance.hydra = kept


def _leaves(node: Any, prefix: str) -> list[str]:
    if not isinstance(node, dict) or not node:
        return [prefix]
    return [leaf for key, value in node.items() for leaf in _leaves(value, f"{prefix}.{key}".lstrip("."))]


def leave(config: DictConfig, sweep: str, status: Status, why: str) -> None:
    """Leave a record of a run that cannot be made.

    Args:
        config: the job's, whole.
        sweep: the sweep's name.
        status: `blocked`, or `diverged`.
    """
    from hydra.utils import instantiate

    from tlfw.run import Job, leave_unmade

    choices = {group: str(option) for group, option in config.hydra.runtime.choices.items()}
    with open_dict(config):
        del config["hydra"]
    settings: Any = OmegaConf.to_container(config, resolve=True)
    job = Job(choices=choices, config=settings, folder=None, sweep=sweep)
    leave_unmade(instantiate(config), job, status, why)
