"""One run: its plan, then its record, which was left before or is made now."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tlfw.devices.settling import settle
from tlfw.records.record import FINISHED, Record, Status, find_record
from tlfw.runs.experiment import Experiment
from tlfw.runs.experiment_data import Memo
from tlfw.runs.job import Job, check_planned, claimed_run
from tlfw.runs.plan import Plan
from tlfw.runs.trained_model import LEFT, NEAR_COPIES
from tlfw.signals import heeded
from tlfw.training.predictions import rename_predictions

if TYPE_CHECKING:
    from tlfw.training.probe import Company


def run(
    experiment: Experiment,
    job: Job,
    key: str | None = None,
    memo: Memo | None = None,
    company: Company | None = None,
) -> tuple[Record, bool] | None:
    """Train what is not in the store, evaluate, and leave a record.

    Args:
        key: that it must have, as it was planned elsewhere; None: whichever it has.
        memo: what earlier runs of this process have found out.
        company: the runs with which its heads are trained; None: it has none.

    Returns:
        The record, and whether it was there before and nothing was done; then it may be of a run that diverged. None
        where this machine only takes part: the first of the run's machines has it.

    Raises:
        ConfigError: before anything is trained.
        Diverged: a loss became NaN or infinite; the record says `diverged` and where.
        TrainingFailed: a stage failed; the record says `failed` and why.
        Interrupted: SIGINT or SIGTERM asked for it; the record says `interrupted` and by which.
    """
    node = settle(experiment.trainer, experiment.threads)
    memo = memo or Memo()
    plan = experiment.plan(memo)
    plan.check_key(key)
    check_planned(experiment, plan)
    found = find_record(experiment.runs, plan.key, LEFT)
    if found and found[1].status in FINISHED and not experiment.force:
        if line := follow(experiment, plan, found, memo):
            print(f"note: {line}", flush=True)
        return found[1], True
    attempt = found[1].attempt + experiment.force if found else 0

    from tlfw.runs.attempt import Attempt, TakenOver  # Lightning takes seconds, and a finished run needs none

    with heeded():
        begun = Attempt(experiment, plan, job, attempt)
        if begun.fold.needs_ranks(plan.stages, again=experiment.force):
            return begun.go_in_ranks(node)  # and rank 0 claims the run
        if node.number:
            return None
        while True:
            with claimed_run(experiment.runs, plan.key, "run", f"run {plan.key[:12]}") as claim:
                found = find_record(experiment.runs, plan.key, LEFT)  # of who had the claim
                if found and found[1].status in FINISHED and found[1].attempt >= attempt:
                    return found[1], True
                with contextlib.suppress(TakenOver):
                    return Attempt(experiment, plan, job, attempt, company).go(claim)
            print("  another process has taken this run over while this one was stopped", flush=True)


def prepare(experiment: Experiment, job: Job, key: str | None = None) -> Mapping[str, float] | None:
    """Bring the store as far as `until` says, and leave no record: the part of a run that others need too.

    Args:
        key: that the run must have, as it was planned elsewhere; None: whichever it has.

    Returns:
        What validation said after the last stage that was learnt. No test image is opened. None where this machine only
        takes part.

    Raises:
        ConfigError: there is no such part.
        TrainingFailed: a stage failed.
        Interrupted: SIGINT or SIGTERM asked for it.
    """
    node = settle(experiment.trainer, experiment.threads)
    plan = experiment.plan()
    plan.check_key(key)
    check_planned(experiment, plan)

    from tlfw.runs.attempt import Attempt

    begun = Attempt(experiment, plan, job, 0)
    with heeded():
        wanted, _ = plan.part(experiment.until or "")
        if begun.fold.needs_ranks(wanted):
            said: Mapping[str, float] | None = begun.start_ranks(node)
            return said
        if node.number:
            return None
        begun.go_until(experiment.until or "")
    return begun.fold.validation


def leave_unmade(experiment: Experiment, job: Job, status: Status, why: str, memo: Memo | None = None) -> None:
    """Leave a record of a run that cannot be made, unless it was finished before.

    Args:
        status: `blocked`, or `diverged` where a stage that it needs has.
        memo: what is known already, as of the machine that it was planned for.
    """
    plan = experiment.plan(memo)
    found = find_record(experiment.runs, plan.key, LEFT)
    if found is None or found[1].status not in FINISHED:
        from tlfw.runs.attempt import Attempt

        unmade = Attempt(experiment, plan, job, 0)
        unmade.publish(unmade.record(status, None, 0.0, error=why))


def follow(experiment: Experiment, plan: Plan, found: tuple[Path, Record], memo: Memo) -> str | None:
    """Let what a finished run left behind name the images as they are called now, where folders were renamed since.

    Args:
        found: the run's folder and its record.
        memo: what is known of the data already.

    Returns:
        What was changed, for people; None: nothing.
    """
    folder, record = found
    test = plan.divisions["target"].test
    if record.status != "done" or test is None:
        return None
    names = memo.get(
        lambda: [test.called(i) for i in range(len(test))], "names", experiment.target, plan.data.tested_on
    )
    if not (count := rename_predictions(folder, names)):
        return None
    near = plan.data.near
    if near and record.near_copies and near.digest != record.near_copies:
        with contextlib.suppress(OSError):
            near.write(Path(experiment.outputs).expanduser() / NEAR_COPIES)
            dataclasses.replace(record, near_copies=near.digest).write(folder)
    return f"{folder.name}: {count} of {len(test)} test images have other paths now; its predictions name these"
