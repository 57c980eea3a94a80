"""The report as one page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import tlfw
import tlfw.report.documents.page_tables as page_tables
from tlfw.report.documents.column_type import places
from tlfw.report.documents.tables import RANDOM_FEATURES, said
from tlfw.report.figures import Drawing, Picture
from tlfw.report.findings import Findings
from tlfw.report.number_format import between, counted, labelled, sentence, tight
from tlfw.report.sentences import KICKERS

MOST_PAIRS = 500
"""Of all tasks together, on the page."""

SECTIONS = {
    "verdict": "How sure it is",
    "labels": "How many labels",
    "cost": "What it costs",
    "learning": "How it was learnt",
    "mistakes": "What goes wrong",
}

HERE = Path(__file__).parent

PIXELS = 1.85
"""CSS pixels to a point of a figure: its small text is then as large as that of the tables."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture with its two drawings as `data:` addresses, and its size on a wide screen, in CSS pixels."""

    picture: Picture
    light: str
    dark: str
    width: int
    height: int


def html(findings: Findings, drawings: Sequence[Drawing]) -> str:
    """The page. The same findings give the same page.

    Names of classes, sweeps and images are shown as they are, whatever is in them.
    """
    engine = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters |= {"breakable": breakable, "tight": tight, "sentence": sentence}
    engine.globals["next_number"] = itertools.count(1).__next__
    style, script = ((HERE / name).read_text() for name in ("page.css", "page.js"))
    drawn = [_drawn(each) for each in drawings]
    return engine.get_template("page.html").render(
        findings=findings,
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
        lead=_lead(findings),
        kickers=KICKERS,
        tasks=_tasks(findings),
        sections=[
            (title, found)
            for name, title in SECTIONS.items()
            if (found := [each for each in drawn if each.picture.section == name])
        ],
        starred=any(cell.random_features for task in findings.tasks for cell in task.cells),
        random_features=RANDOM_FEATURES,
        pairs_left_out=_pairs(findings) > MOST_PAIRS,
        most_pairs=MOST_PAIRS,
        near=page_tables.near_copies(findings, _near(findings)) if findings.near_copies else None,
        made_with=_made_with(findings),
        version=tlfw.__version__,
    )


def policy(style: str, script: str) -> str:
    """A Content-Security-Policy under which nothing but the page's own style, script and pictures is used."""
    own = {
        name: "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("style", style), ("script", script))
    }
    return (
        f"default-src 'none'; style-src '{own['style']}'; script-src '{own['script']}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def breakable(text: str) -> Markup:
    """A name that may be broken where its parts end."""
    return Markup(str(escape(text)).replace("/", "/<wbr>"))


def _drawn(drawing: Drawing) -> Drawn:
    light, dark = drawing.light, drawing.dark
    (points,) = re.findall(r'<svg [^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"', light)
    width, height = (round(PIXELS * float(each)) for each in points)
    return Drawn(picture=drawing.picture, light=_address(light), dark=_address(dark), width=width, height=height)


def _address(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode(errors="replace")).decode()


def _lead(findings: Findings) -> str:
    """One sentence on what was compared."""
    cells = [cell for task in findings.tasks for cell in task.cells]
    ways = {(cell.data_mix, cell.freeze_policy) for cell in cells if cell.source is not None}
    backbones, sources = {cell.backbone for cell in cells}, {cell.source for cell in cells} - {None}
    counts = [mean.repetitions for task in findings.tasks for mean in task.means]
    images = findings.test_images
    parts = [
        counted(len(ways), "way") + f" of transferring to “{findings.target}”"
        if ways
        else f"Training on “{findings.target}” alone"
    ]
    if ways and any(cell.source is None for cell in cells):
        parts.append("and training on it alone")
    if len(sources) > 1:
        parts.append(f"from {len(sources)} sources")
    if len(backbones) > 1:
        parts.append(f"on {len(backbones)} backbones")
    parts.append(f"with {_labelled([task.labelled for task in findings.tasks])}")
    parts.append(f"{between(min(counts), max(counts))} repetition{'s' * (max(counts) > 1)} each")
    parts.append(
        f"tested on {'1 image' if images == 1 else f'the same {images:,} images'} of "
        f"{len(findings.classes)} {'class' if len(findings.classes) == 1 else 'classes'}"
    )
    return f"{', '.join(parts)}."


def _labelled(counts: Sequence[int | None]) -> str:
    """All the numbers of labelled images: `10, 50 or all labelled images a class`."""
    if len(counts) == 1:
        return labelled(counts[0])
    *first, last = ["all" if count is None else str(count) for count in counts]
    return f"{', '.join(first)} or {last} labelled images a class"


def _pairs(findings: Findings) -> int:
    return sum(len(task.cells) * (len(task.cells) - 1) // 2 for task in findings.tasks)


def _tasks(findings: Findings) -> list[dict[str, Any]]:
    """What the template shows of each task: captions name the task, for the same table of another has another."""
    all_places = places(findings)
    found = []
    for t, task in enumerate(findings.tasks):
        name = labelled(task.labelled)
        with_ = f"with {name}"
        prices = findings.costs[t]
        several = len(task.cells) > 1
        confused = [
            page_tables.confused(findings, t, i, f"What {task.cells[i].name} confuses most, {with_}.")
            for i in page_tables.looked_at(task)
        ]
        found.append(
            {
                "task": task,
                "name": name,
                "shipped": said(task),
                "leaderboard": page_tables.leaderboard(task, all_places[t], f"Leaderboard {with_}, best mean first."),
                "floors": page_tables.floors(task, f"What is reached without learning, {with_}."),
                "details": page_tables.details(task, all_places[t], f"All other numbers {with_}."),
                "against": page_tables.against_best(task, f"The first against each other {with_}.")
                if several
                else None,
                "pairs": page_tables.all_pairs(task, f"All pairs {with_}.")
                if several and _pairs(findings) <= MOST_PAIRS
                else None,
                "budgets": page_tables.equal_budgets(task, prices, f"Cells that were given as much, {with_}.")
                if several
                else None,
                "pareto": page_tables.pareto_front(
                    task, prices, f"Cells that no other beats at the same or a lower cost, {with_}."
                ),
                "forgetting": page_tables.forgetting(task, f"Accuracy on the source, {with_}."),
                "calibration": page_tables.calibration(findings, t, f"Confidence and accuracy, {with_}."),
                "confused": [table for table in confused if table],
                "hard": page_tables.hard_images(findings, t, _hard(findings, t, with_)),
                "runs": page_tables.made_of(task, f"The chosen runs, {with_}."),
            }
        )
    return found


def _hard(findings: Findings, t: int, with_: str) -> str:
    count, some = findings.hard[t]
    which = " Shown are those that most agree on a wrong class." if count > len(some) else ""
    return f"{count:,} of {findings.test_images:,} images are wrong in every run of every cell, {with_}.{which}"


def _near(findings: Findings) -> str:
    count = len({each.tested for each in findings.near_copies})
    pairs, most = len(findings.near_copies), page_tables.MOST_PAIRS_SHOWN
    which = f" The {most} likest of {pairs:,} pairs are shown; all are in report.json." if pairs > most else ""
    return f"{count:,} of {findings.test_images:,} test images look nearly like one that may be learnt from.{which}"


def _made_with(findings: Findings) -> list[tuple[str, str]]:
    """What of the environments the runs say, each value once."""
    named = {"tlfw": "tlfw", "torch": "torch", "torchvision": "torchvision", "device": "device", "git": "commit"}
    found = []
    for key, name in named.items():
        values = Counter(
            str(run.record.environment[key]) for run in findings.gathered.runs if run.record.environment.get(key)
        )
        if values:
            found.append((name, ", ".join(values)))
    return found
