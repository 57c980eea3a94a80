"""The machines that compute one run together: each has one process of its own, which starts the ranks there."""

from __future__ import annotations

import dataclasses
import os
import re

from tlfw.errors import ConfigError

PORTS = range(20_000, 60_000)
"""Where the machines of a job meet: one of these, by the job's number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """This machine among those of a run.

    Attributes:
        number: counted from 0.
        count: of all.
        address, port: of the first, where they meet; None: there is one.
    """

    number: int = 0
    count: int = 1
    address: str | None = None
    port: int | None = None


def check_tasks() -> None:
    """See that a job has one process a machine.

    Raises:
        ConfigError: a scheduler has started several.
    """
    tasks, nodes = _number("SLURM_STEP_NUM_TASKS", 1), _number("SLURM_STEP_NUM_NODES", 1)
    if tasks > nodes:
        raise ConfigError(
            "hydra.launcher.tasks_per_node",
            f"Slurm has started {tasks} processes of this job on {nodes} machine{'s' * (nodes > 1)}, and each would "
            "make the whole run.",
            "Use tasks_per_node=1, and trainer.devices for the devices of a machine: tlfw starts a process for each.",
        )


def is_a_further_node() -> bool:
    """Whether another machine of this job is the first."""
    return _number("SLURM_STEP_NUM_NODES", 1) > 1 and _number("SLURM_NODEID", 0) > 0


def this_node(count: int) -> Node:
    """This machine among the `count` of a run.

    Raises:
        ConfigError: the job has another number of machines, or nothing says where they meet.
    """
    check_tasks()
    started = _number("SLURM_STEP_NUM_NODES", 1)
    if started != count and (started > 1 or "SLURM_STEP_NUM_NODES" in os.environ):
        raise ConfigError(
            "trainer.num_nodes",
            f"it is {count}, and Slurm has started this job on {started} machine{'s' * (started > 1)}.",
            "Set both to the same number: trainer.num_nodes, and hydra.launcher.nodes or --nodes.",
        )
    if count == 1:
        return Node()
    # In a batch script Slurm has started one process, whatever the job's number of machines is.
    number = os.environ.get("SLURM_NODEID" if started > 1 else "NODE_RANK")
    address = os.environ.get("MASTER_ADDR") or first_host(
        os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST", "")
    )
    if number is None or not address:
        raise ConfigError(
            "trainer.num_nodes",
            f"it is {count}, and nothing says which machine this is and where they meet.",
            "Start one process a machine under Slurm (nodes, with tasks_per_node=1), or set NODE_RANK and MASTER_ADDR.",
        )
    return Node(number=int(number), count=count, address=address, port=_port())


def first_host(nodes: str) -> str:
    """The first of the machines that Slurm names: `node[03-05,7],other` begins with `node03`."""
    found = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    return f"{found[1]}{found[2] or ''}{found[3] or ''}" if found else ""


def _port() -> int:
    """Another one each time a job is started again: the last time's may not be free yet."""
    if given := os.environ.get("MASTER_PORT"):
        return int(given)
    job, step = _number("SLURM_JOB_ID", 0), _number("SLURM_STEP_ID", 0)
    return PORTS[(job * 97 + step * 31 + _number("SLURM_RESTART_COUNT", 0) * 7) % len(PORTS)]


def _number(name: str, otherwise: int) -> int:
    said = os.environ.get(name, "")
    return int(said) if said.isdecimal() else otherwise
