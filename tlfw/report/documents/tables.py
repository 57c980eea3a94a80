"""The leaderboard as files for people and programs, and everything that was found as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tlfw
import tlfw.report.documents.columns as columns
from tlfw import escape
from tlfw.report.cells import SOURCE_KEPT
from tlfw.report.comparisons import Comparison, budgets, comparisons
from tlfw.report.costs import MEASURES
from tlfw.report.documents.column_type import Place, TableName, places
from tlfw.report.documents.columns import columns_of, notes_of
from tlfw.report.documents.markup import LATEX, MARKDOWN, Markup, latex, md
from tlfw.report.findings import Findings, front
from tlfw.report.mistakes import called
from tlfw.report.number_format import between, counted, labelled, sentence
from tlfw.report.sentences import shipped
from tlfw.report.verdict import Task, leads

SCHEMA = 2
"""Of report.json."""

MOST_COMPARISONS = 5000
"""In report.json; where there are more, those with the best of each task are kept."""

PRICES = ("images", "flops", "direct_flops", "seconds", "shared_images", "shared_flops", "shared_seconds")


def csv_text(findings: Findings) -> str:
    """A row a cell, all tasks below each other, numbers in full; `settings` and `compared` as JSON, what does not apply
    empty.
    """
    missing = {column.name: column.missing for column in columns.COLUMNS}
    lines: list[Sequence[Any]] = [list(missing)]
    for at in _flat(findings):
        values = columns.fields(at)
        lines.append([missing[name] if values[name] is None else values[name] for name in missing])
    return escape.csv_text(lines)


def _flat(findings: Findings) -> list[Place]:
    return [at for task in places(findings) for at in task]


def _texts(table: TableName, at: Place, markup: Markup) -> list[str]:
    """A cell's row of a table, from left to right."""
    found = []
    for column in columns_of(table):
        text = column.text_in(table, at, markup.escape)
        if column.bold and at.leads:
            text = markup.bold(text)
        found.append(text + markup.star * (column.names_row and at.cell.random_features))
    return found


RULES = {"left": "---", "right": "--:", "center": ":-:"}
"""Below the heads of a table in Markdown, by alignment."""


def md_text(findings: Findings) -> str:
    """A short leaderboard in GitHub's Markdown, the verdict first."""
    lines = [f"# {md(findings.title)}", ""]
    lines += [f"> {md(sentence)}\n>" for sentence in findings.unequal]
    if findings.unequal:
        lines[-1] = lines[-1].removesuffix("\n>")
        lines.append("")
    for task, members in zip(findings.tasks, places(findings), strict=True):
        lines += [f"## {labelled(task.labelled).capitalize()}", "", md(task.sentence), ""]
        lines += [md(text) + "\n" for text in (task.advice, *task.remarks, said(task)) if text]
        shown = columns_of("markdown")
        heads = [column.head_in("markdown", task.metric) for column in shown]
        lines += [
            "|" + "".join(f" {head} |" if head else " |" for head in heads),
            f"|{'|'.join(RULES[column.align('markdown')] for column in shown)}|",
            *(f"| {' | '.join(_texts('markdown', at, MARKDOWN))} |" for at in members),
            "",
        ]
    lines.append(md(f"{_basis(findings)}{_bold(findings)}") + "\n")
    if any(at.cell.random_features for at in _flat(findings)):
        lines.append(f"{MARKDOWN.star} {md(RANDOM_FEATURES)}\n")
    lines += [f"- {md(note)}" for note in findings.notes]
    return "\n".join(lines)


def said(task: Task) -> str:
    """Which trained model to use; empty where nothing says."""
    return shipped(task, task.shipped) if task.shipped else ""


RANDOM_FEATURES = "control: features are random, because no layer below the trained ones was ever trained."


def _basis(findings: Findings) -> str:
    """On what the numbers stand, in a line or two."""
    counts = [mean.repetitions for task in findings.tasks for mean in task.means]
    several = max(counts) > 1
    over = "repetitions and test images" if several else "test images only, for there is one repetition"
    many = findings.comparisons
    corrected = f", p values corrected for {many} comparisons (Holm)" if many > 1 else ""
    return (
        f"Mean over {between(min(counts), max(counts))} repetition{'s' * several} on "
        f"{counted(findings.test_images, 'test image')} of “{findings.target}”; 95 % intervals over {over}{corrected}."
    )


def _bold(findings: Findings) -> str:
    """What the tables' bold type means; empty where nothing is bold."""
    if not any(map(leads, findings.tasks)):
        return ""
    if all(task.kind == "best" for task in findings.tasks):
        return " Bold: the best."
    return " Bold: the first and what is not known to be worse, where anything is."


def tex_text(findings: Findings) -> str:
    """A table for a paper: booktabs, the best group bold, and a caption that says what the numbers stand on."""
    unequal = " Budgets differ: see the report." if findings.unequal else ""
    star = ""
    if any(at.cell.random_features for at in _flat(findings)):
        star = f" {LATEX.star}{sentence(RANDOM_FEATURES)}"
    metric, shown = findings.metric, columns_of("latex")
    caption = " ".join([latex(f"{_basis(findings)}{_bold(findings)}{unequal}"), *notes_of("latex", metric)])
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}  % the width of one column of text",
        r"\caption{" + caption + star + "}",
        r"\label{tab:tlfw}",
        rf"\begin{{tabular}}{{{''.join(column.align('latex')[0] for column in shown)}}}",
        r"\toprule",
        " & ".join(column.head_in("latex", metric) for column in shown) + r" \\",
    ]
    for task, members in zip(findings.tasks, places(findings), strict=True):
        name = latex(labelled(task.labelled).capitalize())
        lines += [r"\midrule", rf"\multicolumn{{{len(shown)}}}{{l}}{{\emph{{{name}}}}} \\"]
        lines += [" & ".join(_texts("latex", at, LATEX)) + r" \\" for at in members]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def json_text(findings: Findings) -> str:
    """Everything that was found, by task; NaN is null, and what does not apply too."""
    all_pairs = [comparisons(task) for task in findings.tasks]
    left_out = 0
    if sum(map(len, all_pairs)) > MOST_COMPARISONS:
        kept = [[each for each in pairs if each.one == 0] for pairs in all_pairs]
        left_out = sum(map(len, all_pairs)) - sum(map(len, kept))
        all_pairs = kept
    gathered = findings.gathered
    facts = {
        "schema": SCHEMA,
        "tlfw": tlfw.__version__,
        "title": findings.title,
        "target": findings.target,
        "test_images": findings.test_images,
        "classes": findings.classes,
        "sweeps": gathered.sweeps,
        "runs": {"done": len(gathered.runs), "asked": gathered.asked, "missing": gathered.missing},
        "unequal": findings.unequal,
        "near_copies": [
            {name: getattr(each, name) for name in ("tested", "other", "part", "correlation")}
            for each in findings.near_copies
        ],
        "notes": findings.notes,
        "metric": findings.metric.name,
        "margin": gathered.margin,
        "planned_repetitions": gathered.planned,
        "whole": gathered.whole,
        "compare": gathered.compare,
        "comparisons": findings.comparisons,
        "comparisons_left_out": left_out,
        "tasks": [
            _task(findings, t, members, pairs)
            for t, (members, pairs) in enumerate(zip(places(findings), all_pairs, strict=True))
        ],
    }
    return json.dumps(_plain(facts), indent=1, allow_nan=False) + "\n"


def _task(findings: Findings, t: int, members: Sequence[Place], pairs: Sequence[Comparison]) -> dict[str, Any]:
    task, prices = findings.tasks[t], findings.costs[t]
    names = [cell.name for cell in task.cells]
    count, some = findings.hard[t]
    return {
        "labelled": task.labelled,
        "kind": task.kind,
        "sentence": task.sentence,
        "advice": task.advice,
        "remarks": task.remarks,
        "scope": task.scope,
        "level": task.level,
        "best": None if task.best is None else names[task.best],
        "group": [names[i] for i in task.group],
        "worse": [[names[i], names[j]] for i in range(len(names)) for j in range(i) if task.worse(i, j)]
        if len(names) ** 2 <= 2 * MOST_COMPARISONS
        else None,
        "floor": dataclasses.asdict(task.floor),
        "ship": None
        if task.shipped is None
        else {
            "cell": names[task.shipped.cell],
            "run_id": task.shipped.run.record.run_id,
            "folder": task.shipped.run.folder.name,
            "validation": task.shipped.validation,
            "tied": task.shipped.tied,
            "tested": {name: getattr(task.shipped.tested, name) for name in ("value", "low", "high")},
            "sentence": said(task),
        },
        "cells": [_cell(at) for at in members],
        "comparisons": [
            {**dataclasses.asdict(each), "one": names[each.one], "other": names[each.other]} for each in pairs
        ],
        "equal_budgets": [
            {
                **dataclasses.asdict(each),
                "unit": MEASURES[each.measure],
                "cells": [names[i] for i in each.cells],
                "best": [names[i] for i in each.best],
            }
            for each in budgets(task, prices)
        ],
        "pareto": {measure: [names[i] for i in front(task, prices, measure)] for measure in PRICES},
        "hard_images": {"count": count, "some": [dataclasses.asdict(each) for each in some]},
    }


def _cell(at: Place) -> dict[str, Any]:
    cell, names = at.cell, at.findings.classes
    found = at.findings.mistakes[at.number][at.position]
    return {
        **columns.values(at),
        "source_before": cell.before_last_stage(SOURCE_KEPT),
        "runs": [
            {
                "run_id": run.record.run_id,
                "seed": repetition.seed,
                "draw": repetition.draw,
                "fold": repetition.fold,
                "folder": run.folder.name,
                "value": value,
            }
            for (repetition, run), value in zip(
                cell.runs.items(), at.mean.values or [None] * len(cell.runs), strict=False
            )
        ],
        "accuracy_by_class": dict(zip(names, found.accuracy_K, strict=True)),
        "confused": [{"class": names[i], "called": called(names, j), "share": share} for i, j, share in found.confused],
        "calibration": {"confidence": found.confidence_B, "right": found.right_B, "share": found.share_B},
    }


def _plain(value: Any) -> Any:
    """As JSON knows it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str) or value is None else str(value)
