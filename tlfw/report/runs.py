"""A run as its folder shows it: its record and what it said of the test images."""

from __future__ import annotations

import dataclasses
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlfw.errors import ConfigError
from tlfw.identity import former
from tlfw.records.metric import METRICS, TARGET_VAL
from tlfw.records.record import Record
from tlfw.records.settings import flat

PREDICTIONS = "predictions.npz"
NEEDED = ("index", "label", "prediction", "log_prob", "confidence", "classes")
GROUP = "group"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run with a record, under the names of the options that it was asked for with.

    A sweep may ask for a run that another made, under other names: the record has those of who made it.

    Attributes:
        folder: where the record lies.
        asked: the place of the command that asked for it last, among all of its sweep; -1: no sweep says.
        latest: whether the latest command of its sweep asked for it.
        settings: the whole config, flat: a field's full name -> value, as it was asked for.
        setting: runs that are equal in it repeat each other.
    """

    record: Record
    folder: Path
    data_mix: str
    freeze_policy: str
    settings: Mapping[str, Any]
    setting: str
    asked: int = -1
    latest: bool = True

    @classmethod
    def of(cls, record: Record, folder: Path) -> Run:
        """A run under its record's own names."""
        names = record.paradigm
        return cls(
            record=record,
            folder=folder,
            data_mix=names["data_mix"],
            freeze_policy=names["freeze_policy"],
            settings=flat(record.settings),
            setting=record.setting,
        )

    @property
    def named(self) -> list[str]:
        """The fields of its settings in which it is said to differ from other runs."""
        own = self.record.unnamed
        if own is None:
            return [name for name in self.settings if not name.startswith(former.UNNAMED)]
        return [name for name in self.settings if name not in own]

    @property
    def age(self) -> tuple[int, str]:
        """What orders runs in time: the later is the larger. File times have no part in it: a copy has others."""
        return self.asked, self.record.ended or ""

    def predictions(self) -> Mapping[str, np.ndarray]:
        """What the run said of the test images: all of `NEEDED`, and `group` if there are any; see
        `tlfw.training.evaluate`. Read anew each time.

        Raises:
            ConfigError: they are missing, damaged, or not of as many images as the record says.
        """
        path = self.folder / PREDICTIONS
        found = self._arrays((*NEEDED, GROUP))
        counted = self.record.images["target"]["test"]
        wrong = [name for name in NEEDED if name not in found]
        wrong += [name for name in (*NEEDED[:-1], GROUP) if name in found and found[name].shape != (counted,)]
        if wrong:
            raise ConfigError(
                str(path),
                f"{wrong[0]} is not there for each of the {counted} test images of its record.",
                "Remove the run's folder; the command that made it makes it again.",
            )
        return found

    def names(self) -> Sequence[str]:
        """How a person finds each test image."""
        return list(map(str, self._arrays(["name"])["name"]))

    def _arrays(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        path = self.folder / PREDICTIONS
        try:
            # NumPy leaves a file that is no archive open, if it opened it.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in names if name in arrays.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
            raise ConfigError(
                str(path), f"it cannot be read ({problem}).", "Remove it; the command that made the run makes it again."
            ) from problem


STAGE_NUMBERS = ("seconds", "images_seen", "train_flops", "direct_flops", "steps")


def unusable(record: Record) -> str:
    """What a finished run's record ought to have, and this one, which someone has edited, has not; empty: nothing."""

    def is_number(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

    needed: dict[str, Callable[[], bool]] = {
        "seed": lambda: type(record.seed) is int,
        "setting": lambda: type(record.setting) is str,
        "paradigm": lambda: all(type(record.paradigm[name]) is str for name in ("data_mix", "freeze_policy")),
        "settings": lambda: isinstance(record.settings, dict),
        "images": lambda: all(type(record.images["target"][part]) is int for part in ("train", "val", "test")),
        "content": lambda: all(type(record.content["target"][part]) is str for part in ("train", "val", "test")),
        "metrics": lambda: (
            0 <= record.metrics[METRICS["accuracy"].at(TARGET_VAL)] <= 1  # type: ignore[operator]
            and all(value is None or is_number(value) for value in record.metrics.values())
        ),
        "stages": lambda: (
            bool(record.stages)
            and all(
                type(stage["key"]) is str
                and type(stage["name"]) is str
                and all(is_number(stage[name]) for name in STAGE_NUMBERS)
                and all(is_number(count) for count in stage["per_batch"].values())
                for stage in record.stages
            )
        ),
        "cost": lambda: is_number(record.cost["seconds"]),
    }
    for field, holds in needed.items():
        try:
            if not holds():
                return f"usable {field}"
        except (KeyError, TypeError, AttributeError):
            return f"usable {field}"
    return ""
