"""One run is a fold of stages over weights, then one look at the test images, then a record."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch

from tlfw.backbones.weights import CHECKPOINT
from tlfw.devices.launch import RanksFailed, in_ranks
from tlfw.devices.nodes import Node
from tlfw.devices.strategy import settle
from tlfw.identity.fields import unnamed
from tlfw.records.claim import Claim, claimed
from tlfw.records.metric import METRICS, SOURCE_VAL, TARGET_TEST, recorded
from tlfw.records.record import FINISHED, Record, Status, find_record, now, replacing
from tlfw.records.secret import masked
from tlfw.records.settings import flat
from tlfw.runs.environment import environment
from tlfw.runs.experiment import Experiment
from tlfw.runs.experiment_data import Memo
from tlfw.runs.fold import Fold, finite, said_of, status_of
from tlfw.runs.plan import Plan
from tlfw.runs.planned import check_planned
from tlfw.runs.trained_model import FILE as BLUEPRINT
from tlfw.runs.trained_model import leave
from tlfw.signals import deferred, heeded
from tlfw.tracking.wandb_run import Tracked, axes
from tlfw.training.cost import peak_memory_bytes, start_measuring_memory
from tlfw.training.evaluate import PREDICTIONS, examine, rename_predictions, save_predictions
from tlfw.training.train import weights_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What a run knows of its place and that decides no number.

    Attributes:
        choices: config group -> chosen option, e.g. `freeze_policy` -> `last_layer`.
        config: the resolved config, as plain types.
        folder: Hydra's output folder, whose `.hydra` is copied beside the record; None: there is none.
        sweep: the sweep's name; None for a single run.
    """

    choices: Mapping[str, str]
    config: Mapping[str, Any]
    folder: Path | None
    sweep: str | None


def run(experiment: Experiment, job: Job, key: str | None = None) -> tuple[Record, bool] | None:
    """Train what is not in the store, evaluate, and leave a record.

    Args:
        key: that it must have, as it was planned elsewhere; None: whichever it has.

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
    memo = Memo()
    plan = experiment.plan(memo)
    plan.check_key(key)
    check_planned(experiment, plan)
    found = find_record(experiment.runs, plan.key, LEFT)
    if found and found[1].status in FINISHED and not experiment.force:
        if line := follow(experiment, plan, found, memo):
            print(f"note: {line}", flush=True)
        return found[1], True
    attempt = found[1].attempt + experiment.force if found else 0
    with heeded():
        begun = _Run(experiment, plan, job, attempt)
        if begun.fold.needs_ranks(plan.stages, again=experiment.force):
            return begun.go_in_ranks(node)  # and rank 0 claims the run
        if node.number:
            return None
        while True:
            with _claimed(experiment.runs, plan.key, "run", f"run {plan.key[:12]}") as claim:
                found = find_record(experiment.runs, plan.key, LEFT)  # of who had the claim
                if found and found[1].status in FINISHED and found[1].attempt >= attempt:
                    return found[1], True
                with contextlib.suppress(_TakenOver):
                    return _Run(experiment, plan, job, attempt).go(claim)
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
    begun = _Run(experiment, plan, job, 0)
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
        unmade = _Run(experiment, plan, job, 0)
        unmade.publish(unmade.record(status, None, 0.0, error=why))


LEFT = (PREDICTIONS, CHECKPOINT, BLUEPRINT)
"""Files that a run leaves when it is done, beside its record."""


class _TakenOver(Exception):
    """This process was stopped for so long that another one took it for dead, and makes the run now."""


@contextlib.contextmanager
def _claimed(runs: Path, key: str, what: Literal["run", "record"], said: str, *, heed: bool = True) -> Iterator[Claim]:
    """A claim on a run, or on the moment in which its record is replaced."""
    runs.mkdir(parents=True, exist_ok=True)
    with claimed(runs / f".{key}.{what}.claim", said, heed=heed) as claim:
        yield claim


NEAR_COPIES = "near_copies"


class _Run:
    """One pass through the fold."""

    def __init__(self, experiment: Experiment, plan: Plan, job: Job, attempt: int) -> None:
        self.experiment, self.plan, self.runs, self.attempt = experiment, plan, experiment.runs, attempt
        self.job, self.masked_config = job, masked(job.config)
        kinds = [job.choices.get(kind, "custom") for kind in ("data_mix", "freeze_policy", "backbone")]
        self.paradigm = {"data_mix": kinds[0], "freeze_policy": kinds[1]}
        self.name = "-".join([*kinds, f"s{experiment.seed}"]).replace("/", ".")  # of options in folders of their own
        self.folder = self.runs / f"{self.name}-{plan.key[:12]}"
        self.metrics: dict[str, float | None] = {}
        self.predictions: dict[str, Any] = {}
        self.evaluation_seconds = 0.0
        self.fold = Fold(experiment, plan, kinds[0], self.open)

    def start_ranks(self, node: Node) -> Any:
        """What this run's own program returns in rank 0 of its processes."""
        return in_ranks(
            "tlfw.rank:work",
            self.job,
            self.plan.key,
            processes=self.plan.numerics["world_size"] // node.count,
            device=self.plan.numerics["device"],
            node=node,
        )

    def go_in_ranks(self, node: Node) -> tuple[Record, bool] | None:
        """Have several processes make the run."""
        began = time.monotonic()
        try:
            found: tuple[Record, bool] | None = self.start_ranks(node)
        except RanksFailed as problem:  # rank 0 did not come to leave a record, or could not say why
            if not self.attempt and not node.number:
                with contextlib.suppress(OSError):
                    self.publish(self.record("failed", None, time.monotonic() - began, error=said_of(problem)))
            raise
        return found

    def go_until(self, until: str) -> None:
        """Learn the stages up to one that `until` names, or store the features that this stage would train on."""
        (*before, last), features = self.plan.part(until)
        print(f"{self.name} until {until}", flush=True)
        for stage in before:
            self.fold.learn(stage, None)
        if features:
            self.fold.add_heads(last)
            self.fold.mixture(last)
        else:
            self.fold.learn(last, None)

    def go(self, claim: Claim) -> tuple[Record, bool]:
        """The record, and whether it is another process's, which was faster."""
        began = time.monotonic()
        start_measuring_memory()
        print(f"{self.name}", flush=True)
        for name, division in self.plan.divisions.items():
            print(f"  {name}: {division.described}\n    {division.held}", flush=True)
        for remark in self.plan.remarks:
            print(f"  note: {remark}", flush=True)
        if near := self.plan.data.near:
            near.write(Path(self.experiment.outputs).expanduser() / NEAR_COPIES)
        backbone = self.experiment.backbone
        if fit := backbone.fit(self.plan.image_size):
            known = f"; learnt at {backbone.input_spec}" if backbone.input_spec else ""
            print(f"  weights: {fit}{known}", flush=True)
        tracked: Tracked | None = None
        try:
            *before, last = self.plan.stages
            for stage in before:
                self.fold.learn(stage, None)
            tracked = self.open(
                id=f"{self.plan.key[:16]}-{self.attempt}",
                name=self.name,
                folder=self.folder,
                job_type="run",
                tags=[*self.paradigm.values(), self.experiment.backbone.name, *self.plan.labels],
            )
            tracked.starts_from(self.fold.weights)
            self.fold.learn(last, tracked)
            if not claim.stands():  # who has it now is who looks at the test images
                raise _TakenOver("another process makes it now")
            self.evaluate()
            record = self.record("done", tracked, time.monotonic() - began)
        except BaseException as problem:
            status = "interrupted" if isinstance(problem, _TakenOver) else status_of(problem)
            record = self.record(status, tracked, time.monotonic() - began, error=said_of(problem))
            if tracked:
                tracked.finish({"status": status, "error": record.error}, failed=True)
                record = dataclasses.replace(record, wandb=tracked.facts())
            # A forced attempt that fails leaves the finished run as it was.
            if not self.attempt and not isinstance(problem, _TakenOver):
                with contextlib.suppress(OSError):  # whose disk may be what failed it
                    self.publish(record)
            raise
        assert self.fold.weights is not None
        tracked.keep(self.fold.weights, {**self.paradigm, **self.metrics})
        costs = {f"cost/{name}": value for name, value in record.cost.items()}
        tracked.finish({**axes(record), **self.metrics, **costs, "status": "done"})
        record = dataclasses.replace(record, wandb=tracked.facts())  # whether all was sent is known now
        standing = self.publish(record)
        return standing, standing is not record

    def evaluate(self) -> None:
        """All selection is over: measure on validation, then open the target's test images."""
        began = time.monotonic()
        self.metrics = {metric.at(SOURCE_VAL): None for metric in METRICS.values()} | dict(self.fold.validation)
        test = self.plan.divisions["target"].test
        assert test is not None
        print(f"  test: {len(test)} images", flush=True)
        measured, predictions = examine(
            self.experiment.trainer,
            self.fold.model,
            "target",
            self.fold.pixels("target", "test", still=True),
            self.experiment.workers,
            "test",
        )
        self.metrics |= finite({recorded(TARGET_TEST, key): value for key, value in measured.items()})
        self.predictions = predictions
        self.evaluation_seconds = time.monotonic() - began

    def open(self, **kwargs: Any) -> Tracked:
        return self.experiment.tracking.open(
            group=self.job.sweep or self.experiment.name, config=self.masked_config, **kwargs
        )

    def record(self, status: Status, tracked: Tracked | None, seconds: float, error: str | None = None) -> Record:
        plan, experiment = self.plan, self.experiment
        done, stages = status == "done", self.fold.stage_facts
        return Record(
            run_id=plan.key,
            setting=plan.setting,
            status=status,
            experiment=experiment.name,
            sweep=self.job.sweep,
            seed=experiment.seed,
            paradigm=self.paradigm,
            backbone=experiment.backbone.name,
            source=experiment.source.title if "source" in plan.divisions else None,
            target=experiment.target.title,
            labels=plan.labels,
            images={name: division.counts for name, division in plan.divisions.items()},
            content={name: dict(parts) for name, parts in plan.data.content.items()},
            settings=dict(self.masked_config),
            metrics=self.metrics if done else {},
            stages=stages,
            certificate=self.fold.certificate if done else None,
            wandb=tracked.facts() if tracked else {"id": None, "mode": None, "dir": None},
            cost={
                "seconds": sum(stage["seconds"] for stage in stages) + self.evaluation_seconds,
                "seconds_spent": seconds,
                "train_flops": sum(stage["train_flops"] for stage in stages),
                "train_flops_spent": sum(stage["train_flops"] for stage in stages if not stage["reused"]),
                "peak_memory_bytes": peak_memory_bytes(),
            },
            environment=environment() | {"device": plan.numerics["device"], "numerics": plan.numerics},
            attempt=self.attempt,
            error=error,
            trains=plan.stages[-1].trains,
            drawn=plan.data.drawn,
            fold=experiment.target.fold,
            remarks=list(plan.remarks),
            near_copies=plan.data.near.digest if plan.data.near else None,
            unnamed=unnamed(experiment, flat(self.masked_config)),
            ended=now(),
        )

    def publish(self, record: Record) -> Record:
        """Leave the run's folder; its record comes last. A signal waits for that.

        Returns:
            The record that stands then: also without a claim on the run, one that says more is never replaced.
        """
        with deferred(), _claimed(self.runs, self.plan.key, "record", f"the record of {self.name}", heed=False):
            found = find_record(self.runs, self.plan.key, LEFT)
            if found and found[1].outweighs(record):
                print(f"  {self.name}: another process has finished it; its record stays", flush=True)
                return found[1]
            self._publish(record)
        return record

    def _publish(self, record: Record) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        hydra = self.job.folder / ".hydra" if self.job.folder else None
        if hydra and hydra.is_dir():
            kept = self.folder / ".hydra"
            kept.mkdir(exist_ok=True)
            for file in filter(Path.is_file, hydra.iterdir()):
                with replacing(kept / file.name) as draft:  # with the modes of this place, also over another user's
                    shutil.copyfile(file, draft)
        if record.status == "done":
            save_predictions(self.folder, self.predictions)
            # Not a copy of the store's file, which others may have removed meanwhile; its bytes are the same.
            with replacing(self.folder / CHECKPOINT) as draft:
                note = self.fold.model.trunk.note(self.plan.still_view("target").prepared)
                safetensors.torch.save_file(weights_of(self.fold.model), draft, note)
            leave(
                self.folder,
                self.fold.model,
                run_id=self.plan.key,
                classes={name: self.plan.divisions[name].classes for name in self.fold.model.heads},
                preprocessing=self.plan.views["target"].preprocessing,
            )
        record.write(self.folder)


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
