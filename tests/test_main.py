"""The door: what a person types and reads."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import paint, subjects
from tests.tracking.test_wandb_run import logged
from tlfw.records.record import Record

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
        (["backbone=null"], ["backbone", "alexnet", "--help"]),
        (["optimizer="], ["optimizer", "adamw, sgd"]),
        (["data_mix=[joint,target_only]"], ["data_mix", "one option", "-m"]),
        (["source=digits"], ["source", "data@source=digits"]),
        (["experiment=quickstart"], ["experiment", "+experiment=quickstart"]),
        (["quickstart"], ["quickstart", "+experiment=quickstart"]),
        (["data@source=image_folder", "source.rot=x"], ["source.rot", "no such field", "source.root"]),
        (["seed=[1,2]"], ["seed", "valid integer", "[1, 2]"]),
        (["freeze_policy=last_layers", "freeze_policy.n=x"], ["freeze_policy.n", "valid integer or 'all'", "'x'"]),
        (["image_size=100000"], ["image_size", "less than or equal to 4096"]),
        (["source.per_class=100000000"], ["source.per_class", "less than or equal to 20000"]),
        (["freeze_policy.lr_head=inf"], ["freeze_policy.lr_head", "finite"]),
        (["joint.loss_weight.source=nan"], ["joint.loss_weight.source", "finite"]),
        (["optimizer.weight_decay=inf"], ["optimizer", "inf", "Use numbers"]),
        (["optimizer._target_=torch.optim.Nope"], ["optimizer", "torch.optim.Nope"]),
        (["+optimizer.lr=0.1"], ["optimizer.lr", "no effect", "freeze_policy.lr_head"]),
        (["schedule.warmup=nan"], ["schedule.warmup", "nan"]),
        (["schedule=step", "schedule.gamma=null"], ["schedule", "conf/schedule/"]),
        (["trainer.precision=64-true"], ["trainer.precision", "64-true", "32-true"]),
        (["trainer.deterministic=banana"], ["trainer.deterministic", "banana", "warn"]),
        (["+trainer.callbacks=[]"], ["trainer.callbacks", "Leave it out"]),
        (["+trainer.logger=false"], ["trainer.logger", "tracking"]),
        (["select=best_val", "trainer.limit_val_batches=0"], ["select", "trainer.limit_val_batches"]),
        (["adapt.batch_size=1"], ["adapt.batch_size", "BatchNorm", "Use 2 or more"]),
        (["name=a b"], ["name", "'a b'"]),
        (["data@target=digit"], ["data", "'digit'", "digits"]),
        (["+experiment=quick_start"], ["experiment", "'quick_start'", "quickstart"]),
        (["freeze_policy.lr_haed=1"], ["freeze_policy.lr_haed", "no such field", "freeze_policy.lr_head"]),
        (["sede=1"], ["sede", "no such field", "seed"]),
        (["+backbone.wieghts=DEFAULT"], ["backbone.wieghts", "no such field"]),
        (["seed=-1"], ["seed", "greater than or equal to 0", "-1"]),
        (["seed=one"], ["seed", "valid integer", "'one'"]),
        (["adapt.budget=2"], ["adapt.budget: 2 has no unit. Write 2epochs, 2steps or 2images."]),
        (["pretrain.budget=1.5epochs"], ["pretrain.budget: '1.5epochs' is no budget. Write a whole num"]),
        (["pretrain.budget=20 parsecs"], ["pretrain.budget: there is no unit 'parsecs'. Write 20epochs, 20steps or"]),
        (["pretrain.budget=null"], ["pretrain.budget: null is no budget"]),
        (["adapt.budget.amount=2"], ["adapt.budget.amount", "no such field", "Write adapt.budget=20epochs"]),
        (["+adapt.budget.unit=steps"], ["adapt.budget: {'unit': 'steps'} is no budget"]),
        (["data_mix.stages.pretrain.budget.source=3"], ["data_mix.stages.pretrain.budget.source: 3 has no unit"]),
        (["pretrain.budget=0epochs"], ["pretrain.budget: it is 0", "backbone.weights"]),
        (["adapt.budget=0images"], ["adapt.budget: it is 0", "1epoch or more"]),
        (["data_mix=joint", "pretrain.budget=0steps", "adapt.budget=0steps"], ["adapt.budget: it is 0"]),
        (["pretrain.seed=-1"], ["pretrain.seed", "greater than or equal to 0 or 'varies'", "-1"]),
        (["pretrain.seed=often"], ["pretrain.seed", "valid integer or 'varies'", "'often'"]),
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
        (["target.augmentation=flop"], ["target.augmentation", "'flop'", "Use flip"]),
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
        (["metric=acc"], ["metric: ", "'acc'", "accuracy, balanced_accuracy, macro_f1 or log_loss"]),
        (["metric=[accuracy]"], ["metric: ", "['accuracy']", "accuracy, balanced_accuracy, macro_f1 or log_loss"]),
        (["validations=0"], ["validations", "greater than or equal to 1"]),
        (["data@target=image_folder"], ["target.root"]),
        (["data@target=image_folder", "target.root=nowhere"], ["target.root", "nowhere"]),
        (["data@source=none"], ["source", "there is none", "trains on it"]),
        (["data@source=cifar10"], ["source.root", "CIFAR10", "download=true"]),
        (["seed=1,2"], ["seed=1,2", "--multirun"]),
        (["hydra.sweeper.dry_run=true"], ["hydra.sweeper.dry_run", "Add -m"]),
        (["+hydra.sweeper.params.seed='0,1'"], ["hydra.sweeper.params.seed", "Add -m"]),
        (["hydra/sweeper=basic"], ["hydra/sweeper", "Add -m"]),
        (["hydra/launcher=joblib"], ["hydra/launcher", "Add -m"]),
        (["+hydra.launcher.n_jobs=2"], ["hydra.launcher.n_jobs", "Add -m"]),
        (["hydra.sweep.dir=here"], ["hydra.sweep.dir", "Add -m"]),
        (["repeat=2"], ["repeat", "single run cannot be 2", "Add -m"]),
        (["repeat=2", "repeat.by=cross"], ["repeat", "single run cannot be 4", "Add -m"]),
        (["repeat.by=cross"], ["repeat.by", "Set repeat to 2 or more"]),
        (["repeat=0"], ["repeat.count", "greater than or equal to 1"]),
        (["folds=5"], ["folds", "one of the 5", "Add -m", "fold=0"]),
        (["folds=1"], ["folds", "greater than or equal to 2"]),
        (["compare=[freeze_policy.m]"], ["compare", "'freeze_policy.m'", "freeze_policy.n"]),
        (["compare=seed"], ["compare", "valid list"]),
        (["margin=2"], ["margin", "not between 0 and 1"]),
        (["margin=small"], ["margin", "'small'", "1%"]),
        (["outputs=blocked/here"], ["outputs", "blocked/here"]),
        (["store.dir=blocked/here"], ["store.dir", "blocked/here"]),
    ],
)  # fmt: skip
def test_wrong_input_is_one_message_before_any_training(cli, tmp_path: Path, wrong: list[str], said: list[str]) -> None:
    (tmp_path / "blocked").write_text("a file where a folder is wanted")
    refused(cli, wrong, said)
    assert [path.name for path in tmp_path.rglob("*")] == ["blocked"]


def refused(cli, wrong: list[str], said: list[str]) -> None:
    code, out, err = cli(*SMOKE, *wrong)
    assert code == 1
    assert "Traceback" not in out + err
    assert "steps in" not in out
    for words in said:
        assert words in err, err
    assert len(err.strip().splitlines()) <= 5, err


def test_nothing_asked_is_nothing_done(cli, tmp_path: Path) -> None:
    code, _, err = cli()
    assert code == 1
    assert "+experiment=quickstart" in err
    assert list(tmp_path.iterdir()) == []


def test_a_second_time_leaves_nothing_behind(cli, tmp_path: Path) -> None:
    """Also: a flag may stand anywhere, and a folder in the home is found there."""
    small = ("source.per_class=10", "outputs=~/out")
    code, out, err = cli(*SMOKE, *small)
    assert code == 0, err
    assert list((tmp_path / "out" / "runs").glob("*/record.json"))
    before = sorted(tmp_path.rglob("*"))
    code, out, err = cli(*SMOKE, *small)
    assert code == 0, err
    assert "all" in out
    assert sorted(tmp_path.rglob("*")) == before
    code, out, err = cli(*SMOKE, *small, "seed=0", "-m")
    assert code == 0, err
    assert "1 done (0 trained now, 1 were there), 0 failed" in out


def test_a_run_is_shown_by_its_metric(cli) -> None:
    given = (*SMOKE, "data_mix=target_only", "freeze_policy=last_layer")
    code, out, err = cli(*given, "metric=log_loss")
    assert code == 0, err
    assert re.search(r"target val log-loss \d+\.\d{3} nats", out)
    assert "target test log-loss" in out
    assert "source log-loss kept" in out
    assert re.search(r"│ +\d+\.\d{3} nats │ +- │", out)
    code, out, err = cli("-m", *given, "metric=balanced_accuracy,macro_f1")
    assert code == 0, err
    assert "2 done (0 trained now, 2 were there)" in out  # nothing was selected by it: they are the same run
    assert " balanced " in out
    assert "nats" not in out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tensor.pth", torch.zeros(3), ["holds a Tensor"]),
        ("list.pt", [torch.zeros(3)], ["holds a list"]),
        ("nested.bin", {"a": {"b": 1}}, ["holds no tensors, but a"]),
        ("code.ckpt", {"state_dict": torch.nn.Linear(1, 1)}, ["code.ckpt", "Linear", "save its state_dict"]),
        ("empty.pth", b"", ["is empty"]),
        ("pointer.pth", b"version https://git-lfs.github.com/spec/v1", ["git lfs pull"]),
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{", ["is damaged"]),
        ("cut.pth", b"PK\3\4", ["is damaged"]),
        ("other.pth", {f"{i}": torch.zeros(1) for i in range(9)}, ["0 tensors fitted, 280 missing", "another arch"]),
        ("wide.pth", {"model": {"conv1.0.weight": torch.zeros(48, 3, 3, 3)}}, ["conv1.0.weight is 48x3x3x3, not 24"]),
        ("folder/", None, ["folder", "not a run's"]),
        ("0123abcd", None, ["no run 0123abcd in", "outputs/runs"]),
        ("2e5", None, ["200000.0 was read as a number"]),
    ],
)
def test_wrong_weights_are_one_message_before_any_training(
    cli, tmp_path: Path, name: str, content: object, said: list[str]
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    elif name.endswith("/"):
        (tmp_path / name).mkdir()
    refused(cli, [f"backbone.weights={name}"], ["backbone.weights: ", *said])


def test_published_weights_that_cannot_be_downloaded(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found when a sweep is checked, after one try for all of its jobs that are alike."""
    asked = []

    def urlopen(request: urllib.request.Request) -> None:
        asked.append(request.full_url)
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.urlopen", urlopen)
    assert cli("backbone.weights=DEFAULT", "--cfg", "job")[0] == 0
    assert not asked
    code, out, err = cli("-m", *SMOKE, "backbone.weights=null,DEFAULT", "freeze_policy=full", "seed=0,1")
    assert code == 1
    assert "2 of 4 jobs cannot work; nothing was trained." in err
    assert "steps in" not in out
    assert out.count("downloading https://") == len(asked) == 1
    place = str(tmp_path / "cache" / "hub" / "checkpoints")
    refused(cli, ["backbone.weights=DEFAULT"], ["backbone.weights: IMAGENET1K_V1 ", "no network", *asked, place])


def test_a_run_begins_with_what_another_learnt(cli, tmp_path: Path) -> None:
    given = (*SMOKE, "data_mix=target_only", "freeze_policy=full")
    assert cli(*given)[0] == 0
    (first,) = (tmp_path / "outputs" / "runs").iterdir()
    code, out, err = cli(*given, f"backbone.weights={first.name[-12:]}")
    assert code == 0, err
    left = "2 left (heads.target.0.bias, heads.target.0.weight)"
    prepared = "learnt at 32 px, bilinear, ImageNet's mean and std"
    assert f"  weights: {first.name}: 336 tensors fitted, {left}; {prepared}\n" in out
    code, out, err = cli(*given, f"backbone.weights={first}")
    assert code == 0, err
    assert "steps in" not in out  # it is the same run


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


MINE = (*SMOKE, "data@source=none", "data_mix=target_only", "data@target=image_folder", "target.train_per_class=null")


def test_people_are_kept_on_one_side(cli, tmp_path: Path) -> None:
    """Twelve people, six photographs each: whoever is tested on is in no other part, and the predictions know who."""
    root = subjects(tmp_path / "people")
    code, out, err = cli(*MINE, f"target.root={root}", 'target.group="(?P<group>p[0-9]+)_"', "adapt.budget=1images")
    assert code == 0, err
    assert "  target: 42 train, 12 val, 18 test images of 2 classes, 18 to 24 of each for training\n" in out
    (path,) = tmp_path.glob("outputs/runs/*/predictions.npz")
    predictions = np.load(path)
    people = [Path(name).name[:3] for name in predictions["name"]]
    assert set(Counter(people).values()) == {6}
    assert predictions["group"].tolist() == people
    code, _, err = cli(*MINE, f"target.root={root}", "target.group=1")
    assert code == 1
    assert "target.group: 72 of 72 images for train have no folder 1 below their class's" in err


def test_the_same_pixels_in_test_are_refused(cli, folder) -> None:
    """All test images are training images, losslessly encoded anew."""
    root = folder("mine", train=6, test=0)
    for file in (root / "train").glob("*/*.png"):
        copy = root / "test" / file.parent.name / f"{file.stem}.bmp"
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(copy)
    code, _, err = cli(*MINE, f"target.root={root}")
    assert code == 1
    assert ".bmp, which is for test, is the same image as " in err
    code, out, err = cli(*MINE, f"target.root={root}", "copies=accept")
    assert code == 0, err
    assert out.count("  note: target: 18 images that judge the model are also learnt from (copies=accept): ") == 1
    code, _, err = cli(*MINE, f"target.root={root}", "copies=leave_out")
    assert code == 1
    assert "target: all images of class 'class0' are left out" in err


def test_the_test_stays_whatever_is_drawn(cli, folder, tmp_path: Path) -> None:
    root = folder("mine", train=12, test=0)
    for seed in range(2):
        code, _, err = cli(*MINE, f"target.root={root}", "target.train_per_class=5", f"target.split_seed={seed}")
        assert code == 0, err
    paths = list(tmp_path.glob("outputs/runs/*/predictions.npz"))
    assert len(paths) == 2
    one, other = (np.load(path)["name"].tolist() for path in paths)
    assert one == other


def test_pictures_under_two_classes_are_left_out_and_the_rest_is_used(cli, folder) -> None:
    """As in Tiny ImageNet: whichever side of the cut they would be on, nobody has to delete files."""
    root = folder("mine", train=9, test=0)
    for i in range(4):
        paint(0, 500 + i).save(root / "train" / "class0" / f"twin{i}.png")
        paint(0, 500 + i).save(root / "train" / "class1" / f"twin{i}.{'png' if i % 2 else 'bmp'}")
    for seed in range(2):
        code, out, err = cli(*MINE, f"target.root={root}", f"target.split_seed={seed}")
        assert code == 0, err
        assert "  target: 18 train, 3 val, 6 test images of 3 classes, 6 of each for training\n" in out
        assert (
            out.count("note: target: 8 images for training are left out, for their pictures are under more than") == 1
        )


def test_a_fold_is_the_test(cli, folder, tmp_path: Path) -> None:
    root = folder("mine", train=9, test=0)
    code, _, err = cli(*MINE, f"target.root={root}", "folds=3")
    assert code == 1
    assert "folds: a single run is tested on one of the 3. Add -m, or say which with fold=0." in err
    for fold in range(3):
        code, _, err = cli(*MINE, f"target.root={root}", "folds=3", f"fold={fold}")
        assert code == 0, err
    predictions = [np.load(path) for path in tmp_path.glob("outputs/runs/*/predictions.npz")]
    assert (
        len({name for each in predictions for name in each["name"]}) == sum(len(p["name"]) for p in predictions) == 27
    )
    assert {Record.read(path).fold for path in tmp_path.glob("outputs/runs/*/record.json")} == {0, 1, 2}


def test_a_wrong_choice_of_folds_or_copies_is_one_message(cli) -> None:
    refused(cli, ["folds=1", "fold=0"], ["folds", "greater than or equal to 2"])
    refused(cli, ["copies=ignore"], ["copies", "'refuse', 'leave_out' or 'accept'"])
    refused(cli, ["folds=3", "fold=0"], ["folds: the set has test images of its own"])


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_ends_soon_with_one_line(tmp_path: Path, signum: int, code: int) -> None:
    command = [
        sys.executable, "-m", "tlfw", "-m", "+experiment=quickstart", "tracking=offline", "source.per_class=20",
        "pretrain.budget=10000000images", "seed=0,1", "workers=2",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 90
    while not list(tmp_path.glob("outputs/store/stages/.*.scratch")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)
    began = time.monotonic()
    os.killpg(process.pid, signum)  # as a terminal and a cluster do: processes that load images too
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 20  # about 1 s on an idle machine
    assert process.returncode == code
    assert err.strip() == "interrupted; the same command resumes it"
    assert "-s1" not in out
    (record,) = tmp_path.glob("outputs/runs/*/record.json")
    assert Record.read(record).status == "interrupted"
    assert Record.read(record).error == f"Interrupted: {signal.Signals(signum).name}"
    (found,) = logged(tmp_path).values()
    assert found["summary"]["status"] == "interrupted"
    assert list(tmp_path.glob("outputs/store/stages/.*.scratch/last.ckpt"))
    assert not list(tmp_path.glob("outputs/store/stages/.*.scratch/.*"))


@pytest.mark.parametrize("many", [(), ("-m",)])
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("threads=999999", "threads: 999,999 threads on"),
        ("workers=999999", "workers: 999,999 processes that load images are too many for"),
        ("adapt.batch_size=99999999", "adapt.batch_size: 99,999,999 images are no batch"),
        ("pretrain.batch_size=99999999", "pretrain.batch_size: 99,999,999 images are no batch"),
        ("validations=999999", "validations: 999,999 validations of a stage"),
    ],
)
def test_bounds_have_reasons(cli, many: tuple[str, ...], word: str, said: str) -> None:
    code, _, err = cli(*many, *SMOKE, word)
    assert code == 1
    assert said in err
    assert "Use at most" in err


@pytest.mark.parametrize("many", [(), ("-m",)])
def test_a_job_stays_where_the_command_is_run(cli, folder, tmp_path: Path, many: tuple[str, ...]) -> None:
    folder("images")
    code, _, err = cli(*many, *SMOKE, "data@target=image_folder", "target.root=images", "hydra.job.chdir=true")
    assert code == 1
    assert err.startswith("hydra.job.chdir: relative paths")
    assert not list(tmp_path.glob("**/record.json"))


def test_secrets_are_in_no_file(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PAT", "hunter2hunter2")
    words = ("seed=0,1", "backbone.runs=hunter2hunter2", "store.dir=${outputs}/store")
    assert cli("-m", *SMOKE, *words, "hydra.sweeper.report=true")[0] == 0
    assert cli(*SMOKE, *words[1:], "seed=2")[0] == 0
    with_it = [
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file() and b"hunter2" in path.read_bytes()
    ]
    assert with_it == []
    assert list(tmp_path.rglob("plan.json"))
    assert list(tmp_path.rglob("multirun.yaml"))


def test_a_traceback_has_no_secrets(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PAT", "hunter2hunter2")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("of https://me:p@ss/w@host and hunter2hunter2")

    monkeypatch.setattr("tlfw.runs.fold.train", fail)
    code, out, err = cli("-m", *SMOKE, "seed=0")
    assert code == 1
    (file,) = tmp_path.rglob("traceback.txt")
    for text in (file.read_text(), out, err):
        assert "hunter2" not in text
        assert "p@ss" not in text
    assert "RuntimeError: of https://***@host and ***" in file.read_text()


def test_odd_names_of_classes_go_through_a_whole_sweep(cli, tmp_path: Path) -> None:
    names = ["[flip,mixup]", "[∕x]", "=1+1", os.fsdecode(b"caf\xe9"), "cafe\u0301x", "<b>c"]
    for label, name in enumerate(names):
        place = tmp_path / "images" / "train" / name
        place.mkdir(parents=True)
        for i in range(6):
            paint(label, i).save(place / f"{i}.png")
    words = ("data@target=image_folder", "target.root=images", "target.train_per_class=null", "freeze_policy=full")
    code, out, err = cli("-m", *SMOKE, *words, "seed=0,1", "hydra.sweeper.report=true")
    assert code == 0, err
    assert all(name in out for name in ("[flip,mixup] 6", "[∕x] 6", "=1+1 6", "caf\\xe9 6", "caf\xe9x 6", "<b>c 6"))
    (classes,) = tmp_path.rglob("classes.csv")
    assert ",'=1+1," in classes.read_text()
    (page,) = tmp_path.rglob("report.html")
    assert "<b>c" not in page.read_text()
    run = next((tmp_path / "outputs" / "runs").iterdir())
    from tlfw.predict import main

    main([str(run), str(tmp_path / "images"), "--out", str(tmp_path / "p.csv")])
    assert len((tmp_path / "p.csv").read_text(errors="surrogateescape").splitlines()) == 37


def test_a_finished_sweep_names_images_as_they_are_called_now(cli, folder, tmp_path: Path) -> None:
    root = folder("one")
    words = ("-m", *SMOKE, "data@target=image_folder", "target.train_per_class=null", "freeze_policy=full,last_layer")
    assert cli(*words, "target.root=one")[0] == 0
    root.rename(tmp_path / "two")
    found = list(tmp_path.glob("outputs/runs/*/predictions.npz"))
    assert len(found) == 2
    before = [file.read_bytes() for file in found]
    assert cli(*words, "target.root=two", "hydra.sweeper.dry_run=true")[0] == 0
    assert [file.read_bytes() for file in found] == before
    code, out, _ = cli(*words, "target.root=two")
    assert code == 0
    assert "12 of 12 test images have other paths now; its predictions name these (and 1 runs more)" in out
    for file in found:
        assert all(str(name).startswith("two/") for name in np.load(file)["name"])
    assert "other paths" not in cli(*words, "target.root=two")[1]
