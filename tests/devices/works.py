"""What the processes of a run are given to do in tests."""

from __future__ import annotations

import functools
import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch

from tests.tiny import FULL, LAST_LAYER, TRAINER
from tests.training.test_train import TRAIN, VAL, model
from tlfw.data import Mixture
from tlfw.devices.ranks import here
from tlfw.errors import ConfigError, Diverged
from tlfw.methods import schedule
from tlfw.methods.freeze import FreezePolicy, Freezing
from tlfw.records.metric import METRICS
from tlfw.training import evaluate
from tlfw.training.evaluate import Question, answer, outputs
from tlfw.training.train import Lesson, train, train_along

STEPS, BATCH = 5, 8
POLICIES: dict[str, FreezePolicy] = {"shufflenet_v2_x0_5": LAST_LAYER, "squeezenet1_1": FULL}
"""A linear probe, and a network without BatchNorm."""


class Watch(L.Callback):
    """The places of the images that a process saw in each step, the first gradient, and the losses."""

    def __init__(self) -> None:
        self.images: list[list[int]] = []
        self.losses: list[float] = []
        self.gradient: dict[str, torch.Tensor] = {}

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, *_: Any) -> None:
        known = TRAIN.batch(range(len(TRAIN.labels_N)), None, 0)
        x, _ = batch["target"]
        self.images.append([int((known == each).flatten(1).all(1).nonzero()[0]) for each in x])

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        named = pl_module.named_parameters()
        self.gradient = self.gradient or {name: p.grad.clone() for name, p in named if p.grad is not None}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["of_all"]))


def learnt(folder: str) -> dict[str, Any]:
    """Five steps of each network, and what it says of all images then, in as many processes as there are."""
    ranks, found = here(), {}
    evaluate.BATCH = BATCH
    count = ranks.count if ranks else 1
    trainer = functools.partial(TRAINER, devices=count, strategy="ddp" if ranks else "auto")
    for name, policy in POLICIES.items():
        net, watch = model(name), Watch()
        for each in net.modules():
            if isinstance(each, torch.nn.Dropout):
                each.p = 0.0  # which is drawn for each process
        scratch = Path(folder) / f"{name}-{count}"
        scratch.mkdir(exist_ok=True)
        mixture = Mixture(
            train={"target": TRAIN}, val={"target": VAL}, per_batch={"target": BATCH}, steps=STEPS, rounds=2, seed=0,
        )  # fmt: skip
        lesson = Lesson(
            title="adapt", loss_weight={"target": 1.0}, start=0, optimizer=torch.optim.SGD,
            schedule=functools.partial(schedule.constant, warmup=0.0),
            select="last", monitor="target", seed=0, metric=METRICS["accuracy"],
        )  # fmt: skip
        given: Any = {"trainer": trainer, "scratch": scratch, "callbacks": [watch]}
        freezing = Freezing(policy, net, ["target"])
        asked = Question(data_set="target", part="train", heads=("target",), head="target")
        if ranks and not ranks.first:
            train_along(freezing, mixture, lesson, **given)
            assert ranks.hear() == asked
            answer(TRAINER, net, asked, TRAIN)
            said = curve = None
        else:
            probe_BCHW = TRAIN.batch(range(4), None, 0)
            curve = train(freezing, mixture, lesson, logger=False, probe_BCHW=probe_BCHW, **given).curve
            said = outputs(TRAINER, net, asked.of(net), TRAIN, question=asked)
            assert torch.equal(said, outputs(TRAINER, net, asked.of(net), TRAIN))  # the same bits as by one process
        seen = [watch.images]
        if ranks:
            seen = [[] for _ in range(ranks.count)]
            torch.distributed.all_gather_object(seen, watch.images)
        weights = {key: tensor.clone() for key, tensor in net.state_dict().items()}
        found[name] = {
            "images": seen, "losses": watch.losses, "gradient": watch.gradient, "said": said, "curve": curve,
            "weights": weights,
        }  # fmt: skip
    return found


def prints(text: str, seconds: float = 0.0) -> dict[str, Any]:
    """Says something in every process; what is returned shows how this one was started."""
    print(text, flush=True)
    time.sleep(seconds)
    return {"threads": torch.get_num_threads(), "pid": os.getpid()}


def fails(rank: int, how: str) -> Any:
    """One process ends in a certain way, while the others wait for it."""
    ranks = here()
    assert ranks is not None
    if ranks.rank == rank:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {
            "diverged": Diverged("the loss became nan"),
            "refused": ConfigError("a", "b.", "C."),
            "lost": KeyError(1),
        }[how]
    torch.distributed.barrier()
    return None


def waits() -> str:
    """Until a signal says otherwise."""
    (ready := Path(os.environ["READY"])).touch()
    time.sleep(120)
    return str(ready)
