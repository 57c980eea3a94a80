"""What a batch holds is a function of (seed, how many stages trained on its sets before, step)."""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.conftest import paint
from tests.tiny import Tiny
from tlfw.data import EvalBatches, ImageArray, Mixture, MixtureLoader, Pixels, View
from tlfw.data.division import Part
from tlfw.data.mixture import TrainBatches, image_loader
from tlfw.signals import deferred, heeded

VIEW = View(size=16, resize=16, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
SETS = {"source": Pixels(Tiny(count=5).divide().train, VIEW), "target": Pixels(Tiny(count=3).divide().train, VIEW)}
SIZES = {name: len(served.labels_N) for name, served in SETS.items()}


def batches(**changes) -> TrainBatches:
    return TrainBatches(**{"sets": SETS, "per_batch": {"source": 4, "target": 5}, "seed": 0, **changes})


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(x, y) for name in a for x, y in zip(a[name], b[name], strict=True))


def test_each_pass_sees_each_image_once_and_every_batch_is_full() -> None:
    made = batches()
    for name, n in SIZES.items():
        seen = [row for step in range(n * 2) for row in made.rows(name, step)]
        assert len(seen) == n * 2 * made.per_batch[name]
        for k in range(3):
            assert sorted(position for position, p in seen if p == k) == list(range(n))
    orders = [[p for p, k in seen if k == which] for which in range(3)]
    assert orders[0] != orders[1] != orders[2]


def test_batches_hold_their_own_images_and_labels() -> None:
    made = batches()
    batch = made[3]
    for name in SETS:
        positions = [position for position, _ in made.rows(name, 3)]
        x_BCHW, y_B = batch[name]
        assert torch.equal(y_B, SETS[name].labels_N[positions])
        assert torch.equal(x_BCHW, SETS[name].batch(positions, None, 0))
        assert x_BCHW.dtype == torch.float32


def test_the_seed_decides_and_how_many_stages_trained_on_a_set_before() -> None:
    assert same(batches()[0], batches()[0])
    assert not same(batches()[0], batches(seed=1)[0])
    later = batches(earlier={"source": 1})
    assert same(batches(earlier={"source": 0, "target": 0})[0], batches()[0])
    for name, kept in (("source", False), ("target", True)):
        assert ([later.rows(name, i) for i in range(9)] == [batches().rows(name, i) for i in range(9)]) == kept
    orders = {str([batches(earlier={"source": k}).rows("source", i) for i in range(3)]) for k in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("changes", [{"seed": 1}, {"earlier": {"target": 1}}], ids=str)
def test_what_decides_the_order_decides_augmentation_and_mixing_too(changes: dict) -> None:
    """Of the image that both have at the same position in the same pass."""

    def pictures(**given) -> dict[tuple[int, int], torch.Tensor]:
        sets = {"target": Pixels(SETS["target"].part, dataclasses.replace(VIEW, augmentation=("flip_crop",)))}
        made = batches(sets=sets, per_batch={"target": 5}, **given)
        rows = [(row, step, i) for step in range(6) for i, row in enumerate(made.rows("target", step))]
        return {row: made[step]["target"][0][i] for row, step, i in rows}

    one, other = pictures(), pictures(**changes)
    common = one.keys() & other.keys()
    assert len(common) > 20
    assert sum(torch.equal(one[row], other[row]) for row in common) < len(common) / 2

    def shares(**given) -> list[torch.Tensor]:
        sets = {"target": Pixels(SETS["target"].part, dataclasses.replace(VIEW, augmentation=("mixup",)))}
        made = batches(sets=sets, per_batch={"target": 5}, **given)
        return [made[step]["target"][1].max(1).values.min() for step in range(6)]

    assert len({*map(float, shares()), *map(float, shares(**changes))}) == 12


def test_each_data_set_has_draws_of_its_own() -> None:
    """Two of as many images: as their seeds, so their orders."""
    twins = {"source": SETS["source"], "target": SETS["source"]}
    made = batches(sets=twins, per_batch={"source": 4, "target": 4})
    assert [made.rows("source", i) for i in range(3)] != [made.rows("target", i) for i in range(3)]


def test_each_image_of_a_pass_is_augmented_in_its_own_way() -> None:
    """Equal pictures at several positions."""
    pictures = ImageArray(np.repeat(np.asarray(paint(0, 0, 16))[None], 12, axis=0), np.zeros(12, dtype=int), ["c"])
    part = Part(pictures, np.arange(12))
    made = Pixels(part, dataclasses.replace(VIEW, augmentation=("flip_crop",))).batch(range(12), [0] * 12, 1)
    assert len({x.numpy().tobytes() for x in made}) > 6


def test_a_batch_is_augmented_by_its_positions_and_passes() -> None:
    moving = dataclasses.replace(VIEW, augmentation=("rand_augment",))
    part = SETS["source"].part
    x_BCHW = torch.stack([moving.pixels(part.images.open(int(part.indices[i]))) for i in (3, 0, 4)])
    expected = moving.normalise(moving.augment(x_BCHW, 9, [3, 0, 4], [1, 5, 2]))
    assert torch.equal(Pixels(part, moving).batch([3, 0, 4], [1, 5, 2], 9), expected)


def test_augmentation_changes_from_pass_to_pass() -> None:
    moving = dataclasses.replace(VIEW, augmentation=("flip_crop",))
    pixels = Pixels(Tiny(count=3).divide().train, moving)
    assert torch.equal(pixels.batch([0], [4], 1), pixels.batch([0], [4], 1))
    variants = {pixels.batch([0], [k], 1).numpy().tobytes() for k in range(8)}
    assert len(variants) > 4
    assert torch.equal(pixels.batch([0], None, 1), Pixels(pixels.part, VIEW).batch([0], None, 1))


MOVING = dataclasses.replace(VIEW, augmentation=("flip_crop", "rand_augment", "erasing", "mixup"))
AUGMENTED = {name: Pixels(served.part, MOVING) for name, served in SETS.items()}


@pytest.mark.parametrize("workers", [0, 1])
def test_augmented_batches_are_the_same_whoever_makes_them(workers: int) -> None:
    made = batches(sets=AUGMENTED)
    expected = {step: made[step] for step in reversed(range(6))}
    assert not same(expected[0], batches()[0])
    for step, batch in enumerate(MixtureLoader(batches(sets=AUGMENTED), 0, 6, workers)):
        assert same(batch, expected[step])


def test_batches_are_mixed_within_one_data_set_and_one_process() -> None:
    mixing = {name: Pixels(s.part, dataclasses.replace(VIEW, augmentation=("mixup",))) for name, s in SETS.items()}
    shares = []
    for place in ({}, {"rank": 0, "world": 2}, {"rank": 1, "world": 2}):
        plain, made = batches(**place), batches(sets=mixing, **place)
        for name in SETS:
            (x, y_B), (mixed, y_BK) = plain[1][name], made[1][name]
            one_hot = torch.nn.functional.one_hot(y_B, 3).float()
            share = (mixed - x.roll(1, 0)).flatten()[0] / (x - x.roll(1, 0)).flatten()[0]
            shares.append((name, round(float(share), 4)))
            torch.testing.assert_close(mixed, share * x + (1 - share) * x.roll(1, 0), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(y_BK, share * one_hot + (1 - share) * one_hot.roll(1, 0), rtol=1e-3, atol=1e-4)
    assert len(set(shares[2:])) == 4  # each process and each data set mixes in its own way
    assert torch.equal(EvalBatches(mixing["target"], 5)[0][1], SETS["target"].labels_N[:5])


class Unequal:
    """Class 0 has one image, class 1 has none, class 2 three, class 3 eight."""

    labels_N = torch.tensor([3, 2, 3, 3, 0, 3, 2, 3, 3, 2, 3, 3])

    def open(self) -> None:
        pass


def test_balanced_classes_are_seen_equally_often_and_each_image_before_any_again() -> None:
    made = TrainBatches({"target": Unequal()}, {"target": 4}, 0, balanced=["target"])
    rows = [row for step in range(36) for row in made.rows("target", step)]
    labels = [int(Unequal.labels_N[position]) for position, _ in rows]
    assert all(sorted(labels[i : i + 3]) == [0, 2, 3] for i in range(0, len(labels), 3))
    assert len({tuple(labels[i : i + 3]) for i in range(0, len(labels), 3)}) > 3
    for c in (0, 2, 3):
        positions = (Unequal.labels_N == c).nonzero()[:, 0].tolist()
        own = [row for row in rows if row[0] in positions]
        for k in range(len(own) // len(positions)):
            one_pass = own[k * len(positions) : (k + 1) * len(positions)]
            assert sorted(one_pass) == [(position, k) for position in positions]
    assert made.rows("target", 7) == TrainBatches({"target": Unequal()}, {"target": 4}, 0, balanced=["target"]).rows(
        "target", 7
    )
    other = TrainBatches({"target": Unequal()}, {"target": 4}, 1, balanced=["target"])
    assert [made.rows("target", step) for step in range(5)] != [other.rows("target", step) for step in range(5)]
    parts = [TrainBatches({"target": Unequal()}, {"target": 4}, 0, r, 2, ["target"]).rows("target", 3) for r in (0, 1)]
    assert sorted([*parts[0], *parts[1]]) == sorted(made.rows("target", 3))


def test_only_the_named_data_set_is_balanced() -> None:
    made = batches(balanced=["target"])
    assert [made.rows("source", step) for step in range(9)] == [batches().rows("source", step) for step in range(9)]


def test_processes_divide_a_batch() -> None:
    whole = batches()[2]
    parts = [batches(rank=rank, world=2)[2] for rank in range(2)]
    for name in SETS:
        together = torch.cat([part[name][1] for part in parts])
        assert sorted(together.tolist()) == sorted(whole[name][1].tolist())
        assert torch.equal(parts[0][name][0], whole[name][0][::2])


class Nothing:
    """An archive that takes no images."""

    def find(self) -> None:
        pass

    get = find


def test_other_processes_make_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are decoded each time, and those that are augmented one by one."""
    monkeypatch.setattr("tlfw.data.mixture.INDEPENDENT_PIXELS", VIEW.size - 1)
    part = SETS["target"].part
    streamed, large = EvalBatches(Pixels(part, VIEW, Nothing()), 4), Pixels(part, MOVING)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    assert image_loader(streamed, None).num_workers == 1
    assert image_loader(streamed, 0).num_workers == 0
    assert image_loader(TrainBatches({"target": large}, {"target": 4}, 0), None).num_workers == 1
    assert image_loader(EvalBatches(large, 4), None).num_workers == 0
    monkeypatch.setattr("tlfw.data.mixture.INDEPENDENT_PIXELS", VIEW.size)
    assert image_loader(TrainBatches({"target": large}, {"target": 4}, 0), None).num_workers == 0


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="who sent a signal is not known here")
def test_a_signal_to_all_stops_no_images_on_their_way() -> None:
    """Those who load leave it to the one who trains, which would lose the step that waits for them."""
    with heeded(), deferred():
        served, loading = begun(workers=2)
        tell = f"import os; [os.kill(pid, {signal.SIGTERM:d}) for pid in {[process.pid for process in loading]}]"
        subprocess.run([sys.executable, "-c", tell], check=True)  # who sends it counts
        made = list(served)
    assert len(made) == 6
    assert all(same(batches()[step], batch) for step, batch in enumerate(made, 2))
    assert [exit_code(process) for process in loading] == [0, 0]


def begun(workers: int) -> tuple[Iterator[dict], list[multiprocessing.process.BaseProcess]]:
    """A loader that has served the first batch of each process that loads for it, of eight, and these processes."""
    others = multiprocessing.active_children()
    served = iter(MixtureLoader(batches(), 0, 8, workers))
    for _ in range(workers):
        next(served)
    return served, [process for process in multiprocessing.active_children() if process not in others]


def exit_code(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join(5)
    return process.exitcode


def test_of_a_signal_from_the_one_they_work_for_they_end() -> None:
    _served, (process,) = begun(workers=1)
    process.terminate()
    assert exit_code(process) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_goes_on_where_it_was(workers: int) -> None:
    every = list(MixtureLoader(batches(), 2, 8))
    loader = MixtureLoader(batches(), 2, 8, workers)
    assert len(loader) == len(every) == 6
    first = [batch for _, batch in zip(range(3), loader, strict=False)]
    assert loader.state_dict() == {"step": 5}
    again = MixtureLoader(batches(), 2, 8, workers)
    again.load_state_dict({"step": 5})
    rest = list(again)
    assert all(same(a, b) for a, b in zip(every, [*first, *rest], strict=True))


def test_rounds_cover_a_stage_without_gap_or_overlap() -> None:
    mixture = Mixture(train=SETS, val=SETS, per_batch={"source": 2, "target": 2}, steps=11, rounds=4, seed=0)

    class At:
        global_rank, world_size = 0, 1

        def __init__(self, epoch: int) -> None:
            self.current_epoch = epoch

    spans = []
    for epoch in range(mixture.rounds):
        mixture.trainer = At(epoch)
        loader = mixture.train_dataloader()
        spans += range(loader.first, loader.last)
    assert spans == list(range(11))
    assert len(mixture.val_dataloader()) == 2
    assert mixture.val_names == ["source", "target"]


def test_evaluation_sees_each_image_once_in_order() -> None:
    labels = SETS["source"].labels_N
    assert torch.equal(torch.cat([y for _, y in EvalBatches(SETS["source"], 5).loader()]), labels)
    shared = [y for rank in range(2) for _, y in EvalBatches(SETS["source"], 5, rank, 2).loader()]
    assert sorted(torch.cat(shared).tolist()) == sorted(labels.tolist())


def test_evaluation_is_not_augmented() -> None:
    augmented = Pixels(Tiny(count=5).divide().train, dataclasses.replace(VIEW, augmentation=("flip_crop",)))
    plain, seen = (torch.cat([x for x, _ in EvalBatches(each, 5).loader()]) for each in (SETS["source"], augmented))
    assert torch.equal(seen, plain)
