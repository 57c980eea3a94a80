"""`python -m tlfw`: one run, or with `-m` a grid of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tlfw import CONF
from tlfw.command_line.arguments import as_hydra_takes_it, check_stays
from tlfw.command_line.messages import explain
from tlfw.errors import ConfigError, Diverged, Pruned, Refused, SomeFailed
from tlfw.escape import printable
from tlfw.internals.announcements import silence
from tlfw.records.comparison import check_compared
from tlfw.records.record import Record, replace_text
from tlfw.records.secret import masked
from tlfw.records.settings import flat
from tlfw.signals import Interrupted, heeded, heeded_by_helper

if TYPE_CHECKING:
    from tlfw.runs.experiment import Experiment


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def job(config: DictConfig) -> Any:
    """What Hydra calls: one run, alone or in a multirun."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    _mask(folder / ".hydra")
    if settings.mode == RunMode.MULTIRUN:
        helping = heeded_by_helper()  # before anything that takes its time
        from tlfw.sweeps.task import made
        from tlfw.training.progress import numbered

        try:
            with numbered(settings.job.num) if helping else contextlib.nullcontext():
                sweep = Path(settings.sweep.dir)
                if config.get("together"):
                    from tlfw.pack import make

                    silence()
                    return make(config, folder, sweep)
                return made(sweep, config.get("planned"), lambda: run(config, folder, sweep=sweep.name))
        except Interrupted as problem:
            if helping:  # what is raised there makes joblib kill the other helpers, before they have saved
                return problem
            raise
        except (Pruned, Diverged) as problem:  # of what is raised Hydra says on standard error that it failed
            return problem
        except Exception:
            # The sweep's table has a line on it; whoever wants more finds it here.
            replace_text(folder / "traceback.txt", masked(traceback.format_exc()))
            raise
    try:
        alone(config, folder)
    except BaseException as problem:
        # Hydra would print a line of its own before letting it through.
        _PROBLEMS.append((problem, config))
    return None


def _mask(folder: Path) -> None:
    """Take secrets out of what Hydra wrote into a folder: the command line as it was typed, and its config."""
    for file in folder.glob("*.yaml"):
        text = file.read_text()
        if (clean := masked(text)) != text:
            replace_text(file, clean)


_PROBLEMS: list[tuple[BaseException, DictConfig]] = []


def run(config: DictConfig, folder: Path, sweep: str | None) -> tuple[Record, bool] | Mapping[str, float] | None:
    """The config becomes an experiment, the experiment leaves a record, unless it is to go only `until` somewhere.

    Returns:
        The record, and whether it was there before and nothing was done; else what validation said; None where another
        machine of the job has that to say.
    """
    from tlfw.runs.job import Job
    from tlfw.runs.run import prepare
    from tlfw.runs.run import run as fold

    silence()  # also where a launcher started this process
    experiment: Experiment = hydra.utils.instantiate(config)
    if sweep is None:
        _check_single(experiment, config)
    job = Job.of(config, HydraConfig.get().runtime.choices, folder, sweep)
    if experiment.until is not None:
        return prepare(experiment, job)
    return fold(experiment, job)


def alone(config: DictConfig, folder: Path) -> None:
    """A single run, with the table of its one row."""
    try:
        _check_heard(HydraConfig.get().overrides.hydra)
        check_stays(HydraConfig.get())
        print(f"store: {config.store.dir}", flush=True)
        found = run(config, folder, sweep=None)
    except (ConfigError, hydra.errors.InstantiationException, OmegaConfBaseException):
        _forget(folder)
        raise
    if found is None or isinstance(found, Mapping):
        return
    from tlfw.records.metric import metric_of
    from tlfw.sweeps import results_table

    record, untouched = found
    if record.status == "diverged":
        _forget(folder)
        raise Diverged(f"{record.error} (of an earlier try, which force=true repeats)")
    results_table.show([((), record, untouched)], [metric_of(config.metric)])
    for place in (Path(config.outputs).expanduser() / "runs").glob(f"*-{record.run_id[:12]}"):
        print(f"record: {place}", flush=True)
    if untouched:
        _forget(folder)


def _check_heard(overrides: Sequence[str]) -> None:
    """What is said to a sweep has no effect on a single run, which would train all the same."""
    for word in overrides:
        field = word.partition("=")[0].lstrip("+~")
        if field.startswith(("hydra.sweeper", "hydra/sweeper", "hydra.launcher", "hydra/launcher", "hydra.sweep.")):
            raise ConfigError(field, "it is a setting of sweeps, and has no effect on a single run.", "Add -m.")


def _check_single(experiment: Experiment, config: DictConfig) -> None:
    """One run is neither several repetitions nor several folds."""
    if experiment.repeat.count > 1:
        raise ConfigError("repeat", f"a single run cannot be {experiment.repeat.total}.", "Add -m.")
    if experiment.folds is not None and experiment.fold is None:
        raise ConfigError(
            "folds", f"a single run is tested on one of the {experiment.folds}.", "Add -m, or say which with fold=0."
        )
    check_compared(experiment.compare, flat(OmegaConf.to_container(config)))


def _forget(folder: Path) -> None:
    """Remove what Hydra wrote for a run that was not made, with the folders that are empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # the first that is not empty
        for place in (folder.parent, folder.parent.parent):
            place.rmdir()


def main() -> None:
    """Run, and turn what people can mend into one message; HYDRA_FULL_ERROR=1 asks for the traceback."""
    wanted = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    silence()
    os.environ.pop("WANDB_SERVICE", None)  # W&B's process of a program around this one, which may be gone or far away
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then lets exceptions through to here
    config = None
    try:
        sys.argv[1:] = as_hydra_takes_it(sys.argv[1:])
        with heeded():
            job()
        if _PROBLEMS:
            problem, config = _PROBLEMS.pop()
            raise problem
    except SomeFailed:
        sys.exit(1)
    except Refused as problem:
        sys.exit(_shown(str(problem)))
    except (Interrupted, KeyboardInterrupt) as problem:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one, while Python ends, says nothing
        print("interrupted; the same command resumes it", file=sys.stderr)
        sys.exit(143 if isinstance(problem, Interrupted) and problem.signum == signal.SIGTERM else 1)
    except BrokenPipeError:  # whoever read the output (`| head`) is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as problem:
        message = None if wanted else explain(problem, _known_fields, config)
        if message is None:
            sys.excepthook = _tell_masked
            raise
        sys.exit(_shown(f"{message}\n(HYDRA_FULL_ERROR=1 shows the traceback.)"))


def _known_fields() -> list[str]:
    """The full names of all fields that the command line may give a value."""
    from tlfw.command_line.config_fields import known_fields

    return known_fields(tuple(sys.argv[1:]))


def _shown(text: str) -> str:
    """A message as it may stand on a terminal and in a log."""
    return printable(masked(text), keep="\n\t")


def _tell_masked(kind: type[BaseException], problem: BaseException, trace: TracebackType | None) -> None:
    """As Python shows an exception that nobody caught; but logs are kept."""
    sys.stderr.write(masked("".join(traceback.format_exception(kind, problem, trace))))


if __name__ == "__main__":
    main()
