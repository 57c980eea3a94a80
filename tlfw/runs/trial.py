"""A run as one trial of a search: it tells how well it validates, and ends early where others did better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.errors import ConfigError
from tlfw.records.metric import Metric
from tlfw.strictness import STRICT

if TYPE_CHECKING:
    from tlfw.training.pruning import Pruning


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

    def callback(self, metric: Metric, monitor: str) -> Pruning:
        """Reports the `metric` of `monitor` after each validation of a stage."""
        from tlfw.training.pruning import Pruning  # Lightning takes seconds

        return Pruning(lambda value, step, last: self._told(metric, monitor, value, step, last), metric, monitor)

    def _told(self, metric: Metric, monitor: str, value: float, step: int, last: bool) -> str | None:
        """Tell the search: -> why it wants the trial to end, if it does."""
        optuna = import_optuna()
        study = optuna.load_study(study_name=self.study, storage=open_journal(self.journal), pruner=pruner())
        trial = optuna.trial.Trial(study, self.id)
        trial.report(value, step)
        if not last and trial.should_prune():
            return f"pruned at step {step}, {monitor} val {metric.told(value)}: others did better"
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
