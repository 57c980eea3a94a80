"""A run's model, rebuilt from the run's folder alone."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.model import Model
from tlfw.backbones.recipe import remade
from tlfw.backbones.weights import CHECKPOINT
from tlfw.data.pictures.preprocessing import Preprocessing
from tlfw.errors import ConfigError
from tlfw.records.record import FILE as RECORD
from tlfw.records.record import Record, replace_text
from tlfw.store.seal import checksum
from tlfw.strictness import STRICT
from tlfw.training.predictions import PREDICTIONS

SCHEMA = 2
VIEWED = 1
"""The schema in which `preprocessing` was called `view`, and images were resized by Pillow."""
RESIZED_OTHERWISE = (
    "the run is of an earlier version, which resized images by Pillow and showed colours under transparency: "
    "probabilities may differ a little from those in its folder"
)
FILE = "model.json"
LEFT = (PREDICTIONS, CHECKPOINT, FILE)
"""Files that a run leaves when it is done, beside its record."""

NEAR_COPIES = "near_copies"
"""The folder beside those of runs in which small pictures of near copies are kept."""

HEAD = "target"
"""The head that is rebuilt."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Blueprint:
    """What rebuilding a run's model takes beside its weights: `model.json`.

    Args:
        run_id: as in the record.
        backbone: a `Backbone.recipe`, of any version.
        transform_input: whether images are renormalised inside the model, as torchvision's published
            weights of two architectures expect.
        classes: data set -> its classes' names, in the order of their head's logits; those that no class
            has are called `unused 10` and so on.
        preprocessing: what the network gets of the target's images when nothing is learnt from them.
        checkpoint_sha256: of the file beside it.
        schema: in which it was written.
    """

    run_id: str
    backbone: dict[str, Any]
    transform_input: bool
    classes: dict[str, tuple[str, ...]]
    preprocessing: Preprocessing
    checkpoint_sha256: str
    schema: int = SCHEMA

    @classmethod
    def read(cls, folder: Path) -> Blueprint:
        """The blueprint in a run's folder.

        Raises:
            ConfigError: it is missing, damaged or of another schema.
        """
        path = folder / FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            schema = facts["schema"]
            if schema == VIEWED:
                facts["preprocessing"] = facts.pop("view")
        except FileNotFoundError as problem:
            raise ConfigError("run", f"{path} is missing.", "Copy it too, or run the same command again.") from problem
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise _damaged(path, problem) from problem
        if schema not in (VIEWED, SCHEMA):
            raise ConfigError(
                "run",
                f"{path} has schema {schema!r}, where this tlfw reads {VIEWED} and {SCHEMA}.",
                "Use the tlfw that wrote it.",
            )
        try:
            return _BLUEPRINT.validate_json(json.dumps(facts))
        except ValidationError as problem:
            first = problem.errors()[0]
            raise _damaged(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from problem

    def write(self, folder: Path) -> None:
        """Put `model.json` into a run's folder, whole or not at all."""
        facts = _BLUEPRINT.dump_python(self, mode="json")
        replace_text(folder / FILE, json.dumps(facts, indent=1) + "\n")

    def architecture(self, backbone: Backbone) -> nn.Module:
        """The whole classifier with the target's number of logits and random weights; downloads nothing.

        Args:
            backbone: remade of the blueprint's recipe.
        """
        model = backbone.build(len(self.classes[HEAD]), self.preprocessing.size, seed=0)
        if self.transform_input:
            setattr(model, "transform_input", True)  # noqa: B010 of a module whose class is not known
        return model

    def classifier(self, backbone: Backbone, state: dict[str, Tensor]) -> nn.Module:
        """The same with a run's weights, in evaluation mode.

        Args:
            state: a run's checkpoint.

        Raises:
            RuntimeError: it is of another model.
        """
        model = self.architecture(backbone)
        model.load_state_dict(_as_one_model(state, backbone.family.head), strict=True)
        return model.to(memory_format=torch.channels_last).eval()


_BLUEPRINT = TypeAdapter(Blueprint)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A trained classifier and all that is needed to use it.

    Attributes:
        model: `x_BCHW` float32 -> logits `[B, classes]`; one whole classifier, in evaluation mode on the CPU.
        transform: a PIL image of any mode, as `Image.open` gives it -> float32 `[3, size, size]`, as the run's test
            images were seen.
        classes: the classes' names, in the order of the logits.
        backbone: its architecture.
        blueprint: what it was rebuilt from.
    """

    model: nn.Module
    transform: Preprocessing
    classes: tuple[str, ...]
    backbone: Backbone
    blueprint: Blueprint

    def untrained(self) -> nn.Module:
        """The same classifier with random weights."""
        return self.blueprint.architecture(self.backbone)


def load(run: str | os.PathLike[str], trust: Collection[str] = ()) -> LoadedModel:
    """Rebuild the model of a finished run. Its folder is enough, wherever it was copied to.

    Args:
        run: the run's folder, `outputs/runs/NAME-KEY`, or the `record.json` in it.
        trust: modules of other people's, or of your own, from which a network's class may be imported. Importing runs
            their code; of a run with one of tlfw's own networks nothing is imported.

    Raises:
        ConfigError: there is no such run, it failed, a file of it is missing or damaged, or its network is of a module
            that is not trusted.
    """
    if isinstance(trust, str):
        trust = (trust,)
    folder = _folder(Path(run).expanduser())
    blueprint = Blueprint.read(folder)
    path = folder / CHECKPOINT
    try:
        whole = checksum(path) == blueprint.checkpoint_sha256
    except OSError as problem:
        raise ConfigError("run", f"{path} cannot be read ({problem}).", "Copy it too.") from problem
    if not whole:
        raise ConfigError(
            "run",
            f"{path} is damaged: its checksum is not the one in {FILE}.",
            "Copy it again, or make the run again with force=true.",
        )
    backbone = remade(blueprint.backbone, trust)
    try:
        model = blueprint.classifier(backbone, safetensors.torch.load_file(path))
    except RuntimeError as problem:
        raise ConfigError("run", f"{path} does not fit {FILE}: {problem}", "Use files of one run.") from problem
    return LoadedModel(
        model=model,
        transform=blueprint.preprocessing,
        classes=blueprint.classes[HEAD],
        backbone=backbone,
        blueprint=blueprint,
    )


def leave(
    folder: Path, model: Model, *, run_id: str, classes: dict[str, tuple[str, ...]], preprocessing: Preprocessing
) -> None:
    """Put `model.json` beside the checkpoint in a run's folder.

    Args:
        model: whose weights the checkpoint holds.
        classes: data set -> its classes' names; at least the target's.
        preprocessing: what the network gets of the target's images when nothing is learnt from them.
    """
    blueprint = Blueprint(
        run_id=run_id,
        backbone=model.backbone.recipe(),
        transform_input=bool(getattr(model.trunk.model, "transform_input", False)),
        classes={
            name: (*own, *(f"unused {i}" for i in range(len(own), model.classes[name])))
            for name, own in classes.items()
        },
        preprocessing=preprocessing,
        checkpoint_sha256=checksum(folder / CHECKPOINT),
    )
    blueprint.write(folder)


def _folder(run: Path) -> Path:
    """The folder of a run that is done."""
    folder = run.parent if run.name == RECORD else run
    remedy = "Give a run's folder, outputs/runs/NAME-KEY, or the record.json in it."
    if not folder.is_dir():
        raise ConfigError("run", f"there is no folder {folder.absolute()}.", remedy)
    try:
        record = Record.read(folder)
    except FileNotFoundError as problem:
        raise ConfigError("run", f"{folder.absolute()} has no {RECORD}, so it is no finished run.", remedy) from problem
    except (OSError, ValueError) as problem:
        raise ConfigError("run", f"{problem}.", "Use the tlfw that wrote it, or copy it again.") from problem
    if record.status != "done":
        raise ConfigError(
            "run",
            f"the run in {folder.absolute()} is not done ({record.status}: {record.error}).",
            "Run the same command again to finish it, or give another.",
        )
    return folder


def _as_one_model(state: dict[str, Tensor], head: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of the trunk and of the target's head as the whole classifier calls them.

    Args:
        head: paths of the submodules that make the head, in order.
    """
    names = {"trunk.model.": "", **{f"heads.{HEAD}.{i}.": f"{path}." for i, path in enumerate(head)}}
    return {
        own + name.removeprefix(start): tensor
        for start, own in names.items()
        for name, tensor in state.items()
        if name.startswith(start)
    }


def _damaged(path: Path, problem: Exception | str) -> ConfigError:
    return ConfigError(
        "run", f"{path} is damaged ({problem}).", "Copy it again, or make the run again with force=true."
    )
