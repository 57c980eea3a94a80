"""A job's config is the one that Hydra composes, to the last flag."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tlfw import CONF
from tlfw.identity.names import canonical
from tlfw.sweeps.composer import Composer, Instantiator

CHOICES = (
    "+experiment=quickstart", "+experiment=grid", "+experiment=[quickstart,grid]", "+experiment=course_7_6",
    "backbone=resnet34", "backbone=none_such", "data@target=typeset", "data@source=digits", "data_mix=joint",
    "data_mix=target_only", "freeze_policy=last_layers", "freeze_policy=last_layer", "optimizer=sgd",
    "schedule=constant", "trainer=cpu", "tracking=disabled", "~tracking", "~schedule", "~optimizer=adamw",
    "+optimizer=sgd", "++backbone=resnet34", "data@nowhere=digits", "data_mix=[joint,target_only]", "backbone=null",
)  # fmt: skip

CHANGES = (
    "seed=3", "seed=4", "seed=null", "seed='5'", 'name="a b"', "name='it\\'s'", "name=a=b", "name=", "name=null",
    "adapt.budget=3epochs", "adapt.batch_size=16", "adapt.batch_size=1e3", "pretrain.lr=1e-4",
    "joint.target_share=.25", "pretrain={lr: 0.5}", "adapt={budget: 2epochs, batch_size: 7}", "pretrain=null",
    "pretrain=3", "joint.loss_weight=1", "joint.loss_weight={source: 2}", "joint.loss_weight.source=3",
    "compare=[seed,backbone.weights]", "compare=[]", "compare.0=seed", "compare=null", "repeat=5", "repeat.count=2",
    "++repeat.count=3", "name=${seed}", "seed=${adapt.batch_size}", "outputs='${name}/x'",
    "image_size=${source.image_size}", "target.split_seed=9", "++target.split_seed=8", "+target.split_seed=7",
    "target.train_per_class=10", "target.none_such=1", "+target.none_such=1", "+none_such=1",
    "++none_such={a: [1, {b: null}]}", "+none_such.a.b=2", "none_such=1", "~seed", "~seed=0", "~seed=3",
    "~adapt.budget", "~none_such", "~name=run", "+seed=3", "+adapt={x: 1}", "+compare=[seed]", "~adapt",
    "~joint.loss_weight.source", "trainer.max_steps=3", "++trainer.max_steps=4", "source.root=/a/b",
    "target.root='a,b'", "target.augmentation=[flip, crop]", "store.dir=x", "store.dir=${outputs}/y",
    "freeze_policy.n=2", "freeze_policy.lr_head=0.1", "optimizer.weight_decay=0", "until=adapt", "seed=1,2",
    "seed=range(3)", "seed=int('3')", "name=str(3)", "exact=true", "exact=TRUE", "a b", "=3", "seed", "seed=[",
    "fold=-1", "margin=1%", "name=${oc.env:HOME}", "name=\\${seed}", "name='\\\\'", "name=${none_such}", "name='???'",
    "seed=???", "backbone.runs=x", "store.dir.x=1", "~hydra", "hydra=1", "backbone={weights: x}", "data_mix={a: 1}",
    "+data_mix={a: 1}",
)  # fmt: skip

OF_HYDRA = (
    "hydra.job.name=x", "hydra.job.num=4", "+hydra.job.env_set.A=b", "hydra/launcher=basic", "hydra.sweep.dir=x",
    "hydra.job.config.override_dirname.exclude_keys=[seed]", "name=${hydra.job.name}", "name=${hydra:job.name}",
    "+hydra.job.override_dirname=x", "~name=${hydra.job.override_dirname}", "hydra.job.env_copy=[HOME]", "hydra.none=1",
)  # fmt: skip

SWEEPS = (
    (),
    ("hydra.job.config.override_dirname.exclude_keys=[seed]", "hydra.job.config.override_dirname.item_sep=_"),
    ("hydra.job.name=${name}", "hydra.job.env_copy=[HOME]", "+hydra.job.env_set.A=${seed}"),
)


@pytest.fixture(params=SWEEPS, ids=["plain", "dirname", "name"])
def loader_and_sweep(request: pytest.FixtureRequest) -> Iterator[tuple[Any, DictConfig]]:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().hydra.config_loader
        yield loader, loader.load_configuration("config", list(request.param), RunMode.MULTIRUN)


def nodes(node: Any, path: str = "") -> Iterator[tuple[Any, ...]]:
    """Everything that is in a config: values as they are written, types, flags, in their order."""
    yield path, type(node), repr(node._metadata), repr(node._value()) if not OmegaConf.is_config(node) else None
    content = node._content if OmegaConf.is_config(node) else None
    for key, each in content.items() if isinstance(content, dict) else enumerate(content or ()):
        if isinstance(content, str):  # an interpolation, None or ??? in the place of a whole part
            yield path, content
            return
        assert each._get_parent() is node
        yield from nodes(each, f"{path}.{key}")


def said(compose: Any, job: Sequence[str]) -> Any:
    """What comes of a job: the whole config, or what is wrong with it."""
    try:
        config = compose(list(job))
    except (HydraException, OmegaConfBaseException, ValueError) as problem:
        return type(problem), str(problem), str(problem.__cause__)
    return list(nodes(config))


def drawn(rng: random.Random) -> list[str]:
    found = rng.sample(CHANGES, rng.choice((0, 1, 1, 2, 3, 5)))
    found += rng.sample(CHOICES, rng.choice((0, 0, 1, 1, 2)))
    found += rng.sample(OF_HYDRA, rng.choice((0, 0, 0, 0, 1)))
    rng.shuffle(found)
    return found


def differing(loader: Any, sweep: DictConfig, jobs: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    composer = Composer(loader, sweep)

    def by_hydra(job: list[str]) -> DictConfig:
        return loader.load_sweep_config(sweep, job)

    return [job for job in jobs if said(composer, job) != said(by_hydra, job)]


@pytest.mark.slow
def test_each_override_alone(loader_and_sweep: tuple[Any, DictConfig]) -> None:
    assert not differing(*loader_and_sweep, [[word] for word in (*CHANGES, *CHOICES, *OF_HYDRA)])


@pytest.mark.parametrize("count", [17, pytest.param(100, marks=pytest.mark.slow)])
def test_random_lists(loader_and_sweep: tuple[Any, DictConfig], count: int) -> None:
    rng = random.Random(count)
    assert not differing(*loader_and_sweep, [drawn(rng) for _ in range(count)])


def test_a_config_that_was_changed_changes_no_other(loader_and_sweep: tuple[Any, DictConfig]) -> None:
    loader, sweep = loader_and_sweep
    compose = Composer(loader, sweep)
    first = compose(["adapt.batch_size=5", "compare=[seed]"])
    first.adapt.batch_size = 6
    first.compare.append("name")
    assert said(compose, ["seed=1"]) == said(lambda job: loader.load_sweep_config(sweep, job), ["seed=1"])


def test_hydra_composes_once_for_all_values_of_fields(loader_and_sweep: tuple[Any, DictConfig]) -> None:
    loader, sweep = loader_and_sweep
    asked = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(loader, name)

        def load_sweep_config(self, config: DictConfig, job: list[str]) -> DictConfig:
            asked.append(job)
            return loader.load_sweep_config(config, job)

    compose = Composer(Counting(), sweep)  # type: ignore[arg-type]
    for seed in range(5):
        for mix in ("joint", "target_only"):
            config = compose([f"seed={seed}", f"data_mix={mix}", "++target.split_seed=3"])
            assert (config.seed, config.hydra.runtime.choices.data_mix) == (seed, mix)
    assert asked == [["data_mix=joint"], ["data_mix=target_only"]]


JOBS = (
    (), ("seed=3",), ("+experiment=quickstart",), ("data_mix=joint", "freeze_policy=last_layers", "freeze_policy.n=2"),
    ("data_mix=target_only", "adapt.budget=2epochs"), ("optimizer=sgd", "schedule=constant"), ("image_size=32",),
    ("target.train_per_class=5",), ("repeat=2", "compare=[seed]"), ("folds=3", "fold=1"), ("fold=1", "folds=4"),
    ("trainer=cpu", "tracking=disabled"), ("match_budget=flops",), ("target.augmentation=[flip]",),
    ("backbone=mobilenet_v3_small", "backbone.preprocessing={size: 30, resize: 40, interpolation: bicubic}"),
    ("metric=log_loss", "select=best_val", "threads=2"), ("joint.loss_weight.source=2",),
)  # fmt: skip

WRONG = (
    ("seed=-1",), ("seed=x",), ("adapt.budget=3",), ("pretrain=null",), ("+none_such=1",), ("repeat=0",),
    ("optimizer._target_=torch.none_such",), ("+target.none_such=1",), ("freeze_policy.n=2",), ("compare=3",),
    ("_target_=none.such",), ("joint.target_share=2",), ("~seed",), ("backbone.preprocessing=3",), ("seed=???",),
)  # fmt: skip


def made(make: Any, config: DictConfig) -> Any:
    with open_dict(config):
        del config["hydra"]
    try:
        OmegaConf.resolve(config)
        return canonical(make(config))
    except Exception as problem:
        return type(problem), str(problem), str(problem.__cause__)


@pytest.mark.parametrize("loader_and_sweep", SWEEPS[:1], indirect=True)
def test_experiments_are_those_that_hydra_makes(loader_and_sweep: tuple[Any, DictConfig]) -> None:
    compose, make = Composer(*loader_and_sweep), Instantiator()
    for job in (*JOBS, *WRONG, *JOBS):
        assert made(make, compose(job)) == made(instantiate, compose(job)), job
    assert all(isinstance(made(make, compose(job)), tuple) for job in WRONG if job != ("freeze_policy.n=2",))


@pytest.mark.parametrize("loader_and_sweep", SWEEPS[:1], indirect=True)
def test_equal_parts_are_made_once(loader_and_sweep: tuple[Any, DictConfig]) -> None:
    compose, make = Composer(*loader_and_sweep), Instantiator()

    def experiment(*job: str) -> Any:
        config = compose(job)
        OmegaConf.resolve(config)
        with open_dict(config):
            del config["hydra"]
        return make(config)

    one, two, other = experiment("seed=0"), experiment("seed=1"), experiment("seed=1", "fold=0", "folds=2")
    assert one.backbone is two.backbone
    assert one.target is two.target
    assert (one.target.fold, other.target.fold) == (None, 0)  # which it follows
