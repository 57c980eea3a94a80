"""The door: what a person types and reads."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMOKE = (
    "trainer=smoke",
    "tracking=disabled",
    "backbone=shufflenet_v2_x0_5",
    "image_size=32",
    "target.train_per_class=10",
)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["backbone=resnet81"], ["backbone", "'resnet81'", "resnet18"]),
        (["data@target=digit"], ["data", "'digit'", "digits"]),
        (["+experiment=quick_start"], ["experiment", "'quick_start'", "quickstart"]),
        (["freeze_policy.lr_haed=1"], ["freeze_policy.lr_haed", "no such field", "freeze_policy.lr_head"]),
        (["sede=1"], ["sede", "no such field", "seed"]),
        (["+backbone.wieghts=DEFAULT"], ["backbone.wieghts", "no such field"]),
        (["seed=-1"], ["seed", "greater than or equal to 0", "-1"]),
        (["seed=one"], ["seed", "valid integer", "'one'"]),
        (["pretrain.budget.amount=1.5"], ["pretrain.budget.amount", "valid integer"]),
        (["pretrain.budget.unit=weeks"], ["pretrain.budget.unit", "'epochs', 'steps' or 'images'", "'weeks'"]),
        (["pretrain.budget.amount=0"], ["pretrain.budget.amount", "backbone.weights"]),
        (["adapt.budget.amount=0"], ["adapt.budget.amount", "1 or more"]),
        (["pretrain.batch_size=0"], ["pretrain.batch_size", "greater than or equal to 1"]),
        (["joint.target_share=1"], ["joint.target_share", "less than 1"]),
        (["data_mix=joint", "pretrain.batch_size=1"], ["pretrain.batch_size", "larger"]),
        (["data_mix=pretrain_joint", "adapt.batch_size=1"], ["adapt.batch_size", "larger"]),
        (["data_mix=joint", "joint.loss_weight.source=0"], ["loss_weight", "source", "positive"]),
        (["freeze_policy=last_layers", "freeze_policy.n=6"], ["freeze_policy.n", "6", "at most 5"]),
        (["freeze_policy=last_layers", "freeze_policy.n=-1"], ["freeze_policy.n", "greater than or equal to 0"]),
        (["freeze_policy=last_layer", "freeze_policy.lr_backbone=0.1"], ["freeze_policy.lr_backbone", "null", "n=0"]),
        (["freeze_policy.lr_head=0"], ["freeze_policy.lr_head", "greater than 0"]),
        (["freeze_policy.batch_norm=off"], ["freeze_policy.batch_norm", "'eval' or 'train'"]),
        (["target.train_per_class=500"], ["target.train_per_class", "500", "Use at most 8"]),
        (["target.train_per_class=1"], ["target.train_per_class", "greater than or equal to 2"]),
        (["target.val_fraction=1"], ["target.val_fraction", "less than 1"]),
        (["target.augmentation=flop"], ["target.augmentation", "'none', 'flip' or 'flip_crop'"]),
        (["target.mean=[0.5,0.5,0.5]"], ["target.mean, std", "both"]),
        (["source.image_size=64"], ["source.image_size", "differ"]),
        (["image_size=0"], ["image_size", "greater than or equal to 1"]),
        (["backbone=vit_b_16", "image_size=40"], ["image_size", "vit_b_16", "40", "nearest that it can take is"]),
        (["backbone=squeezenet1_1", "image_size=8"], ["image_size", "squeezenet1_1", "nearest that it can take is 17"]),
        (["backbone.weights=IMAGENET1K_V9"], ["backbone.weights", "IMAGENET1K_V1"]),
        (["backbone.weights=missing.pth"], ["backbone.weights", "missing.pth"]),
        (["schedule.warmup=2"], ["schedule.warmup", "0"]),
        (["schedule=step", "schedule.milestones=[3]"], ["schedule.milestones", "between 0 and 1"]),
        (["+optimizer.speed=3"], ["optimizer", "speed"]),
        (["optimizer.weight_decay=-1"], ["optimizer", "weight_decay"]),
        (["+trainer.accumulate_grad_batches=2"], ["trainer.accumulate_grad_batches", "batch_size"]),
        (["trainer=gpu"], ["trainer", "trainer=cpu"]),
        (["+trainer.gpus=1"], ["trainer", "gpus"]),
        (["tracking.mode=loud"], ["tracking.mode", "'auto', 'online', 'offline' or 'disabled'"]),
        (["select=first"], ["select", "'last' or 'best_val'"]),
        (["validations=0"], ["validations", "greater than or equal to 1"]),
        (["data@target=image_folder"], ["target.root"]),
        (["data@target=image_folder", "target.root=nowhere"], ["target.root", "nowhere"]),
        (["data@source=none"], ["source", "there is none", "trains on it"]),
        (["data@source=cifar10"], ["source.root", "CIFAR10", "download=true"]),
        (["seed=1,2"], ["seed=1,2", "--multirun"]),
        (["outputs=blocked/here"], ["outputs", "blocked/here"]),
        (["store.dir=blocked/here"], ["store.dir", "blocked/here"]),
    ],
)  # fmt: skip
def test_wrong_input_is_one_message_before_any_training(cli, tmp_path: Path, wrong: list[str], said: list[str]) -> None:
    (tmp_path / "blocked").write_text("a file where a folder is wanted")
    code, out, err = cli(*SMOKE, *wrong)
    assert code == 1
    assert "Traceback" not in out + err
    assert "steps in" not in out
    for words in said:
        assert words in err, err
    assert len(err.strip().splitlines()) <= 5, err


def test_wrong_folders_are_named(cli, folder, tmp_path: Path) -> None:
    root = folder("images")
    given = ("data@target=image_folder", f"target.root={root}", "target.train_per_class=null")
    victim = root / "train" / "class1" / "3.png"
    victim.write_bytes(victim.read_bytes()[:60])
    code, _, err = cli(*SMOKE, *given)
    assert code == 1
    assert "target.root" in err
    assert str(victim) in err
    for image in (root / "train" / "class1").iterdir():
        image.unlink()
    code, _, err = cli(*SMOKE, *given)
    assert code == 1
    assert f"{root / 'train' / 'class1'} has no images" in err
    shutil.rmtree(root / "train")
    code, _, err = cli(*SMOKE, *given)
    assert code == 1
    assert "has no folder train" in err


@pytest.mark.slow
def test_ctrl_c_ends_with_one_line(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "tlfw", "-m", "+experiment=quickstart", "tracking=disabled", "source.per_class=20",
        "pretrain.budget.amount=10000000", "seed=0,1",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not list(tmp_path.glob("outputs/store/stages/.*.scratch")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.strip() == "interrupted; the same command goes on from here"
    assert "-s1" not in out
    (record,) = tmp_path.glob("outputs/runs/*/record.json")
    assert "KeyboardInterrupt" in record.read_text()
