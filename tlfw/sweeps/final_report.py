"""What a sweep says when it ends: its report, the verdict on the terminal, and one W&B run with both."""

from __future__ import annotations

from pathlib import Path

from tlfw.errors import ConfigError
from tlfw.identity.names import digest
from tlfw.report import FIGURES, PAGE, report
from tlfw.report.documents.column_type import places
from tlfw.report.documents.columns import fields
from tlfw.report.documents.tables import said
from tlfw.report.documents.terminal import show
from tlfw.report.findings import Findings
from tlfw.tracking.wandb_run import Tracking


def conclude(folder: Path, tracking: Tracking, *, track: bool) -> None:
    """Report on a sweep's runs, into its folder. A sweep that cannot be reported has ended all the same.

    Args:
        track: whether there is something new for W&B.
    """
    try:
        findings = report([folder])
    except (ConfigError, OSError) as problem:
        print(f"no report: {problem}", flush=True)
        return
    show(findings, [folder / PAGE])
    if track:
        leave(findings, folder, tracking)


def leave(findings: Findings, folder: Path, tracking: Tracking) -> None:
    """Put a report into W&B, as one run of the sweep's group: leaderboard, figures, and the verdict as its notes."""
    words = [(task.sentence, task.advice, *task.remarks, said(task)) for task in findings.tasks]
    verdict = "\n".join([*findings.unequal, *(" ".join(filter(None, each)) for each in words)])
    ids = sorted(run.record.run_id for run in findings.gathered.runs)
    tracked = tracking.open(
        id=f"report-{digest([findings.title, ids])[:16]}",
        name=f"report-{findings.title}",
        group=folder.name,
        tags=["report"],
        config={"runs": len(ids), "target": findings.target, "test_images": findings.test_images},
        folder=folder,
        job_type="report",
        notes=verdict,
    )
    pictures = {path.stem: path for path in sorted((folder / FIGURES).glob("*.png"))}
    board = [fields(at) for task in places(findings) for at in task]
    tracked.show({"leaderboard": board}, {f"{FIGURES}/{name}": path for name, path in pictures.items()})
    best = {}
    if len(findings.tasks) == 1:  # of several, each has its own
        best = {f"first/{name}": board[0][name] for name in ("cell", "value", "low", "high", "validation", "verdict")}
    tracked.finish({**best, "verdict": [task.kind for task in findings.tasks], "status": "done"})
