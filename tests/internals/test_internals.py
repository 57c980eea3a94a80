"""What other libraries do not promise: each test says what to mend when a new version moves it."""

from __future__ import annotations

import lightning as L
import omegaconf.base
import pytest
import torch
import torchvision
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import OmegaConf
from torch import nn

from tlfw.internals.lightning import begin_validation_anew, started_elsewhere
from tlfw.internals.omegaconf import child, parsing_once, written
from tlfw.internals.torch import BatchNorm
from tlfw.internals.torchvision import files_of_pcam, load_as_any_module, patches, renormalised


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_every_batch_normalisation_is_known(kind: type[nn.Module]) -> None:
    assert issubclass(kind, BatchNorm)


def test_no_other_normalisation_is_one() -> None:
    assert not issubclass(nn.GroupNorm, BatchNorm)
    assert not issubclass(nn.LayerNorm, BatchNorm)


def test_inception_renormalises_only_where_it_is_asked() -> None:
    x_BCHW = torch.rand(2, 3, 8, 8)
    for asked in (False, True):
        model = torchvision.models.GoogLeNet(num_classes=2, aux_logits=False, transform_input=asked, init_weights=False)
        assert torch.equal(renormalised(model, x_BCHW), x_BCHW) is not asked


def test_a_vision_transformer_gives_its_patches() -> None:
    model = torchvision.models.VisionTransformer(32, 16, 1, 2, 8, 8, num_classes=2)
    assert patches(model, torch.rand(2, 3, 32, 32)).shape == (2, 4, 8)


def test_mnasnet_loads_tensors_without_a_version() -> None:
    model = torchvision.models.mnasnet0_5(num_classes=2)
    plain = dict(model.state_dict())
    load_as_any_module(model)
    model.load_state_dict(plain)


def test_pcams_files_are_where_torchvision_puts_them(tmp_path) -> None:
    found = object.__new__(torchvision.datasets.PCAM)
    found._split, found._base_folder = "test", tmp_path
    assert [file.suffix for file in files_of_pcam(found)] == [".h5", ".h5"]


@pytest.mark.parametrize("how", ["popen", "spawn", "fork"])
def test_a_strategy_that_is_started_elsewhere_starts_nothing(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    given = DDPStrategy(start_method=how, find_unused_parameters=True)
    made = L.Trainer(
        accelerator="cpu", devices=2, strategy=started_elsewhere(given), logger=False, enable_checkpointing=False,
        plugins=[TorchElasticEnvironment()],
    )  # fmt: skip
    made.strategy._configure_launcher()
    assert isinstance(made.strategy.launcher, _SubprocessScriptLauncher)  # which leaves it to the environment
    assert made.strategy.cluster_environment.creates_processes_externally
    assert made.strategy._ddp_kwargs == {"find_unused_parameters": True}
    assert given._start_method == how


class _Saves(L.Callback):
    """A checkpoint from the middle of a validation."""

    def __init__(self, file: str) -> None:
        self.file = file

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict) -> None:
        begin_validation_anew(checkpoint)

    def on_validation_batch_end(self, trainer: L.Trainer, *given: object) -> None:
        if trainer.global_step == 2 and given[3] == 1:
            trainer.save_checkpoint(self.file)


class _Counts(L.Callback):
    batches = 0

    def on_validation_batch_end(self, *_: object) -> None:
        self.batches += 1


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")
def test_a_validation_that_was_begun_is_run_from_its_first_batch(tmp_path) -> None:
    """If the count is another, Lightning keeps its progress elsewhere: look at `checkpoint["loops"]`."""
    quiet = {
        "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
        "default_root_dir": tmp_path, "max_steps": 4, "limit_val_batches": 3, "num_sanity_val_steps": 0,
        "val_check_interval": 2, "limit_train_batches": 4,
    }  # fmt: skip
    file = str(tmp_path / "a.ckpt")
    L.Trainer(**quiet, callbacks=[_Saves(file)], enable_checkpointing=False).fit(BoringModel())
    counts = _Counts()
    L.Trainer(**quiet, callbacks=[counts], enable_checkpointing=False).fit(
        BoringModel(), ckpt_path=file, weights_only=False
    )
    assert counts.batches == 6  # the validation that was cut, whole, and the last one


def test_an_interpolation_is_seen_as_it_was_written() -> None:
    config = OmegaConf.create({"a": {"b": "${c}"}, "c": 3, "d": ["${c}"]})
    assert written(child(child(config, "a"), "b")) == "${c}"
    assert written(child(child(config, "d"), "0")) == "${c}"
    for node, name in ((config, "x"), (config.d, "7"), (child(config, "c"), "a")):
        with pytest.raises(LookupError):
            child(node, name)


def test_an_interpolation_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    own = omegaconf.base.parse
    monkeypatch.setattr(omegaconf.base, "parse", lambda text, *more: parsed.append(text) or own(text, *more))
    config = OmegaConf.create({"a": "${b.c}", "b": {"c": 1}})
    with parsing_once():
        found = []
        for value in (1, 2, 3):
            config.b.c = value
            found.append(config.a)
    assert (found, parsed) == ([1, 2, 3], ["${b.c}"])
    assert config.a == 3
    assert parsed == ["${b.c}"] * 2
