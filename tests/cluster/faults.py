"""What can go wrong on a cluster, done to one sweep, with what came of it: python -m tests.cluster.faults [FOLDER].

It brings up a Slurm of its own and takes a quarter of an hour on two cores. A sweep without faults is compared with the
same one on this machine; then a sweep meets a time limit three times, a process that is killed, a job that is killed by
the scheduler's command, a requeue, a preemption, a second driver, and a driver that is killed and started again.
In a FOLDER of before, what has no faults is not made again.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster.lab import Drive, Watched, slurm, up, wait_until
from tests.status.agreement import disagreements, finished, queue

GRID = ["+experiment=quickstart_grid", "tracking=disabled", "hydra.sweeper.report=false", "checkpoint_seconds=3"]
SLURM = [
    "hydra/launcher=slurm",
    "hydra.launcher.cpus=1",
    "hydra.launcher.memory=3GB",
    "hydra.launcher.time=60",
    "hydra.launcher.signal_seconds=70",
]
LONG = ["pretrain.budget=128000images"]
"""So that the shared stage outlives its time limit three times."""

NAME = "quickstart_grid"
PATIENCE = 900


def main(place: Path) -> int:
    env = up()
    found: list[tuple[str, str, bool]] = []
    numbers = local(place / "local", [*GRID, "threads=1"], env)
    found.append(("none", *faultless(place / "none", env, numbers)))
    print("without faults:", found[-1], flush=True)
    longer = local(place / "long", [*GRID, *LONG, "threads=1"], env)
    found += faulty(place / "faults", env, longer)
    width = max(len(fault) for fault, _, _ in found)
    for fault, outcome, good in found:
        print(f"{'ok  ' if good else 'BAD '} {fault:{width}}  {outcome}")
    return int(not all(good for *_, good in found))


def local(folder: Path, words: list[str], env: dict[str, str]) -> dict[str, dict[str, float | None]]:
    """Run id -> metrics, of the same sweep in one process of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    code = Drive(folder, words, "log.txt", env).end(3000)
    assert code == 0, (folder / "log.txt").read_text()
    print(f"{folder.name}: {time.monotonic() - began:.0f} s", flush=True)
    return {key: record.metrics for key, record in Watched(folder, NAME).records().items()}


def faultless(folder: Path, env: dict[str, str], numbers: dict[str, dict[str, float | None]]) -> tuple[str, bool]:
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    code = Drive(folder, [*GRID, *SLURM], "log.txt", env | {"OMP_NUM_THREADS": "2"}).end(PATIENCE)
    records = Watched(folder, NAME).records()
    equal = {key: record.metrics for key, record in records.items()} == numbers
    return f"exit code {code}, {len(records)} runs, equal numbers: {equal}, {time.monotonic() - began:.0f} s", (
        code == 0 and equal
    )


def faulty(
    folder: Path, env: dict[str, str], numbers: dict[str, dict[str, float | None]]
) -> list[tuple[str, str, bool]]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words, sweep = [*GRID, *LONG, *SLURM], Watched(folder, NAME)
    found: list[tuple[str, str, bool]] = []
    moments: list[list[str]] = []

    def look() -> None:
        """Compare the status with Slurm and the records, now."""
        before = queue(folder), finished(folder / "outputs" / "runs")
        _, said = sweep.status()
        moments.append(disagreements(said, before, (queue(folder), finished(folder / "outputs" / "runs"))))

    first = Drive(folder, words, "first.txt", env)
    pretrain = wait_until(lambda: sweep.running("pretrain-", 5), 200, "the shared stage to train")
    slurm("scontrol", "update", f"JobId={pretrain.job}", "TimeLimit=2")
    look()

    killed = wait_until(lambda: sweep.running("joint-full", 5), 300, "a run to train")
    os.kill(killed.pid, signal.SIGKILL)
    ended = wait_until(lambda: (e := sweep.entry("joint-full")) and e.ended and e, 120, "the killed run to end")
    found.append(("kill -9 of a job's process", f"{ended.state}: {ended.error}", ended.state == "failed"))

    killed = wait_until(lambda: sweep.running("target_only-full", 1), 300, "a run to train")
    slurm("scancel", "--signal=KILL", str(killed.job))
    ended = wait_until(lambda: (e := sweep.entry("target_only-full")) and e.ended and e, 120, "the killed run to end")
    found.append(("scancel --signal=KILL", f"{ended.state}: {ended.error}", ended.state in ("failed", "interrupted")))
    look()

    again = wait_until(
        lambda: (e := sweep.entry("pretrain-")) and (e.requeues >= 3 or e.ended) and e, PATIENCE, "three time limits"
    )
    found.append(("the time limit, three times", f"begun again {again.requeues} times", again.requeues >= 3))
    slurm("scontrol", "update", f"JobId={again.job}", "TimeLimit=60")
    look()

    second = Drive(folder, words, "second.txt", env)
    wait_until(lambda: "plan:" in second.log.read_text(), 120, "the second driver")
    first.kill()
    found.append(("the driver killed", f"{len(queue(folder))} jobs go on", True))
    third = Drive(folder, words, "third.txt", env)
    wait_until(lambda: "plan:" in third.log.read_text(), 120, "the third driver")

    requeued = wait_until(lambda: sweep.running("pretrain_", 1), PATIENCE, "a run after the shared stage")
    slurm("scontrol", "requeue", str(requeued.job))
    look()
    wait_until(lambda: sweep.running("pretrain_", 1), 300, "a run after the requeue")
    before = {entry.key: entry for entry in sweep.ledger.entries() if entry.state == "running"}
    slurm("sbatch", "--partition=high", "--exclusive", "--nodes=3", "--output=/dev/null", "--wrap=sleep 5")
    look()
    codes = [second.end(PATIENCE), third.end(PATIENCE)]
    after = {entry.key: entry for entry in sweep.ledger.entries()}
    one = after[requeued.key]
    found.append(("scontrol requeue", f"{one.state}, begun again {one.requeues} times", one.state == "done"))
    preempted = [after[key] for key, entry in before.items() if after[key].requeues > entry.requeues]
    fine = bool(preempted) and all(entry.state == "done" for entry in preempted)
    found.append(("a preemption", f"{len(preempted)} jobs were begun again and are done", fine))
    found.append(("two drivers at once", f"exit codes {codes}", True))
    last = Drive(folder, words, "last.txt", env).end(PATIENCE)
    found += verdict(sweep, numbers, last)
    wrong = [line for moment in moments for line in moment]
    found.append(("status", f"{len(moments)} moments, {len(wrong)} disagreements {wrong[:3]}", not wrong))
    return found


def verdict(sweep: Watched, numbers: dict[str, dict[str, float | None]], last: int) -> list[tuple[str, str, bool]]:
    """What is left in the end."""
    records, printed, stages = sweep.records(), sweep.printed(), sweep.stages()
    done = sum(record.status == "done" for record in records.values())
    trained = len(re.findall(r"^  \w+: \d+ steps in ", printed, re.MULTILINE))
    tests = len(re.findall(r"^  test: \d+ images", printed, re.MULTILINE))
    often = {name: count for name, count in sweep.submissions().items() if count > 1}
    expected = {name for name in often if name.startswith(("joint-full", "target_only-full"))}
    return [
        ("in the end", f"the same command ends with {last}, {done} of {len(numbers)} runs done", last == 0),
        (
            "numbers",
            "those of this machine",
            {key: record.metrics for key, record in records.items()} == numbers,
        ),
        ("stages", f"{trained} trained to the end, {stages} in the store", trained == stages),
        ("tests", f"{tests} of {len(numbers)} runs", tests == len(numbers)),
        ("submissions", f"more than one of {sorted(often)}, which were killed", set(often) == expected),
    ]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())))
