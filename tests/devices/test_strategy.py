"""What Lightning is told of processes."""

from __future__ import annotations

import lightning as L
import pytest
from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from tlfw.devices import ranks
from tlfw.devices.ranks import Ranks
from tlfw.devices.strategy import alone, check_started, of_stage, plain, together
from tlfw.errors import ConfigError, TrainingFailed

QUIET = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}


@pytest.fixture
def in_rank_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "SLURM_NTASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ranks, "_HERE", [Ranks(rank=1, local=1, count=2, device="cuda")])


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("ddp", "ddp"), ("ddp_spawn", "ddp"), ("ddp_fork", "ddp"), ("ddp_notebook", "ddp"), ("auto", "auto"),
        ("ddp_spawn_find_unused_parameters_true", "ddp_find_unused_parameters_true"),
        ("ddp_find_unused_parameters_false", "ddp_find_unused_parameters_false"),
    ],
)  # fmt: skip
def test_how_processes_start_is_no_part_of_a_strategy(given: str, found: str) -> None:
    assert plain(given) == found
    made = L.Trainer(**QUIET, devices=2, **together(given)).strategy
    assert type(made) is DDPStrategy
    assert made._ddp_kwargs == ({"find_unused_parameters": "true" in given} if "unused" in given else {})


@pytest.mark.parametrize("name", ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_2", "xla", "xla_fsdp"])
def test_a_strategy_that_divides_the_model_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"trainer.strategy: {name} divides the model.* Use ddp"):
        together(name)


def test_slurms_variables_make_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLURM_NTASKS": "2",
        "SLURM_JOB_NAME": "train",
        "SLURM_PROCID": "1",
        "SLURM_JOB_ID": "1",
    }.items():
        monkeypatch.setenv(name, value)
    made = L.Trainer(**QUIET, devices=2, **together("ddp"))
    assert isinstance(made.strategy.cluster_environment, LightningEnvironment)
    assert made.world_size == 2
    with pytest.raises(TrainingFailed, match="takes 2 processes"):
        check_started(made)


@pytest.mark.parametrize("name", ["ddp", "ddp_spawn", "auto", None])
def test_one_device_needs_no_connections(name: str | None) -> None:
    assert type(L.Trainer(**QUIET, devices=1, **of_stage(name)).strategy) is SingleDeviceStrategy
    with pytest.raises(TrainingFailed, match="takes 2 processes"):
        check_started(L.Trainer(**QUIET, devices=2, **of_stage(name)))


@pytest.mark.usefixtures("in_rank_1")
def test_a_rank_knows_its_place() -> None:
    made = L.Trainer(**QUIET, devices=2, **of_stage(None))
    assert isinstance(made.strategy.cluster_environment, TorchElasticEnvironment)
    assert type(made.strategy) is DDPStrategy
    assert (made.global_rank, made.world_size) == (1, 2)
    check_started(made)


@pytest.mark.usefixtures("in_rank_1")
def test_what_a_rank_computes_alone_is_on_its_own_device() -> None:
    settings = alone()
    assert settings["devices"] == [1]
    made = L.Trainer(**QUIET, **settings | {"devices": 1})
    assert type(made.strategy) is SingleDeviceStrategy
    assert made.world_size == 1
