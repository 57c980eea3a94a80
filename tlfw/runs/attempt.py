"""One attempt at a run: a fold of stages over weights, then one look at the test images, then a record."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import safetensors.torch

from tlfw.backbones.weights import CHECKPOINT
from tlfw.devices.launch import RanksFailed, in_ranks
from tlfw.devices.nodes import Node
from tlfw.identity.fields import unnamed
from tlfw.numerics.environment import environment
from tlfw.numerics.trainer import DELIVERED
from tlfw.records.claim import Claim
from tlfw.records.metric import METRICS, SOURCE_VAL, TARGET_TEST, recorded
from tlfw.records.record import Record, Status, find_record, now, replacing
from tlfw.records.secret import masked
from tlfw.records.settings import flat
from tlfw.runs.experiment import Experiment
from tlfw.runs.fold import Fold, finite, said_of, status_of
from tlfw.runs.job import Job, claimed_run
from tlfw.runs.plan import Plan
from tlfw.runs.trained_model import LEFT, NEAR_COPIES, leave
from tlfw.signals import deferred
from tlfw.tracking.tracked import Tracked, axes
from tlfw.training.cost import peak_memory_bytes, start_measuring_memory
from tlfw.training.evaluate import examine, outputs
from tlfw.training.features import Features
from tlfw.training.predictions import save_predictions
from tlfw.training.probe import Company
from tlfw.training.train import weights_of


class TakenOver(Exception):
    """This process was stopped for so long that another one took it for dead, and makes the run now."""


class Attempt:
    """One pass through the fold."""

    def __init__(
        self, experiment: Experiment, plan: Plan, job: Job, attempt: int, company: Company | None = None
    ) -> None:
        self.experiment, self.plan, self.runs, self.attempt = experiment, plan, experiment.runs, attempt
        self.job, self.masked_config = job, masked(job.config)
        kinds = [job.choices.get(kind, "custom") for kind in ("data_mix", "freeze_policy", "backbone")]
        self.paradigm = {"data_mix": kinds[0], "freeze_policy": kinds[1]}
        self.name = "-".join([*kinds, f"s{experiment.seed}"]).replace("/", ".")  # of options in folders of their own
        self.folder = self.runs / f"{self.name}-{plan.key[:12]}"
        self.metrics: dict[str, float | None] = {}
        self.predictions: dict[str, Any] = {}
        self.evaluation_seconds = 0.0
        self.fold = Fold(experiment, plan, kinds[0], self.open, company)

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
        company = self.fold.company or Company()
        if (described := self.described()) != company.described:  # what runs in company have in common is said once
            print("\n".join(described), flush=True)
        company.described = described
        if near := self.plan.data.near:
            near.write(Path(self.experiment.outputs).expanduser() / NEAR_COPIES)
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
                raise TakenOver("another process makes it now")
            self.evaluate()
            record = self.record("done", tracked, time.monotonic() - began)
        except BaseException as problem:
            status = "interrupted" if isinstance(problem, TakenOver) else status_of(problem)
            record = self.record(status, tracked, time.monotonic() - began, error=said_of(problem))
            if tracked:
                tracked.finish({"status": status, "error": record.error}, failed=True)
                record = dataclasses.replace(record, wandb=tracked.facts())
            # A forced attempt that fails leaves the finished run as it was.
            if not self.attempt and not isinstance(problem, TakenOver):
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

    def described(self) -> list[str]:
        """The images and the first weights, in lines for people."""
        found = []
        for name, division in self.plan.divisions.items():
            found += [f"  {name}: {division.described}", f"    {division.held}"]
        found += [f"  note: {remark}" for remark in self.plan.remarks]
        backbone = self.experiment.backbone
        if fit := backbone.fit(self.plan.image_size):
            known = f"; learnt at {backbone.input_spec}" if backbone.input_spec else ""
            found.append(f"  weights: {fit}{known}")
        return found

    def evaluate(self) -> None:
        """All selection is over: measure on validation, then open the target's test images."""
        began = time.monotonic()
        self.metrics = {metric.at(SOURCE_VAL): None for metric in METRICS.values()} | dict(self.fold.validation)
        test = self.plan.divisions["target"].test
        assert test is not None
        print(f"  test: {len(test)} images", flush=True)
        known = self.tested()
        measured, predictions = examine(
            self.experiment.trainer,
            self.fold.model,
            "target",
            test,
            known or self.fold.pixels("target", "test", still=True),
            self.experiment.workers,
            "test",
            len(self.fold.model.trunk.blocks) if known else 0,
        )
        self.metrics |= finite({recorded(TARGET_TEST, key): value for key, value in measured.items()})
        self.predictions = predictions
        self.evaluation_seconds = time.monotonic() - began

    def tested(self) -> Features | None:
        """What the frozen blocks say of the test images, of a run in company; None: it is alone.

        Asked for when all selection is over. This process keeps it for the others, and not the store.
        """
        company, fold = self.fold.company, self.fold
        if company is None or self.plan.stages[-1].key not in company.heads:
            return None
        if company.tested is None:
            began, images = time.monotonic(), fold.pixels("target", "test", still=True)
            trainer, workers = self.experiment.trainer, self.experiment.workers
            z_ND = outputs(trainer, fold.model, fold.model.trunk, images, workers, DELIVERED)
            company.tested = Features(z_ND.numpy(), images.labels_N, time.monotonic() - began, key="test")
        return company.tested

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
        with deferred(), claimed_run(self.runs, self.plan.key, "record", f"the record of {self.name}", heed=False):
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
