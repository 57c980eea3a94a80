"""Which machine this is among those of a run."""

from __future__ import annotations

import pytest

from tlfw.devices.nodes import Node, first_host, this_node
from tlfw.errors import ConfigError

SLURM = {
    "SLURM_JOB_ID": "70001", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2",
    "SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "node[03,07]",
}  # fmt: skip


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SLURM, "SLURM_JOB_NODELIST", "SLURM_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)


def put(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, value in {**SLURM, **changes}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("node03", "node03"), ("node[03-05,7],other", "node03"), ("a,b", "a"), ("gpu-[1,3]", "gpu-1"),
        ("rack[2-4]-x,b", "rack2-x"), ("", ""),
    ],
)  # fmt: skip
def test_the_first_host_of_a_list(said: str, first: str) -> None:
    assert first_host(said) == first


def test_one_machine_meets_nobody() -> None:
    assert this_node(1) == Node(number=0, count=1, address=None, port=None)


def test_machines_of_a_slurm_job_meet_at_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch)
    found = this_node(2)
    assert (found.number, found.count, found.address) == (1, 2, "node03")
    assert found.port is not None
    assert found == this_node(2)
    put(monkeypatch, SLURM_RESTART_COUNT="1")
    assert this_node(2).port != found.port
    put(monkeypatch, MASTER_ADDR="10.0.0.1", MASTER_PORT="1234")
    assert (this_node(2).address, this_node(2).port) == ("10.0.0.1", 1234)


def test_machines_without_a_scheduler_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"trainer.num_nodes: it is 2, and nothing says .* set NODE_RANK and MASTER"):
        this_node(2)
    monkeypatch.setenv("NODE_RANK", "1")
    monkeypatch.setenv("MASTER_ADDR", "here")
    assert (this_node(2).number, this_node(2).address) == (1, "here")


def test_several_processes_a_machine_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, SLURM_STEP_NUM_TASKS="4")
    with pytest.raises(
        ConfigError, match=r"tasks_per_node: Slurm has started 4 processes .* on 2 machines.*Use tasks_pe"
    ):
        this_node(2)


@pytest.mark.parametrize(("asked", "there"), [(1, "2"), (2, "1"), (3, "2")])
def test_a_job_has_as_many_machines_as_its_run(monkeypatch: pytest.MonkeyPatch, asked: int, there: str) -> None:
    put(monkeypatch, SLURM_STEP_NUM_NODES=there, SLURM_STEP_NUM_TASKS=there)
    with pytest.raises(
        ConfigError, match=rf"trainer.num_nodes: it is {asked}, and Slurm has started .* {there} machine"
    ):
        this_node(asked)


def test_a_script_of_slurm_that_starts_tlfw_itself_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}.items():
        monkeypatch.setenv(name, value)
    assert this_node(1) == Node()
    monkeypatch.setenv("SLURM_NODEID", "0")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[03,07]")
    with pytest.raises(ConfigError, match="nothing says which machine this is"):
        this_node(2)  # which srun would start
