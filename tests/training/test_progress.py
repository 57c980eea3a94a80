"""What a person sees while something takes long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tlfw.records.metric import METRICS
from tlfw.training.progress import StageProgress, numbered


def test_lines_of_one_of_several_processes_are_numbered(capsys: pytest.CaptureFixture[str]) -> None:
    with numbered(12):
        print("one")
        print("  two", end="\n  three\n", flush=True)
        assert not Console().is_terminal
    print("after")
    assert capsys.readouterr().out == "[12] one\n[12]   two\n[12]   three\nafter\n"


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("accuracy", "source val accuracy 25.0 %, target val accuracy 50.0 %"),
        ("balanced_accuracy", "target val balanced accuracy 75.0 %"),
        ("log_loss", "source val log-loss 1.500 nats"),
    ],
)
def test_a_stage_says_what_validation_said_by_the_metric(
    capsys: pytest.CaptureFixture[str], metric: str, said: str
) -> None:
    validated = {
        "target/val/acc": 0.5, "target/val/balanced_acc": 0.75, "source/val/acc": 0.25, "source/val/loss": 1.5,
        "train/loss": 2.0, "target/train/loss": 2.5,
    }  # fmt: skip
    trainer: Any = SimpleNamespace(global_step=3, is_global_zero=True, callback_metrics=validated)
    progress = StageProgress("adapt", 3, 8, METRICS[metric])
    progress.on_train_start(trainer, None)  # type: ignore[arg-type]
    progress.on_train_end(trainer, None)  # type: ignore[arg-type]
    assert capsys.readouterr().out.endswith(f" images/s, {said}\n")
