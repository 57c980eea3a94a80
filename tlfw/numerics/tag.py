"""What numbers depend on besides their settings: the device, its precision, threads and processes, and versions."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from tlfw.devices.ranks import here
from tlfw.errors import ConfigError
from tlfw.identity.fields import KEYED, Decides, by_effect, unkeyed
from tlfw.identity.names import public_name
from tlfw.numerics.hardware import Machine, decoders, processor, products
from tlfw.numerics.trainer import LIGHTNINGS, TrainerFactory
from tlfw.store.facts import Facts

REVISION = 3
"""Raised whenever the same settings come to give other numbers, so that old results are not taken for new."""

REVISION_OF_RANKS = 1
"""The same for what several processes compute together. 1: a curve's training loss is the mean over them."""

TRAINER: Mapping[str, Decides] = {
    "accelerator": by_effect("the type of the device"),
    "strategy": by_effect("the number of processes, and the strategy's name if it divides the model as well"),
    "devices": by_effect("the number of processes"),
    "num_nodes": by_effect("the number of processes"),
    "precision": by_effect("the precision that Lightning makes of it"),
    "max_steps": by_effect("a stage's steps"),
    "log_every_n_steps": unkeyed("how often something is logged changes no weight"),
    "profiler": unkeyed("it only watches"),
}
"""What settings of `lightning.Trainer` decide. All others are keyed by value."""

OF_TRAINING = ("gradient_clip_val", "gradient_clip_algorithm", "limit_val_batches")
"""Settings of `lightning.Trainer` that change no number where nothing is trained."""


PRECISIONS = ("32-true", "32", "16-mixed", "bf16-mixed")
"""Those of `lightning.Trainer` that leave a model's weights in float32."""

PRECISION_NAMES = {"32": "32-true"}
"""What Lightning makes of one of them."""

REFUSED_TRAINER = {
    "accumulate_grad_batches": "batch_size is the effective batch",
    "max_time": "a budget is in epochs, steps or images, so that a run does not depend on the clock",
    "max_epochs": "a budget says how long a stage trains",
    "fast_dev_run": "trainer=smoke tries everything in three steps",
    "overfit_batches": "train_per_class says how many images there are",
    "limit_train_batches": "a budget says how long a stage trains",
    "limit_predict_batches": "all images are evaluated",
    "val_check_interval": "validations says how often",
    "check_val_every_n_epoch": "validations says how often",
    "reload_dataloaders_every_n_epochs": "tlfw orders the images",
    "use_distributed_sampler": "tlfw orders the images",
    "enable_checkpointing": "tlfw writes checkpoints",
    "enable_progress_bar": "tlfw shows how far a stage is",
    "enable_model_summary": "a backbone's blocks are known",
    "num_sanity_val_steps": "a stage validates at its end",
    "limit_test_batches": "all images are evaluated",
    "logger": "tracking says where metrics go",
    "callbacks": "they could change what a record says",
    "plugins": "it starts a run's processes, and trainer.precision says the precision",
    "default_root_dir": "outputs says where results go",
    "barebones": "it turns off what a record is made of",
}
"""Settings of `lightning.Trainer` that something else decides here, and what."""


NOTHING_KEPT = Facts(None)


@dataclasses.dataclass(frozen=True)
class Numerics:
    """How numbers are computed.

    Attributes:
        tag: what their last bit depends on besides the settings.
        keyed: the trainer's settings that numbers may depend on, and what makes it if that is not Lightning's own.
        most_steps: that the trainer allows a stage.
    """

    tag: Mapping[str, Any]
    keyed: Mapping[str, Any]
    most_steps: int

    @property
    def of_features(self) -> Mapping[str, Any]:
        """All of it that what frozen blocks say may depend on."""
        kept = {name: value for name, value in self.keyed.items() if name not in OF_TRAINING}
        return {**self.tag, "trainer": kept}


def numerics_of(
    trainer: TrainerFactory,
    threads: int | None,
    exact: bool = False,
    machine: Machine | None = None,
    facts: Facts = NOTHING_KEPT,
) -> Numerics:
    """Look at a trainer without training.

    Args:
        threads: of torch on the CPU; None: as many as it has now.
        exact: whether numbers of another processor, or of any other version of torch or Lightning, are others.
        machine: what will compute; None: what this process is on.
        facts: where it is kept what Lightning makes of a trainer's settings.

    Raises:
        ConfigError: something else decides one of its settings, Lightning refuses it, or the machine has no such
            devices.
    """
    settings: dict[str, Any] = dict(getattr(trainer, "keywords", {}))
    for name, instead in REFUSED_TRAINER.items():
        if name in settings:
            raise ConfigError(f"trainer.{name}", f"tlfw decides that itself: {instead}.", "Leave it out.")
    if (precision := str(settings.get("precision", "32-true"))) not in PRECISIONS:
        raise ConfigError(
            "trainer.precision",
            f"{precision} is none in which frozen weights keep their bits.",
            f"Use {', '.join(PRECISIONS)}.",
        )
    if settings.get("deterministic") not in (None, True, False, "warn"):
        raise ConfigError("trainer.deterministic", f"it is {settings['deterministic']!r}.", "Use true, false or warn.")
    if settings.get("max_steps") == 0:
        raise ConfigError(
            "trainer.max_steps", "it is 0, so nothing would be learnt.", "Use 1 or more, or -1 for no limit."
        )
    there = _on_machine(settings, machine) if machine else {}
    made = _made(trainer, there, facts)
    device = _device(settings, machine) if machine else made["device"]
    if settings.get("sync_batchnorm") and device == "cpu":
        raise ConfigError(
            "trainer.sync_batchnorm",
            "PyTorch has no BatchNorm over processes on the CPU.",
            "Leave it out, or train on GPUs.",
        )
    if exact and machine and device != _device_here():
        raise ConfigError(
            "exact",
            f"it makes the processor part of the key, and that of the jobs, a {device}, is not known here.",
            "Plan where they are computed, or use exact=false.",
        )
    if threads is None:
        threads = (machine.threads if machine else None) or torch.get_num_threads()
    tag = {
        "revision": REVISION,
        "device": device,
        "precision": made["precision"] if "precision" not in there else PRECISION_NAMES.get(precision, precision),
        "products": products(device),
        "threads": threads if device == "cpu" else None,
        "world_size": made["world_size"],
        "strategy": made["strategy"],
        "memory_format": "channels_last",
        "compile": None,  # a model is not compiled
        "micro_batch": None,  # a process takes its part of a batch at once
        "torch": _minor(torch.__version__),
        "torchvision": _minor(version("torchvision")),
        "decoders": decoders(),
    }
    if made["world_size"] > 1:
        tag["ranks"] = REVISION_OF_RANKS
    if exact:
        import torchvision  # whose own word has the build

        tag["exact"] = {
            "processor": processor(device),
            "lightning": version("lightning"),
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
            "cudnn": torch.backends.cudnn.version() if device == "cuda" else None,
        }
    keyed = {name: value for name, value in settings.items() if TRAINER.get(name, KEYED).by_value}
    limit = settings.get("max_steps", -1)
    return Numerics(tag, {**keyed, **_maker(trainer)}, limit if limit > 0 else 2**62)


def _made(trainer: TrainerFactory, there: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
    """What Lightning makes of a trainer's settings (`lightning_facts.made`); a rank asks it itself.

    Args:
        there: settings instead of the trainer's own.
    """

    def make() -> Mapping[str, Any]:
        from tlfw.numerics.lightning_facts import made  # Lightning takes seconds

        return made(trainer, there)

    return make() if here() else facts.get(make, "trainer", trainer, there, _surroundings())


HEEDED = re.compile(
    r"(?:SLURM|PL|LSB|JSM|OMPI|PMI|XLA|TPU|PJRT|XRT|KUBERNETES|TORCHELASTIC|CUDA|COLAB|LIGHTNING|MASTER|GROUP|ROLE)_\w+"
    r"|(?:LOCAL_|NODE_|GLOBAL_)?(?:RANK|WORLD_SIZE)"
)
"""Variables by which Lightning may see processes and devices that are not there without them."""


def _surroundings() -> dict[str, Any]:
    """What Lightning's choice of devices and processes depends on beside a trainer's settings."""
    return {
        "lightning": version("lightning"),
        "torch": str(torch.__version__),
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": torch.backends.mps.is_available(),
        "environment": {name: value for name, value in os.environ.items() if HEEDED.fullmatch(name)},
    }


def _device_here() -> str:
    """The type of device that Lightning would choose in this process."""
    from tlfw.numerics.lightning_facts import device_here

    return device_here()


def _on_machine(settings: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """Settings by which a trainer can be made here that is to compute there: as many processes, on the CPU.

    Raises:
        ConfigError: the machine has not what is asked for.
    """
    if (nodes := settings.get("num_nodes", 1)) != machine.nodes:
        raise ConfigError(
            "trainer.num_nodes",
            f"it is {nodes}, and hydra.launcher.nodes gives a job {machine.nodes}.",
            "Set both to the same number.",
        )
    if _device(settings, machine) == "cpu":
        return {"accelerator": "cpu"}
    asked = settings.get("devices", "auto")
    if str(asked) in ("auto", "-1"):
        count = machine.devices
    elif isinstance(asked, str) and "," in asked:
        count = len([part for part in asked.split(",") if part.strip()])
    else:
        count = len(asked) if isinstance(asked, list | tuple) else int(asked)
    if count > machine.devices:
        raise ConfigError(
            "trainer.devices",
            f"{count} were asked for, and a machine of the jobs has {machine.devices}.",
            f"Use at most {machine.devices}, or ask the launcher for more.",
        )
    return {"accelerator": "cpu", "devices": count, "precision": "32-true"}


def _device(settings: Mapping[str, Any], machine: Machine) -> str:
    """The type of device that a trainer takes of a machine.

    Raises:
        ConfigError: it has none of those that were asked for.
    """
    asked = str(settings.get("accelerator", "auto"))
    if asked in ("auto", machine.device) or (asked == "gpu" and machine.device in ("cuda", "mps")):
        return machine.device
    if asked == "cpu":
        return "cpu"
    raise ConfigError(
        "trainer.accelerator",
        f"{asked} was asked for, and the jobs are computed on {machine.device}.",
        "Use trainer=auto, which takes what is there, or ask the launcher for another machine.",
    )


def _maker(trainer: TrainerFactory) -> dict[str, Any]:
    """What makes the trainer, where it is a person's own."""
    if isinstance(trainer, functools.partial):
        own = public_name(trainer.func) != LIGHTNINGS or trainer.args
        return {"made_by": [trainer.func, *trainer.args]} if own else {}
    return {} if public_name(trainer) == LIGHTNINGS else {"made_by": [trainer]}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
