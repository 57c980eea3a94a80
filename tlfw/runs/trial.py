"""A run as one trial of a search: it tells how well it validates, and ends early where others did better."""

from __future__ import annotations

from typing import Any

import lightning as L
from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.errors import ConfigError, Pruned
from tlfw.records.metric import Metric
from tlfw.strictness import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Trial:
    """Which trial of which search; part of no key.

    Args:
        journal: the file in which the search is kept.
        study: the search's name in it.
        id: the trial's.
    """

    journal: str = Field(min_length=1)
    study: str = Field(min_length=1)
    id: int = Field(ge=0)

    def callback(self, metric: Metric, monitor: str) -> L.Callback:
        """Reports the `metric` of `monitor` after each validation of a stage."""
        return _Report(self, metric, monitor)


class _Report(L.Callback):
    def __init__(self, trial: Trial, metric: Metric, monitor: str) -> None:
        self.trial, self.metric, self.monitor = trial, metric, monitor

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # All processes end, or none does.
        if pruned := trainer.strategy.broadcast(self._told(trainer) if trainer.is_global_zero else None):
            raise Pruned(pruned)

    def _told(self, trainer: L.Trainer) -> str | None:
        """Tell the search: -> why it wants the trial to end, if it does."""
        optuna = import_optuna()
        study = optuna.load_study(
            study_name=self.trial.study, storage=open_journal(self.trial.journal), pruner=pruner()
        )
        trial = optuna.trial.Trial(study, self.trial.id)
        value = float(trainer.callback_metrics[self.metric.at(f"{self.monitor}/val")])
        trial.report(value, trainer.global_step)
        if trainer.global_step < int(trainer.max_steps) and trial.should_prune():
            return (
                f"pruned at step {trainer.global_step}, {self.monitor} val {self.metric.told(value)}: others did better"
            )
        return None


def open_journal(file: str) -> Any:
    """A search's storage: one file that any number of processes append to."""
    journal = import_optuna().storages.journal
    return import_optuna().storages.JournalStorage(
        journal.JournalFileBackend(file, lock_obj=journal.JournalFileOpenLock(file))
    )


def pruner() -> Any:
    """Ends a trial that is worse than half of the others were at the same step, from the fifth trial on.

    What is worse, the study's direction says.
    """
    return import_optuna().pruners.MedianPruner(n_startup_trials=4)


def import_optuna() -> Any:
    """Optuna, quieter.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna
    except ImportError as problem:
        raise ConfigError(
            "hydra.sweeper.search",
            "a search needs Optuna, which is not installed.",
            "Install tlfw with its extra `search`.",
        ) from problem
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
