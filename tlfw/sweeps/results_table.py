"""The table at a sweep's end: a row a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlfw.escape import printable
from tlfw.records.metric import SOURCE_VAL, TARGET_TEST, Metric
from tlfw.records.record import Record, Status
from tlfw.records.secret import masked
from tlfw.records.settings import flat

Row = tuple[Sequence[str], Record | str, bool]
"""Of a job: its overrides, its record or how else it ended, and whether nothing was done."""


APART: tuple[Status, ...] = ("diverged", "blocked", "interrupted")
"""How a run may have ended that its outcome's text says before a colon; any other text is of one that failed."""


LABELS = {
    "random_features": "control: features are random",
    "drifting_batch_norm": "BatchNorm statistics of frozen layers drift",
}
"""What a record's labels mean."""


def how_ended(outcome: Record | str) -> tuple[Status, str]:
    """A run's status, and why it is no other."""
    if isinstance(outcome, Record):
        return outcome.status, outcome.error or ""
    for status in APART:
        if outcome.startswith(f"{status}: "):
            return status, outcome.removeprefix(f"{status}: ")
    return "failed", outcome


def show(rows: Sequence[Row], metrics: Sequence[Metric]) -> None:
    """Print one row for each job.

    A field that is overridden has a column where runs differ in it, unless another one shows it.

    Args:
        metrics: by which the runs are shown.
    """
    table = Table(title=None)
    varied = _varied([(overrides, record) for overrides, record, _ in rows if isinstance(record, Record)])
    for column in ("data mix", "freeze policy", "backbone"):
        table.add_column(column)
    # Names may hold what rich would take for its markup, or a terminal for a command.
    for column in (
        "seed",
        *varied,
        *(f"target test {metric.title}" for metric in metrics),
        *(f"source {metric.title} kept" for metric in metrics),
        "seconds",
    ):
        table.add_column(Text(printable(column)), justify="right")
    table.add_column("reused")
    failures = []
    for overrides, record, untouched in rows:
        if isinstance(record, str):
            failed = how_ended(record)[0] == "failed"
            failures.append(f"{'failed: ' if failed else ''}{' '.join(overrides)}\n  {record}")
            continue
        given = _given(overrides, record, varied)
        reused = "all" if untouched else ", ".join(stage["name"] for stage in record.stages if stage["reused"]) or "-"
        cells = (
            record.paradigm["data_mix"],
            record.paradigm["freeze_policy"] + ("*" if record.labels else ""),
            record.backbone,
            str(record.seed),
            *(given.get(field, "") for field in varied),
            *(_text(metric, record.metrics.get(metric.at(TARGET_TEST))) for metric in metrics),
            *(_text(metric, record.metrics.get(metric.at(SOURCE_VAL))) for metric in metrics),
            "0" if untouched else f"{record.cost['seconds_spent']:.0f}",
            reused,
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    if table.row_count:
        console.print(table)
    labels = sorted({label for _, record, _ in rows if isinstance(record, Record) for label in record.labels})
    if labels:
        console.print(f"* {'; '.join(LABELS.get(label, label) for label in labels)}")
    for failure in failures:
        print(printable(masked(failure), keep="\n"))


SHOWN = ("data_mix", "freeze_policy", "backbone", "backbone.name", "seed")
"""What has a column of its own."""


def _given(overrides: Sequence[str], record: Record, fields: Iterable[str]) -> dict[str, str]:
    """Field -> its value in a run, also where the run was not told it; of a group, what it was told."""
    told = {name.lstrip("+"): value for name, _, value in (word.partition("=") for word in overrides)}
    settings = {name: "null" if value is None else str(value) for name, value in flat(record.settings).items()}
    return {field: settings.get(field, told.get(field, "")) for field in fields}


def _varied(jobs: Sequence[tuple[Sequence[str], Record]]) -> list[str]:
    """The overridden fields in which jobs differ, and that are shown by no other column."""
    fields = dict.fromkeys(word.partition("=")[0].lstrip("+") for overrides, _ in jobs for word in overrides)
    given = [_given(*job, fields) for job in jobs]
    return [field for field in fields if field not in SHOWN and len({each[field] for each in given}) > 1]


def _text(metric: Metric, value: float | None) -> str:
    return "-" if value is None else metric.text(value)
