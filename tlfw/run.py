"""One run is a fold of stages over weights, then one look at the test images, then a record."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch

from tlfw.cost import peak_memory_bytes, start_measuring_memory
from tlfw.data import Mixture, Pixels
from tlfw.data.mixture import kept_pixels
from tlfw.data.sets import Part
from tlfw.environment import environment
from tlfw.errors import ConfigError
from tlfw.evaluate import PREDICTIONS, examine, save_predictions, validate
from tlfw.experiment import Experiment
from tlfw.features import Features, stored
from tlfw.freeze import Freezing
from tlfw.interruption import Interrupted, heeded
from tlfw.loaded import FILE as BLUEPRINT
from tlfw.loaded import leave
from tlfw.model import Model
from tlfw.plan import Plan, PlannedStage
from tlfw.record import Record, Status, replacing
from tlfw.secret import masked
from tlfw.store import read_json
from tlfw.tracking import Tracked, Weights
from tlfw.train import Lesson, train, weights_of
from tlfw.weights import CHECKPOINT

STAGES = "stages"
PROBE_IMAGES = 8


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


def run(experiment: Experiment, job: Job) -> tuple[Record, bool]:
    """Train what is not in the store, evaluate, and leave a record.

    Returns:
        The record, and whether it was there before and nothing was done.

    Raises:
        ConfigError: before anything is trained.
        TrainingFailed: a stage failed; the record says `failed` and why.
        Interrupted: SIGINT or SIGTERM asked for it; the record says `interrupted` and by which.
    """
    _use_threads(experiment)
    plan = experiment.plan()
    former = find_record(experiment.runs, plan.key)
    if former is not None and former.status == "done" and not experiment.force:
        return former, True
    attempt = 0 if former is None else former.attempt + experiment.force
    with heeded():
        return _Run(experiment, plan, job, attempt).go(), False


def prepare(experiment: Experiment, job: Job) -> Mapping[str, float]:
    """Bring the store as far as `until` says, and leave no record: the part of a run that others need too.

    Returns:
        What validation said after the last stage that was learnt. No test image is opened.

    Raises:
        ConfigError: there is no such part.
        TrainingFailed: a stage failed.
        Interrupted: SIGINT or SIGTERM asked for it.
    """
    _use_threads(experiment)
    begun = _Run(experiment, experiment.plan(), job, 0)
    with heeded():
        begun.go_until(experiment.until or "")
    return begun.validation


def leave_blocked(experiment: Experiment, job: Job, why: str) -> None:
    """Leave a record of a run that cannot be made, unless it was finished before."""
    plan = experiment.plan()
    former = find_record(experiment.runs, plan.key)
    if former is None or former.status != "done":
        blocked = _Run(experiment, plan, job, 0)
        blocked.publish(blocked.record("blocked", None, 0.0, error=why))


_THREADS = torch.get_num_threads()


def _use_threads(experiment: Experiment) -> None:
    """Also undoes what an earlier run of this process wanted."""
    torch.set_num_threads(experiment.threads or _THREADS)


class _Run:
    """One pass through the fold."""

    def __init__(self, experiment: Experiment, plan: Plan, job: Job, attempt: int) -> None:
        self.experiment, self.plan, self.runs, self.attempt = experiment, plan, experiment.runs, attempt
        self.job = dataclasses.replace(job, config=masked(job.config))
        self.store = experiment.shelf
        kinds = [job.choices.get(kind, "custom") for kind in ("data_mix", "freeze_policy", "backbone")]
        self.paradigm = {"data_mix": kinds[0], "freeze_policy": kinds[1]}
        self.name = "-".join([*kinds, f"s{experiment.seed}"])
        self.folder = self.runs / f"{self.name}-{plan.key[:12]}"
        self.stage_facts: list[dict[str, Any]] = []
        self.certificate: dict[str, Any] | None = None
        self.metrics: dict[str, float | None] = {}
        self.validation: Mapping[str, float] = {}
        self.evaluation_seconds = 0.0
        self.weights: Weights | None = None

    @functools.cached_property
    def model(self) -> Model:
        return Model(self.experiment.backbone, self.plan.image_size, self.experiment.seed)

    def go_until(self, until: str) -> None:
        """Learn the stages up to one that `until` names, or store the features that this stage would train on."""
        name, _, what = until.partition("/")
        stages = {stage.name: stage for stage in self.plan.stages}
        if name not in stages or what not in ("", *(["features"] if stages[name].features else [])):
            known = [*stages, *(f"{each.name}/features" for each in stages.values() if each.features)]
            raise ConfigError("until", f"this run has no {until!r}.", f"It has {', '.join(known)}.")
        print(f"{self.name} until {until}", flush=True)
        for stage in self.plan.stages[: list(stages).index(name)]:
            self.learn(stage, None)
        if what:
            self.add_heads(stages[name])
            self.mixture(stages[name])
        else:
            self.learn(stages[name], None)

    def go(self) -> Record:
        began = time.monotonic()
        start_measuring_memory()
        print(f"{self.name}", flush=True)
        for name, division in self.plan.divisions.items():
            print(f"  {name}: {', '.join(f'{n} {part}' for part, n in division.counts.items())} images", flush=True)
        if fit := self.experiment.backbone.fit(self.plan.image_size):
            print(f"  weights: {fit}", flush=True)
        tracked: Tracked | None = None
        try:
            *before, last = self.plan.stages
            for stage in before:
                self.learn(stage, None)
            tracked = self.open(
                id=f"{self.plan.key[:16]}-{self.attempt}",
                name=self.name,
                folder=self.folder,
                job_type="run",
                tags=[*self.paradigm.values(), self.experiment.backbone.name, *self.plan.labels],
            )
            tracked.starts_from(self.weights)
            self.learn(last, tracked)
            self.evaluate()
            record = self.record("done", tracked, time.monotonic() - began)
        except BaseException as problem:
            status = _status(problem)
            record = self.record(status, tracked, time.monotonic() - began, error=_said(problem))
            if tracked:
                tracked.finish({"status": status, "error": record.error}, failed=True)
                record = dataclasses.replace(record, wandb=tracked.facts())
            if not self.attempt:  # a forced attempt that fails leaves the finished run as it was
                with contextlib.suppress(OSError):  # whose disk may be what failed it
                    self.publish(record)
            raise
        assert self.weights is not None
        tracked.keep(self.weights, {**self.paradigm, **self.metrics})
        tracked.finish({**self.metrics, **{f"cost/{k}": v for k, v in record.cost.items()}, "status": "done"})
        record = dataclasses.replace(record, wandb=tracked.facts())  # whether all was sent is known now
        self.publish(record)
        return record

    def add_heads(self, planned: PlannedStage) -> None:
        """A head for each data set of a stage that has none yet."""
        for name in planned.stage.names:
            self.model.add_head(name, len(self.plan.divisions[name].classes))

    def learn(self, planned: PlannedStage, tracked: Tracked | None) -> None:
        """Bring the model to where a stage leaves it: from the store, or by training.

        A stage that other runs may share is a W&B run of its own; the last one is logged to the run's.
        """
        self.add_heads(planned)

        own = tracked

        def make(draft: Path) -> None:
            nonlocal own
            if own is None:
                own = self.open(
                    id=f"{planned.name}-{planned.key[:16]}",
                    name=f"{planned.name}-{self.experiment.backbone.name}-s{self.experiment.seed}",
                    folder=self.runs
                    / f"{planned.name}-{self.experiment.backbone.name}-s{self.experiment.seed}-{planned.key[:12]}",
                    job_type=planned.name,
                    tags=[planned.name, self.experiment.backbone.name],
                )
                own.starts_from(self.weights)
            self.train(planned, own, draft)

        redo = tracked is not None and self.experiment.force
        try:
            folder, reused = self.store.get_or_make(STAGES, planned.key, make, about=self.about(planned), redo=redo)
        except BaseException as problem:
            if own is not None and tracked is None:
                own.finish({"status": _status(problem), "error": _said(problem)}, failed=True)
            raise
        # Also where it has just been trained: what was stored is what goes on.
        self.model.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
        facts = read_json(folder / "stage.json")
        if reused:
            print(f"  {planned.name}: reused {planned.key[:12]}", flush=True)
        self.certificate = facts.pop("certificate")
        self.validation = metrics = facts["metrics"]
        self.weights = Weights(
            name=f"{planned.name}-{self.experiment.backbone.name}-{planned.key[:12]}",
            file=folder / "weights.safetensors",
            run_id=facts["wandb_id"],
        )
        if own is not None and tracked is None:
            own.keep(self.weights, metrics)
            own.finish({**metrics, "status": "done"})
        self.stage_facts.append({**facts, "key": planned.key, "reused": reused})

    def about(self, planned: PlannedStage) -> dict[str, Any]:
        """What makes a stage, for who looks through the store. The mix is that of the first run that asked for it."""
        return {
            "stage": planned.name,
            "backbone": self.experiment.backbone.name,
            "seed": self.experiment.seed,
            "data": {name: getattr(self.experiment, name).title for name in planned.stage.names},
            "data_mix": self.paradigm["data_mix"],
        }

    def train(self, planned: PlannedStage, tracked: Tracked, draft: Path) -> dict[str, Any]:
        """Train a stage and put its weights and its facts into `draft`."""
        stage, plan = planned.stage, self.plan
        freezing = Freezing(planned.policy, self.model, stage.names)
        monitor = stage.monitor
        scratch = self.store.scratch(STAGES, planned.key)
        last = planned is plan.stages[-1]
        mixture = self.mixture(planned)
        made_once = [each for each in (*mixture.train.values(), *mixture.val.values()) if isinstance(each, Features)]
        outcome = train(
            freezing,
            mixture,
            Lesson(
                title=planned.name,
                loss_weight=stage.loss_weights,
                start=planned.stored,
                optimizer=self.experiment.optimizer,
                schedule=self.experiment.schedule,
                select=self.experiment.select,
                monitor=monitor,
                seed=self.experiment.seed,
                class_weight={
                    name: torch.from_numpy(plan.divisions[name].train.class_weights())
                    for name in stage.names
                    if plan.balance[name] == "loss"
                },
            ),
            trainer=self.experiment.trainer,
            logger=tracked.logger(planned.name),
            scratch=scratch,
            callbacks=[self.experiment.trial.callback(monitor)] if self.experiment.trial and last else [],
            checkpoint_every=datetime.timedelta(seconds=self.experiment.checkpoint_seconds),
            probe_BCHW=self.pixels(monitor, "train", still=True).batch(
                range(min(PROBE_IMAGES, len(plan.divisions[monitor].train))), None, 0
            ),
        )
        safetensors.torch.save_file(weights_of(self.model), draft / "weights.safetensors", self.model.trunk.note())
        facts = {
            "name": planned.name,
            "seconds": outcome.seconds + sum(each.seconds for each in made_once),
            "images_seen": outcome.images_seen,
            "train_flops": outcome.train_flops,
            "direct_flops": outcome.direct_flops,
            "wandb_id": tracked.id,
            "steps": planned.steps,
            "per_batch": dict(planned.per_batch),
            "curve": outcome.curve,
            "stored_blocks": planned.stored,
            "certificate": outcome.certificate,
            "metrics": self.validated(),
        }
        (draft / "stage.json").write_text(json.dumps(facts, indent=1))
        shutil.rmtree(scratch, ignore_errors=True)
        return facts

    def mixture(self, planned: PlannedStage) -> Mixture:
        """What the stage trains and validates on: images, or stored features of them."""
        train = {name: self.served(name, "train", planned) for name in planned.stage.names}
        val = {name: self.served(name, "val", planned) for name in self.model.heads}
        return Mixture(
            train=train,
            val=val,
            per_batch=planned.per_batch,
            steps=planned.steps,
            rounds=self.experiment.validations,
            seed=self.experiment.seed,
            workers=self.experiment.workers,
            balanced=[name for name in train if self.plan.balance[name] == "sampling"],
        )

    def served(self, name: str, part: Literal["train", "val"], planned: PlannedStage) -> Any:
        """Images of a part, or their features where the stage is computed from those."""
        pixels = self.pixels(name, part, still=part == "val")
        if not planned.stored:
            return pixels
        return stored(
            self.store,
            self.experiment.trainer,
            self.model,
            pixels,
            planned.stored,
            planned.features[name, part],
            self.experiment.workers,
            {
                "of": self.weights.name if self.weights else f"{self.experiment.backbone.name} as it began",
                "images": f"{getattr(self.experiment, name).title} {part}",
            },
        )

    def pixels(self, name: str, part: Literal["train", "val"], *, still: bool) -> Pixels:
        view = self.plan.still_view(name) if still else self.plan.views[name]
        chosen: Part = getattr(self.plan.divisions[name], part)
        return kept_pixels(self.plan.data.content[name][part], chosen, view)

    def validated(self) -> dict[str, float]:
        """`NAME/val/acc` and `NAME/val/loss` of every data set with a head, by the model as it stands."""
        return {
            f"{name}/val/{measure}": value
            for name in self.model.heads
            for measure, value in validate(
                self.experiment.trainer, self.model, name, self.pixels(name, "val", still=True), self.experiment.workers
            ).items()
        }

    def evaluate(self) -> None:
        """All selection is over: measure on validation, then open the target's test images."""
        began = time.monotonic()
        self.metrics = {"source/val/acc": None, "source/val/loss": None, **self.validated()}
        test = self.plan.divisions["target"].test
        assert test is not None
        print(f"  test: {len(test)} images", flush=True)
        measured, predictions = examine(
            self.experiment.trainer,
            self.model,
            "target",
            test,
            self.plan.still_view("target"),
            self.experiment.workers,
        )
        self.metrics |= {f"target/test/{name}": value for name, value in measured.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        save_predictions(self.folder, predictions)
        self.evaluation_seconds = time.monotonic() - began

    def open(self, **kwargs: Any) -> Tracked:
        return self.experiment.tracking.open(
            group=self.job.sweep or self.experiment.name, config=self.job.config, **kwargs
        )

    def record(self, status: Status, tracked: Tracked | None, seconds: float, error: str | None = None) -> Record:
        plan, experiment = self.plan, self.experiment
        done = status == "done"
        return Record(
            run_id=plan.key,
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
            settings=dict(self.job.config),
            metrics=self.metrics if done else {},
            stages=self.stage_facts,
            certificate=self.certificate if done else None,
            wandb=tracked.facts() if tracked else {"id": None, "mode": None, "dir": None},
            cost={
                "seconds": sum(stage["seconds"] for stage in self.stage_facts) + self.evaluation_seconds,
                "seconds_spent": seconds,
                "train_flops": sum(stage["train_flops"] for stage in self.stage_facts),
                "train_flops_spent": sum(stage["train_flops"] for stage in self.stage_facts if not stage["reused"]),
                "peak_memory_bytes": peak_memory_bytes(),
            },
            environment=environment() | {"device": plan.numerics["device"], "numerics": plan.numerics},
            attempt=self.attempt,
            error=error,
        )

    def publish(self, record: Record) -> None:
        """Leave the run's folder; its record comes last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        hydra = self.job.folder / ".hydra" if self.job.folder else None
        if hydra and hydra.is_dir():
            shutil.copytree(hydra, self.folder / ".hydra", dirs_exist_ok=True)
        if record.status == "done":
            # Not a copy of the store's file, which others may have removed meanwhile; its bytes are the same.
            with replacing(self.folder / CHECKPOINT) as draft:
                safetensors.torch.save_file(weights_of(self.model), draft, self.model.trunk.note())
            leave(
                self.folder,
                self.model,
                run_id=self.plan.key,
                classes={name: self.plan.divisions[name].classes for name in self.model.heads},
                view=self.plan.still_view("target"),
            )
        record.write(self.folder)


def find_record(runs: Path, key: str) -> Record | None:
    """The readable record of the run of that key, or None; also None where it is done but its results are gone."""
    for path in sorted(runs.glob(f"*-{key[:12]}/record.json")):
        try:
            record = Record.read(path)
        except ValueError:
            continue
        left = (PREDICTIONS, CHECKPOINT, BLUEPRINT)
        gone = record.status == "done" and not all((path.parent / name).is_file() for name in left)
        if record.run_id == key and not gone:
            return record
    return None


def _status(problem: BaseException) -> Status:
    return "interrupted" if isinstance(problem, Interrupted | KeyboardInterrupt) else "failed"


def _said(problem: BaseException) -> str:
    return masked(f"{type(problem).__name__}: {problem}".strip())
