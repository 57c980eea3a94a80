"""What an experiment is about to do: every stage and the run, each under the key of all that decides it.

A plan is made in three passes: `check` sees that what was asked can be, `look` reads the images and counts steps, and
`keys` names all that will be made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tlfw.data.division import Division
from tlfw.data.pictures.view import View
from tlfw.data.sets import Balance
from tlfw.errors import ConfigError, TrainingFailed
from tlfw.identity.names import digest
from tlfw.methods.freeze import FreezePolicy
from tlfw.methods.mix import Stage
from tlfw.records.record import Trains
from tlfw.runs.experiment_data import SeenData


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One training, with what follows from the data.

    Attributes:
        key: the digest of everything that decides the stage's weights.
        policy: what may change.
        seed: of all that is drawn.
        earlier: data set of the mixture -> how many stages of the run trained on it before.
        per_batch: data set -> images in every batch.
        steps: of the optimizer.
        stored: how many blocks are taken from stored features; 0: computed directly.
        alone: whether it trains nothing but linear heads on these.
        features: (data set, part) -> the key of its stored features; empty where none are used.
        frozen: the names of the blocks that do not train.
        trains: the `head` alone, or those of the mixture, with some `blocks`, or `all` there is.
        random_start: whether nothing was ever learnt before.
    """

    name: str
    stage: Stage
    key: str
    policy: FreezePolicy
    seed: int
    earlier: Mapping[str, int]
    per_batch: Mapping[str, int]
    steps: int
    stored: int
    alone: bool
    features: Mapping[tuple[str, str], str]
    frozen: tuple[str, ...]
    trains: Trains
    random_start: bool

    @property
    def images(self) -> int:
        """How many are seen, each as often as it is."""
        return self.steps * sum(self.per_batch.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """An experiment, checked, with all that a person need not say.

    Attributes:
        key: the digest of everything that decides the run's numbers.
        setting: the digest of what decides them but the seed, the images and how many they are, which weights of an
            architecture were given, and where they are computed: runs that are equal in it repeat each other.
        data: its images.
        numerics: what else the last bit depends on.
        remarks: what a person should know before anything trains, and is no error: sentences.
    """

    key: str
    setting: str
    stages: tuple[PlannedStage, ...]
    data: SeenData
    numerics: Mapping[str, Any]
    remarks: tuple[str, ...]

    @property
    def divisions(self) -> Mapping[str, Division]:
        return self.data.divisions

    @property
    def views(self) -> Mapping[str, View]:
        return self.data.views

    @property
    def balance(self) -> Mapping[str, Balance]:
        return self.data.balance

    @property
    def company(self) -> str | None:
        """Equal for runs whose last stages train heads on the same features, at once if they like; None: for no other.

        Such heads are to the last bit what they would be alone, so that a run may have any company or none.
        """
        last = self.stages[-1]
        if not last.alone:
            return None
        classes = {name: len(self.divisions[name].classes) for name in last.stage.names}
        features = [[*place, key] for place, key in last.features.items()]
        return digest([features, classes, [*last.per_batch.items()], last.steps, self.data.tested_on])

    @property
    def image_size(self) -> int:
        return self.data.image_size

    def still_view(self, name: str) -> View:
        """How images of a data set are seen when nothing is learnt from them."""
        return self.views[name].still

    @property
    def labels(self) -> list[str]:
        """What a reader must know before comparing this run with another."""
        last = self.stages[-1]
        labels = []
        if last.random_start and last.frozen:
            labels.append("random_features")
        if last.policy.statistics_move and last.frozen:
            labels.append("drifting_batch_norm")
        return labels

    def part(self, until: str) -> tuple[tuple[PlannedStage, ...], bool]:
        """The stages up to one that `until` names, and whether of the last the features alone are wanted.

        Raises:
            ConfigError: there is no such part.
        """
        name, _, what = until.partition("/")
        stages = {stage.name: stage for stage in self.stages}
        if name not in stages or what not in ("", *(["features"] if stages[name].features else [])):
            known = [*stages, *(f"{each.name}/features" for each in stages.values() if each.features)]
            raise ConfigError("until", f"this run has no {until!r}.", f"It has {', '.join(known)}.")
        return self.stages[: list(stages).index(name) + 1], bool(what)

    def check_key(self, key: str | None) -> None:
        """See that the run is the one that another process planned; None: it planned none.

        Raises:
            TrainingFailed: what decides it has changed since, or is another one here.
        """
        if key is not None and self.key != key:
            raise TrainingFailed(
                f"the run is {self.key[:12]} in the processes that compute it, and was planned as {key[:12]}: its "
                f"images, the code or what computes differ. It is computed with {dict(self.numerics)}"
            )
