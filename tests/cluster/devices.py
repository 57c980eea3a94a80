"""Runs of one and of several devices on a real Slurm, against one device: python -m tests.cluster.devices [FOLDER].

It brings up a Slurm of its own and takes five minutes on two cores. A network without BatchNorm takes five steps with
the same global batch: on one device, on two devices of one node in the same sweep, and on two nodes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.cluster.lab import Drive, Watched, slurm, up

SWEEP = [
    *("+experiment=quickstart", "tracking=disabled", "hydra.sweeper.report=false", "name=devices"),
    *("data_mix=target_only", "freeze_policy=full", "backbone=squeezenet1_1", "image_size=64"),
    *("adapt.budget=5steps", "adapt.batch_size=32", "validations=1", "optimizer=sgd"),
    *("trainer=ddp", "trainer.accelerator=cpu", "trainer._target_=tests.cluster.watching.trainer"),
]
SLURM = ["hydra/launcher=slurm", "hydra.launcher.cpus=1", "hydra.launcher.memory=3GB", "hydra.launcher.time=20"]
SWEEPS = {
    "local": ["trainer.devices=1", "threads=1"],
    "mixed": ["trainer.devices=1,2", *SLURM],
    "nodes": ["trainer.devices=1", "trainer.num_nodes=2", "hydra.launcher.nodes=2", *SLURM],
}
EXPECTED = {"local": ["1x1"], "mixed": ["1x1", "1x2"], "nodes": ["2x1"]}
"""Sweep -> its runs, as nodes x devices of each."""

CLOSE = 1e-5


def main(place: Path) -> int:
    env = up()
    bad = 0
    for name, words in SWEEPS.items():
        folder = place / name
        folder.mkdir(parents=True, exist_ok=True)
        own = env | {"WATCHED": str(folder / "watched"), "PYTHONPATH": str(Path(__file__).parents[2])}
        code = Drive(folder, [*SWEEP, *words], "log.txt", own).end(600)
        print(f"{name}: exit code {code}", flush=True)
        bad += code != 0
    reference = seen(place / "local" / "watched" / "1x1")
    tested = {name: tests(place / name) for name in SWEEPS}
    for name, runs in EXPECTED.items():
        for run in runs:
            outcome = against(reference, seen(place / name / "watched" / run), run)
            wrong = [key for key, (good, _) in outcome.items() if not good]
            bad += len(wrong)
            said = "; ".join(f"{key}: {text}" for key, (_, text) in outcome.items())
            print(f"{'BAD ' if wrong else 'ok  '} {name} {run}: {said}")
        for accuracy, indices in tested[name]:
            (expected, all_of_them), *_ = tested["local"]
            good = indices == all_of_them and abs(accuracy - expected) < 2e-3
            bad += not good
            print(f"{'ok  ' if good else 'BAD '} {name}: {len(indices)} test images, accuracy {accuracy:.4f}")
    left = slurm("squeue", "--noheader", "--format=%i %T").split()
    print(f"jobs that are left: {left}")
    return int(bool(bad or left))


def seen(place: Path) -> list[dict[str, Any]]:
    """What each rank wrote down."""
    files = sorted(place.glob("*.json"))
    return [json.loads(file.read_text()) | {"gradient": torch.load(file.with_suffix(".pt"))} for file in files]


def tests(folder: Path) -> list[tuple[float, list[int]]]:
    """Of each run, its accuracy and the test images that it was said of."""
    records = Watched(folder, "devices").records().values()
    found = []
    for record in records:
        (place,) = (folder / "outputs" / "runs").glob(f"*-{record.run_id[:12]}")
        with np.load(place / "predictions.npz") as predictions:
            accuracy = record.metrics["target/test/acc"]
            assert accuracy is not None
            found.append((accuracy, sorted(predictions["index"].tolist())))
    return found


def against(one: list[dict[str, Any]], ranks: list[dict[str, Any]], run: str) -> dict[str, tuple[bool, str]]:
    """What several ranks did, compared with what one did: fact -> whether it is right, and what it is."""
    nodes, devices = map(int, run.split("x"))
    worlds = [rank["world_size"] for rank in ranks]
    shares = [[len(step) for step in rank["images"]] for rank in ranks]
    together = [
        sorted(image for rank in ranks for image in rank["images"][step]) for step in range(len(one[0]["images"]))
    ]
    losses = max(abs(a - b) for rank in ranks for a, b in zip(rank["losses"], one[0]["losses"], strict=True))
    gradient = max(
        float((rank["gradient"][name] - each).abs().max())
        for rank in ranks
        for name, each in one[0]["gradient"].items()
    )
    return {
        "world size": (worlds == [nodes * devices] * (nodes * devices), str(worlds)),
        "images of each rank": (len({str(share) for share in shares}) == 1, str([share[0] for share in shares])),
        "the same images": (together == [sorted(step) for step in one[0]["images"]], f"{len(together)} steps"),
        "first gradient": (gradient < CLOSE, f"{gradient:.1e}"),
        "losses": (losses < CLOSE, f"{losses:.1e}"),
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())))
