"""The settings of one run, as objects: a whole config."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, Field, InstanceOf
from pydantic.dataclasses import dataclass

from tlfw.backbones.backbone import Backbone
from tlfw.data.copies import Copies
from tlfw.data.pictures.augmentation import REVISION, varies
from tlfw.data.sets import DataSet
from tlfw.errors import ConfigError
from tlfw.identity.fields import Each, by_effect, keyed, unkeyed
from tlfw.limits import cores, most_threads, most_workers
from tlfw.methods.freeze import FreezePolicy
from tlfw.methods.mix import BatchSize, BudgetText, DataMix, Seed, Set, Stage
from tlfw.numerics.tag import TRAINER
from tlfw.records.comparison import share
from tlfw.records.folder import fault
from tlfw.records.metric import Metric, metric_of
from tlfw.runs.check import Request, check, numerics_known
from tlfw.runs.experiment_data import Memo, look
from tlfw.runs.keys import name_all
from tlfw.runs.look import look_at_data
from tlfw.runs.match_budget import Match, Measure
from tlfw.runs.plan import Plan
from tlfw.runs.repetition import Repeat
from tlfw.runs.trial import Trial
from tlfw.store import Store
from tlfw.store.facts import Facts
from tlfw.strictness import STRICT, at_most
from tlfw.tracking.wandb_run import Tracking

MOST_VALIDATIONS = 1000
"""Of a stage; each is a point of the curve in its record."""
TAKEN = by_effect("the stages of the data mix that take it, and the budget that all runs are matched to")
PLACE = unkeyed("where results go")
BEST = ("select", "best_val")
JUDGED = unkeyed("what a sweep asks of its runs together, and how these are judged")
"""What several fields decide."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pretrain:
    """Step 1, where a data mix has one: its length, its batch, one learning rate for all, and its seed.

    Args:
        seed: `varies`: each run pretrains with its own seed. A number: one pretraining serves runs of all seeds.
    """

    budget: Annotated[BudgetText, TAKEN]
    batch_size: Annotated[BatchSize, TAKEN]
    lr: Annotated[float, TAKEN] = Field(gt=0)
    seed: Annotated[Seed, TAKEN] = "varies"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Adapt:
    """The adaptation stage: its length and its batch. Its learning rates are the freeze policy's."""

    budget: Annotated[BudgetText, TAKEN]
    batch_size: Annotated[BatchSize, TAKEN]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Joint:
    """Training on both data sets at once: the target's share of every batch, and each set's weight in the loss."""

    target_share: Annotated[float, TAKEN] = Field(gt=0, lt=1)
    loss_weight: Annotated[dict[Literal["source", "target"], float], TAKEN]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StoreSettings:
    """Where results are kept that runs share.

    Args:
        dir: the folder.
        max_bytes: that decoded images may take there, as a number or as `200GB`; those that were used least recently
            go first. null: half of what is free on the disk.
        scratch: a folder of this machine's own for decoded images, where `dir` is on a slow network; null: none.
    """

    dir: Annotated[str, PLACE] = Field(min_length=1)
    max_bytes: Annotated[ByteSize | None, PLACE] = None
    scratch: Annotated[str | None, PLACE] = Field(default=None, min_length=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Experiment:
    """A whole config, as objects.

    Args:
        name: the experiment's, for people.
        seed: of weights, order, augmentation and dropout, but where `pretrain.seed` says another; not of which images
            are labelled.
        image_size: pixels, which both data sets follow unless they say otherwise.
        select: a stage hands on its `last` weights, or its `best_val`.
        metric: by which `best_val` selects, a search draws and prunes, and runs are shown and judged; given by
            its name. Keyed where it selects: elsewhere it decides no number.
        match_budget: `epochs` of the target, `steps` of the optimizer, `images` seen or training `flops` (none stored):
            the last stage takes as many steps as make the sum over the run's stages that of `pretrain.budget` on the
            source and then `adapt.budget` on the target with everything training, to the nearest step, if
            `trainer.max_steps` lets it. null: each stage has its own budget.
        folds, fold: which the target follows unless it says otherwise: it is divided into so many, and that one is the
            test.
        copies: what is done where an image that judges the model is in a part that was given for learning too:
            `refuse` it; `leave_out` all such images of what is learnt from, never of the test; `accept` them.
        validations: how often a stage is validated, evenly spread, the last time at its end.
        repeat: how often a sweep asks the same again, with another seed and draw of labelled images.
        folds: in how many parts the images are tested on in turn; null: the set's own test images are.
        fold: which of these parts a run is tested on, counted from 0.
        margin: the smallest difference of the metric that matters (1% is 0.01); null: none is too small.
        compare: fields whose values make rows of their own in a report.
        outputs: the folder for all that runs leave behind.
        force: train the adaptation stage again even if this run is done; shared stages are kept.
        checkpoint_seconds: between two checkpoints of an unfinished stage, which resumes from the last.
        workers: processes that make batches beside the one that trains; null: as many as torch has threads where
            images are decoded or augmented one by one, and none elsewhere.
        threads: of torch on the CPU; null: as many as it takes by itself. Results depend on them in the last bits.
        exact: whether results of another model of processor, or of another build of torch or version of Lightning, are
            others. Otherwise a stage may go on where it is continued, and the record says on what it was computed.
        until: a stage after which to stop, `pretrain`, or what is stored for a stage, `adapt/features`; null: the
            whole run. So a sweep has done once what several runs share.
        trial: of which search this run is a part; null: of none.
        planned: the key under which a sweep planned what this job makes; null: no sweep did.
        together: the overrides of further runs, which a sweep lets this job make too; null: there are none.
    """

    name: Annotated[str, unkeyed("for people")] = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: Annotated[int, keyed("repetitions differ in it", named=False)] = Field(ge=0)
    image_size: Annotated[int | None, by_effect("how images are seen")]
    backbone: Backbone
    source: DataSet
    target: Annotated[DataSet, Each({"train_per_class": by_effect("an axis of every report", named=False)})]
    data_mix: DataMix
    freeze_policy: FreezePolicy
    optimizer: Any
    schedule: Any
    trainer: Annotated[Any, Each(TRAINER)]
    tracking: Annotated[Tracking, unkeyed("where metrics go")]
    pretrain: Pretrain
    adapt: Adapt
    joint: Joint
    select: Literal["last", "best_val"]
    metric: Annotated[
        InstanceOf[Metric], BeforeValidator(metric_of), keyed("a report has one", named=False, where=BEST)
    ]
    match_budget: Annotated[Measure | None, by_effect("the last stage's steps, which a report names", named=False)]
    repeat: Annotated[Repeat, BeforeValidator(Repeat.of), JUDGED]
    folds: Annotated[int | None, by_effect("the content of the target's parts", named=False)]
    fold: Annotated[int | None, by_effect("the content of the target's parts; repetitions differ in it", named=False)]
    margin: Annotated[float | None, BeforeValidator(share), JUDGED]
    compare: Annotated[list[str], JUDGED]
    copies: Annotated[Copies, by_effect("the content of parts")]
    validations: Annotated[
        int,
        at_most(MOST_VALIDATIONS, "validations of a stage would take longer than its training"),
        keyed(where=BEST),
    ] = Field(ge=1)
    checkpoint_seconds: Annotated[float, unkeyed("a stage goes on to the same numbers")] = Field(
        ge=0, allow_inf_nan=False
    )
    workers: Annotated[
        int | None,
        at_most(most_workers, f"processes that load images are too many for {cores()} cores"),
        unkeyed("processes that load images change none"),
    ] = Field(ge=0)
    threads: Annotated[
        int | None,
        at_most(most_threads, f"threads on {cores()} cores only wait for each other"),
        by_effect("the numerics, on a CPU", named=False),
    ] = Field(ge=1)
    exact: Annotated[bool, by_effect("the numerics", named=False)]
    until: Annotated[str | None, unkeyed("how far a run goes; what it makes on the way is the same")]
    trial: Annotated[Trial | None, unkeyed("for which search a run is made; a trial that ends early leaves no result")]
    planned: Annotated[str | None, unkeyed("what a job is compared with that a sweep sent")] = None
    together: Annotated[list[list[str]] | None, unkeyed("which runs a job makes; each is what it is alone")] = None
    outputs: Annotated[str, PLACE] = Field(min_length=1)
    store: StoreSettings
    force: Annotated[bool, unkeyed("whether something is made again")]

    @functools.cached_property
    def shelf(self) -> Store:
        """The store."""
        return Store(Path(self.store.dir).expanduser())

    @property
    def manifests(self) -> Path:
        """Where small facts are kept: of files of images, of networks and of trainers."""
        return self.shelf.root / "manifests"

    @functools.cached_property
    def pixel_shelf(self) -> Store:
        """Where decoded images are kept."""
        return Store(Path(self.store.scratch).expanduser()) if self.store.scratch else self.shelf

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return Path(self.outputs).expanduser() / "runs"

    @property
    def match(self) -> Match | None:
        """What all trainings of a run are to come to; None: to whatever their own budgets do."""

        def alone(name: Set, step: Pretrain | Adapt) -> Stage:
            budget = {name: step.budget}
            return Stage(share={name: 1.0}, loss_weight={name: 1.0}, batch_size=step.batch_size, budget=budget)

        if self.match_budget is None:
            return None
        pretraining = [alone("source", self.pretrain)] if self.pretrain.budget.amount else []
        return Match(measure=self.match_budget, reference=[*pretraining, alone("target", self.adapt)])

    @property
    def request(self) -> Request:
        """What of it decides numbers."""
        return Request(
            backbone=self.backbone,
            data_sets={"source": self.source, "target": self.target},
            data_mix=self.data_mix,
            freeze_policy=self.freeze_policy,
            optimizer=self.optimizer,
            schedule=self.schedule,
            trainer=self.trainer,
            select=self.select,
            metric=self.metric,
            validations=self.validations,
            match=self.match,
            copies=self.copies,
            seed=self.seed,
            threads=self.threads,
            exact=self.exact,
            manifests=self.manifests,
        )

    def plan(self, memo: Memo | None = None) -> Plan:
        """Everything that will be made, checked and named.

        Args:
            memo: what the plans of a sweep's other experiments have found out.

        Raises:
            ConfigError: something cannot work; nothing was trained.
        """
        memo = memo or Memo()
        places = {"outputs": Path(self.outputs).expanduser(), "store.dir": self.shelf.root}
        if self.tracking.dir is not None:
            places["tracking.dir"] = Path(self.tracking.dir).expanduser()

        def see(field: str) -> None:  # once for all jobs of a sweep
            memo.get(lambda: _check_writable(field, places[field]), "writable", field, str(places[field].absolute()))

        for field in [name for name in places if name != "store.dir"]:
            see(field)
        shut: ConfigError | None = None
        try:
            see("store.dir")
        except ConfigError as problem:
            if self.force or not (self.shelf.root / "stages").is_dir():
                raise
            shut = problem
        facts = Facts(self.manifests)
        checked = check(self.request, memo, facts)
        looked = look_at_data(checked, memo)
        plan = name_all(checked, looked)
        # A store that can only be read will do where nothing has to be put into it.
        if shut and not all(self.shelf.has("stages", stage.key) for stage in plan.stages):
            raise shut
        memo.settle(facts)
        return plan

    def basis(self, memo: Memo) -> list[Any]:
        """What decides numbers besides settings: code, first weights, images that are learnt from, device, versions.

        Of both data sets, also where this experiment trains on one alone; null for one whose images cannot be had.

        Raises:
            ConfigError: the backbone's weights are not there, or the trainer cannot be made.
        """

        def content(name: str, data_set: DataSet) -> Any:
            try:
                found = look(self.backbone, {name: data_set}, self.copies, self.manifests, memo)
                parts = found.content[name]
            except ConfigError:
                return None
            return [parts["train"], parts["val"]]

        varied = varies([*self.source.augmentations, *self.target.augmentations])
        return [
            self.backbone.identity(),
            *(self.data_mix, self.freeze_policy, self.optimizer, self.schedule, self.trainer),
            *((type(each), content(name, each)) for name, each in (("source", self.source), ("target", self.target))),
            numerics_known(self.trainer, self.threads, self.exact, memo, Facts(self.manifests)).tag,
            *([REVISION] if varied else ()),
        ]


def _check_writable(field: str, folder: Path) -> None:
    """See that a folder can hold what processes share, or can be made, and leave nothing behind."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    try:
        wrong = fault(there)
    except OSError as problem:
        raise ConfigError(
            field, f"cannot write in {folder.absolute()} ({problem.strerror}).", "Give a folder that can be written."
        ) from problem
    if wrong:
        raise ConfigError(
            field,
            f"{folder.absolute()} cannot hold results: {wrong}.",
            "Give a folder on a local disk, or on a network's file system such as NFS or Lustre; mounts of object "
            "stores are none.",
        )
