"""Is transfer real on the quickstart's data? Fine-tuning after pretraining against no transfer, over seeds.

    python benchmarks/transfer_against_control.py [override ...]

Each seed has its own first weights, order of images and ten labelled images a class. Both
paradigms train everything, for the same number of steps, and are tuned over the same
learning rates: for each the rate with the highest mean validation accuracy is taken (of
equals, the one with the lower mean loss), and only then are its test numbers looked at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

PARADIGMS = ("pretrain_finetune", "target_only")
RATES = (0.001, 0.003, 0.01, 0.03)
SEEDS = range(5)
NAME = "transfer_against_control"


def sweep(overrides: list[str]) -> None:
    command = [
        sys.executable, "-m", "tlfw", "-m", "+experiment=quickstart", f"name={NAME}", f"data_mix={','.join(PARADIGMS)}",
        f"freeze_policy.lr_backbone={','.join(map(str, RATES))}", "freeze_policy.lr_head=${freeze_policy.lr_backbone}",
        f"seed={','.join(map(str, SEEDS))}", "target.split_seed=${seed}", "outputs=outputs", *overrides,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("override", nargs="*", help="as `python -m tlfw` takes them")
    sweep(parser.parse_args().override)
    runs: dict[tuple[str, float], dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in Path("outputs/runs").glob("*/record.json"):
        record = json.loads(path.read_text())
        if record["experiment"] == NAME:
            rate = record["settings"]["freeze_policy"]["lr_backbone"]
            runs[record["paradigm"]["data_mix"], rate][record["seed"]] = record
    chosen = {}
    for paradigm in PARADIGMS:
        validated = {
            r: (
                mean(runs[paradigm, r][seed]["metrics"]["target/val/acc"] for seed in SEEDS),
                -mean(runs[paradigm, r][seed]["metrics"]["target/val/loss"] for seed in SEEDS),
            )
            for r in RATES
        }
        chosen[paradigm] = max(validated, key=lambda r: validated[r])
        shown = ", ".join(f"{r}: {acc:.1%} (loss {-loss:.3f})" for r, (acc, loss) in validated.items())
        print(f"{paradigm}: validation accuracy by rate: {shown}; chosen {chosen[paradigm]}")
    print(f"seed  source val  {PARADIGMS[0]}  {PARADIGMS[1]}  gain")
    gains = []
    for seed in SEEDS:
        one, other = (runs[paradigm, chosen[paradigm]][seed] for paradigm in PARADIGMS)
        kept = one["metrics"]["source/val/acc"]
        test = [record["metrics"]["target/test/acc"] for record in (one, other)]
        gains.append(test[0] - test[1])
        print(f"{seed:4}  {kept:10.1%}  {test[0]:17.1%}  {test[1]:11.1%}  {gains[-1]:+.1%}")
    print(f"mean gain {mean(gains):+.1%}, standard deviation over seeds {stdev(gains):.1%}")


if __name__ == "__main__":
    main()
