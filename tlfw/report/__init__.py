"""What the runs of one or several sweeps say. It reads records and predictions only, and needs no torch.

`gather` collects runs, `cells` makes cells of them (`runs.keys` says which runs repeat each other), `verdict` judges,
and `sentences` puts that into words; `findings` is all of it. It imports `tlfw.records` and its own sub-packages.
Begin with `findings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlfw.report.findings import Findings
    from tlfw.report.gather import Wanted

PAGE = "report.html"
FIGURES = "figures"


def report(places: Sequence[Path], out: Path | None = None, wanted: Wanted | None = None) -> Findings:
    """Find out what the runs of `places` say, and write it: report.html, report.json, leaderboard.csv, .md and .tex,
    runs.csv, classes.csv and figures/. Each file appears whole, the page last; nothing is written before all is known.

    Args:
        places: sweeps' folders, runs' folders, or folders of runs.
        out: the folder to write to, made if it is not there; None: see `folder_for`.
        wanted: what to judge by, and what to compare; None: as the sweeps were asked.

    Raises:
        ConfigError: there is nothing to report, it cannot be compared, or `out` is a file.
        OSError: `out` cannot be written to.
    """
    # Opened when it is asked for: Matplotlib and SciPy take a second.
    from tlfw.records.record import replace_text
    from tlfw.report.documents.page import html
    from tlfw.report.documents.runs_table import classes_csv, runs_csv
    from tlfw.report.documents.tables import csv_text, json_text, md_text, tex_text
    from tlfw.report.figures import drawing, leave, pictures
    from tlfw.report.findings import find_out
    from tlfw.report.gather import AS_ASKED

    folder = folder_for(places) if out is None else out
    _check(folder)
    findings = find_out(places, wanted or AS_ASKED)
    drawn = [drawing(each) for each in pictures(findings)]
    texts = {
        "leaderboard.csv": csv_text(findings),
        "leaderboard.md": md_text(findings),
        "leaderboard.tex": tex_text(findings),
        "runs.csv": runs_csv(findings),
        "classes.csv": classes_csv(findings),
        "report.json": json_text(findings),
        PAGE: html(findings, drawn),
    }
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    for each in drawn:
        leave(each, folder / FIGURES)
    for name, text in texts.items():
        replace_text(folder / name, text)
    return findings


def folder_for(places: Sequence[Path]) -> Path:
    """Where a report goes if nobody says: into the first sweep's folder, else into `report` here."""
    from tlfw.records.plan_file import FILE

    return next((place for place in places if (place / FILE).is_file()), Path("report"))


def _check(folder: Path) -> None:
    from tlfw.errors import ConfigError

    for place in (folder, folder / FIGURES):
        if place.exists() and not place.is_dir():
            raise ConfigError("--out", f"{place} is a file.", "Give a folder, there or yet to be made.")
