"""Linear heads on features that never change: any number of them are trained by one batched product.

A head in company is the head alone, to the last bit. What couples heads is the product, and that is computed for each
by itself: images of a batch and classes are filled up with zeros to multiples of `ALIGNED`, so that each head's numbers
lie in memory as they would alone. Everything else belongs to one head: its order of images, its optimizer and its
schedule (torch's own), its best weights, its curve. So DINOv2's evaluation trains its heads (Oquab et al., 2024).
"""

from __future__ import annotations

import datetime
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlfw.data.mixture import TrainBatches
from tlfw.data.pictures.draws import drawing_from
from tlfw.errors import Diverged, TrainingFailed
from tlfw.identity.names import seed_from
from tlfw.records.ledger import tell
from tlfw.records.metric import METRICS, measured, recorded
from tlfw.records.record import replacing
from tlfw.signals import Interrupted, asked
from tlfw.training.checkpoint import LAST, MADE_BY, unfinished
from tlfw.training.evaluate import logits_of, predictions_of
from tlfw.training.probe import Learnt, Probe, TrainedHeads, features_of, layer_of
from tlfw.training.train import CHECKPOINT_EVERY

ALIGNED = 16
"""Images of a batch, and classes, are filled up to a multiple."""

STEPS_AHEAD = 256
"""Steps whose images are looked up at a time."""


def train_probes(
    probes: Mapping[str, Probe], device: str, checkpoint_every: datetime.timedelta
) -> dict[str, TrainedHeads]:
    """Train the heads of several runs, those of one shape together.

    Args:
        probes: by the key of their stage.

    Raises:
        Interrupted: a signal asked for it; checkpoints were written.
    """
    shapes: dict[tuple[Any, ...], list[str]] = {}
    for key, probe in probes.items():
        shapes.setdefault(probe.shape, []).append(key)
    found = {}
    for keys in shapes.values():
        trained = train_heads([probes[key] for key in keys], device, checkpoint_every)
        for key, learnt in zip(keys, trained, strict=True):
            weights = nn.ModuleDict(dict(probes[key].heads)).state_dict()
            found[key] = TrainedHeads(learnt=learnt, weights=weights, others=len(keys) - 1)
    return found


def train_heads(
    probes: Sequence[Probe], device: str = "cpu", checkpoint_every: datetime.timedelta = CHECKPOINT_EVERY
) -> list[Learnt | Diverged]:
    """Train heads that have one `shape`, each from where its `scratch` says that an earlier try was killed.

    Returns:
        Of each how it was trained, or why it cannot be.

    Raises:
        Interrupted: a signal asked for it; checkpoints were written.
    """
    if len({probe.shape for probe in probes}) > 1:
        raise ValueError("heads of several shapes cannot be trained together")
    learners = [_Learner(probe) for probe in probes]
    for _, together in itertools.groupby(sorted(learners, key=lambda each: each.step), key=lambda each: each.step):
        _Company(list(together), device, checkpoint_every.total_seconds()).train()
    return [each.problem or Learnt(seconds=each.seconds, curve=each.curve, log=each.log) for each in learners]


class _Learner:
    """One run's heads, and what is known of them on the way."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        mixture = probe.mixture
        self.names = list(mixture.train)
        self.batches = TrainBatches(
            mixture.train, mixture.per_batch, mixture.seed, balanced=mixture.balanced, earlier=mixture.earlier
        )
        self.step, self.seconds, self.peak, self.loss_sum, self.loss_steps = 0, 0.0, 0.0, 0.0, 0
        self.curve: list[dict[str, float]] = []
        self.log: list[tuple[int, dict[str, float]]] = []
        self.best: tuple[float, list[Tensor]] | None = None
        self.problem: Diverged | None = None
        self.parameters = [
            nn.Parameter(each.detach().clone()) for name in self.names for each in self._layer(name).parameters()
        ]
        self.saved = self._saved()

    def _layer(self, name: str) -> nn.Linear:
        return layer_of(self.probe.heads[name])

    def _saved(self) -> dict[str, Any] | None:
        file = unfinished(self.probe.scratch, self.probe.made_by, self.probe.lesson.title, ())
        if file is None:
            return None
        found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        self.step, self.seconds, self.peak = found["global_step"], found["seconds"], found["peak"]
        self.loss_sum, self.loss_steps = found["loss"]
        self.curve, self.log, self.best = found["curve"], [(s, m) for s, m in found["log"]], found["best"]
        return found

    def begin(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Learn in these places, which the company computes from."""
        for place, gradient, own in zip(weights, gradients, self.parameters, strict=True):
            place.copy_(own.detach())
            own.data, own.grad = place, gradient
        lesson = self.probe.lesson
        self.optimizer = lesson.optimizer([{"name": "heads", "params": self.parameters, "lr": self.probe.lr}])
        self.schedule = lesson.schedule(self.optimizer, self.probe.mixture.steps)
        if self.saved is not None:
            for place, kept in zip(self.parameters, self.saved["weights"], strict=True):
                place.data.copy_(kept)
            self.optimizer.load_state_dict(self.saved["optimizer"])
            self.schedule.load_state_dict(self.saved["schedule"])
            self.saved = None

    def rows(self, name: str, first: int, last: int) -> Tensor:
        """The positions of the images of the batches of these steps, int64 `[steps, B]`."""
        return torch.tensor([[place for place, _ in self.batches.rows(name, step)] for step in range(first, last)])

    def take(self, losses: Sequence[float], loss: float) -> None:
        """One step along the gradient.

        Args:
            losses: of each data set.
            loss: their sum, as it is weighted.
        """
        if not math.isfinite(loss):
            self.problem = Diverged.became("loss", loss, self.step)
            return
        rate = self.optimizer.param_groups[0]["lr"]
        self.peak = max(self.peak, rate)
        if (self.step + 1) % self.probe.log_every == 0:
            own = {f"{name}/train/loss": each for name, each in zip(self.names, losses, strict=True)}
            self.log.append((self.step, {"train/loss": loss, **own, "lr/heads": rate}))
        if self.probe.clip is not None and self.probe.by_value:
            nn.utils.clip_grad_value_(self.parameters, self.probe.clip)
        elif self.probe.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.probe.clip)
        self.optimizer.step()
        self.schedule.step()
        self.step, self.loss_sum, self.loss_steps = self.step + 1, self.loss_sum + loss, self.loss_steps + 1

    def hand_over(self, weights: Sequence[Tensor]) -> None:
        """Let the heads have these weights."""
        places = [each for name in self.names for each in self._layer(name).parameters()]
        with torch.no_grad():
            for place, own in zip(places, weights, strict=True):
                place.copy_(own)

    def validate(self) -> None:
        """Add a point to the curve, and keep the weights if they are the best so far."""
        self.hand_over(self.parameters)
        said: dict[str, float] = {}
        for name, served in self.probe.mixture.val.items():
            logits_NK = logits_of(self.probe.heads[name].eval(), served, self.probe.mixture.batch_size)
            found = measured(predictions_of(logits_NK, served.labels_N))
            if not math.isfinite(loss := found[METRICS["log_loss"].key]):
                self.problem = Diverged.became(f"{name} validation loss", loss, self.step)
                return
            said |= {recorded(f"{name}/val", key): value for key, value in found.items()}
        mean = {"train/loss": self.loss_sum / self.loss_steps} if self.loss_steps else {}
        self.curve.append({"step": self.step, **mean, **said})
        self.log.append((self.step - 1, said))
        self.loss_sum, self.loss_steps = 0.0, 0
        lesson = self.probe.lesson
        score = said[lesson.metric.at(f"{lesson.monitor}/val")]
        if self.best is None or lesson.metric.better(score, self.best[0]):
            self.best = score, [each.detach().clone() for each in self.parameters]
        if self.probe.told:
            self.probe.told(said, self.step, self.probe.mixture.steps)

    def end(self) -> None:
        """Hand over the weights that were asked for: the last, or the best."""
        if self.peak <= 0:
            raise TrainingFailed("the optimizer does not train what it should (never above 0: ['heads'])")
        chosen = self.best[1] if self.probe.lesson.select == "best_val" and self.best else self.parameters
        self.hand_over(chosen)

    def save(self) -> None:
        state = {
            MADE_BY: dict(self.probe.made_by),
            "global_step": self.step,
            "seconds": self.seconds,
            "peak": self.peak,
            "loss": (self.loss_sum, self.loss_steps),
            "curve": self.curve,
            "log": self.log,
            "best": self.best,
            "weights": [each.detach().clone() for each in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        with replacing(self.probe.scratch / LAST) as draft:
            torch.save(state, draft)


class _Stack:
    """The layers of all runs for one data set, and their gradients.

    Attributes:
        weight_RKD, bias_RK: with classes filled up.
    """

    def __init__(self, learners: Sequence[_Learner], name: str, device: str) -> None:
        first = learners[0]
        head, mixture = first.probe.heads[name], first.probe.mixture
        layer = layer_of(head)
        self.dropout = next((each.p for each in head.modules() if isinstance(each, nn.Dropout)), 0.0)
        self.name, self.classes, self.count = name, layer.out_features, mixture.per_batch[name]
        runs, filled = len(learners), _aligned(self.classes)
        self.weight_RKD = torch.zeros(runs, filled, layer.in_features, device=device, requires_grad=True)
        self.bias_RK = torch.zeros(runs, filled, device=device, requires_grad=True)
        self.gradients = [torch.zeros_like(self.weight_RKD), torch.zeros_like(self.bias_RK)]
        served = mixture.train[name]
        self.z_ND = torch.from_numpy(features_of(served).z_N).to(device)
        self.labels_N = served.labels_N.to(device)
        self.x_RBD = torch.zeros(runs, _aligned(self.count), layer.in_features, device=device)
        of_class = [each.probe.lesson.class_weight.get(name) for each in learners]
        ones = torch.ones(self.classes)
        self.of_class_RK = torch.stack(
            [ones if each is None else F.pad(each.float(), (0, self.classes - len(each))) for each in of_class]
        ).to(device)
        self.weight_R = torch.tensor([each.probe.lesson.loss_weight[name] for each in learners], device=device)

    def places(self, run: int) -> list[Tensor]:
        """Where a run's layer lies."""
        return [self.weight_RKD.data[run, : self.classes], self.bias_RK.data[run, : self.classes]]

    def gradients_of(self, run: int) -> list[Tensor]:
        return [each[run, : self.classes] for each in self.gradients]

    def loss_R(self, rows_RB: Tensor, step: int, learners: Sequence[_Learner]) -> Tensor:
        """Mean cross-entropy of each run's batch, float32 `[R]`.

        Args:
            rows_RB: the positions of its images.
        """
        count = rows_RB.shape[1]
        self.x_RBD[:, :count] = self.z_ND[rows_RB.to(self.z_ND.device)]
        if self.dropout:
            for x_BD, each in zip(self.x_RBD[:, :count], learners, strict=True):
                with drawing_from(seed_from("dropout", each.probe.lesson.seed, step, self.name)):
                    x_BD.copy_(F.dropout(x_BD, self.dropout))
        labels_RB = self.labels_N[rows_RB.to(self.labels_N.device)]
        logits_RBK = torch.baddbmm(self.bias_RK[:, None], self.x_RBD, self.weight_RKD.transpose(1, 2))
        own_RBK = logits_RBK[:, :count, : self.classes]
        each_RB = F.cross_entropy(own_RBK.transpose(1, 2), labels_RB, reduction="none")
        return (each_RB * self.of_class_RK.gather(1, labels_RB)).sum(1) / count


class _Company:
    """Heads that take their steps together."""

    def __init__(self, learners: list[_Learner], device: str, every: float) -> None:
        self.learners, self.every = learners, every
        self.stacks = [_Stack(learners, name, device) for name in learners[0].names]
        for run, each in enumerate(learners):
            weights = [place for stack in self.stacks for place in stack.places(run)]
            each.begin(weights, [place for stack in self.stacks for place in stack.gradients_of(run)])

    def train(self) -> None:
        mixture, lesson = self.learners[0].probe.mixture, self.learners[0].probe.lesson
        ends = {mixture.end(j) for j in range(1, mixture.rounds + 1)}
        began = saved = time.monotonic()
        first = self.learners[0].step

        def pass_time() -> None:
            nonlocal began
            now = time.monotonic()
            for each in self.learners:
                each.seconds += (now - began) / len(self.learners)
            began = now

        for step, rows in self._rows(first, mixture.steps):
            self._step(step, rows)
            tell(stage=lesson.title, step=step + 1, steps=mixture.steps, soon=True)
            if step + 1 in ends:
                for each in self._well():
                    each.validate()
            signum = asked()
            if step + 1 < mixture.steps and (signum is not None or time.monotonic() - saved >= self.every):
                pass_time()
                for each in self._well():
                    each.save()
                tell(keep=(lesson.title, step + 1))
                saved = time.monotonic()
            if signum is not None:
                raise Interrupted(signum)
            if not self._well():
                break
        pass_time()
        for each in self._well():
            each.end()

    def _well(self) -> list[_Learner]:
        return [each for each in self.learners if each.problem is None]

    def _rows(self, first: int, last: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Each step, and the positions `[R, B]` of its images in each data set."""
        for begin in range(first, last, STEPS_AHEAD):
            end = min(begin + STEPS_AHEAD, last)
            ahead = [torch.stack([each.rows(s.name, begin, end) for each in self.learners], 1) for s in self.stacks]
            for step in range(begin, end):
                yield step, [rows_SRB[step - begin] for rows_SRB in ahead]

    def _step(self, step: int, rows: Sequence[Tensor]) -> None:
        losses = [stack.loss_R(rows_RB, step, self.learners) for stack, rows_RB in zip(self.stacks, rows, strict=True)]
        loss_R = sum(stack.weight_R * each for stack, each in zip(self.stacks, losses, strict=True))
        assert isinstance(loss_R, Tensor)
        tensors = [each for stack in self.stacks for each in (stack.weight_RKD, stack.bias_RK)]
        places = [each for stack in self.stacks for each in stack.gradients]
        for place, found in zip(places, torch.autograd.grad(loss_R.sum(), tensors), strict=True):
            place.copy_(found)
        said = torch.stack([*losses, loss_R]).detach().cpu().T.tolist()
        for each, (*own, loss) in zip(self.learners, said, strict=True):
            if each.problem is None:
                each.take(own, loss)


def _aligned(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED
