"""The fold: one stage after another brings the model to where it leaves it, by training or from the store."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor

from tlfw.backbones.model import Model
from tlfw.data.division import Part
from tlfw.data.mixture import Mixture, Pixels, Served
from tlfw.devices.ranks import here
from tlfw.errors import Diverged
from tlfw.identity.names import seed_from
from tlfw.methods.freeze import Freezing
from tlfw.numerics.hardware import processor
from tlfw.numerics.trainer import DELIVERED
from tlfw.records.ledger import tell
from tlfw.records.metric import recorded
from tlfw.records.record import FILE as RECORD
from tlfw.records.record import Record, Status, replacing
from tlfw.records.secret import masked
from tlfw.runs.experiment import Experiment
from tlfw.runs.plan import Plan, PlannedStage
from tlfw.signals import Interrupted
from tlfw.store import read_json
from tlfw.tracking.tracked import Tracked, Weights
from tlfw.training.decoded import Kept
from tlfw.training.evaluate import validate
from tlfw.training.features import Features, stored
from tlfw.training.heads import train_probes
from tlfw.training.probe import Company, Probe
from tlfw.training.pruning import Pruning
from tlfw.training.train import Lesson, Outcome, made_by_this, outcome_of, sums_of, train, train_along, weights_of

STAGES = "stages"
PROBE_IMAGES = 8
LOG_EVERY = 50
"""Lightning's own `log_every_n_steps`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taught:
    """What rank 0 of a run is about to train with the others: a stage, by its name, and where its checkpoints are."""

    stage: str
    scratch: Path


class Fold:
    """A model on its way through the stages of a plan.

    Args:
        data_mix: its name, for who looks through the store.
        open: begins a W&B run, as `Tracking.open` does, within the sweep's group.
        company: the runs with which its heads are trained; None: it has none.

    Attributes:
        stage_facts: of each stage that was learnt, in order, as they go into the record.
        certificate: of the latest of them.
        validation: what was said at its end.
        weights: that it left; None: nothing was learnt yet.
    """

    def __init__(
        self,
        experiment: Experiment,
        plan: Plan,
        data_mix: str,
        open: Callable[..., Tracked],
        company: Company | None = None,
    ) -> None:
        self.experiment, self.plan, self.data_mix, self.open = experiment, plan, data_mix, open
        self.company = company
        self.store, self.runs = experiment.shelf, experiment.runs
        self.stage_facts: list[dict[str, Any]] = []
        self.certificate: dict[str, Any] | None = None
        self.validation: Mapping[str, float] = {}
        self.weights: Weights | None = None

    @functools.cached_property
    def model(self) -> Model:
        return Model(self.experiment.backbone, self.plan.image_size, self.plan.stages[0].seed)

    def needs_ranks(self, stages: Sequence[PlannedStage], *, again: bool = False) -> bool:
        """Whether several processes are to be started: there is something to train that the store has not.

        Args:
            again: whether the last stage is made again.
        """
        if here() or self.plan.numerics["world_size"] == 1:
            return False
        return again or not all(self.store.find(STAGES, stage.key) for stage in stages)

    def add_heads(self, planned: PlannedStage) -> None:
        """A head for each data set of a stage that has none yet."""
        for name in planned.stage.names:
            self.model.add_head(name, len(self.plan.divisions[name].classes), planned.seed)

    def learn(self, planned: PlannedStage, tracked: Tracked | None) -> None:
        """Bring the model to where a stage leaves it: from the store, or by training.

        A stage that other runs may share is a W&B run of its own; the last one is logged to the run's.
        """
        self.add_heads(planned)

        own = tracked

        def make(draft: Path) -> None:
            nonlocal own
            if own is None:
                name = f"{planned.name}-{self.experiment.backbone.name}-s{planned.seed}"
                own = self.open(
                    id=f"{planned.name}-{planned.key[:16]}",
                    name=name,
                    folder=self.runs / f"{name}-{planned.key[:12]}",
                    job_type=planned.name,
                    tags=[planned.name, self.experiment.backbone.name],
                )
                own.starts_from(self.weights)
            self.train(planned, own, draft)

        redo = tracked is not None and self.experiment.force and not self.of_others(planned)
        try:
            folder, reused = self.store.get_or_make(STAGES, planned.key, make, about=self.about(planned), redo=redo)
        except BaseException as problem:
            if own is not None and tracked is None:
                own.finish({"status": status_of(problem), "error": said_of(problem)}, failed=True)
            raise
        # Also where it has just been trained: what was stored is what goes on.
        self.model.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
        facts = read_json(folder / "stage.json")
        tell(keep=(planned.name, -1), stage=planned.name, step=planned.steps, steps=planned.steps)
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

    def of_others(self, planned: PlannedStage) -> bool:
        """Whether the record of another run has a stage too; then it is not made again, and one line says so."""
        for file in sorted(self.runs.glob(f"*/{RECORD}")):
            with contextlib.suppress(OSError, ValueError):  # what cannot be read is no record
                record = Record.read(file)
                if record.run_id != self.plan.key and any(stage["key"] == planned.key for stage in record.stages):
                    print(f"  {planned.name}: {file.parent.name} has it too, so it is not made again", flush=True)
                    return True
        return False

    def about(self, planned: PlannedStage) -> dict[str, Any]:
        """What makes a stage, for who looks through the store. The mix is that of the first run that asked for it."""
        trained = planned.policy.trained_blocks(self.experiment.backbone.block_names())
        return {
            "stage": planned.name,
            "backbone": self.experiment.backbone.name,
            "seed": planned.seed,
            "data": {name: getattr(self.experiment, name).title for name in planned.stage.names},
            "data_mix": self.data_mix,
            "trains": ", ".join([*trained, "head"]) if planned.frozen else "all",
            "steps": planned.steps,
        }

    def train(self, planned: PlannedStage, tracked: Tracked, draft: Path) -> None:
        """Train a stage and put its weights and its facts into `draft`.

        Raises:
            Diverged: with the stage's name.
        """
        try:
            self._train(planned, tracked, draft)
        except Diverged as problem:
            raise Diverged(f"{planned.name}: {problem}") from problem

    def _train(self, planned: PlannedStage, tracked: Tracked, draft: Path) -> None:
        plan, monitor = self.plan, planned.stage.monitor
        freezing = Freezing(planned.policy, self.model, planned.stage.names)
        mixture = self.mixture(planned)
        made_once = [each for each in (*mixture.train.values(), *mixture.val.values()) if isinstance(each, Features)]
        probe_BCHW = self.pixels(monitor, "train", still=True).few(PROBE_IMAGES)
        if planned.alone:
            outcome = self._train_heads(planned, freezing, mixture, tracked, probe_BCHW)
        else:
            outcome = self._train_blocks(planned, freezing, mixture, tracked, probe_BCHW)
        note = self.model.trunk.note(plan.still_view(monitor).prepared)
        with replacing(draft / "weights.safetensors") as file:
            safetensors.torch.save_file(weights_of(self.model), file, note)
        facts = {
            "name": planned.name,
            "seconds": outcome.seconds + sum(each.seconds for each in made_once),
            "hardware": outcome.hardware,
            "images_seen": outcome.images_seen,
            "train_flops": outcome.train_flops,
            "direct_flops": outcome.direct_flops,
            "wandb_id": tracked.id,
            "steps": planned.steps,
            "per_batch": dict(planned.per_batch),
            "curve": outcome.curve,
            "stored_blocks": planned.stored,
            "certificate": outcome.certificate,
            "metrics": self.validated(planned, mixture.val),
        }
        (draft / "stage.json").write_text(json.dumps(facts, indent=1))

    def _train_blocks(
        self, planned: PlannedStage, freezing: Freezing, mixture: Mixture, tracked: Tracked, probe_BCHW: Tensor
    ) -> Outcome:
        """Train by Lightning, with the other processes of the run."""
        ranks, scratch = here(), self.store.scratch(STAGES, planned.key)
        if ranks:
            ranks.say(Taught(stage=planned.name, scratch=scratch))
        with ranks.together() if ranks else contextlib.nullcontext():
            return train(
                freezing,
                mixture,
                self.lesson(planned),
                logger=tracked.logger(planned.name),
                probe_BCHW=probe_BCHW,
                **self.around(planned, scratch),
            )

    def _train_heads(
        self, planned: PlannedStage, freezing: Freezing, mixture: Mixture, tracked: Tracked, probe_BCHW: Tensor
    ) -> Outcome:
        """Train heads alone, or take them from where they were trained with those of other runs.

        Raises:
            Diverged: the loss became NaN or infinite.
        """
        before = sums_of(self.model)
        known = self.company.heads.get(planned.key) if self.company else None
        if known is None:
            probe = self.probe(planned, mixture, dict(self.model.heads), self.store.scratch(STAGES, planned.key))
            known = train_probes({planned.key: probe}, self.plan.numerics["device"], self.every)[planned.key]
        if isinstance(known.learnt, Diverged):
            raise known.learnt
        self.model.heads.load_state_dict(known.weights)
        tracked.log(planned.name, known.learnt.log)
        print(f"  {known.told(planned.name, mixture)}", flush=True)
        return outcome_of(
            freezing,
            mixture,
            self.lesson(planned),
            before,
            probe_BCHW,
            seconds=known.learnt.seconds,
            hardware=[processor(self.plan.numerics["device"])],
            curve=known.learnt.curve,
        )

    def probe(
        self, planned: PlannedStage, mixture: Mixture, heads: Mapping[str, torch.nn.Module], scratch: Path
    ) -> Probe:
        """The heads of a stage, with all that decides what becomes of them."""
        settings = getattr(self.experiment.trainer, "keywords", {})
        shapes = {
            f"{name}.{each}": [*tensor.shape] for name in heads for each, tensor in heads[name].named_parameters()
        }
        told = self.told(planned)
        return Probe(
            heads=heads,
            mixture=mixture,
            lesson=self.lesson(planned),
            lr=planned.policy.lr_head,
            scratch=scratch,
            made_by=made_by_this(shapes) | {"heads": True},
            clip=settings.get("gradient_clip_val"),
            by_value=settings.get("gradient_clip_algorithm") == "value",
            log_every=settings.get("log_every_n_steps") or LOG_EVERY,
            told=told.say if told else None,
        )

    def follow(self, planned: PlannedStage, scratch: Path) -> None:
        """Take part in the training of a stage that rank 0 trains, whose claim on the store it is."""
        for each in self.plan.stages[: self.plan.stages.index(planned) + 1]:
            self.add_heads(each)
        freezing = Freezing(planned.policy, self.model, planned.stage.names)
        train_along(freezing, self.mixture(planned), self.lesson(planned), **self.around(planned, scratch))

    def lesson(self, planned: PlannedStage) -> Lesson:
        """How a stage trains."""
        stage, plan = planned.stage, self.plan
        return Lesson(
            title=planned.name,
            loss_weight=stage.loss_weights,
            start=planned.stored,
            optimizer=self.experiment.optimizer,
            schedule=self.experiment.schedule,
            select=self.experiment.select,
            monitor=stage.monitor,
            metric=self.experiment.metric,
            seed=seed_from("stage", planned.seed, planned.earlier),
            class_weight={
                name: torch.from_numpy(plan.divisions[name].train.class_weights())
                for name in stage.names
                if plan.balance[name] == "loss"
            },
        )

    def around(self, planned: PlannedStage, scratch: Path) -> dict[str, Any]:
        """What a stage is trained with and that decides no number."""
        told = self.told(planned)
        return {
            "trainer": self.experiment.trainer,
            "scratch": scratch,
            "callbacks": [told] if told else [],
            "checkpoint_every": self.every,
        }

    def told(self, planned: PlannedStage) -> Pruning | None:
        """Who hears how well the run validates, as one trial of a search; None: nobody."""
        experiment = self.experiment
        if experiment.trial is None or planned is not self.plan.stages[-1]:
            return None
        return experiment.trial.callback(experiment.metric, planned.stage.monitor)

    @property
    def every(self) -> datetime.timedelta:
        """Between two checkpoints of a stage."""
        return datetime.timedelta(seconds=self.experiment.checkpoint_seconds)

    def mixture(self, planned: PlannedStage) -> Mixture:
        """What the stage trains and validates on: images, or stored features of them."""
        train = {name: self.served(name, "train", planned) for name in planned.stage.names}
        val = {name: self.served(name, "val", planned) for name in self.model.heads}
        return self.mixture_of(planned, train, val)

    def mixture_of(self, planned: PlannedStage, train: Mapping[str, Any], val: Mapping[str, Any]) -> Mixture:
        """The same of what is served already."""
        return Mixture(
            train=train,
            val=val,
            per_batch=planned.per_batch,
            steps=planned.steps,
            rounds=self.experiment.validations,
            seed=planned.seed,
            workers=self.experiment.workers,
            balanced=[name for name in train if self.plan.balance[name] == "sampling"],
            earlier=planned.earlier,
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
            f"{planned.name}/features of {name} {part}",
            self.experiment.workers,
            {
                "of": self.weights.name if self.weights else f"{self.experiment.backbone.name} as it began",
                "images": f"{getattr(self.experiment, name).title} {part}",
            },
            DELIVERED if part == "val" else None,
            (name, part),
        )

    def pixels(self, name: str, part: str, *, still: bool) -> Pixels:
        view = self.plan.still_view(name) if still else self.plan.views[name]
        chosen: Part = getattr(self.plan.divisions[name], part)
        kept = Kept(
            self.experiment.pixel_shelf,
            chosen,
            view,
            self.plan.data.content[name][part],
            self.plan.numerics,
            f"{getattr(self.experiment, name).title} {part}",
            self.experiment.store.max_bytes,
        )
        return Pixels(chosen, view, kept)

    def validated(self, planned: PlannedStage, val: Mapping[str, Served]) -> dict[str, float]:
        """`NAME/val/KEY` of every data set with a head and every metric, by the model as a stage left it.

        Args:
            val: what the stage validated on. Where these are vectors that a head takes, they say what the images say.

        Raises:
            Diverged: one is no number.
        """
        vectors = all(isinstance(served, Features) and served.z_N.ndim == 2 for served in val.values())
        head_alone = vectors and planned.stored == len(self.model.trunk.blocks)
        return finite(
            {
                recorded(f"{name}/val", key): value
                for name in self.model.heads
                for key, value in validate(
                    self.experiment.trainer,
                    self.model,
                    name,
                    val[name] if head_alone else self.pixels(name, "val", still=True),
                    self.experiment.workers,
                    planned.stored if head_alone else 0,
                ).items()
            }
        )


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics, which are all numbers: a stage's last step may be the one that was too long.

    Raises:
        Diverged: one is not.
    """
    if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise Diverged(f"{bad[0]} is {metrics[bad[0]]}: try a lower learning rate")
    return metrics


def status_of(problem: BaseException) -> Status:
    """How a run or a stage that raised has ended."""
    if isinstance(problem, Interrupted | KeyboardInterrupt):
        return "interrupted"
    return "diverged" if isinstance(problem, Diverged) else "failed"


def said_of(problem: BaseException) -> str:
    """What it raised, for its record: no secret is in it."""
    return masked(str(problem) if isinstance(problem, Diverged) else f"{type(problem).__name__}: {problem}".strip())
