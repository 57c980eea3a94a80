"""The facts of one run, as one JSON file that other programs may read."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from tlfw.identity.former import targets_today

SCHEMA = 2
FILE = "record.json"

Status = Literal["done", "diverged", "failed", "interrupted", "blocked"]
Trains = Literal["head", "blocks", "all"]

FINISHED: tuple[Status, ...] = ("done", "diverged")
"""How a run has ended that is not made again: a loss that became NaN would become so again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One run. What does not apply is `None`, never 0.

    Accuracies and the other shares are in [0, 1]; `seconds` are wall-clock seconds,
    `*_bytes` bytes, `train_flops` floating-point operations (multiply and add counted
    apart) of training, forward and backward.

    Attributes:
        run_id: the digest of everything that produced the numbers.
        setting: of all that but the seed, the images and the device: runs that are equal in it repeat each other.
        status: `done`; `diverged`, its loss, or that of a stage it needs, became NaN or infinite, which is a result;
            `failed`, with `error` saying why; `interrupted` by a person; `blocked` by what it needs and what could not
            be made, which `error` names.
        paradigm: names of the `data_mix` and of the `freeze_policy`.
        labels: what a reader must know before comparing, e.g. `random_features`.
        metrics: each of `records.metric` by its key, as `target/val/acc`, `target/test/acc`, `source/val/acc` and
            so on, and `target/test/ece`.
        stages: one entry a stage: name, key, reused, seconds, images_seen (of which `per_batch` says how many of each
            data set), train_flops, direct_flops (without stored features), wandb_id; `metrics` of validation at its
            end, and its `curve`, a point a validation.
        images: data set -> part (`train`, `val`, `test`) -> how many.
        content: data set -> part -> a name for its images and labels.
        settings: the whole config that was asked for, interpolations resolved.
        trains: what the last stage trains: the `head` alone, or those of its mixture, with some `blocks`, or `all`.
        remarks: what was said at the start, and is no error: sentences.
        certificate: the proof that frozen tensors stayed frozen in the last stage.
        cost: `seconds` and `train_flops` are the run's as if it had been alone, with all its
            stages and stored features; `seconds_spent` and `train_flops_spent` what was left to do
            here, after what came from the store. `peak_memory_bytes` is the process's while it ran.
        attempt: 0 at first; each `force=true` adds one.
        drawn: the share of the target's pool, all but its test images, that is labelled; the mean over labelled images
            of their class's share, (0, 1].
        fold: which of the target's folds was the test; None: it has none.
        remarks: what was said of the data at the start: what was left out, near copies, unequal classes.
        near_copies: names `near_copies/NAME.json` beside the folder of all runs, the test images that look nearly like
            one that may be learnt from; None: there are none.
        unnamed: fields of `settings`, by full name, in which it is not said to differ from other runs; None in records
            of before that was written down.
        ended: when, in UTC, to the second: `2026-11-27T16:07:00Z`; None in records of before that was written down.
    """

    run_id: str
    setting: str
    status: Status
    experiment: str
    sweep: str | None
    seed: int
    paradigm: dict[str, str]
    backbone: str
    source: str | None
    target: str
    labels: list[str]
    images: dict[str, dict[str, int]]
    content: dict[str, dict[str, str]]
    settings: dict[str, Any]
    metrics: dict[str, float | None]
    stages: list[dict[str, Any]]
    certificate: dict[str, Any] | None
    wandb: dict[str, Any]
    cost: dict[str, Any]
    environment: dict[str, Any]
    attempt: int = 0
    error: str | None = None
    trains: Trains | None = None
    drawn: float | None = None
    ended: str | None = None
    remarks: list[str] = dataclasses.field(default_factory=list)
    fold: int | None = None
    near_copies: str | None = None
    unnamed: list[str] | None = None
    schema: int = SCHEMA

    def outweighs(self, other: Record) -> bool:
        """Whether it stays where another record of the same run would take its place.

        What is done is replaced only by a later attempt that is done too, and what diverged by no attempt that says
        less.
        """
        if self.status == "done":
            return other.status != "done" or other.attempt <= self.attempt
        return self.status in FINISHED and other.status != "done" and other.attempt <= self.attempt

    def write(self, folder: Path) -> Path:
        """Put `record.json` into `folder`, whole or not at all."""
        path = folder / FILE
        replace_text(path, json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Record:
        """The record at `path`, a file or the folder that holds it.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged or of another schema.
        """
        path = path / FILE if path.is_dir() else path
        try:
            facts = json.loads(path.read_text())
            if facts["schema"] != SCHEMA:
                raise ValueError(f"schema {facts['schema']}, where this tlfw reads {SCHEMA}")
            return cls(**{**facts, "settings": targets_today(facts["settings"])})
        except (KeyError, TypeError, ValueError) as problem:
            raise ValueError(f"{path} is not a record that this tlfw can read: {problem}") from problem


def find_record(runs: Path, key: str, left: Collection[str]) -> tuple[Path, Record] | None:
    """The folder of the run of that key, and its readable record; None: there is none, or its results are gone.

    Args:
        runs: the folder of all runs.
        left: the files that a run leaves when it is done.
    """
    for path in sorted(runs.glob(f"*-{key[:12]}/{FILE}")):
        try:
            record = Record.read(path)
        except ValueError:
            continue
        gone = record.status == "done" and not all((path.parent / name).is_file() for name in left)
        if record.run_id == key and not gone:
            return path.parent, record
    return None


def now() -> str:
    """This moment in UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` so that no reader ever sees half of it. In UTF-8, but for file names that are in none."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="surrogateescape")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a file beside `path` to be written, which then takes its place whole, or not at all.

    Who may read it is what the user's umask and the folder say.
    """
    # Not by tempfile, whose files are for their owner alone. Names may be as long as a file's name can be.
    draft = path.with_name(f".{secrets.token_hex(8)}{path.suffix[:16]}")
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    mode = os.fstat(handle).st_mode & 0o777
    os.close(handle)
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        if draft.stat().st_mode & 0o777 != mode:  # safetensors puts a file for its owner alone in its place
            draft.chmod(mode)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
