"""Every field of the config is part of keys, or says where it is defined why it is not."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.conftest import paint
from tests.data.test_published import MAKE
from tests.test_conf import choices
from tlfw import CONF
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import Digits, ImageArray, ImageFolder, Images
from tlfw.data.rows import SplitName
from tlfw.identity.fields import decides
from tlfw.methods.freeze import LastBlocks
from tlfw.methods.mix import DataMix
from tlfw.records.settings import flat
from tlfw.runs.experiment import Experiment
from tlfw.runs.experiment_data import Memo

BASE = (
    "backbone=resnet18", "data@source=image_folder", "data@target=image_folder", "freeze_policy=last_layers",
    "data_mix=pretrain_joint", "trainer=cpu", "tracking=disabled", "schedule=step", "optimizer=sgd", "threads=1",
    "image_size=32", "pretrain.budget=12steps", "pretrain.batch_size=8", "adapt.budget=12steps", "adapt.batch_size=8",
    "validations=3",
)  # fmt: skip


ADAPT = "data_mix.stages.adapt"

MORE = (
    "+data_mix.stages.more={_target_:tlfw.methods.mix.Stage,share:{source:1.0},loss_weight:{source:1.0},batch_size:8,"
    "budget:{source:5steps},policy:{_target_:tlfw.methods.freeze.LastBlocks,n:1,lr_head:0.1,lr_backbone:0.1}}"
)
"""A stage more."""


class OwnBackbone(TorchvisionBackbone):
    pass


class OwnPolicy(LastBlocks):
    pass


class OwnMix(DataMix):
    pass


class OwnExperiment(Experiment):
    pass


class OwnFolder(ImageFolder):
    pass


class OwnDigits(Digits):
    def read(self, split: SplitName) -> Images | None:
        images = super().read(split)
        return None if images is None else ImageArray(255 - images._pixels, images.labels_N, images.classes)


def own_trainer(**settings: Any) -> L.Trainer:
    return L.Trainer(**settings)


@dataclasses.dataclass(frozen=True)
class Case:
    """A field with another value.

    Attributes:
        change: to another value, as it is typed.
        keyed: whether the run's key is then another one.
        beside: what is set for both, as it is typed.
    """

    field: str
    change: str
    keyed: bool
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.change, *self.beside))


def case(change: str, keyed: bool, *beside: str, field: str | None = None) -> Case:
    return Case(field or change.partition("=")[0].lstrip("+"), change, keyed, beside)


def of_images(name: str) -> list[Case]:
    """Those of a data set."""
    return [
        case(f"{name}.image_size=40", name == "target", "data_mix=target_only"),
        case(f"{name}.train_per_class=6", True),
        case(f"{name}.val_fraction=0.4", True),
        case(f"{name}.test_fraction=0.4", name == "target"),  # the source is not tested on
        case(f"{name}.split_seed=1", True),
        case(f"{name}.test_seed=1", name == "target"),
        case(rf"{name}.group='(?P<group>.)\.png'", True),
        case(f"{name}.folds=4", name == "target", f"{name}.folds=3", f"{name}.fold=0"),
        case(f"{name}.fold=1", name == "target", f"{name}.folds=3", f"{name}.fold=0"),
        case(f"{name}.skip_unreadable=true", False),  # all can be read
        case(f"{name}.augmentation=flip", True),
        case(f"{name}.strength=0.5", True, f"{name}.augmentation=rand_augment"),
        case(f"{name}.balance=loss", True),
        case(f"{name}.range=[0,200]", True),
        case(f"{name}.background=black", True),
        case(f"{name}.largest_image=100000", False),
        case(f"{name}.mean=[0.5,0.4,0.4]", True, f"{name}.mean=[0.4,0.4,0.4]", f"{name}.std=[0.2,0.2,0.2]"),
        case(f"{name}.std=[0.5,0.4,0.4]", True, f"{name}.mean=[0.4,0.4,0.4]", f"{name}.std=[0.2,0.2,0.2]"),
        case(f"{name}.root=elsewhere/{name}", False),
        case(f"{name}.nested=split", True, f"{name}.root=nested/{name}", f"{name}.nested=merge"),
        case(f"{name}._target_=tests.test_keyed.OwnFolder", False),  # its images are the same
        case(f"{name}._target_=tests.test_keyed.OwnDigits", True, f"data@{name}=digits"),  # it reads others
        case(f"{name}.per_class=9", True, f"data@{name}=typeset", f"{name}.per_class=8"),
        case(f"{name}.drawing_seed=1", True, f"data@{name}=typeset", f"{name}.per_class=8"),
        case(f"{name}.name=Country211", True, f"data@{name}=torchvision", f"{name}.name=EuroSAT"),
        case(f"{name}.download=true", False, f"data@{name}=torchvision", f"{name}.name=EuroSAT"),
    ]


CASES = [
    # the run
    case("_target_=tests.test_keyed.OwnExperiment", False),
    case("_convert_=partial", False),
    case("name=another", False),
    case("seed=1", True),
    case("image_size=40", True),
    case("select=best_val", True),
    case("metric=log_loss", False),
    case("metric=log_loss", True, "select=best_val"),
    case("validations=2", False),
    case("validations=2", True, "select=best_val"),
    case("match_budget=epochs", True, "adapt.budget=3epochs", "pretrain.budget=1epoch"),
    case("copies=leave_out", True, "target.root=copied", "copies=accept"),
    case("folds=4", True, "folds=3", "fold=0"),
    case("fold=1", True, "folds=3", "fold=0"),
    case("threads=2", True),
    case("exact=true", True),
    *(
        case(change, False)
        for change in (
            "repeat.count=3",
            "repeat.by=seed",
            "margin=1%",
            "compare=[freeze_policy.n]",
            "checkpoint_seconds=1",
            "workers=2",
            "outputs=other",
            "store.dir=other",
            "force=true",
            "until=pretrain",
            "planned=abc",
            "together=[[a,b]]",
            "store.max_bytes=1GB",
            "store.scratch=other",
            "backbone.runs=other",
            "tracking.mode=offline",
            "tracking.project=other",
            "tracking.entity=other",
            "tracking.dir=other",
            "tracking.artifacts=true",
            "repeat._target_=tlfw.runs.repetition.Repeat",
            "store._target_=tlfw.runs.experiment.StoreSettings",
            "tracking._target_=tlfw.tracking.wandb_run.Tracking",
            "pretrain._target_=tlfw.runs.experiment.Pretrain",
            "adapt._target_=tlfw.runs.experiment.Adapt",
            "joint._target_=tlfw.runs.experiment.Joint",
        )
    ),
    case("trial={_target_:tlfw.runs.trial.Trial,journal:x,study:y,id:0}", False),
    # the backbone
    case("backbone._target_=tests.test_keyed.OwnBackbone", True),
    case("backbone.name=resnet34", True),
    case("backbone.stem=small", True),
    case("backbone.weights=b.pth", True, "backbone.weights=a.pth"),
    case("backbone.weights=copy.pth", False, "backbone.weights=a.pth"),
    case("backbone.weights_entry=ema", True, "backbone.weights=both.pth", "backbone.weights_entry=model"),
    case(
        "backbone.preprocessing={size:32,resize:64}",
        True,
        "backbone.weights=a.pth",
        "backbone.preprocessing={size:32,resize:32}",
    ),
    case("backbone.head_classes=9", True),
    # the stages
    case("data_mix._target_=tests.test_keyed.OwnMix", False),  # what it makes is the same
    case("pretrain.budget=13steps", True),
    case("pretrain.batch_size=16", True),
    case("pretrain.lr=0.5", True),
    case("pretrain.seed=3", True),
    case("pretrain.seed=0", False),  # the run's
    case("adapt.budget=13steps", True),
    case("adapt.batch_size=16", True),
    case("joint.target_share=0.25", True),
    case("joint.loss_weight.source=0.5", True),
    case("joint.loss_weight.target=0.5", True),
    case("data_mix.order=[more,pretrain,adapt]", True, "data_mix.order=[pretrain,more,adapt]", MORE),
    case("data_mix.full_lr=0.5", False),
    case("data_mix.full_lr=0.5", True, "freeze_policy=full"),
    *(
        case(f"data_mix.stages.{name}.{change}", keyed)
        for name, change, keyed in (
            ("pretrain", "_target_=tlfw.methods.mix.Stage", False),
            ("pretrain", "share.source=null", False),  # the rest, which is all
            ("pretrain", "loss_weight.source=0.5", True),
            ("pretrain", "batch_size=16", True),
            ("pretrain", "budget.source=13steps", True),
            ("pretrain", "seed=1", True),
            ("pretrain", "policy._target_=tests.test_keyed.OwnPolicy", True),
            ("pretrain", "policy.n=1", True),
            ("pretrain", "policy.lr_head=0.5", True),
            ("pretrain", "policy.lr_backbone=0.5", True),
            ("adapt", "_target_=tlfw.methods.mix.Stage", False),
            ("adapt", "share.target=0.25", True),
            ("adapt", "batch_size=16", True),
            ("adapt", "budget.target=13steps", True),
        )
    ),
    *(
        case(
            f"data_mix.stages.adapt.loss_weight={{{weights}}}", True, field=f"data_mix.stages.adapt.loss_weight.{name}"
        )
        for name, weights in (("source", "source:0.5,target:1.0"), ("target", "source:1.0,target:0.5"))
    ),
    case(
        "data_mix.stages.adapt.share.source=0.75",
        True,
        "data_mix.stages.adapt.share.source=0.5",
        "data_mix.stages.adapt.share.target=null",
    ),
    case("data_mix.stages.adapt.budget.source=13steps", True, "data_mix=joint"),
    # how it learns
    case("freeze_policy._target_=tests.test_keyed.OwnPolicy", True),
    case("freeze_policy.n=2", True),
    case("freeze_policy.lr_head=0.5", True),
    case("freeze_policy.lr_backbone=0.5", True),
    case("freeze_policy.batch_norm=train", True),
    case("freeze_policy.batch_norm=train", False, "freeze_policy=full"),
    case("optimizer._target_=torch.optim.RMSprop", True),
    case("optimizer.momentum=0.5", True),
    case("optimizer.weight_decay=0.5", True),
    case("schedule._target_=tlfw.methods.schedule.constant", True, "schedule=cosine"),
    case("schedule.warmup=0.5", True),
    case("schedule.milestones=[0.5]", True),
    case("schedule.gamma=0.5", True),
    case("optimizer._partial_=true", False),
    case("schedule._partial_=true", False),
    case("trainer._partial_=true", False),
    # how it is computed
    case("trainer._target_=tests.test_keyed.own_trainer", True),
    case("trainer.accelerator=auto", False, "trainer=cpu"),
    case("trainer.devices=2", True, "+trainer.strategy=ddp"),
    case("trainer.num_nodes=2", True, "trainer=ddp"),
    case("+trainer.strategy=ddp_spawn", False),
    case("trainer.precision=bf16-mixed", True),
    case("trainer.deterministic=true", True),
    case("trainer.log_every_n_steps=1", False),
    case("+trainer.max_steps=5", True),
    case("+trainer.limit_val_batches=2", True),
    case("+trainer.gradient_clip_val=0.5", True),
    *of_images("source"),
    *of_images("target"),
]

OF_ONE_VALUE = {"data_mix.stages.adapt.policy": "null, for the freeze policy says what the last stage may change"}

WITHOUT_EFFECT = {
    "_target_": "an experiment names its parts",
    "pretrain._target_": "a data mix reads its numbers",
    "adapt._target_": "a data mix reads its numbers",
    "joint._target_": "a data mix reads its numbers",
    "store._target_": "it says where results go",
    "data_mix._target_": "its stages are named",
    "data_mix.stages.pretrain._target_": "what it says of a stage is named",
    "data_mix.stages.adapt._target_": "what it says of a stage is named",
    "data_mix.stages.pretrain.share.source": "it is alone",
    "source.image_size": "it is the target's",
    "source.test_fraction": "the source is not tested on",
    "source.test_seed": "the source is not tested on",
    "source.folds": "the source is not tested on",
    "source.fold": "the source is not tested on",
    "source.skip_unreadable": "all can be read",
    "target.skip_unreadable": "all can be read",
    "trainer.accelerator": "a machine may have one type of device alone",
    "trainer.strategy": "one process needs none",
}
"""Fields that are keyed by what comes of them, where nothing can come of any value here."""


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Images and weights, in the folder that commands are run in."""
    root = tmp_path_factory.mktemp("keyed")
    for name, first in {"source": 0, "target": 1000, "others": 2000}.items():
        for label in range(2):
            (root / name / "train" / f"c{label}").mkdir(parents=True)
            for i in range(20):
                paint(label, first + i, 24).save(root / name / "train" / f"c{label}" / f"{i:02}.png")
    shutil.copytree(root / "source", root / "elsewhere" / "source")
    shutil.copytree(root / "target", root / "elsewhere" / "target")
    for name in ("source", "target"):
        shutil.copytree(root / name, root / "nested" / name)
        (root / "nested" / name / "train" / "c0" / "below").mkdir()
        for file in sorted((root / "nested" / name / "train" / "c0").glob("1*.png")):
            file.rename(file.parent / "below" / file.name)
    shutil.copytree(root / "target", root / "copied")
    (root / "copied" / "test" / "c0").mkdir(parents=True)
    (root / "copied" / "test" / "c1").mkdir(parents=True)
    for label in range(2):
        shutil.copy(root / "copied" / "train" / f"c{label}" / "00.png", root / "copied" / "test" / f"c{label}")
    weights = [TorchvisionBackbone(name="resnet18").build(2, 32, seed).state_dict() for seed in (1, 2)]
    torch.save(weights[0], root / "a.pth")
    shutil.copy(root / "a.pth", root / "copy.pth")
    torch.save(weights[1], root / "b.pth")
    torch.save({"model": weights[0], "ema": weights[1]}, root / "both.pth")
    for name in ("EuroSAT", "Country211"):
        MAKE[name](root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


@pytest.fixture(scope="module")
def made(place: Path) -> Callable[..., tuple[Experiment, str]]:
    """What is typed -> the experiment and its run's key. All are jobs of one sweep, which looks at things once."""
    memo, found = Memo(), dict[tuple[str, ...], tuple[Experiment, str]]()

    def make(*overrides: str) -> tuple[Experiment, str]:
        if overrides not in found:
            folders = [f"{name}.root={name}" for name in ("source", "target") if f"data@{name}" not in str(overrides)]
            experiment: Experiment = instantiate(OmegaConf.create(composed((*BASE, *folders, *overrides))))
            found[overrides] = experiment, experiment.plan(memo).key
        return found[overrides]

    return make


@pytest.mark.parametrize("each", CASES, ids=str)
def test_a_field_is_keyed_or_says_why_not(made: Callable[..., tuple[Experiment, str]], each: Case) -> None:
    (before, key), (after, other) = made(*each.beside), made(*each.beside, each.change)
    assert (key != other) == each.keyed
    for experiment in (before, after):
        said = decides(experiment, each.field)
        assert said.keyed or not each.keyed
        if said.by_value:
            assert each.keyed
        else:
            assert said.why


def test_all_fields_of_all_options_are_among_the_cases() -> None:
    whole = (*BASE, "source.root=x", "target.root=x")
    fields = {field for overrides in ([], whole, *choices()) for field in flat(composed(overrides))}
    assert fields - {each.field for each in CASES} == set(OF_ONE_VALUE)


def test_what_is_keyed_by_what_comes_of_it_does_change_keys(made: Callable[..., tuple[Experiment, str]]) -> None:
    keyed = {each.field for each in CASES if each.keyed}
    said = {each.field for each in CASES if decides(made(*each.beside)[0], each.field).keyed}
    assert said - keyed == set(WITHOUT_EFFECT)
