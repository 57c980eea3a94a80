"""Which numbers a trainer gives, here and on a machine that is not here."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from tests.tiny import TRAINER
from tlfw.errors import ConfigError
from tlfw.identity.names import canonical, digest
from tlfw.numerics.hardware import Machine
from tlfw.numerics.tag import Numerics, numerics_of
from tlfw.numerics.trainer import trainer
from tlfw.runs.check import numerics_known
from tlfw.runs.experiment_data import Memo
from tlfw.store.facts import Facts

Patch = pytest.MonkeyPatch

SLURM = {
    "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "sweep", "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NTASKS_PER_NODE": "2",
}  # fmt: skip


def of(settings: dict[str, Any], machine: Machine | None = None, threads: int | None = None) -> Numerics:
    return numerics_of(partial(L.Trainer, **settings), threads, machine=machine)


@pytest.fixture
def gpus(monkeypatch: Patch) -> None:
    """Four, as far as Lightning can see."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr("lightning.fabric.accelerators.cuda.num_cuda_devices", lambda: 4)
    monkeypatch.setattr("lightning.pytorch.accelerators.cuda.num_cuda_devices", lambda: 4)
    monkeypatch.setattr(
        "lightning.fabric.utilities.device_parser._check_cuda_matmul_precision", lambda _: None, raising=False
    )


ON_GPUS = (
    {}, {"accelerator": "auto", "devices": 1}, {"accelerator": "gpu", "devices": 2, "strategy": "ddp"},
    {"accelerator": "cuda", "devices": "auto", "precision": "bf16-mixed"}, {"devices": -1, "strategy": "ddp_spawn"},
    {"devices": [0, 2]}, {"devices": "0,1,2"}, {"devices": "2", "precision": "16-mixed"},
    {"devices": 2, "num_nodes": 3}, {"accelerator": "cpu", "devices": 2},
    {"devices": 1, "precision": 32}, {"devices": 2, "sync_batchnorm": True},
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:GPU available but not used")
@pytest.mark.parametrize("settings", ON_GPUS, ids=str)
def test_a_tag_of_a_machine_with_gpus_is_what_it_is_there(
    gpus: None, monkeypatch: Patch, settings: dict[str, Any]
) -> None:
    there = of(settings)
    monkeypatch.undo()  # and here there is none
    if torch.cuda.is_available():
        pytest.skip("this machine has GPUs itself")
    here = of(settings, Machine("cuda", 4, torch.get_num_threads(), settings.get("num_nodes", 1)))
    assert digest(here.tag) == digest(there.tag)
    assert dict(here.tag) == dict(there.tag)
    assert (here.keyed, here.most_steps) == (there.keyed, there.most_steps)


@pytest.mark.filterwarnings("ignore:You passed .* AMP with fp16 is not supported on CPU")
@pytest.mark.parametrize(
    "settings",
    [{}, {"devices": "auto"}, {"accelerator": "cpu", "devices": 3, "strategy": "ddp"}, {"precision": "16-mixed"}],
    ids=str,
)
@pytest.mark.parametrize("threads", [None, 3])
def test_a_tag_of_a_machine_without_gpus_is_what_it_is_there(
    monkeypatch: Patch, settings: dict[str, Any], threads: int | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    there = of(settings, threads=threads)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert dict(of(settings, Machine("cpu", 1, 2), threads).tag) == dict(there.tag)
    assert there.tag["threads"] == (threads or 2)


@pytest.mark.parametrize(
    ("settings", "machine", "said"),
    [
        ({"devices": 3}, Machine("cuda", 2, 1), r"trainer.devices: 3 were asked for, .* has 2\. Use at most 2"),
        (
            {"num_nodes": 2},
            Machine("cpu", 1, 1),
            r"trainer.num_nodes: it is 2, and hydra.launcher.nodes gives a job 1\.",
        ),
        ({}, Machine("cpu", 1, 1, 3), r"trainer.num_nodes: it is 1, and hydra.launcher.nodes gives a job 3\."),
        ({"accelerator": "gpu"}, Machine("cpu", 1, 1), r"trainer.accelerator: gpu was asked for, .* computed on cpu\."),
        ({"sync_batchnorm": True}, Machine("cpu", 1, 1), r"trainer.sync_batchnorm: PyTorch has no .* Leave it out"),
        ({"strategy": "fsdp"}, Machine("cuda", 2, 1), r"trainer.strategy: fsdp divides the model.* Use ddp"),
        ({"max_epochs": 3}, Machine("cuda", 2, 1), r"trainer.max_epochs: tlfw decides that itself"),
        ({"no_such": 3}, Machine("cuda", 2, 1), r"trainer: Lightning refuses it: .*no_such"),
    ],
)
def test_what_a_machine_cannot_do_is_refused(settings: dict[str, Any], machine: Machine, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        of(settings, machine)


def test_a_processor_that_is_not_known_is_no_part_of_a_key() -> None:
    with pytest.raises(ConfigError, match=r"exact: .* a cuda, is not known here.* exact=false"):
        numerics_of(partial(L.Trainer), 1, exact=True, machine=Machine("cuda", 1, 1))
    here = numerics_of(TRAINER, 1, exact=True)
    assert dict(numerics_of(TRAINER, 1, exact=True, machine=Machine("cpu", 1, 1)).tag) == dict(here.tag)


def test_a_memo_knows_the_machine_of_the_jobs() -> None:
    trainer = partial(L.Trainer, accelerator="auto", devices="auto")
    assert numerics_known(trainer, None, False, Memo(Machine("cuda", 4, 7)), Facts(None)).tag["world_size"] == 4
    assert numerics_known(trainer, None, False, Memo(Machine("cpu", 1, 7)), Facts(None)).tag["threads"] == 7
    assert numerics_known(trainer, None, False, Memo(), Facts(None)).tag["threads"] == torch.get_num_threads()


def test_slurms_variables_decide_nothing(monkeypatch: Patch) -> None:
    plain = [of({"accelerator": "cpu", "devices": n, **how}).tag for n, how in ((1, {}), (2, {"strategy": "ddp"}))]
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    found = [of({"accelerator": "cpu", "devices": n, **how}).tag for n, how in ((1, {}), (2, {"strategy": "ddp"}))]
    assert [dict(tag) for tag in found] == [dict(tag) for tag in plain]
    assert [tag["world_size"] for tag in found] == [1, 2]


def test_how_processes_are_started_decides_nothing_and_how_many_does() -> None:
    two = {"accelerator": "cpu", "devices": 2}
    tags = {digest(of({**two, "strategy": name}).tag) for name in ("auto", "ddp", "ddp_spawn", "ddp_fork")}
    assert len(tags) == 1
    assert "ranks" not in of({"accelerator": "cpu"}).tag
    assert of(two).tag["ranks"] == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sync_batchnorm": True}, r"trainer.sync_batchnorm: PyTorch has no BatchNorm over processes on the CPU"),
        ({"plugins": []}, r"trainer.plugins: tlfw decides that itself: it starts a run's processes.*Leave it out"),
        ({"devices": 2, "strategy": "deepspeed"}, r"trainer.strategy: deepspeed divides the model"),
    ],
)
def test_what_cannot_be_started_here_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        of({"accelerator": "cpu", **settings})


def test_what_is_known_of_a_trainer_is_what_lightning_says(tmp_path: Path, monkeypatch: Patch) -> None:
    facts, plain = Facts(tmp_path), partial(trainer, accelerator="cpu", devices=2, strategy="ddp", precision=32)
    first, again = (numerics_of(plain, 1, facts=facts) for _ in range(2))
    facts.keep()
    assert first == again == numerics_of(partial(L.Trainer, **plain.keywords), 1)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr("tlfw.numerics.lightning_facts.made", lambda *_: pytest.fail("asked again"))
    assert numerics_of(plain, 1, facts=Facts(tmp_path)) == first


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "SLURM_NTASKS", "WORLD_SIZE", "PL_TRAINER_DEVICES"])
def test_lightning_is_asked_again_where_it_may_see_something_else(
    tmp_path: Path, monkeypatch: Patch, name: str
) -> None:
    facts = Facts(tmp_path)
    numerics_of(partial(trainer, accelerator="cpu"), 1, facts=facts)
    monkeypatch.setenv(name, "1")
    numerics_of(partial(trainer, accelerator="cpu"), 1, facts=facts)
    facts.keep()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_trainer_has_one_name_by_whichever_door() -> None:
    assert canonical(partial(trainer, devices=1)) == canonical(partial(L.Trainer, devices=1))
    assert type(trainer(accelerator="cpu", logger=False, enable_checkpointing=False)) is L.Trainer
