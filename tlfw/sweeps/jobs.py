"""The jobs of a multirun: the overrides of each, in the order in which they are asked for."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from tlfw.cluster.launcher import HERE, threads
from tlfw.command_line.arguments import spelt
from tlfw.errors import ConfigError
from tlfw.runs.repetition import Repeat

Compose = Callable[[Sequence[str]], DictConfig]
"""From a job's overrides to its whole config."""

ONE_FOR_ALL = ("repeat", "folds", "compare", "margin")
"""What a sweep has one value of."""

SEED, DRAW = "seed", "target.split_seed"


@dataclasses.dataclass(frozen=True)
class Jobs:
    """What a sweep was asked for.

    Attributes:
        overrides: of each job, in order.
        swept: the fields and groups that were given several values.
    """

    overrides: list[list[str]]
    swept: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Repeated:
    """Jobs, each as often as it is to be repeated.

    Attributes:
        overrides: of each job, all cells of one repetition before those of the next.
        times: how many repetitions a cell has; None: the sweep makes none.
        said: for people, what they are; empty where there are none.
    """

    overrides: list[list[str]]
    times: int | None = None
    said: str = ""


def jobs(
    params: Mapping[str, object],
    also: Sequence[Sequence[str]],
    arguments: Sequence[str],
    loader: ConfigLoader | None = None,
) -> Jobs:
    """The jobs of a sweep.

    First the product of all that is swept, by `params` or by `arguments` (the command line wins),
    then for each list in `also` the product of all that is swept and that the list does not
    set itself. So a control is added once, and once for each seed where seeds are swept.

    Args:
        loader: knows the options of groups, which `glob(*)` asks for.

    Raises:
        ConfigError: something is swept that cannot be.
    """
    parse = OverridesParser.create(config_loader=loader).parse_overrides
    chosen: dict[str, list[str]] = {}
    for override in parse([spelt(f"{key}={value}") for key, value in params.items()] + list(arguments)):
        chosen.pop(_field(override.get_key_element()), None)
        chosen[_field(override.get_key_element())] = _values(override)
    found = _product(chosen.values())
    swept = {field for field, values in chosen.items() if len(values) > 1}
    for extra in also:
        own = {_field(override.get_key_element()): _values(override) for override in parse([spelt(e) for e in extra])}
        found += _product([*(values for field, values in chosen.items() if field not in own), *own.values()])
        swept |= {field for field, values in own.items() if len(values) > 1}
    return Jobs([list(job) for job in dict.fromkeys(map(tuple, found))], frozenset(swept))


def _field(word: str) -> str:
    """The field or group that an override is of."""
    return word.partition("=")[0].lstrip("+")


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
    if (field := _field(key).partition(".")[0]) in ONE_FOR_ALL:
        said = override.input_line.partition("=")[2] if override.input_line else "several values"
        raise ConfigError(field, f"it is swept over ({said}), where a sweep has one.", "Make a sweep of each value.")
    values = [f"{key}={value}" for value in override.sweep_string_iterator()]
    if not values:
        raise ConfigError(key, f"nothing matches {override.input_line}.", "Use a,b,c, or glob(*) of a group.")
    return values


def _product(lists: Iterable[list[str]]) -> list[list[str]]:
    return [list(combination) for combination in itertools.product(*lists)]


def with_threads(
    found: Sequence[list[str]], config: DictConfig, launcher: str, settings: Mapping[str, Any]
) -> list[list[str]]:
    """The jobs, each told how many threads torch has in it, unless it runs in this very process.

    Torch's threads are part of a run's key, so that they have to be known before it is planned.

    Args:
        config: the multirun's own.
        launcher: the option of `hydra/launcher`.
        settings: the config's `hydra.launcher`.
    """
    if config.threads is not None or launcher == HERE:
        return list(found)
    import torch

    own = threads(launcher, settings, torch.get_num_threads())
    assert own is not None
    return [[*job, f"threads={max(1, own // _processes(job, config))}"] for job in found]


def _processes(job: Sequence[str], config: DictConfig) -> int:
    """That share the cores of a job: one for each device."""
    asked = OmegaConf.select(config, "trainer.devices", default=1)
    for word in job:
        if _field(word) == "trainer.devices":
            asked = word.partition("=")[2]
    return int(asked) if str(asked).isdecimal() and int(asked) else 1


def repeated(asked: Jobs, compose: Compose) -> Repeated:
    """The jobs with their repetitions: `repeat` makes seeds and draws, `folds` a run for each fold.

    Each counts from the seed and the draw that the job has anyway. A job that names its fold stays as it is, and so
    does one that cannot be composed, whose error comes with those of the others.

    Raises:
        ConfigError: what is repeated is swept over as well, or jobs differ in what a sweep has one of.
    """
    composed = functools.cache(lambda job: _composed(compose, job))
    first = next((each for job in asked.overrides if (each := composed(tuple(job))) is not None), None)
    if first is None:
        return Repeated(asked.overrides)
    repeat, folds = Repeat.of(_plain(first, "repeat")), first.get("folds")
    if repeat.count == 1 and folds is None:
        return Repeated(asked.overrides)
    if repeat.count > 1 and folds is not None:
        raise ConfigError(
            "folds", f"each fold is a repetition, and repeat is {repeat.count}.", "Leave one of them out."
        )
    by = f"repeat={repeat.count}" if repeat.count > 1 else f"folds={folds}"
    for field in (SEED, DRAW):
        if field in asked.swept:
            raise ConfigError(field, f"it is swept, where {by} makes its values.", "Leave one of the two out.")
    times: list[list[list[str]]] = []
    firsts: set[int] = set()
    for job in asked.overrides:
        config = composed(tuple(job))
        config = first if config is None else config
        check_agreed(config, first)
        base = config.get(SEED), OmegaConf.select(config, DRAW, default=0)
        if not all(type(number) is int for number in base):  # which is an error of the job's
            times.append([job])
        elif folds is None:
            times.append(_repetitions(job, config, repeat, *base))
            firsts.add(base[0])
        elif config.get("fold") is None and type(folds) is int:
            kept = _without(job, SEED, "fold")
            times.append([[*kept, f"fold={fold}", f"{SEED}={base[0] + fold}"] for fold in range(folds)])
            firsts.add(base[0])
        else:
            times.append([job])
    found = [job for each in itertools.zip_longest(*times) for job in each if job is not None]
    if not firsts:
        return Repeated(found)
    total = max(map(len, times))
    said = f"{len(times)} cell{'s' * (len(times) != 1)} x {total} "
    if folds is not None:
        said += "folds" + _seeds(firsts, total)
    else:
        draws = {
            "both": ", each with its own draw of labelled images",
            "seed": ", all with the same draw of labelled images",
            "cross": f", each with {repeat.count} draws of labelled images",
        }
        said += "repetitions" + _seeds(firsts, repeat.count) + draws[repeat.by]
    return Repeated([list(job) for job in dict.fromkeys(map(tuple, found))], total, said)


def _composed(compose: Compose, job: tuple[str, ...]) -> DictConfig | None:
    try:
        return compose(job)
    except Exception:  # Hydra and OmegaConf raise many kinds; the jobs' check says them all
        return None


def _plain(config: DictConfig, field: str) -> Any:
    value = config.get(field)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def check_agreed(config: DictConfig, first: DictConfig) -> None:
    """See that a job asks for what the first one does, wherever a sweep has one value.

    Raises:
        ConfigError: it does not.
    """
    for field in ONE_FOR_ALL:
        own, other = _plain(config, field), _plain(first, field)
        if field == "repeat":
            own, other = Repeat.of(own), Repeat.of(other)
        if own != other:
            raise ConfigError(
                field, f"a job has {own}, and the first one has {other}.", "Give the whole sweep one, behind -m."
            )


def _repetitions(job: Sequence[str], config: DictConfig, repeat: Repeat, seed: int, draw: int) -> list[list[str]]:
    target = config.get("target")
    if repeat.by != "both" and OmegaConf.is_config(target) and OmegaConf.is_interpolation(target, "split_seed"):
        raise ConfigError(DRAW, f"it follows another field, where repeat.by={repeat.by} sets it.", "Give it a number.")
    kept = _without(job, SEED, "repeat", "repeat.count", "repeat.by")
    if repeat.by == "seed":
        return [[*kept, f"{SEED}={each}"] for each, _ in repeat.pairs(seed, draw)]
    key = DRAW if OmegaConf.is_config(target) and "split_seed" in target else f"++{DRAW}"  # a set's file may lack it
    kept = _without(kept, DRAW)
    return [[*kept, f"{SEED}={each}", f"{key}={other}"] for each, other in repeat.pairs(seed, draw)]


def _without(job: Sequence[str], *fields: str) -> list[str]:
    return [word for word in job if _field(word) not in fields]


def _seeds(firsts: set[int], count: int) -> str:
    """Which they are, if all cells have the same."""
    return f": seeds {min(firsts)} to {min(firsts) + count - 1}" if len(firsts) == 1 else ""
