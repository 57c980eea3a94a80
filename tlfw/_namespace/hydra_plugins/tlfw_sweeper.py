"""tlfw's sweeper. Hydra imports this file at every start, so nothing heavy stands at its top."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class TlfwSweeperConfig:
    """The defaults of `hydra.sweeper`."""

    _target_: str = "hydra_plugins.tlfw_sweeper.TlfwSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    also: list[list[str]] = field(default_factory=list)
    dry_run: bool = False
    report: bool = True
    search: dict[str, Any] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="tlfw", node=TlfwSweeperConfig, provider="tlfw")


class TlfwSweeper(Sweeper):
    """Composes, checks and plans every job before the first trains, launches them in waves, and shows the table.

    Args:
        params: what is swept, as Hydra's basic sweeper takes it: override -> values.
        also: lists of overrides, each a job outside the product.
        dry_run: stop when the plan is made, and write nothing.
        report: when all has ended, say what the runs say, in the sweep's folder and to W&B.
        search: instead of all jobs, draw some from a space (see `tlfw.sweeps.search.Search`); None: all.
    """

    def __init__(
        self, params: dict[str, Any], also: list[list[str]], dry_run: bool, report: bool, search: dict[str, Any] | None
    ) -> None:
        self.params, self.also, self.dry_run, self.report, self.search = params, also, dry_run, report, search

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config, self.task_function = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from hydra.utils import instantiate

        from tlfw.cluster.launcher import check as check_launcher
        from tlfw.command_line.arguments import check_stays
        from tlfw.errors import SomeFailed
        from tlfw.records import plan_file
        from tlfw.records.record import FINISHED, replace_text
        from tlfw.records.secret import masked
        from tlfw.runs.experiment_data import Memo
        from tlfw.store import Store
        from tlfw.sweeps import check, jobs, launch, results_table
        from tlfw.sweeps.crew import conducting, machine_of
        from tlfw.sweeps.order import enter
        from tlfw.sweeps.task_graph import make_agenda

        assert self.config is not None
        assert self.hydra_context is not None
        check_stays(self.config.hydra)
        settings: Any = OmegaConf.to_container(self.config.hydra.launcher, resolve=True)
        check_launcher(self._launcher_name, settings)
        asked = jobs.jobs(self.params, self.also, arguments, self.hydra_context.config_loader)
        found = jobs.repeated(asked, self._compose)
        overrides = jobs.with_threads(found.overrides, self.config, self._launcher_name, settings)
        store = Store(Path(self.config.store.dir).expanduser())
        folder = Path(self.config.hydra.sweep.dir)
        runs = Path(self.config.outputs).expanduser() / "runs"
        memo, note = Memo(machine_of(self._launcher_name, settings), waits=True), None
        if self.search is not None:
            space = check.search_settings(OmegaConf.to_container(self.config.hydra.sweeper.search, resolve=True), found)
            if (best := self._search(space, overrides[0], folder, runs, store, memo)) is None:
                return None
            overrides, note = [best.overrides], str(best)
        checked = check.checked(overrides, self._compose, self.config, memo)
        outdated = check.compared(checked.candidates, plan_file.read(folder), folder.name, reported=self.report)
        agenda = make_agenda(checked.candidates, lambda key: store.has(*key))
        print(f"store: {store.root}", flush=True)
        speeds = launch.announce(agenda, runs, found.said)
        if checked.moved:
            more = f" (and {len(checked.moved) - 1} runs more)" if len(checked.moved) > 1 else ""
            print(f"note: {checked.moved[0]}{more}", flush=True)
        if outdated:
            print(
                f"{len(outdated)} runs that were asked for under this name were tested on images that have changed "
                "since: the report is without them",
                flush=True,
            )
        if self.dry_run:
            return None
        memo.keep()
        times = found.times or plan_file.repetitions(candidate.settings for candidate in checked.candidates)
        facts = agenda.facts(folder.name, speeds) | {"records": os.path.relpath(runs, folder)}
        grown = plan_file.add(folder, facts, plan_file.Ask(repetitions=times, note=note, **checked.judged), outdated)
        replace_text(folder / "multirun.yaml", masked(OmegaConf.to_yaml(self.config)))
        shared = launch.shared_keys(agenda, lambda key: store.has(*key))
        sweep = self._sweep(folder, runs)
        enter(agenda, sweep.ledger)
        with conducting(sweep, agenda, speeds) as crew:
            outcomes = launch.conduct(agenda, crew, said=_said, leave=partial(self._leave, agenda, sweep, memo))
        rows = launch.rows(agenda, checked.done, outcomes)
        results_table.show(rows, launch.metrics_of(agenda, self.config.metric))
        launch.leave_summary(folder, rows)
        print(launch.summary(rows), flush=True)
        if made := launch.shared_summary(agenda, shared, store):
            print(made, flush=True)
        print(f"records: {runs}, the sweep's own files: {folder}", flush=True)
        if self.report:
            from tlfw.sweeps.final_report import conclude  # SciPy and what draws take a second

            new = bool(outcomes) or grown or not (folder / "report.json").exists()
            conclude(folder, instantiate(self.config.tracking), track=new)
        if any(results_table.how_ended(outcome)[0] not in FINISHED for _, outcome, _ in rows):
            raise SomeFailed
        return [outcome for _, outcome, _ in rows]

    def _search(self, settings: Any, fixed: list[str], folder: Path, runs: Path, store: Any, memo: Any) -> Any:
        """The trial that validated best among those that a search draws; None: it was only to be said what it would do.

        Args:
            fixed: overrides of all trials.
        """
        from tlfw.records import plan_file
        from tlfw.records.metric import metric_of
        from tlfw.sweeps import check
        from tlfw.sweeps.crew import crew_of
        from tlfw.sweeps.search import search, study_name, trials_there

        config, earlier = self.config, plan_file.read(folder)
        assert config is not None
        options = [fixed, *([*fixed, *each] for each in settings.options())]
        metric = metric_of(self._compose(fixed).metric)
        name = study_name(settings, folder.name, metric, check.deciding(options, self._compose, memo))
        if self.dry_run:
            there, _ = trials_there(folder, name)
            print(f"store: {store.root}\nsearch: {settings}; {there} are there. The best of them would be tested.")
            return None

        def checked(drawn: Any) -> Any:
            found = check.checked(drawn, self._compose, config, memo).candidates
            check.compared(found, earlier, folder.name, reported=self.report)
            return found

        folder.mkdir(parents=True, exist_ok=True)
        best = search(
            settings,
            name,
            folder,
            fixed,
            metric,
            checked=checked,
            stored=lambda key: store.has(*key),
            crew=partial(crew_of, self._sweep(folder, runs)),
            said=_said,
        )
        print(f"{best}. Now it is tested.", flush=True)
        return best

    def _sweep(self, folder: Path, runs: Path) -> Any:
        from tlfw.sweeps.crew import Sweep

        return Sweep(self.launcher, self._launcher_name, self._compose, folder, runs)

    @property
    def _launcher_name(self) -> str:
        assert self.config is not None
        return str(self.config.hydra.runtime.choices["hydra/launcher"])

    def _leave(self, agenda: Any, sweep: Any, memo: Any, task: Any, status: Any, why: str) -> None:
        """Leave word of a task that cannot be made: in the ledger, and where it is a run in its record."""
        from tlfw.sweeps import check
        from tlfw.sweeps.order import order_of

        if entry := sweep.ledger.entry(order_of(agenda, task).key):
            sweep.ledger.write(entry.changed(state=status, error=why))
        if task.step is None:
            config = self._compose(agenda.candidates[task.candidate].overrides)
            check.leave(config, sweep.folder.name, status, why, memo)

    @cached_property
    def _composer(self) -> Callable[[Sequence[str]], DictConfig]:
        from tlfw.sweeps.composer import Composer

        assert self.config is not None
        assert self.hydra_context is not None
        return Composer(self.hydra_context.config_loader, self.config)

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        assert self.config is not None
        config = self._composer(overrides)
        # What a job is told by its launcher.
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.job.id, config.hydra.job.num = "0", 0
        config.hydra.runtime.output_dir = os.path.join(str(self.config.hydra.sweep.dir), "jobs")
        return config


def _said(problem: BaseException) -> str:
    from tlfw.command_line.messages import explain

    return explain(problem) or f"{type(problem).__name__}: {problem}"
