"""Heads on stored features: in company what they are alone, and alone what one Linear layer learns."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tlfw.data import Mixture
from tlfw.errors import Diverged, TrainingFailed
from tlfw.methods import schedule
from tlfw.records.metric import METRICS
from tlfw.signals import Interrupted
from tlfw.training import heads
from tlfw.training.features import Features
from tlfw.training.heads import train_heads
from tlfw.training.probe import Learnt, Probe
from tlfw.training.train import Lesson

STEPS, ROUNDS = 12, 3
SGD = partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4)
ADAMW = partial(torch.optim.AdamW, weight_decay=0.01)


def features(count: int, width: int, classes: int, seed: int = 0) -> Features:
    random = np.random.default_rng(seed)
    labels_N = random.integers(0, classes, count)
    z_ND = random.normal(size=(count, width)) + np.eye(classes, width)[labels_N] * 2
    return Features(z_ND.astype(np.float32), torch.from_numpy(labels_N), 0.0, f"{count} {width} {classes} {seed}")


Sets = dict[str, tuple[Features, Features]]


def sets(width: int, **classes: int) -> Sets:
    """Data set -> what it trains on and what it validates on."""
    return {name: (features(40, width, k, 1), features(19, width, k, 2)) for name, k in classes.items()}


def probe(
    folder: Path, given: Sets, name: str, *, seed: int = 0, lr: float = 0.1, batch: int = 8, dropout: float = 0.0,
    optimizer: Any = SGD, select: str = "last", balance: bool = False, weights: dict[str, float] | None = None,
    **more: Any,
) -> Probe:  # fmt: skip
    width = next(iter(given.values()))[0].z_N.shape[1]
    made = {}
    for i, (each, parts) in enumerate(given.items()):
        torch.manual_seed(100 * seed + i)
        layer = nn.Linear(width, 1 + max(int(part.labels_N.max()) for part in parts))
        made[each] = nn.Sequential(nn.Dropout(dropout), layer) if dropout else nn.Sequential(layer)
    scratch = folder / name
    scratch.mkdir(parents=True, exist_ok=True)
    mixture = Mixture(
        train={each: train for each, (train, _) in given.items()}, val={each: val for each, (_, val) in given.items()},
        per_batch=dict.fromkeys(given, batch), steps=STEPS, rounds=ROUNDS, seed=seed,
    )  # fmt: skip
    lesson = Lesson(
        title="adapt", loss_weight=weights or dict.fromkeys(given, 1.0), start=5, optimizer=optimizer,
        schedule=partial(schedule.cosine, warmup=0.2), select=select, monitor="target", metric=METRICS["log_loss"],
        seed=seed, class_weight={"target": torch.tensor([0.5, 2.0, 1.0])} if balance else {},
    )  # fmt: skip
    own: dict[str, Any] = {"made_by": {"tensors": [], "seed": seed}, "log_every": 4, **more}
    return Probe(heads=made, mixture=mixture, lesson=lesson, lr=lr, scratch=scratch, **own)


def weights(trained: Probe) -> list[torch.Tensor]:
    return [each.detach().clone() for head in trained.heads.values() for each in head.parameters()]


def same(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


MANY: dict[str, Callable[[Path, Sets, str], Probe]] = {
    "as it is": lambda folder, given, name: probe(folder, given, name),
    "fast": lambda folder, given, name: probe(folder, given, name, lr=0.5),
    "slow": lambda folder, given, name: probe(folder, given, name, lr=0.001),
    "another order": lambda folder, given, name: probe(folder, given, name, seed=3),
    "AdamW": lambda folder, given, name: probe(folder, given, name, optimizer=ADAMW, lr=0.01, seed=1),
    "class weights": lambda folder, given, name: probe(folder, given, name, balance=True),
    "its best": lambda folder, given, name: probe(folder, given, name, select="best_val", lr=2.0, seed=2),
    "a small loss": lambda folder, given, name: probe(folder, given, name, weights=dict.fromkeys(given, 0.3)),
    "clipped": lambda folder, given, name: probe(folder, given, name, clip=0.05),
    "clipped by value": lambda folder, given, name: probe(folder, given, name, clip=0.01, by_value=True),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("width", "classes", "batch", "dropout"),
    [
        (64, {"target": 3}, 8, 0.0),
        (192, {"target": 3}, 16, 0.0),
        (512, {"target": 3, "source": 37}, 13, 0.0),
        (1024, {"target": 3, "source": 100}, 32, 0.0),
        (768, {"target": 3}, 1, 0.0),
        (1280, {"target": 3}, 40, 0.2),
        (100, {"target": 3, "source": 5}, 7, 0.5),
    ],
)
def test_a_head_in_company_is_the_head_alone(
    tmp_path: Path, width: int, classes: dict[str, int], batch: int, dropout: float, threads: int
) -> None:
    """To the last bit: weights, curve and log."""
    given, before = sets(width, **classes), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        shaped = partial(probe, batch=batch, dropout=dropout)
        together = {}
        for name, make in MANY.items():
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(globals(), "probe", shaped)
                together[name] = make(tmp_path / "together", given, name), make(tmp_path / "alone", given, name)
        found = dict(zip(together, train_heads([both[0] for both in together.values()]), strict=True))
        for name, (company, alone) in together.items():
            (expected,) = train_heads([alone])
            assert isinstance(expected, Learnt)
            assert same(weights(company), weights(alone)), name
            assert found[name].curve == expected.curve
            assert found[name].log == expected.log
    finally:
        torch.set_num_threads(before)
    assert len({str(weights(company)[0][0, 0]) for company, _ in together.values()}) > len(together) // 2


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["SGD", "AdamW"])
@pytest.mark.parametrize("balance", [False, True])
def test_a_head_learns_what_a_linear_layer_learns(tmp_path: Path, optimizer: Any, balance: bool) -> None:
    given = sets(64, target=3, source=5)
    trained = probe(
        tmp_path, given, "a", optimizer=optimizer, balance=balance, weights={"target": 1.0, "source": 0.25}, clip=0.3
    )
    layers = copy.deepcopy(dict(trained.heads))
    parameters = [each for layer in layers.values() for each in layer.parameters()]
    plain = optimizer([{"params": parameters, "lr": trained.lr}])
    rates = trained.lesson.schedule(plain, STEPS)
    batches = heads.TrainBatches(trained.mixture.train, trained.mixture.per_batch, trained.mixture.seed)
    losses = []
    for step in range(STEPS):
        plain.zero_grad()
        loss = torch.zeros(())
        for name, (z_BD, y_B) in batches[step].items():
            own = trained.lesson.class_weight.get(name)
            each = nn.functional.cross_entropy(layers[name](z_BD), y_B, weight=own, reduction="sum") / len(y_B)
            loss = loss + trained.lesson.loss_weight[name] * each
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 0.3)
        plain.step()
        rates.step()
        losses.append(loss.item())
    (found,) = train_heads([trained])
    assert isinstance(found, Learnt)
    for own, expected in zip(weights(trained), parameters, strict=True):
        torch.testing.assert_close(own, expected.detach(), rtol=1e-4, atol=1e-6)
    means = [np.mean(losses[i : i + STEPS // ROUNDS]) for i in range(0, STEPS, STEPS // ROUNDS)]
    assert [point["train/loss"] for point in found.curve] == pytest.approx(means, rel=1e-5)
    assert [point["step"] for point in found.curve] == [4, 8, 12]
    logged = {step: said["train/loss"] for step, said in found.log if "train/loss" in said}
    assert logged == pytest.approx({step: losses[step] for step in (3, 7, 11)}, rel=1e-5)


def test_the_best_weights_are_those_of_the_best_point(tmp_path: Path) -> None:
    given = sets(64, target=3)
    last, best = (probe(tmp_path, given, name, select=name, lr=3.0) for name in ("last", "best_val"))
    (curve,) = {str(found.curve) for found in train_heads([last, best]) if isinstance(found, Learnt)}
    assert "target/val/loss" in curve
    (again,) = train_heads([probe(tmp_path, given, "again", lr=3.0)])
    scores = [point["target/val/loss"] for point in again.curve]
    assert scores.index(min(scores)) < ROUNDS - 1
    val = given["target"][1]
    with torch.no_grad():
        logits_NK = best.heads["target"](val.batch(range(19), None, 0))
    assert nn.functional.cross_entropy(logits_NK, val.labels_N).item() == pytest.approx(min(scores), rel=1e-5)
    assert not same(weights(last), weights(best))


def test_one_that_diverges_leaves_the_others_alone(tmp_path: Path) -> None:
    given = sets(64, target=3)
    wild, calm = probe(tmp_path, given, "wild", lr=1e30), probe(tmp_path, given, "calm")
    lost, found = train_heads([wild, calm])
    assert isinstance(lost, Diverged)
    assert re.fullmatch(
        r"the loss became \w+ at step [12]: try a lower learning rate", str(lost)
    )  # before a validation
    (alone,) = train_heads([other := probe(tmp_path, given, "other")])
    assert found.curve == alone.curve
    assert same(weights(calm), weights(other))


def down(optimizer: torch.optim.Optimizer, steps: int) -> Any:
    """A rate that ends at nothing."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step < steps // 2))


def never(optimizer: torch.optim.Optimizer, steps: int) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)


def test_a_rate_may_end_at_nothing_but_not_be_nothing(tmp_path: Path) -> None:
    made = probe(tmp_path, sets(64, target=3), "a")
    (found,) = train_heads([dataclasses.replace(made, lesson=dataclasses.replace(made.lesson, schedule=down))])
    assert isinstance(found, Learnt)
    with pytest.raises(TrainingFailed, match="never above 0"):
        train_heads([dataclasses.replace(made, lesson=dataclasses.replace(made.lesson, schedule=never))])


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["SGD", "AdamW"])
@pytest.mark.parametrize("stop", [3, 5, 9])
def test_one_that_was_stopped_goes_on_alone_or_in_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, optimizer: Any
) -> None:
    given = sets(64, target=3)
    make = partial(probe, optimizer=optimizer, select="best_val", dropout=0.3, lr=0.05)
    whole = make(tmp_path, given, "whole")
    (expected,) = train_heads([whole])
    steps = iter(range(1, 10_000))
    with monkeypatch.context() as stopped:
        stopped.setattr(heads, "asked", lambda: 15 if next(steps) == stop else None)
        with pytest.raises(Interrupted):
            train_heads([make(tmp_path, given, "a"), make(tmp_path, given, "b", seed=1)])
    resumed, fresh = make(tmp_path, given, "a"), make(tmp_path, given, "fresh")
    found, other = train_heads([resumed, fresh])
    assert found.curve == other.curve == expected.curve
    assert found.log == expected.log
    assert same(weights(resumed), weights(whole))
    assert same(weights(fresh), weights(whole))


def test_checkpoints_are_written_now_and_then(tmp_path: Path) -> None:
    made = probe(tmp_path, sets(64, target=3), "a")
    train_heads([made], checkpoint_every=datetime.timedelta(0))
    saved = torch.load(made.scratch / "last.ckpt", weights_only=True)
    assert saved["global_step"] == STEPS - 1


def test_heads_of_other_shapes_are_no_company(tmp_path: Path) -> None:
    given = sets(64, target=3)
    others = [
        probe(tmp_path, given, "b", batch=4),
        probe(tmp_path, sets(64, target=4), "c"),
        probe(tmp_path, {**given, "source": given["target"]}, "d"),
    ]
    for other in others:
        with pytest.raises(ValueError, match="several shapes"):
            train_heads([probe(tmp_path, given, "a"), other])
