"""tlfw's launchers for Slurm. Hydra imports this file at every start, so nothing heavy stands at its top."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class TlfwLauncherConfig:
    """The defaults of `hydra.launcher`. `tlfw.cluster.resources.Resources` says what they are, and checks them."""

    _target_: str = "hydra_plugins.tlfw_launcher.SlurmLauncher"
    cpus: Any = 2
    gpus: Any = 0
    nodes: Any = 1
    memory: Any = None
    time: Any = 240
    signal_seconds: Any = 120
    at_a_time: Any = None
    partition: Any = None
    account: Any = None
    qos: Any = None
    constraint: Any = None
    setup: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class TlfwLocalLauncherConfig(TlfwLauncherConfig):
    """The same on this machine."""

    _target_: str = "hydra_plugins.tlfw_launcher.SlurmLocalLauncher"


for _name, _node in (("slurm", TlfwLauncherConfig), ("slurm_local", TlfwLocalLauncherConfig)):
    ConfigStore.instance().store(group="hydra/launcher", name=_name, node=_node, provider="tlfw")


class SlurmLauncher(Launcher):
    """Submits each task of a sweep to Slurm as soon as it can be made; `TlfwSweeper` drives it.

    Args:
        settings: as `TlfwLauncherConfig` has them.
    """

    def __init__(self, **settings: Any) -> None:
        plain = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        self.settings: Any = plain

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from tlfw.errors import LauncherFailed

        raise LauncherFailed("hydra/launcher=slurm works with tlfw's own sweeper: leave hydra/sweeper as it is")


class SlurmLocalLauncher(SlurmLauncher):
    """The same with processes of this machine, to rehearse a sweep."""
