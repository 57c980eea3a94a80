"""What each of the processes does that make one run: rank 0 makes it, and the others take part where it trains."""

from __future__ import annotations

import os
from typing import Any

import hydra

from tlfw.devices.ranks import Ranks, here
from tlfw.devices.settling import use_threads
from tlfw.errors import TrainingFailed
from tlfw.internals.announcements import silence
from tlfw.records.ledger import VARIABLE
from tlfw.runs.experiment import Experiment
from tlfw.runs.experiment_data import Memo
from tlfw.runs.fold import Fold
from tlfw.runs.job import Job
from tlfw.runs.run import prepare, run
from tlfw.signals import Interrupted
from tlfw.training.evaluate import Question, answer

END = None
"""What rank 0 says where nothing is left to do together."""


def work(job: Job, key: str) -> Any:
    """Make a run, or the part of it that its config names, with the other processes.

    Args:
        key: of the run, as it was planned by who started this.

    Returns:
        In rank 0 what `run` or `prepare` does.
    """
    silence()
    os.environ.pop("WANDB_SERVICE", None)  # W&B's process of the program that waits
    ranks = here()
    assert ranks is not None
    experiment: Experiment = hydra.utils.instantiate(job.config)
    if not ranks.first:
        os.environ.pop(VARIABLE, None)  # rank 0 says how far the task is
        follow(ranks, experiment, key)
        return None
    try:
        return prepare(experiment, job, key) if experiment.until is not None else run(experiment, job, key)
    finally:
        if not ranks.apart:
            ranks.say(END)


def follow(ranks: Ranks, experiment: Experiment, key: str) -> None:
    """Do what rank 0 says until it says that all is done, or is gone."""
    use_threads(experiment.threads)
    plan = experiment.plan(Memo())
    plan.check_key(key)
    fold = Fold(experiment, plan, "", _no_tracking)
    stages = {stage.name: stage for stage in plan.stages}
    while (said := ranks.hear()) is not END:
        try:
            if isinstance(said, Question):
                for name in said.heads:
                    fold.model.add_head(name, len(plan.divisions[name].classes))
                pixels = fold.pixels(said.data_set, said.part, still=said.part != "train")
                answer(experiment.trainer, fold.model, said, pixels, experiment.workers)
            else:
                fold.follow(stages[said.stage], said.scratch)
        except (TrainingFailed, Interrupted):  # rank 0 too, which is to say so before this process ends
            continue


def _no_tracking(**_: Any) -> Any:
    raise AssertionError("rank 0 alone tracks")
