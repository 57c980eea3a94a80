"""Runs in company: their last stages train heads alone on the same features, which is done at once for all.

Each is a run of its own, with its key, its record and its certificate. Its heads are to the last bit what they would
be alone, so that a run of another process, or of another day, may have any company or none.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tlfw.identity.names import digest
from tlfw.records.record import FINISHED, find_record
from tlfw.runs.experiment import Experiment
from tlfw.runs.experiment_data import Memo
from tlfw.runs.job import Job
from tlfw.runs.plan import Plan
from tlfw.runs.trained_model import LEFT

if TYPE_CHECKING:
    from tlfw.runs.fold import Fold
    from tlfw.training.features import Features
    from tlfw.training.heads import TrainedHeads


def name_of(plan: Plan) -> str | None:
    """Equal for runs whose heads can be trained together; None: it trains more than heads."""
    last = plan.stages[-1]
    if not last.alone:
        return None
    classes = {name: len(plan.divisions[name].classes) for name in last.stage.names}
    features = [[*place, key] for place, key in last.features.items()]
    return digest([features, classes, [*last.per_batch.items()], last.steps, plan.data.tested_on])


class Company:
    """What runs have in common that are made in one process.

    Args:
        memo: what is known of data.

    Attributes:
        heads: stage key -> its heads, of those that are trained.
    """

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self.heads: Mapping[str, TrainedHeads] = {}
        self._tested: Features | None = None

    def train(self, runs: Sequence[tuple[Experiment, Job]]) -> None:
        """Train the heads of all runs that have no record and whose last stage is not in the store.

        Args:
            runs: of one `name_of`.

        Raises:
            Interrupted: a signal asked for it.
            TrainingFailed, Diverged: a stage before failed, which all of them need.
        """
        from tlfw.runs.attempt import Attempt
        from tlfw.runs.fold import STAGES
        from tlfw.training.heads import train_probes

        waiting = []
        for experiment, job in runs:
            plan = experiment.plan(self.memo)
            found = find_record(experiment.runs, plan.key, LEFT)
            done = found is not None and found[1].status in FINISHED
            if not done and not experiment.shelf.has(STAGES, plan.stages[-1].key):
                waiting.append((experiment, plan, job))
        if len(waiting) < 2:
            return
        experiment, plan, job = waiting[0]
        first = Attempt(experiment, plan, job, 0).fold
        *before, last = plan.stages
        for stage in before:
            first.learn(stage, None)
        known = set(first.model.heads)
        first.add_heads(last)
        mixture = first.mixture(last)
        probes = {}
        for experiment, plan, job in waiting:
            own, stage = Attempt(experiment, plan, job, 0).fold, plan.stages[-1]
            heads = {name: copy.deepcopy(head) for name, head in first.model.heads.items()}
            for name in set(heads) - known:
                heads[name] = first.model.fresh_head(name, first.model.classes[name], stage.seed)
            scratch = own.store.scratch(STAGES, stage.key)
            probes[stage.key] = own.probe(stage, own.mixture_of(stage, mixture.train, mixture.val), heads, scratch)
        self.heads = train_probes(probes, first.plan.numerics["device"], first.every)

    def tested(self, fold: Fold) -> Features | None:
        """What the frozen blocks of a run say of the test images; None: its heads were not trained in company.

        Asked for when all heads are trained, and kept by this process alone.
        """
        if fold.plan.stages[-1].key not in self.heads:
            return None
        if self._tested is None:
            self._tested = fold.test_features()
        return self._tested
