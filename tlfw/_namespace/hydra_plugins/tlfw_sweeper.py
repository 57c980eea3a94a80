"""tlfw's sweeper. Hydra imports this file at every start, so nothing heavy stands at its top."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class TlfwSweeperConfig:
    _target_: str = "hydra_plugins.tlfw_sweeper.TlfwSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    also: list[list[str]] = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="tlfw", node=TlfwSweeperConfig, provider="tlfw")


class TlfwSweeper(Sweeper):
    """Composes and checks every job before the first trains, launches them, and shows the table.

    Args:
        params: what is swept, as Hydra's basic sweeper takes it: override -> values.
        also: lists of overrides, each a job outside the product.
    """

    def __init__(self, params: dict[str, Any], also: list[list[str]]) -> None:
        self.params, self.also = params, also

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config, self.task_function = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from hydra.core.utils import JobStatus

        from tlfw import sweep, table
        from tlfw.explain import explain

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        jobs = sweep.jobs(self.params, self.also, arguments, self.hydra_context.config_loader)
        sweep.check(jobs, self._compose, self.config)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        print(f"store: {self.config.store.dir}", flush=True)
        results = self.launcher.launch(jobs, initial_job_idx=0)
        rows: list[tuple[str, Any, bool]] = []
        for job, result in zip(jobs, results, strict=True):
            if result.status == JobStatus.COMPLETED:
                rows.append((" ".join(job), *result.return_value))
            else:
                problem = result._return_value
                rows.append((" ".join(job), explain(problem) or f"{type(problem).__name__}: {problem}", False))
        table.show(rows)
        print(sweep.summary(rows), flush=True)
        print(f"records: {self.config.outputs}/runs, the sweep's own files: {folder}", flush=True)
        if any(isinstance(record, str) for _, record, _ in rows):
            raise sweep.SomeFailed
        return results

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        assert self.config is not None
        assert self.hydra_context is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        # What a job is told by its launcher.
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.job.id, config.hydra.job.num = "0", 0
        config.hydra.runtime.output_dir = os.path.join(str(self.config.hydra.sweep.dir), "jobs")
        return config
