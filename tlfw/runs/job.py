"""A job: what it knows of its place, and whether it computes what its sweep planned.

Keys hold what the last bit depends on, and machines differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from tlfw.errors import ConfigError
from tlfw.records.claim import Claim, claimed
from tlfw.records.ledger import VARIABLE, read_entry
from tlfw.runs.experiment import Experiment
from tlfw.runs.plan import Plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What a run knows of its place and that decides no number.

    Attributes:
        choices: config group -> chosen option, e.g. `freeze_policy` -> `last_layer`.
        config: the resolved config, as plain types.
        folder: Hydra's output folder, whose `.hydra` is copied beside the record; None: there is none.
        sweep: the sweep's name; None for a single run.
    """

    choices: Mapping[str, str]
    config: Mapping[str, Any]
    folder: Path | None
    sweep: str | None

    @classmethod
    def of(cls, config: DictConfig, choices: Mapping[str, Any], folder: Path, sweep: str | None) -> Job:
        """The job of a config that holds nothing of Hydra's."""
        whole: Any = OmegaConf.to_container(config, resolve=True)
        return cls(
            choices={group: str(option) for group, option in choices.items()},
            config=whole | {"planned": None, "together": None},  # which say nothing of the run
            folder=folder,
            sweep=sweep,
        )


@contextlib.contextmanager
def claimed_run(
    runs: Path, key: str, what: Literal["run", "record"], said: str, *, heed: bool = True
) -> Iterator[Claim]:
    """A claim on a run, or on the moment in which its record is replaced."""
    runs.mkdir(parents=True, exist_ok=True)
    with claimed(runs / f".{key}.{what}.claim", said, heed=heed) as claim:
        yield claim


def check_planned(experiment: Experiment, plan: Plan) -> None:
    """See that what a job is about to make has the key that the sweep waits for.

    Raises:
        ConfigError: it has another one; says what differs on this machine.
    """
    if experiment.planned is None or experiment.planned in _keys(experiment, plan):
        return
    where = os.environ.get(VARIABLE)
    entry = read_entry(Path(where)) if where else None
    told = _differences(entry.numerics if entry else {}, plan.numerics)
    differs = f"here {told}" if told else "images, code or weights are others here, or have changed since"
    raise ConfigError(
        "planned",
        f"the sweep planned {experiment.planned[:12]}, and on this machine it would be another result: {differs}.",
        "Let jobs have what the sweep says of them (threads, trainer.accelerator, trainer.devices), or run the command "
        "again where they run.",
    )


def _keys(experiment: Experiment, plan: Plan) -> set[str]:
    """Of what the job makes: the run, or what `until` names."""
    if experiment.until is None:
        return {plan.key}
    name, _, features = experiment.until.partition("/")
    stages = [stage for stage in plan.stages if stage.name == name]
    if features:
        return {key for stage in stages for key in stage.features.values()}
    return {stage.key for stage in stages}


def _differences(planned: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What the machine's part of a key differs in, for people; empty: in nothing."""
    other = {name: value for name, value in here.items() if name in planned and planned[name] != _plain(value)}
    return ", ".join(f"{name} is {value!r} where {planned[name]!r} was planned" for name, value in other.items())


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
