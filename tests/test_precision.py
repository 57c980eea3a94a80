"""A model is judged in the precision in which it is delivered, whatever it was trained in."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.runs.test_run import JOB
from tests.tiny import FULL, TRAINER, Tiny, experiment, stage
from tlfw.methods.freeze import FreezePolicy, LastBlocks
from tlfw.methods.mix import DataMix
from tlfw.records.record import Record
from tlfw.runs import run as fold
from tlfw.runs.trained_model import LoadedModel, load
from tlfw.training.evaluate import measures

MIXED = partial(TRAINER.func, **TRAINER.keywords, precision="bf16-mixed")


def trained(place: Path, policy: FreezePolicy) -> tuple[Record, Path]:
    stages = {"pretrain": stage("source", steps=40, policy=FULL), "adapt": stage("target", steps=40)}
    mix = DataMix(stages=stages, order=["pretrain", "adapt"], full_lr=0.01)
    how = {"freeze_policy": policy, "data_mix": mix}
    target = Tiny(image_size=32, count=20, val_fraction=0.5)
    record, _ = fold.run(experiment(place, trainer=MIXED, target=target, select="best_val", **how), JOB)
    (folder,) = (place / "outputs" / "runs").glob("m-f-b-s0-*")
    return record, folder


@torch.no_grad()
def logits_of(loaded: LoadedModel, part: object) -> torch.Tensor:
    images = part.images  # type: ignore[attr-defined]
    x_BCHW = torch.stack([loaded.transform(images.open(int(i))) for i in part.indices])  # type: ignore[attr-defined]
    return torch.cat([loaded.model(x_1CHW) for x_1CHW in x_BCHW.split(1)])


LAST_LAYER = LastBlocks(n=0, lr_head=1e-3)
"""So slow that losses stay far from 0, where precision would not matter."""


@pytest.mark.parametrize("policy", [FULL, LAST_LAYER], ids=["through the network", "on stored features"])
def test_a_run_in_mixed_precision_is_judged_as_it_is_used(tmp_path: Path, policy: FreezePolicy) -> None:
    record, folder = trained(tmp_path, policy)
    assert bool(record.stages[-1]["stored_blocks"]) == (policy is LAST_LAYER)
    loaded = load(folder)
    division = Tiny(image_size=32, count=20, val_fraction=0.5).divide()
    logits_NK, labels_N = logits_of(loaded, division.test), torch.from_numpy(division.test.labels_M)
    said = np.load(folder / "predictions.npz")
    log_prob_N = logits_NK.log_softmax(1)[torch.arange(len(labels_N)), labels_N]
    np.testing.assert_allclose(said["log_prob"], log_prob_N.numpy(), rtol=0, atol=1e-5)
    assert said["prediction"].tolist() == logits_NK.argmax(1).tolist()
    # Mixed precision itself is further away than that, so it matters in which of the two a model is judged.
    with torch.autocast("cpu", torch.bfloat16):
        mixed_NK = logits_of(loaded, division.test).float()
    assert (mixed_NK - logits_NK).abs().max() > 1e-3

    right = measures(logits_of(loaded, division.val), torch.from_numpy(division.val.labels_M))
    assert record.metrics["target/val/loss"] == pytest.approx(right["loss"], rel=1e-5)
    assert right["loss"] > 1e-3
    curve = [point["target/val/loss"] for point in record.stages[-1]["curve"]]
    assert any(loss == pytest.approx(right["loss"], rel=1e-5) for loss in curve), (curve, right)
