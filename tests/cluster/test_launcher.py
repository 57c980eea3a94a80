"""What a launcher's settings say of its jobs."""

from __future__ import annotations

from typing import Any

import pytest

from tlfw.cluster import launcher as module
from tlfw.cluster.launcher import check, gpus, threads
from tlfw.errors import ConfigError

HERE = 5
"""Threads of this process."""


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 8)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("basic", {}, None),
        ("slurm", {"cpus": 6}, 6),
        ("slurm", {"_target_": "x"}, 2),
        ("slurm_local", {"cpus": 3}, 3),
        ("joblib", {"n_jobs": 1}, HERE),
        ("joblib", {"n_jobs": None}, HERE),  # which is one, as joblib takes it
        ("joblib", {}, HERE),
        ("joblib", {"n_jobs": 2}, 4),
        ("joblib", {"n_jobs": 3}, 2),
        ("joblib", {"n_jobs": 20}, 1),
        ("joblib", {"n_jobs": -1}, 1),  # as many as there are cores
        ("joblib", {"n_jobs": -7}, 4),  # two
        ("joblib", {"n_jobs": -8}, HERE),  # one
        ("joblib", {"n_jobs": -20}, HERE),
        ("submitit_local", {"cpus_per_task": 4}, 4),
        ("submitit_slurm", {"cpus_per_task": 16}, 16),
        ("submitit_slurm", {"cpus_per_task": None}, HERE),
        ("ray", {"ray": {"remote": {"num_cpus": 2}}}, 2),
        ("ray", {"ray": {"remote": {"num_cpus": 0.5}}}, HERE),
        ("ray", {"ray": {"remote": None}}, HERE),
        ("ray", {"ray": {"init": {}}}, HERE),
        ("ray", {}, HERE),
    ],
)
def test_threads_of_a_job(name: str, settings: dict[str, Any], expected: int | None) -> None:
    assert threads(name, settings, HERE) == expected


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("basic", {}, None),
        ("joblib", {"n_jobs": 2}, None),
        ("slurm", {}, 0),
        ("slurm", {"gpus": 2}, 2),
        ("slurm_local", {"gpus": 1}, 1),
        ("submitit_slurm", {"gpus_per_node": 4}, 4),
        ("submitit_local", {"gpus_per_node": None}, None),
        ("ray", {}, None),
    ],
)
def test_gpus_of_a_job(name: str, settings: dict[str, Any], expected: int | None) -> None:
    assert gpus(name, settings) == expected


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("basic", {}),
        ("joblib", {"n_jobs": 2}),
        ("slurm", {"time": 10}),
        ("slurm_local", {"cpus": 1}),
        ("submitit_slurm", {"tasks_per_node": 1, "timeout_min": 10, "signal_delay_s": 599}),
        ("submitit_slurm", {"tasks_per_node": None, "timeout_min": None, "signal_delay_s": 120}),
        ("submitit_local", {"timeout_min": 10, "signal_delay_s": None}),
        ("ray", {"ray": {}}),
    ],
)
def test_what_works_is_not_refused(name: str, settings: dict[str, Any]) -> None:
    check(name, settings)


@pytest.mark.parametrize("name", ["submitit_slurm", "submitit_local"])
def test_several_processes_for_one_run_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.tasks_per_node: 2 processes would .* Use 1: .*ddp"):
        check(name, {"tasks_per_node": 2})


@pytest.mark.parametrize("delay", [600, 601])
def test_a_warning_before_the_job_begins_is_refused(delay: int) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.signal_delay_s: \d+ s before the time limit of 600 s"):
        check("submitit_slurm", {"timeout_min": 10, "signal_delay_s": delay})


@pytest.mark.parametrize("name", ["slurm", "slurm_local"])
def test_the_fields_of_tlfws_own_launchers_are_checked(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.memory: .16. is no amount"):
        check(name, {"memory": "16"})
    check("basic", {"memory": "16"})  # not its field
