"""Laws 1 and 3 where a stage is trained: frozen is frozen, and a stage can stop and go on anywhere."""

from __future__ import annotations

import dataclasses
import datetime
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint
from pydantic.dataclasses import dataclass
from torch import nn

from tests.tiny import FAMILIES_AT_32, FULL, LAST_LAYER, LAST_LAYERS, SIZE, TRAINER, Tiny
from tlfw.backbones.model import Model
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import Mixture, Pixels, View
from tlfw.errors import Diverged, TrainingFailed
from tlfw.methods import schedule
from tlfw.methods.freeze import FreezePolicy, Freezing, LastBlocks
from tlfw.records.metric import METRICS, Metric
from tlfw.signals import Interrupted, heeded
from tlfw.strictness import STRICT
from tlfw.training.callbacks import Clock
from tlfw.training.evaluate import measures
from tlfw.training.learner import Learner
from tlfw.training.train import Lesson, certify, train, train_eval_gap, weights_of

VIEW = View(size=SIZE, resize=SIZE, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
DIVISION = Tiny().divide()
TRAIN, VAL = Pixels(DIVISION.train, VIEW), Pixels(DIVISION.val, VIEW)


def model(name: str = "shufflenet_v2_x0_5") -> Model:
    made = Model(TorchvisionBackbone(name=name), SIZE, seed=0)
    made.add_head("source", 4)
    made.add_head("target", 3)
    return made


def opinionated(net: Model) -> Model:
    """One whose loss is of another size for each image."""
    with torch.no_grad():
        net.heads["target"][0].weight *= 300
    return net


def learn(
    net: Model, policy: FreezePolicy, scratch: Path, *, steps: int = 6, train_on: Pixels = TRAIN, balance: str = "none",
    loss_weight: dict[str, float] | None = None, seed: int = 0, batch: int = 8, **changes,
):  # fmt: skip
    scratch.mkdir(parents=True, exist_ok=True)
    weights = loss_weight or {"target": 1.0}
    mixture = Mixture(
        train=dict.fromkeys(weights, train_on), val={"target": VAL}, per_batch=dict.fromkeys(weights, batch),
        steps=steps, rounds=3, seed=0, balanced=["target"] if balance == "sampling" else [],
    )  # fmt: skip
    lesson = Lesson(
        title="adapt", loss_weight=weights, start=0, optimizer=partial(torch.optim.SGD, momentum=0.9),
        schedule=changes.pop("schedule", partial(schedule.cosine, warmup=0.2)),
        select=changes.pop("select", "last"), monitor="target",
        seed=seed, metric=METRICS[changes.pop("metric", "accuracy")],
        class_weight={"target": torch.tensor([0.5, 2.0, 1.0])} if balance == "loss" else {},
    )  # fmt: skip
    return train(
        Freezing(policy, net, list(weights)), mixture, lesson, trainer=TRAINER, logger=False, scratch=scratch,
        probe_BCHW=TRAIN.batch(range(4), None, 0), **changes,
    )  # fmt: skip


@pytest.mark.parametrize("policy", [LAST_LAYER, LAST_LAYERS, FULL], ids=["last_layer", "last_layers", "full"])
def test_frozen_is_frozen_over_a_stage(tmp_path: Path, policy: FreezePolicy) -> None:
    net = model()
    before = weights_of(net)
    outcome = learn(net, policy, tmp_path)
    after = weights_of(net)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    parts = Freezing(policy, net, ["target"]).partition
    assert not changed & set(parts.frozen)
    assert changed <= set(parts.trainable) | set(parts.moving)
    certificate = outcome.certificate
    assert certificate["claimed"]
    assert certificate["holds"]
    assert certificate["changed"] == 0
    assert certificate["frozen_tensors"] == len(parts.frozen)
    assert certificate["trainable_tensors"] == len(parts.trainable)
    assert set(certificate["unmoved"]) == set(parts.trainable) - changed
    assert certificate["train_eval_gap"] == (None if policy is FULL else 0.0)
    assert outcome.images_seen == 48


@pytest.mark.slow
@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", [name for name in FAMILIES_AT_32 if name != "shufflenet_v2_x0_5"])
def test_frozen_is_frozen_for_every_backbone(tmp_path: Path, name: str) -> None:
    for policy in (LAST_LAYER, LAST_LAYERS):
        assert learn(model(name), policy, tmp_path / str(policy.n), steps=2).certificate["holds"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Middle(FreezePolicy):
    """What a person may write: one block between frozen ones."""

    def trained_blocks(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return (names[2],)


def test_any_blocks_may_train(tmp_path: Path) -> None:
    net = model()
    before = weights_of(net)
    certificate = learn(net, Middle(lr_head=0.05, lr_backbone=0.01), tmp_path).certificate
    changed = {name for name, tensor in weights_of(net).items() if not torch.equal(before[name], tensor)}
    assert certificate["holds"]
    assert certificate["train_eval_gap"] == 0.0
    assert {name.split(".")[2] for name in changed if name.startswith("trunk")} == {"stage3"}
    drifting = learn(model(), Middle(lr_head=0.05, lr_backbone=0.01, batch_norm="train"), tmp_path / "drifting")
    assert drifting.certificate["train_eval_gap"] > 0


def test_drifting_statistics_are_not_claimed_to_be_frozen(tmp_path: Path) -> None:
    outcome = learn(model(), LastBlocks(n=0, lr_head=0.05, batch_norm="train"), tmp_path)
    assert not outcome.certificate["claimed"]
    assert not outcome.certificate["holds"]
    assert outcome.certificate["changed"] > 0
    assert outcome.certificate["train_eval_gap"] > 0


def test_a_certificate_is_refused_when_a_frozen_tensor_moved() -> None:
    net = model()
    freezing = Freezing(LAST_LAYER, net, ["target"])
    from tlfw.training.train import _sum

    before = {name: _sum(tensor) for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        net.heads["target"][0].weight += 1
        net.trunk.model.conv1[1].running_mean += 1e-7
    with pytest.raises(TrainingFailed, match=r"frozen tensors changed: .*running_mean"):
        certify(freezing, before, torch.zeros(2, 3, SIZE, SIZE))


def test_a_certificate_is_refused_when_nothing_was_learnt() -> None:
    net = model()
    from tlfw.training.train import _sum

    before = {name: _sum(tensor) for name, tensor in net.state_dict().items()}
    with pytest.raises(TrainingFailed, match=r"nothing changed in heads.target, conv5"):
        certify(Freezing(LAST_LAYERS, net, ["target"]), before, torch.zeros(2, 3, SIZE, SIZE))


def test_dropout_in_a_frozen_block_would_be_seen() -> None:
    net = model()
    freezing = Freezing(LAST_LAYERS, net, ["target"])
    net.trunk.model.stage3.append(nn.Dropout(0.5))
    assert train_eval_gap(freezing, TRAIN.batch(range(4), None, 0)) == 0.0
    freezing._frozen_modules = lambda: iter(())  # modes not set: requires_grad=False alone
    assert train_eval_gap(freezing, TRAIN.batch(range(4), None, 0)) > 0


def test_a_loss_that_is_no_number_ends_the_stage(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"the (target validation )?loss became (nan|inf) at step"):
        learn(model(), LastBlocks(n="all", lr_head=1e30, lr_backbone=1e30), tmp_path)


def test_each_data_set_counts_as_much_as_its_weight(tmp_path: Path) -> None:
    """One step of plain descent moves a head in proportion to it."""

    def moved(**loss_weight: float) -> dict[str, torch.Tensor]:
        net = model()
        before = weights_of(net)
        learn(net, LAST_LAYER, tmp_path / str(loss_weight), steps=1, loss_weight=loss_weight)
        after = weights_of(net)
        return {name: after[f"heads.{name}.0.weight"] - before[f"heads.{name}.0.weight"] for name in loss_weight}

    plain, weighted = moved(source=1.0, target=1.0), moved(source=0.25, target=3.0)
    ratios = {name: (weighted[name].norm() / plain[name].norm()).item() for name in plain}
    assert ratios == pytest.approx({"source": 0.25, "target": 3.0}, rel=1e-2)


class Dropped(L.Callback):
    """What a head's dropout let through at each step."""

    def __init__(self, net: Model) -> None:
        (dropout,) = (module for module in net.heads["target"].modules() if isinstance(module, nn.Dropout))
        self.masks: list[bytes] = []
        dropout.register_forward_hook(self.note)

    def note(self, dropout: nn.Module, _: object, z_BD: torch.Tensor) -> None:
        if dropout.training:
            self.masks.append((z_BD != 0).numpy().tobytes())


def test_dropout_is_another_at_every_step_and_for_every_seed(tmp_path: Path) -> None:
    masks = {}
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        net = model("efficientnet_b0")
        seen = Dropped(net)
        torch.manual_seed(len(name))
        learn(net, LAST_LAYER, tmp_path / name, steps=3, seed=seed, callbacks=[seen])
        masks[name] = seen.masks
    assert masks["again"] == masks["one"]
    assert len({*masks["one"], *masks["other"]}) == 6


def test_the_validation_loss_is_the_mean_over_images(tmp_path: Path) -> None:
    """Also where the last batch is smaller than the others."""
    net = model()
    assert len(VAL.labels_N) == 6
    curve = learn(net, LAST_LAYER, tmp_path, batch=4).curve
    net.eval()
    with torch.no_grad():
        logits_BK = net(VAL.batch(range(6), None, 0), "target")
    each = nn.functional.cross_entropy(logits_BK, VAL.labels_N, reduction="none")
    assert curve[-1]["target/val/loss"] == pytest.approx(each.mean().item(), rel=1e-5)
    assert each[:4].mean().item() != pytest.approx(each[4:].mean().item(), rel=0.01)


class Stop(L.Callback):
    """Dies at a step, as a killed process would, or is sent a signal."""

    def __init__(self, step: int, moment: str, signum: int | None = None) -> None:
        self.step, self.moment, self.signum = step, moment, signum

    def die(self) -> None:
        if self.signum is None:
            raise RuntimeError("killed")
        os.kill(os.getpid(), self.signum)

    def on_train_batch_start(self, trainer: L.Trainer, *_) -> None:
        if self.moment == "training" and trainer.global_step == self.step:
            self.die()

    def on_validation_batch_start(self, trainer: L.Trainer, *_) -> None:
        if self.moment == "validation" and trainer.global_step == self.step:
            self.die()


class Watch(L.Callback):
    """Steps of the training, and the rounds' accuracies."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.rounds: list[tuple[int, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_) -> None:
        self.steps.append(trainer.global_step)

    def on_validation_end(self, trainer: L.Trainer, *_) -> None:
        self.rounds.append((trainer.global_step, float(trainer.callback_metrics["target/val/acc"])))


MOMENTS = pytest.mark.parametrize(
    ("step", "moment"),
    [(2, "training"), (3, "training"), (5, "training"), (3, "validation"), (8, "training"), (9, "validation")],
    ids=["last step of a round", "a round's end", "in a round", "in validation", "last step", "last validation"],
)
ALWAYS = datetime.timedelta(0)


@MOMENTS
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "efficientnet_b0"], ids=["plain", "dropout"])
@pytest.mark.parametrize("signum", [None, signal.SIGTERM, signal.SIGINT], ids=["killed", "SIGTERM", "SIGINT"])
def test_an_ended_stage_goes_on_to_the_same_bits(
    tmp_path: Path, step: int, moment: str, name: str, signum: int | None
) -> None:
    if name == "efficientnet_b0" and (signum is not None or step % 3):
        pytest.skip("one of each is enough")
    whole, seen = model(name), Watch()
    undisturbed = learn(whole, LAST_LAYERS, tmp_path / "whole", steps=9, select="best_val", callbacks=[seen])
    how = {"steps": 9, "select": "best_val", "checkpoint_every": ALWAYS if signum is None else FAR}
    before, after = Watch(), Watch()
    with heeded(), pytest.raises(RuntimeError if signum is None else Interrupted):
        learn(model(name), LAST_LAYERS, tmp_path / "s", callbacks=[before, Stop(step, moment, signum)], **how)
    resumed = model(name)
    torch.manual_seed(12345)
    outcome = learn(resumed, LAST_LAYERS, tmp_path / "s", callbacks=[after], **how)
    expected, found = weights_of(whole), weights_of(resumed)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert outcome.seconds > 0
    assert outcome.curve == undisturbed.curve
    if signum is None or step < 8:  # a signal in the stage's last validation ends it without saving
        assert before.rounds + after.rounds == seen.rounds
    if signum is not None and step < 8:
        assert before.steps + after.steps == seen.steps  # nothing was lost


@pytest.mark.parametrize(("step", "moment"), [(5, "training"), (3, "validation"), (9, "validation")])
def test_a_stage_ends_for_sigterm_also_where_a_launcher_hears_it(tmp_path: Path, step: int, moment: str) -> None:
    """submitit's handler does nothing, and `heeded` leaves it in its place."""
    heard: list[int] = []
    earlier = signal.signal(signal.SIGTERM, lambda signum, _: heard.append(signum))
    try:
        stop = Stop(step, moment, signal.SIGTERM)
        with heeded(), pytest.raises(Interrupted, match="SIGTERM"):
            learn(model(), LAST_LAYERS, tmp_path, steps=9, checkpoint_every=FAR, callbacks=[stop])
    finally:
        signal.signal(signal.SIGTERM, earlier)
    assert heard == [signal.SIGTERM]
    assert (tmp_path / "last.ckpt").exists() == (step < 9)


FAR = datetime.timedelta(hours=1)


def test_the_curve_has_a_point_for_each_validation(tmp_path: Path) -> None:
    class Losses(L.Callback):
        found: ClassVar[list[float]] = []

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, *_) -> None:
            self.found.append(float(outputs["loss"]))

    seen = Watch()
    curve = learn(model(), LAST_LAYERS, tmp_path, steps=6, callbacks=[seen, Losses()]).curve
    assert [(point["step"], point["target/val/acc"]) for point in curve] == seen.rounds
    assert [point["train/loss"] for point in curve] == [sum(Losses.found[i : i + 2]) / 2 for i in (0, 2, 4)]
    validated = {metric.at("target/val") for metric in METRICS.values()}
    assert all(set(point) == {"step", "train/loss", *validated} for point in curve)


@pytest.mark.parametrize("batch", [4, 5, 8])
def test_validation_is_of_the_whole_part_however_it_is_cut(tmp_path: Path, batch: int) -> None:
    """Six images in batches of four, five and eight: no batch counts as much as a larger one."""
    net = opinionated(model())
    curve = learn(net, LAST_LAYERS, tmp_path, batch=batch).curve
    with torch.no_grad():
        logits_NK = net.eval()(VAL.batch(range(len(VAL.labels_N)), None, 0), "target")
    expected = measures(logits_NK, VAL.labels_N)
    for metric in METRICS.values():
        assert curve[-1][metric.at("target/val")] == pytest.approx(expected[metric.key], rel=1e-5), metric.name


def test_time_spent_before_is_counted(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        learn(model(), LAST_LAYERS, tmp_path, callbacks=[Stop(3, "training")], checkpoint_every=ALWAYS)
    earlier = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["Clock"]["seconds"]
    assert learn(model(), LAST_LAYERS, tmp_path).seconds > earlier > 0
    clock = Clock()
    clock.load_state_dict({"seconds": 1000.0})
    assert 1000 < clock.seconds < 1010
    assert 1000 < clock.state_dict()["seconds"] < 1010


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_round_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    """The first of equals, also where it was validated before the stage was killed."""
    rounds = [0.5, 0.9, 0.9] if METRICS[metric].higher_is_better else [0.7, 0.3, 0.3]
    said = Said(METRICS[metric].key, iter(rounds))
    monkeypatch.setattr(Learner, "_validated", lambda self, name: said)
    seen = []

    class Keep(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
            seen.append(weights_of(learner.model))

    with pytest.raises(RuntimeError, match="killed"):
        learn(
            model(), FULL, tmp_path / "here", steps=9, select="best_val", metric=metric, checkpoint_every=ALWAYS,
            callbacks=[Keep(), Stop(8, "training")],
        )  # fmt: skip
    moved = (tmp_path / "here").rename(tmp_path / "moved")
    net = model()
    learn(net, FULL, moved, steps=9, select="best_val", metric=metric)
    assert len(seen) == 2
    assert all(torch.equal(tensor, seen[1][name]) for name, tensor in weights_of(net).items())


class KilledAfterValidation(Checkpoint):  # of a kind that is called after others
    """Dies when a round has validated and its best weights are kept, before the checkpoint knows of it."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_validation_end(self, trainer: L.Trainer, *_) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


@pytest.mark.parametrize(("again", "best"), [([0.4, 0.3], 0), ([0.7, 0.6], 1), ([0.4, 0.8], 2)])
def test_the_best_round_is_one_of_this_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: list[float], best: int
) -> None:
    """On hardware that is not exact, a round may validate worse when it is trained again."""
    said = Said("acc", iter([0.5, 0.9, *again]))
    monkeypatch.setattr(Learner, "_validated", lambda self, name: said)
    kept = []

    class Keep(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
            kept.append(weights_of(learner.model))

    how = {"steps": 9, "select": "best_val", "checkpoint_every": ALWAYS}
    with pytest.raises(RuntimeError, match="killed"):
        learn(model(), FULL, tmp_path, callbacks=[Keep(), KilledAfterValidation(6)], **how)
    assert {file.name for file in tmp_path.glob("best*")} == {"best-3.pt", "best-6.pt"}
    first, net = kept[0], model()
    with torch.no_grad():  # what was trained before the kill is no part of this try
        changed = torch.load(tmp_path / "best-6.pt", weights_only=True)
        torch.save({name: tensor * 0 for name, tensor in changed.items()}, tmp_path / "best-6.pt")
    kept.clear()
    learn(net, FULL, tmp_path, callbacks=[Keep()], **how)
    expected = [first, *kept][best]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(net).items())
    assert len(list(tmp_path.glob("best*"))) == 1


def test_a_resumed_tail_at_rate_zero_ends_as_well_as_an_undisturbed_one(tmp_path: Path) -> None:
    """What trains has had a rate above 0 at some step, if not since it was killed."""
    falling = partial(schedule.step, warmup=0.0, milestones=[0.5], gamma=0.0)
    whole, resumed = model(), model()
    learn(whole, LAST_LAYERS, tmp_path / "whole", steps=9, schedule=falling)
    with pytest.raises(RuntimeError, match="killed"):
        learn(
            model(), LAST_LAYERS, tmp_path / "s", steps=9, schedule=falling, callbacks=[Stop(8, "training")],
            checkpoint_every=ALWAYS,
        )  # fmt: skip
    learn(resumed, LAST_LAYERS, tmp_path / "s", steps=9, schedule=falling)
    assert all(torch.equal(tensor, weights_of(resumed)[name]) for name, tensor in weights_of(whole).items())


def test_a_stage_knows_what_it_was_computed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on what before it was killed."""
    monkeypatch.setattr("tlfw.training.callbacks.processor", lambda device: f"an old {device}")
    with pytest.raises(RuntimeError, match="killed"):
        learn(model(), LAST_LAYER, tmp_path, callbacks=[Stop(5, "training")], checkpoint_every=ALWAYS)
    monkeypatch.setattr("tlfw.training.callbacks.processor", lambda device: f"a new {device}")
    assert learn(model(), LAST_LAYER, tmp_path).hardware == ["an old cpu", "a new cpu"]
    assert learn(model(), LAST_LAYER, tmp_path / "other").hardware == ["a new cpu"]


class Said:
    """A validation whose metrics are all the same but one, which is what it is told to say."""

    def __init__(self, key: str, said: Iterator[float]) -> None:
        self.key, self.said = key, said

    def update(self, *_) -> None: ...

    def reset(self) -> None: ...

    def compute(self) -> dict[str, float]:
        return {metric.key: 0.6 for metric in METRICS.values()} | {self.key: next(self.said)}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def old(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    content["made_by"]["tlfw"] = "0.0.1"
    torch.save(content, file)


def edited(file: Path) -> None:
    """Made by code that somebody changed since, under the same version."""
    content = torch.load(file, weights_only=True)
    content["made_by"]["code"] = "0" * 16
    torch.save(content, file)


def other(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    del content["made_by"]["tensors"]["model.heads.target.0.bias"]
    torch.save(content, file)


@pytest.mark.parametrize(
    ("harm", "said"),
    [(cut, "the checkpoint is damaged"), (old, "the checkpoint was made with another version of tlfw"),
      (other, "the checkpoint has different tensors"), (lambda file: torch.save({}, file), "the checkpoint is damaged"),
      (lambda file: next(file.parent.glob("best-*.pt")).unlink(), "the checkpoint is damaged"),
      (edited, "the checkpoint was made with another version of the code")],
    ids=["cut", "old", "other", "strange", "without its best", "of edited code"],
)  # fmt: skip
def test_a_checkpoint_of_no_use_is_a_line_and_a_new_start(tmp_path: Path, capsys, harm, said: str) -> None:
    whole = model()
    learn(whole, LAST_LAYERS, tmp_path / "whole", select="best_val")
    with pytest.raises(RuntimeError, match="killed"):
        learn(
            model(), LAST_LAYERS, tmp_path / "s", callbacks=[Stop(5, "training")], select="best_val",
            checkpoint_every=ALWAYS,
        )  # fmt: skip
    assert len(list((tmp_path / "s").glob("best-*.pt"))) == 1
    harm(tmp_path / "s" / "last.ckpt")
    (tmp_path / "s" / ".last.ckpt.left-by-a-kill.ckpt").touch()
    capsys.readouterr()
    resumed = model()
    learn(resumed, LAST_LAYERS, tmp_path / "s", select="best_val")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "checkpoint" in line)
    assert said in line
    assert "cannot resume: " in line
    assert line.endswith("; starting again")
    assert not list((tmp_path / "s").glob(".*"))
    assert all(torch.equal(tensor, weights_of(resumed)[name]) for name, tensor in weights_of(whole).items())


@pytest.mark.parametrize("balance", ["loss", "sampling"])
def test_a_killed_stage_on_augmented_and_mixed_images_goes_on_to_the_same_bits(tmp_path: Path, balance: str) -> None:
    names = ("flip_crop", "rand_augment", "colour", "erasing", "mixup", "cutmix")
    how = {"train_on": Pixels(DIVISION.train, dataclasses.replace(VIEW, augmentation=names)), "balance": balance}
    whole = model()
    learn(whole, LAST_LAYERS, tmp_path / "whole", **how)
    killed = model()
    with pytest.raises(RuntimeError, match="killed"):
        learn(killed, LAST_LAYERS, tmp_path / "s", **how, callbacks=[Stop(3, "training")], checkpoint_every=ALWAYS)
    resumed = model()
    torch.manual_seed(12345)
    learn(resumed, LAST_LAYERS, tmp_path / "s", **how)
    plain = model()
    learn(plain, LAST_LAYERS, tmp_path / "plain")
    expected, found, other = weights_of(whole), weights_of(resumed), weights_of(plain)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert [name for name in expected if not torch.equal(expected[name], other[name])] != []


def loss_of(class_weight: dict[str, torch.Tensor], logits_BK: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    learner = Learner(
        Freezing(LAST_LAYER, model(), ["target"]), start=0, loss_weight={"target": 1.0}, class_weight=class_weight,
        optimizer=torch.optim.SGD, schedule=schedule.constant, steps=1, seed=0, val_names=["target"],
    )  # fmt: skip
    assert not any("class_weight" in name for name in learner.state_dict())
    return learner._loss("target", logits_BK, y)


def test_class_weights_count_images_and_not_what_lies_beside_them() -> None:
    logits_BK, y_B = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0] * 9 + [1, 2, 2])
    weight = {"target": torch.tensor([0.5, 2.0, 1.0])}
    each = torch.nn.functional.cross_entropy(logits_BK, y_B, reduction="none")
    torch.testing.assert_close(loss_of(weight, logits_BK, y_B), (each * weight["target"][y_B]).mean())
    torch.testing.assert_close(loss_of({}, logits_BK, y_B), each.mean())
    one_hot = torch.nn.functional.one_hot(y_B, 3).float()
    torch.testing.assert_close(loss_of(weight, logits_BK, one_hot), loss_of(weight, logits_BK, y_B))
    halves = [loss_of(weight, logits_BK[i::2], y_B[i::2]) for i in range(2)]
    torch.testing.assert_close(torch.stack(halves).mean(), loss_of(weight, logits_BK, y_B))


def test_checkpoints_are_written_while_a_stage_trains(tmp_path: Path) -> None:
    learn(model(), LAST_LAYER, tmp_path, checkpoint_every=ALWAYS)
    assert (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_best_val_is_the_round_that_validated_best(tmp_path: Path, metric: Metric) -> None:
    net = model()
    seen = []

    class Keep(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
            seen.append((float(trainer.callback_metrics[metric.at("target/val")]), weights_of(net)))

    learn(net, FULL, tmp_path, steps=9, select="best_val", metric=metric.name, callbacks=[Keep()])
    assert len(seen) == 3
    best = (max if metric.higher_is_better else min)(range(3), key=lambda i: seen[i][0])
    assert all(torch.equal(tensor, seen[best][1][name]) for name, tensor in weights_of(net).items())
