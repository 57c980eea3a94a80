"""What a person sees while something takes long: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tlfw.records.ledger import tell
from tlfw.records.metric import Metric

PLAIN_SECONDS = 15.0
"""Between two plain lines of one stage."""


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


@contextlib.contextmanager
def counting(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Follow work on `total` images: -> a function that is told how many more are done."""
    console, began = Console(), time.monotonic()
    done, said = 0, began
    bar = _bar(console) if console.is_terminal else None
    task = bar.add_task(title, total=total, told="") if bar else None

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        now = time.monotonic()
        rate = done / max(now - began, 1e-9)
        if bar is not None and task is not None:
            bar.update(task, completed=done, told=f"{rate:.0f} images/s")
        elif now - said > PLAIN_SECONDS:
            said = now
            left = (total - done) / max(rate, 1e-9)
            print(f"  {title}: image {done}/{total}, {rate:.0f} images/s, {left:.0f} s left", flush=True)

    with bar or contextlib.nullcontext():
        yield advance


@contextlib.contextmanager
def numbered(number: int) -> Iterator[None]:
    """Lines that are printed inside begin with `[number]`, and bars are lines: other processes print there too."""
    with contextlib.redirect_stdout(_Numbered(sys.stdout, f"[{number}] ")):
        yield


class _Numbered(io.TextIOBase):
    def __init__(self, stream: TextIO, prefix: str) -> None:
        self.stream, self.prefix, self.begun = stream, prefix, ""

    def write(self, text: str) -> int:
        *lines, self.begun = (self.begun + text).split("\n")
        self.stream.write("".join(f"{self.prefix}{line}\n" for line in lines))  # whole ones, for others write there too
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


class StageProgress(L.Callback):
    """Stage, images per second, time left, and what validation said last.

    Args:
        title: of the stage.
        steps: of the whole stage.
        batch_size: images in a batch, over all processes.
        metric: by which validation is shown.
    """

    def __init__(self, title: str, steps: int, batch_size: int, metric: Metric) -> None:
        self.title, self.steps, self.batch_size, self.metric = title, steps, batch_size, metric
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._first_step, self._began = trainer.global_step, time.monotonic()
        self._said = self._began
        if not trainer.is_global_zero:
            return
        console = Console()
        if console.is_terminal:
            self._bar = _bar(console)
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.steps, completed=trainer.global_step, told="")

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if not trainer.is_global_zero:
            return
        left = self._left(trainer)
        tell(
            stage=self.title,
            step=trainer.global_step,
            steps=self.steps,
            images_per_second=self._rate(trainer),
            seconds_left=left,
            soon=True,
        )
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=trainer.global_step, told=self._told(trainer))
        elif time.monotonic() - self._said > PLAIN_SECONDS:
            self._said = time.monotonic()
            print(
                f"  {self.title}: step {trainer.global_step}/{self.steps}, {self._told(trainer)}, {left:.0f} s left",
                flush=True,
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop()
        if trainer.is_global_zero:
            seconds = time.monotonic() - self._began
            print(f"  {self.title}: {self.steps} steps in {seconds:.1f} s, {self._told(trainer)}", flush=True)

    def on_exception(self, *_: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _done(self, trainer: L.Trainer) -> int:
        return trainer.global_step - self._first_step

    def _rate(self, trainer: L.Trainer) -> float:
        """Images per second."""
        return self._done(trainer) * self.batch_size / max(time.monotonic() - self._began, 1e-9)

    def _left(self, trainer: L.Trainer) -> float:
        """Seconds that the stage still takes."""
        passed = time.monotonic() - self._began
        return passed / max(self._done(trainer), 1) * (self.steps - trainer.global_step)

    def _told(self, trainer: L.Trainer) -> str:
        rate = self._rate(trainer)
        measure = self.metric.at("/val")
        said = [
            f"{name.removesuffix(measure)} val {self.metric.told(float(value))}"
            for name, value in sorted(trainer.callback_metrics.items())
            if name.endswith(measure)
        ]
        return ", ".join([f"{rate:.0f} images/s", *said])
