"""What a launcher's settings say of its jobs, so that the driver plans what the jobs will compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tlfw.cluster.executor import EXECUTORS
from tlfw.cluster.resources import Resources
from tlfw.errors import ConfigError
from tlfw.limits import cores

HERE = "basic"
"""The launcher that runs jobs in the driver's own process."""


def resources(settings: Mapping[str, Any]) -> Resources:
    """What each job gets, of the launchers of `EXECUTORS`.

    Args:
        settings: the config's `hydra.launcher`.

    Raises:
        ConfigError: something cannot be given.
    """
    try:
        return Resources(**{name: value for name, value in settings.items() if name != "_target_"})
    except ValidationError as problem:
        first = problem.errors()[0]
        field = f"hydra.launcher.{first['loc'][0]}"  # beyond that stand pydantic's words for its type
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            field, f"{said}.", "Look at docs/how-to/clusters.md for the fields of a launcher."
        ) from problem


def check(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse what would hang or lose work under a launcher.

    Args:
        name: the option of `hydra/launcher`.
        settings: the config's `hydra.launcher`.

    Raises:
        ConfigError: before anything is planned.
    """
    if name in EXECUTORS:
        resources(settings)
    if (tasks := settings.get("tasks_per_node") or 1) > 1:
        raise ConfigError(
            "hydra.launcher.tasks_per_node",
            f"{tasks} processes would make the same run, and wait for each other.",
            "Use 1: a run with trainer=ddp starts its processes itself, one for each device.",
        )
    limit, delay = settings.get("timeout_min"), settings.get("signal_delay_s")
    if limit is not None and delay is not None and delay >= 60 * limit:
        raise ConfigError(
            "hydra.launcher.signal_delay_s",
            f"{delay} s before the time limit of {60 * limit} s is before a job begins.",
            "Use less, or give a job more time with hydra.launcher.timeout_min.",
        )


def threads(name: str, settings: Mapping[str, Any], here: int) -> int | None:
    """Threads that torch has in a job, which are part of a run's key; None: as many as in this process, which runs it.

    Args:
        name: the option of `hydra/launcher`.
        settings: the config's `hydra.launcher`.
        here: threads of torch in this process.
    """
    if name == HERE:
        return None
    if name in EXECUTORS:
        return resources(settings).cpus
    if name == "joblib":
        at_a_time = settings.get("n_jobs") or 1
        at_a_time = max(1, cores() + 1 + at_a_time) if at_a_time < 0 else at_a_time
        return here if at_a_time == 1 else max(1, cores() // at_a_time)
    ray = (settings.get("ray") or {}).get("remote") or {}
    return settings.get("cpus_per_task") or int(ray.get("num_cpus") or 0) or here


def gpus(name: str, settings: Mapping[str, Any]) -> int | None:
    """GPUs that a job has on each node; None: that is not said, and it has what this process has."""
    if name in EXECUTORS:
        return resources(settings).gpus
    return settings.get("gpus_per_node")
