"""Runs that nobody made: records and predictions as a sweep leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlfw.identity.names import digest
from tlfw.records.plan_file import NAMES
from tlfw.records.record import Record
from tlfw.records.settings import flat

CLASSES = ("cat", "dog", "frog", "ship", "truck")
IMAGES = 200


def content_of(images: int, classes: Sequence[str] = CLASSES) -> str:
    """What a record says of test images."""
    return digest([images, list(classes)])


def kept_settings(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Those that decide numbers, and are no seed, no weights, and not where the images are divided."""
    others = (
        *("name", "outputs", "force", "until", "trial", "workers", "margin", "compare"),
        "seed",
        "source.split_seed",
        "target.split_seed",
        "threads",
        "checkpoint_seconds",
        "backbone.weights",
        "fold",
    )
    return {n: v for n, v in flat(whole).items() if n not in others and not n.startswith(("tracking.", "repeat"))}


def labels_of(images: int, classes: int = len(CLASSES)) -> np.ndarray:
    return np.arange(images) % classes


def correct(
    random: np.random.Generator, mean: float, *, hard_N: np.ndarray, by_seed: float = 0.1, rest: float = 1.0
) -> np.ndarray:
    """Whether a network is right on each image: a latent value above 0, in which seeds and images have a part."""
    latent_N = mean + by_seed * random.normal() + hard_N + rest * random.normal(size=len(hard_N))
    return latent_N > 0


def run(
    outputs: Path,
    data_mix: str,
    freeze_policy: str,
    seed: int,
    correct_N: np.ndarray,
    *,
    val: float | None = None,
    labelled: int | None = 10,
    draw: int = 0,
    lr: float = 0.001,
    backbone: str = "resnet18",
    settings: Mapping[str, Any] | None = None,
    classes: Sequence[str] = CLASSES,
    groups: Sequence[str] | None = None,
    sweep: str = "invented",
    **changes: Any,
) -> Record:
    """Leave a finished run whose predictions are right where `correct_N` is.

    Args:
        val: validation accuracy; None: the test's.
        draw: which images are labelled.
        changes: fields of the record that are others.
    """
    labels_N = labels_of(len(correct_N), len(classes))
    prediction_N = np.where(
        correct_N, labels_N, (labels_N + 1 + np.arange(len(labels_N)) % min(3, max(len(classes) - 1, 1))) % len(classes)
    )
    accuracy = float(correct_N.mean())
    steps = {"pretrain": 500, "adapt": 150}
    names = ["pretrain", "adapt"] if data_mix.startswith("pretrain") else ["adapt"]
    part = {"pretrain": {"source": 64}, "adapt": {"target": 32}}
    if "joint" in data_mix:
        part["adapt"] = {"target": 16, "source": 16}
        steps["adapt"] = 300 if data_mix == "pretrain_joint" else 650
    whole = {
        "seed": seed,
        "backbone": {"name": backbone, "weights": None},
        "source": {"split_seed": 0},
        "target": {"train_per_class": labelled, "split_seed": draw},
        "freeze_policy": {"lr_head": lr, "n": {"last_layer": 0, "full": "all"}.get(freeze_policy, 1)},
        **(settings or {}),
    }
    kept = None if data_mix == "target_only" else round(0.9 - 0.3 * (freeze_policy == "full") + 0.01 * seed, 3)

    def curve(name: str) -> list[dict[str, float]]:
        points = []
        for i in (1, 2, 3):
            point = {"step": steps[name] * i // 3, "train/loss": 2.0 / i}
            point |= {f"{data}/val/acc": 0.3 * i - 0.05 for data in part[name]}
            point |= {f"{data}/val/loss": 1.5 / i for data in part[name]}
            points.append(point)
        return points

    def flops(name: str) -> int:
        backward = 0 if name == "adapt" and freeze_policy == "last_layer" else 2
        return steps[name] * sum(part[name].values()) * 10**8 * (1 + backward)

    stages = [
        {
            "name": name,
            "key": digest([name, seed, backbone] + ([] if name == "pretrain" else [data_mix, freeze_policy, whole])),
            "reused": name == "pretrain",
            "seconds": steps[name] / 20,
            "images_seen": steps[name] * sum(part[name].values()),
            "train_flops": flops(name),
            "direct_flops": flops(name),
            "steps": steps[name],
            "per_batch": part[name],
            "curve": curve(name),
            "metrics": {f"{data}/val/acc": 0.85 for data in part[name]},
        }
        for name in names
    ]
    record = Record(
        **{
            "run_id": digest([data_mix, freeze_policy, whole]),
            "setting": digest([data_mix, freeze_policy, kept_settings(whole)]),
            "status": "done",
            "experiment": sweep,
            "sweep": sweep,
            "seed": seed,
            "paradigm": {"data_mix": data_mix, "freeze_policy": freeze_policy},
            "backbone": backbone,
            "source": None if data_mix == "target_only" else "general",
            "target": "mine",
            "labels": ["random_features"] if data_mix == "joint" and freeze_policy != "full" else [],
            "images": {"target": {"train": 40, "val": 10, "test": len(correct_N)}},
            "content": {
                "target": {"train": f"a{draw}", "val": f"b{draw}", "test": content_of(len(correct_N), classes)}
            },
            "settings": whole,
            "metrics": {
                "target/val/acc": accuracy if val is None else val,
                "target/val/loss": 1.0,
                "target/val/balanced_acc": accuracy if val is None else val,
                "target/val/macro_f1": accuracy if val is None else val,
                "source/val/acc": kept,
                "source/val/loss": None if kept is None else 0.5,
                "target/test/acc": accuracy,
                "target/test/loss": 1 - accuracy,
                "target/test/balanced_acc": accuracy,
                "target/test/macro_f1": accuracy,
                "target/test/ece": 0.1,
            },
            "stages": stages,
            "certificate": {"claimed": True, "holds": True},
            "wandb": {"id": None, "mode": None, "dir": None},
            "cost": {
                "seconds": sum(stage["seconds"] for stage in stages) + 1,
                "seconds_spent": stages[-1]["seconds"] + 1,
                "train_flops": sum(stage["train_flops"] for stage in stages),
                "train_flops_spent": stages[-1]["train_flops"],
                "peak_memory_bytes": 10**9,
            },
            "environment": {"device": "cpu", "numerics": {"device": "cpu", "threads": 1}},
            "trains": {"last_layer": "head", "full": "all"}.get(freeze_policy, "blocks"),
            "drawn": None if labelled is None else labelled / 200,
            **changes,
        }
    )
    folder = outputs / "runs" / f"{data_mix}-{freeze_policy}-{backbone}-s{seed}-{record.run_id[:12]}"
    folder.mkdir(parents=True)
    if record.status != "done":
        record.write(folder)
        return record
    np.savez_compressed(
        folder / "predictions.npz",
        index=np.arange(len(labels_N)),
        label=labels_N,
        prediction=prediction_N,
        log_prob=np.where(correct_N, -0.1, -2.0).astype(np.float32),
        confidence=(0.4 + 0.55 * correct_N * ((labels_N + 3) % 7) / 7 + 0.04 * (seed % 3)).astype(np.float32),
        name=np.asarray([f"mine/test/{classes[label]}/{i}.png" for i, label in enumerate(labels_N)]),
        classes=np.asarray(classes),
        **({} if groups is None else {"group": np.asarray(groups)}),
    )
    record.write(folder)
    return record


MIXES = ("pretrain_finetune", "joint", "pretrain_joint")
GRID = [*((mix, policy) for mix in MIXES for policy in ("last_layer", "last_layers", "full")), ("target_only", "full")]


def sweep(
    outputs: Path,
    *,
    seeds: int = 3,
    images: int = IMAGES,
    labelled: Sequence[int | None] = (10,),
    backbones: Sequence[str] = ("resnet18",),
    best: Mapping[tuple[str, str], float] | None = None,
    random: int = 0,
    by: str = "both",
    planned: int | None = None,
    **changes: Any,
) -> Path:
    """A whole grid, with its plan: -> the sweep's folder.

    Args:
        seeds: how many repetitions. by: `both`: each has a draw of its own; `seed`: all have the same.
        planned: the repetitions that were first asked for; None: as many.
        best: (data mix, freeze policy) -> what is added to the latent mean; others are all alike.
    """
    generator = np.random.default_rng(random)
    hard_N = 0.8 * generator.normal(size=images)
    ids = []
    for backbone in backbones:
        for count in labelled:
            for mix, policy in GRID:
                for seed in range(seeds):
                    mean = 0.8 + 0.2 * np.log10((count or 500) / 10) + (best or {}).get((mix, policy), 0.0)
                    right = correct(generator, mean, hard_N=hard_N)
                    given = {"labelled": count, "backbone": backbone, "draw": seed if by == "both" else 0}
                    ids.append(run(outputs, mix, policy, seed, right, **{**given, **changes}).run_id)
    return plan(outputs, ids, repetitions=planned or seeds)


def plan(
    outputs: Path,
    ids: Sequence[str],
    name: str = "invented",
    *,
    repetitions: int = 1,
    names: Mapping[str, Mapping[str, str]] | None = None,
    **ask: Any,
) -> Path:
    """The folder of a sweep of these runs.

    Args:
        repetitions: that it was asked for.
        names: run id -> the names of the options that it was asked for with, if they are not the record's.
        ask: more of what it was asked for.
    """
    folder = outputs / "sweeps" / name
    folder.mkdir(parents=True)
    facts = {
        "schema": 2,
        "sweep": name,
        "records": "../../runs",
        "asked": [
            {"repetitions": repetitions, "metric": "accuracy", "margin": None, "compare": [], "note": None} | ask
        ],
        "runs": [{**dict.fromkeys(NAMES), "run_id": id, "asked": [0], **(names or {}).get(id, {})} for id in ids],
    }
    (folder / "plan.json").write_text(json.dumps(facts))
    return folder
