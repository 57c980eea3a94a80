"""What a job gets, as a person asks for it: what Slurm takes is taken, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tlfw.cluster import resources as module
from tlfw.cluster.launcher import resources
from tlfw.cluster.resources import Resources, minutes
from tlfw.errors import ConfigError


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (90, 90), ("90", 90), (" 90 ", 90), ("30:00", 30), ("30:01", 31), ("0:30", 1), ("1:30:00", 90),
        ("1:30:59", 91), ("1-0", 24 * 60), ("1-12", 36 * 60), ("2-01:30", 49 * 60 + 30), ("1-12:00:00", 36 * 60),
        ("0-00:00:01", 1), ("100:00:00", 6000),
    ],
)  # fmt: skip
def test_a_time_limit_is_written_as_for_slurm(time: int | str, expected: int) -> None:
    assert minutes(time) == expected
    if expected > 1:
        assert Resources(time=time, signal_seconds=1).minutes == expected


@pytest.mark.parametrize("time", ["", "soon", "1:2:3:4", "1-", "-1", "1.5", "1h", "1-2:3:4:5", "UNLIMITED"])
def test_what_is_no_time_limit(time: str) -> None:
    with pytest.raises(ValueError, match="write minutes, 1:30:00 or 1-12:00:00"):
        minutes(time)
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.time: .* is no time limit"):
        resources({"time": time})


@pytest.mark.parametrize("time", [0, -5, "0", "0:00"])
def test_a_job_has_at_least_a_minute(time: int | str) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.time: a job needs at least a minute"):
        resources({"time": time})
    assert Resources(time=2, signal_seconds=59).minutes == 2


@pytest.mark.parametrize("memory", ["500MB", "16GB", "16G", "2T", "900000K", "16gb"])
def test_memory_is_a_text_as_slurm_takes_it(memory: str) -> None:
    assert Resources(memory=memory).memory == memory


@pytest.mark.parametrize("memory", ["much", "16", "16 GB", "GB", "-1GB", "1.5GB", "16GiB", "16GB each", ""])
def test_what_is_no_memory(memory: str) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.memory: .* is no amount of memory; write 500MB or 16GB"):
        resources({"memory": memory})


@pytest.mark.parametrize(("time", "seconds"), [(4, 240), (4, 300), ("3:30", 240), ("1:00:00", 3600)])
def test_the_warning_comes_before_the_time_limit(time: int | str, seconds: int) -> None:
    with pytest.raises(ConfigError) as problem:
        resources({"time": time, "signal_seconds": seconds})
    assert str(problem.value).startswith(
        f"hydra.launcher.signal_seconds: {seconds} s before the time limit of {60 * minutes(time)} s, and up to 60 s "
        "earlier still as Slurm may have it, a job may not have begun; use less, or give a job more time."
    )
    latest = 60 * minutes(time) - 61
    assert resources({"time": time, "signal_seconds": latest}).signal_seconds == latest
    with pytest.raises(ConfigError, match="may not have begun"):
        resources({"time": time, "signal_seconds": latest + 1})


def test_the_warning_that_is_meant_by_itself_may_come_too_early() -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.signal_seconds: 120 s before .* of 180 s"):
        resources({"time": 3})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"cpus": 0}, "cpus"), ({"cpus": -1}, "cpus"), ({"cpus": "2"}, "cpus"), ({"gpus": -1}, "gpus"),
        ({"nodes": 0}, "nodes"), ({"at_a_time": 0}, "at_a_time"), ({"signal_seconds": 0}, "signal_seconds"),
        ({"cpu": 2}, "cpu"), ({"partitions": "gpu"}, "partitions"), ({"time": 1.5}, "time"), ({"time": None}, "time"),
        ({"memory": 16}, "memory"), ({"setup": "module load"}, "setup"), ({"options": ["x"]}, "options"),
    ],
)  # fmt: skip
def test_what_cannot_be_given_is_named_in_full(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as problem:
        resources({"_target_": "hydra_plugins.tlfw_launcher.SlurmLauncher", **given})
    assert str(problem.value).startswith(f"hydra.launcher.{field}: ")
    assert "docs/how-to/clusters.md" in str(problem.value)


def test_how_many_jobs_there_are_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 8)
    assert [Resources(cpus=cpus).at_most(here=True) for cpus in (1, 2, 3, 8, 9)] == [8, 4, 2, 1, 1]
    assert Resources().at_most(here=False) >= 1000
    assert Resources(at_a_time=3).at_most(here=True) == Resources(at_a_time=3).at_most(here=False) == 3
