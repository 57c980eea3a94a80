"""The table at a sweep's end: a row a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tlfw.record import Record


def show(rows: Sequence[tuple[str, Record | str, bool]]) -> None:
    """Print one row for each of (overrides, its record or why there is none, whether nothing was done)."""
    table = Table(title=None)
    columns = [
        "data mix",
        "freeze policy",
        "backbone",
        "seed",
        "target test acc",
        "source acc kept",
        "seconds",
        "reused",
    ]
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if 3 <= i <= 6 else "left")
    failures = []
    for overrides, record, untouched in rows:
        if isinstance(record, str):
            failures.append(f"{'' if record.startswith('blocked: ') else 'failed: '}{overrides}\n  {record}")
            continue
        reused = "all" if untouched else ", ".join(stage["name"] for stage in record.stages if stage["reused"]) or "-"
        table.add_row(
            record.paradigm["data_mix"],
            record.paradigm["freeze_policy"] + ("*" if record.labels else ""),
            record.backbone,
            str(record.seed),
            _percent(record.metrics.get("target/test/acc")),
            _percent(record.metrics.get("source/val/acc")),
            "0" if untouched else f"{record.cost['seconds_spent']:.0f}",
            reused,
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table)
    labels = sorted({label for _, record, _ in rows if isinstance(record, Record) for label in record.labels})
    if labels:
        console.print(f"* {', '.join(labels)}")
    for failure in failures:
        print(failure)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
