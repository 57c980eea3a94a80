"""The table at a sweep's end: a row a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tlfw.metric import Metric
from tlfw.record import Record

Row = tuple[Sequence[str], Record | str, bool]
"""Of a job: its overrides, its record or why there is none, and whether nothing was done."""


def show(rows: Sequence[Row], metrics: Sequence[Metric]) -> None:
    """Print one row for each job.

    A field in which the overrides of runs differ has a column, unless another one shows it.

    Args:
        metrics: by which the runs are shown.
    """
    table = Table(title=None)
    varied = _varied([overrides for overrides, record, _ in rows if isinstance(record, Record)])
    for column in ("data mix", "freeze policy", "backbone"):
        table.add_column(column)
    for column in (
        "seed",
        *varied,
        *(f"target test {metric.title}" for metric in metrics),
        *(f"source {metric.title} kept" for metric in metrics),
        "seconds",
    ):
        table.add_column(column, justify="right")
    table.add_column("reused")
    failures = []
    for overrides, record, untouched in rows:
        if isinstance(record, str):
            failures.append(f"{'' if record.startswith('blocked: ') else 'failed: '}{' '.join(overrides)}\n  {record}")
            continue
        given = _given(overrides)
        reused = "all" if untouched else ", ".join(stage["name"] for stage in record.stages if stage["reused"]) or "-"
        table.add_row(
            record.paradigm["data_mix"],
            record.paradigm["freeze_policy"] + ("*" if record.labels else ""),
            record.backbone,
            str(record.seed),
            *(given.get(field, "") for field in varied),
            *(_text(metric, record.metrics.get(metric.at("target/test"))) for metric in metrics),
            *(_text(metric, record.metrics.get(metric.at("source/val"))) for metric in metrics),
            "0" if untouched else f"{record.cost['seconds_spent']:.0f}",
            reused,
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table)
    labels = sorted({label for _, record, _ in rows if isinstance(record, Record) for label in record.labels})
    if labels:
        console.print(f"* {', '.join(labels)}".replace("_", " "))
    for failure in failures:
        print(failure)


SHOWN = ("data_mix", "freeze_policy", "backbone", "backbone.name", "seed")
"""What has a column of its own."""


def _given(overrides: Sequence[str]) -> dict[str, str]:
    """Field -> value."""
    return {name.lstrip("+"): value for name, _, value in (word.partition("=") for word in overrides)}


def _varied(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The fields in which jobs differ, and that are shown by no other column."""
    given = [_given(job) for job in jobs]
    fields = dict.fromkeys(field for each in given for field in each)
    return [field for field in fields if field not in SHOWN and len({each.get(field) for each in given}) > 1]


def _text(metric: Metric, value: float | None) -> str:
    return "-" if value is None else metric.text(value)
