"""What is saved of a stage while it trains, so that it can go on where it was killed."""

from __future__ import annotations

import contextlib
import datetime
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from tlfw.internals.lightning import begin_validation_anew
from tlfw.records.ledger import tell
from tlfw.records.metric import Metric
from tlfw.records.record import replacing
from tlfw.signals import Interrupted, asked

LAST, BEST = "last.ckpt", "best-{step}.pt"
MADE_BY = "made_by"


class Checkpoints(Checkpoint):
    """Saves a stage's whole state now and then, and when a signal asks for an end, which then comes.

    Args:
        file: where the state is kept; it is replaced whole.
        made_by: what has to be equal where it is read again.
        best: what keeps the best weights so far, if anything does.
        title: of the stage, in the ledger.
    """

    def __init__(
        self,
        file: Path,
        every: datetime.timedelta,
        made_by: Mapping[str, Any],
        best: Sequence[Best] = (),
        title: str = "stage",
    ) -> None:
        self.title = title
        self.file, self.every, self.made_by, self.best = file, every.total_seconds(), made_by, best

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved = time.monotonic()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[MADE_BY] = self.made_by
        if trainer.validating:
            begin_validation_anew(checkpoint)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        # A round's last step is saved with its validation: going on from there, Lightning would leave that out.
        if not trainer.is_last_batch:
            self.act(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        signum = _asked(trainer)
        if trainer.world_size > 1 or signum is None:  # processes may have unequal numbers of batches
            return
        if trainer.global_step < trainer.max_steps:  # else Lightning would find nothing left to do
            self.save(trainer)
        raise Interrupted(signum)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.act(trainer)

    def act(self, trainer: L.Trainer) -> None:
        # All processes save together, or none does.
        signum, due = trainer.strategy.broadcast((_asked(trainer), time.monotonic() - self._saved >= self.every))
        if due or signum is not None:
            self.save(trainer)
        if signum is not None:
            raise Interrupted(signum)

    def save(self, trainer: L.Trainer) -> None:
        # Lightning writes to the folder for temporary files first, from where a move may be a copy.
        with replacing(self.file) if trainer.is_global_zero else contextlib.nullcontext(self.file) as draft:
            trainer.save_checkpoint(draft)
        self._saved = time.monotonic()
        if trainer.is_global_zero:
            tell(keep=(self.title, trainer.global_step))
        for each in self.best:
            each.was_saved(trainer)


def _asked(trainer: L.Trainer) -> int | None:
    """The signal that asked for an end: this process, or Lightning where a cluster's launcher handles SIGTERM."""
    return asked() or (signal.SIGTERM if trainer.received_sigterm else None)


class Best(Checkpoint):
    """Keeps the weights of the round that validated best, the first of equals.

    A checkpoint knows which these are, and they are kept as long as it is: where a stage goes on from one and comes, on
    hardware that is not exact, to other numbers than before it was killed, no weights of that time are taken for them.

    Args:
        folder: where the weights are kept.
        metric: by which rounds are compared.
        monitor: the data set whose validation it is taken of.
    """

    def __init__(self, folder: Path, metric: Metric, monitor: str) -> None:
        self.folder, self.metric, self.name = folder, metric, metric.at(f"{monitor}/val")
        self.score: float | None = None
        self.step: int | None = None
        self.saved: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.saved = self.step
        self.forget_others(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        score = float(trainer.callback_metrics[self.name])
        if self.score is None or self.metric.better(score, self.score):
            self.score, self.step = score, trainer.global_step
            if trainer.is_global_zero:
                with replacing(best_at(self.folder, self.step)) as draft:
                    torch.save(pl_module.state_dict(), draft)
            self.forget_others(trainer)

    def was_saved(self, trainer: L.Trainer) -> None:
        """The checkpoint on the disk is of now."""
        self.saved = self.step
        self.forget_others(trainer)

    def forget_others(self, trainer: L.Trainer) -> None:
        """Remove weights that neither this stage nor its checkpoint needs any more."""
        kept = {best_at(self.folder, step) for step in (self.step, self.saved) if step is not None}
        if trainer.is_global_zero:
            for file in set(self.folder.glob(BEST.format(step="*"))) - kept:
                file.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.score, self.step = state["score"], state["step"]


def best_at(folder: Path, step: int) -> Path:
    """The file of the weights that were best at a step."""
    return folder / BEST.format(step=step)


def latest_best(folder: Path) -> Path:
    """The file of the best weights of a stage that has ended: of those that are there, the latest are best."""
    return max(folder.glob(BEST.format(step="*")), key=lambda file: int(file.stem.partition("-")[2]))


def unfinished(scratch: Path, made_by: Mapping[str, Any], title: str, best: Collection[Best]) -> Path | None:
    """The checkpoint that a stage resumes from, or None; one that cannot be used is removed, and a line says why.

    Args:
        title: the stage's.
        best: what keeps the best weights so far, if anything does.
    """
    for draft in scratch.glob(".*"):
        draft.unlink()
    file = scratch / LAST
    if not file.exists():
        return None
    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        if found[MADE_BY] != made_by:
            changed = sorted(key for key in made_by if found[MADE_BY].get(key) != made_by[key])
            named = " and ".join("the code" if key == "code" else key for key in changed)
            versions = f"was made with another version of {named}"
            raise ValueError(f"the checkpoint {'has different tensors' if 'tensors' in changed else versions}")
        if best and (step := found["callbacks"]["Best"]["step"]) is not None:
            torch.load(best_at(scratch, step), map_location="cpu", weights_only=True, mmap=True)
    except Exception as problem:  # torch raises many kinds
        why = str(problem) if type(problem) is ValueError else "the checkpoint is damaged"
        print(f"  {title}: cannot resume: {why}; starting again", flush=True)
        file.unlink()
        return None
    print(f"  {title}: resumes from step {found['global_step']}", flush=True)
    return file
