"""The second pass of planning: the images, how long each stage trains on them, and what is odd about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from tlfw.backbones.backbone import Backbone
from tlfw.backbones.input_spec import InputSpec
from tlfw.errors import ConfigError, at
from tlfw.limits import most_images
from tlfw.runs.check import Checked
from tlfw.runs.experiment_data import Memo, SeenData, look
from tlfw.runs.match_budget import Length, lengths
from tlfw.training.features import heads_alone, stored_blocks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looked:
    """What the images say.

    Attributes:
        lengths: stage -> how long it trains.
        stored: stage -> how many of the first blocks it takes from stored features.
        alone: the stages that train nothing but linear heads on these.
        remarks: what a person should know before anything trains, and is no error: sentences.
    """

    data: SeenData
    lengths: Mapping[str, Length]
    stored: Mapping[str, int]
    alone: frozenset[str]
    remarks: tuple[str, ...]


def look_at_data(checked: Checked, memo: Memo) -> Looked:
    """Read and divide the images, and find out how long each stage trains.

    Raises:
        ConfigError: the images cannot be had, or not be divided so; its field is the full one.
    """
    asked, backbone, network = checked.asked, checked.asked.backbone, checked.network
    data = look(backbone, checked.needed, asked.copies, asked.manifests, memo, checked.beside)
    long = lengths(checked.stages, checked.trained, asked.match, network.blocks, backbone, data)
    odd = (*data.remarks, *network.remarks, *_of_inputs(backbone, data), *_remarks(long, checked.numerics.most_steps))
    _check_validated(data, checked.world_size)
    for name, length in long.items():
        with at(f"data_mix.stages.{name}"):
            _check_batch(length.per_batch, data, checked.world_size)
            if sum(length.per_batch.values()) == checked.world_size:
                backbone.check_single_images(data.image_size, checked.frozen[name])
    stored = {}
    for name, stage in checked.stages.items():
        views = [data.views[each] for each in stage.names]
        stored[name] = stored_blocks(checked.policies[name], checked.frozen[name], network, views)
    alone = frozenset(name for name, blocks in stored.items() if heads_alone(network, blocks, checked.numerics))
    return Looked(data=data, lengths=long, stored=stored, alone=alone, remarks=odd)


FEW_STEPS = 10
"""A stage of fewer is hardly one: a learning rate has no time to rise and fall."""


def _remarks(long: Mapping[str, Length], most_steps: int) -> list[str]:
    """What is odd about how long stages train: where a budget is small, and where the trainer cuts it."""
    found = [
        f"{name} takes {length.steps} step{'s' * (length.steps != 1)} of {sum(length.per_batch.values())} images; "
        "fewer than ten hardly learn"
        for name, length in long.items()
        if length.steps < FEW_STEPS
    ]
    if cut := [name for name, length in long.items() if length.steps > most_steps]:
        found.append(f"trainer.max_steps ends {' and '.join(cut)} after {most_steps} steps: to try out, not to compare")
    return found


def _of_inputs(backbone: Backbone, data: SeenData) -> list[str]:
    """Where nobody says how images were prepared for the given weights, how they are now."""
    if backbone.weights is None or backbone.input_spec is not None:
        return []
    size = data.image_size
    file, usual = Path(backbone.weights).name, InputSpec(size=size, resize=size)
    return [
        f"it is not known how images were prepared where {file} was learnt; they are taken at {usual}, where source "
        "and target do not say otherwise: backbone.preprocessing says it"
    ]


def _check_validated(data: SeenData, world_size: int) -> None:
    """Each process needs an image to validate on: one that has none would leave the others waiting."""
    for name, division in data.divisions.items():
        if len(division.val) < world_size:
            raise ConfigError(
                f"{name}.val_fraction",
                f"{len(division.val)} images to validate on cannot be shared by {world_size} processes.",
                "Choose a larger one, or fewer trainer.devices.",
            )


def _check_batch(per_batch: Mapping[str, int], data: SeenData, world_size: int) -> None:
    count, most = sum(per_batch.values()), most_images(data.image_size) * world_size
    if count > most:
        raise ConfigError(
            "batch_size",
            f"{count:,} images of {data.image_size} px, as float32, take more than half of the memory.",
            f"Use at most {most:,}.",
        )
    if uneven := [name for name, count in per_batch.items() if count % world_size]:
        raise ConfigError(
            "batch_size",
            f"{per_batch[uneven[0]]} images of {uneven[0]} in a batch cannot be shared evenly by {world_size} "
            "processes.",
            "Choose it so that each data set's share can be divided.",
        )
    if alone := [name for name, count in per_batch.items() if data.views[name].mixes and count < 2 * world_size]:
        raise ConfigError(
            "batch_size",
            f"{alone[0]}.augmentation mixes images, and a process has only one of {alone[0]} in a batch.",
            "Choose a larger one, or another augmentation.",
        )
