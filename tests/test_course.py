"""The course's three runs can be repeated, and say of themselves what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.test_published import MAKE
from tlfw.records.record import Record

SMALL = ("trainer=smoke", "tracking=disabled", "adapt.batch_size=4", "workers=0")


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_the_course_as_it_is(cli, tmp_path: Path, published) -> None:
    published("resnet18")
    MAKE["CIFAR10"](tmp_path / "data")
    code, out, err = cli("-m", "+experiment=course_7_6", *SMALL)
    assert code == 0, out + err
    assert "3 done (3 trained now, 0 were there), 0 failed" in out
    found = [Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json")]
    runs = {(record.paradigm["data_mix"], record.paradigm["freeze_policy"]): record for record in found}
    assert set(runs) == {("pretrain_finetune", "last_layer"), ("pretrain_finetune", "full"), ("target_only", "full")}
    assert all(record.seed == 123 for record in found)
    drifting = runs["pretrain_finetune", "last_layer"]
    assert drifting.labels == ["drifting_batch_norm"]
    assert not drifting.certificate["claimed"]
    assert drifting.certificate["changed"] > 0
    optimizer = drifting.settings["optimizer"]
    assert (optimizer["momentum"], optimizer["weight_decay"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_the_course_controlled(cli, tmp_path: Path, published) -> None:
    published("resnet18")
    MAKE["CIFAR10"](tmp_path / "data")
    few = ("seed=0", "freeze_policy.lr_head=0.01", "hydra.sweeper.also=[]", "image_size=64")
    code, _, err = cli("-m", "+experiment=course_7_6_controlled", *SMALL, *few)
    assert code == 0, err
    (record,) = (Record.read(path) for path in (tmp_path / "outputs" / "runs").glob("*/record.json"))
    assert record.labels == []
    assert record.certificate["holds"]
