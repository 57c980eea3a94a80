"""Law 8: every option composes and instantiates."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tlfw import CONF
from tlfw.backbones.families import all_names
from tlfw.data.pictures.augmentation import AUGMENTATIONS
from tlfw.runs.experiment import Experiment

OPTIONS = sorted(p.relative_to(CONF) for p in CONF.rglob("*.yaml") if p.name not in ("config.yaml", "base.yaml"))
GIVEN = {
    "data@target": ["target.root=x"],
    "data@source": ["source.root=x"],
    "experiment": ["source.root=x", "target.root=x"],
}


def choices() -> list[list[str]]:
    found = []
    for option in OPTIONS:
        group, name = str(option.parent), option.stem
        for place in ["data@source", "data@target"] if group == "data" else [group]:
            override = f"+{place}={name}" if group == "experiment" else f"{place}={name}"
            text = (CONF / option).read_text()
            needed = GIVEN.get(place, []) if "root: ???" in text or "folder" in option.stem else []
            if "name: ???" in text:
                needed = [f"{place.removeprefix('data@')}.name=DTD"]
            found.append([override, *needed])
    return found


@pytest.mark.parametrize("overrides", choices(), ids=lambda o: o[0])
def test_every_option_composes_and_instantiates(overrides: list[str]) -> None:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        config = compose("config", overrides=overrides)
    made = instantiate(config)
    assert isinstance(made, Experiment)
    assert OmegaConf.missing_keys(config) == set()


def test_an_epoch_of_a_mixture_is_one() -> None:
    """Mixes that train on both sets see as many images as two steps do, up to half a batch, whatever is in a batch."""
    sizes = {"source": 1000, "target": 80}
    seen = {}
    for name in ("pretrain_finetune", "joint", "pretrain_joint", "target_only"):
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            mix = instantiate(compose("config", overrides=[f"data_mix={name}"])).data_mix
        loads = [each.workload(sizes) for each in mix.stages.values()]
        seen[name] = sum(each.steps * each.batch for each in loads)
    asked = 10 * sizes["source"] + 20 * sizes["target"]
    assert seen["target_only"] == 20 * sizes["target"]
    for name in ("pretrain_finetune", "joint", "pretrain_joint"):
        assert asked <= seen[name] < asked + 64, (name, seen)


def test_there_is_an_option_for_every_backbone() -> None:
    assert {p.stem for p in (CONF / "backbone").glob("*.yaml")} == set(all_names())


def test_the_groups_are_those_that_are_promised() -> None:
    assert {p.name for p in CONF.iterdir() if p.is_dir()} == {
        "backbone", "data", "data_mix", "freeze_policy", "optimizer", "schedule", "trainer", "tracking", "experiment"
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_an_experiment_is_called_what_its_file_is_called(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# @package _global_\n")
    assert f"\nname: {path.stem}\n" in text


def test_the_comment_says_which_augmentations_there_are() -> None:
    assert " | ".join(AUGMENTATIONS) in (CONF / "data" / "base.yaml").read_text()
