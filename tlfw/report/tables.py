"""The leaderboard as files for people and programs, and everything that was found as JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tlfw
from tlfw.report.costs import MEASURES
from tlfw.report.digits import NONE, between, chance, counted, duration, labelled, percent, sentence
from tlfw.report.findings import Findings, front
from tlfw.report.leaderboard import Comparison, Row, budgets, comparisons, rows, source_before
from tlfw.report.sentences import bare, shipped, span
from tlfw.report.verdict import Task, leads

SCHEMA = 2
"""Of report.json."""

MOST_COMPARISONS = 5000
"""In report.json; where there are more, those with the best of each task are kept."""

PRICES = ("images", "flops", "direct_flops", "seconds", "shared_images", "shared_flops", "shared_seconds")


def csv_text(findings: Findings) -> str:
    """A row a cell, all tasks below each other, numbers in full; `settings` and `compared` as JSON, what does not apply
    empty."""
    out = io.StringIO()
    table = csv.DictWriter(out, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
    table.writeheader()
    for row in _flat(findings):
        values = dataclasses.asdict(row)
        values["labelled"] = "all" if row.labelled is None else row.labelled
        for name in ("settings", "compared"):
            values[name] = json.dumps(values[name], sort_keys=True, default=str)
        table.writerow(values)
    return out.getvalue()


def _flat(findings: Findings) -> list[Row]:
    return [row for task in rows(findings) for row in task]


MARKDOWN = str.maketrans({each: f"\\{each}" for each in "\\`*_[]#|~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def md(text: str) -> str:
    """Text in GitHub's Markdown, also within a table."""
    return " ".join(text.split()).translate(MARKDOWN)


def md_text(findings: Findings) -> str:
    """A short leaderboard in GitHub's Markdown, the verdict first."""
    lines = [f"# {md(findings.title)}", ""]
    lines += [f"> {md(sentence)}\n>" for sentence in findings.unequal]
    if findings.unequal:
        lines[-1] = lines[-1].removesuffix("\n>")
        lines.append("")
    for task, members in zip(findings.tasks, rows(findings), strict=True):
        lines += [f"## {labelled(task.labelled).capitalize()}", "", md(task.sentence), ""]
        lines += [md(text) + "\n" for text in (task.advice, *task.remarks, said(task)) if text]
        metric = task.metric
        lines += [
            f"| | cell | test {metric.title}, {metric.units.unit} | 95 % interval | to the first | p | verdict "
            "| source kept | time alone | shared |",
            "|--:|---|--:|:-:|--:|--:|---|--:|--:|--:|",
        ]
        for i, row in enumerate(members):
            bold = "**" if i in leads(task) else ""
            lines.append(
                f"| {row.rank} | {bold}{md(row.cell)}{bold}{STAR_MD if row.random_features else ''} "
                f"| {bold}{bare(metric, row.value)}{bold} | {span(metric, row.low, row.high)} "
                f"| {to_first(row, task)} | {md(chance(row.p_to_first))} | {row.verdict} | {percent(row.source_kept)} "
                f"| {duration(row.seconds)} | {duration(row.shared_seconds)} |"
            )
        lines.append("")
    lines.append(md(f"{_basis(findings)}{_bold(findings)}") + "\n")
    if any(row.random_features for row in _flat(findings)):
        lines.append(f"{STAR_MD} {md(RANDOM_FEATURES)}\n")
    lines += [f"- {md(note)}" for note in findings.notes]
    return "\n".join(lines)


def said(task: Task) -> str:
    """Which trained model to use; empty where nothing says."""
    return shipped(task, task.shipped) if task.shipped else ""


def to_first(row: Row, task: Task) -> str:
    """How far a cell's value is from the first one's: `−3.2`; a dash for the first itself."""
    if row.difference is None or row.rank == 1:
        return NONE
    shown = bare(task.metric, row.difference)
    return shown if shown.startswith("−") or float(shown) == 0 else f"+{shown}"


STAR_MD = "\\*"
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


LATEX = str.maketrans(
    {each: f"\\{each}" for each in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"''",
        "“": "``",
        "”": r"''",
        # at a row's beginning these would be read as arguments of the line break before
        "[": "{[}",
        "*": "{*}",
        "`": r"\textasciigrave{}",
        "−": "$-$",
        "–": "--",
    }
)


def latex(text: str) -> str:
    """Text as LaTeX sets it. Letters beyond Latin need an engine and a font that know them (XeLaTeX, LuaLaTeX)."""
    plain = "".join(each for each in " ".join(text.split()) if each.isprintable())
    return plain.translate(LATEX)


def tex_text(findings: Findings) -> str:
    """A table for a paper: booktabs, the best group bold, and a caption that says what the numbers stand on."""
    unequal = " Budgets differ: see the report." if findings.unequal else ""
    star = f" $^*${sentence(RANDOM_FEATURES)}" if any(r.random_features for r in _flat(findings)) else ""
    metric = findings.metric
    said = (
        f"{_basis(findings)}{_bold(findings)}{unequal} Gap: {metric.units.unit_of_difference} to the first. Kept: "
        "accuracy on the source."
    )
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}  % the width of one column of text",
        r"\caption{" + latex(said) + star + "}",
        r"\label{tab:tlfw}",
        r"\begin{tabular}{lrcrrrr}",
        r"\toprule",
        rf"Cell & {latex(HEADS[metric.name])} & 95\,\% interval & Gap & $p$ & Kept (\%) & Time \\",
    ]
    for task, members in zip(findings.tasks, rows(findings), strict=True):
        lines += [r"\midrule", rf"\multicolumn{{7}}{{l}}{{\emph{{{latex(labelled(task.labelled).capitalize())}}}}} \\"]
        for i, row in enumerate(members):
            name, shown = latex(row.cell), latex(bare(metric, row.value))
            if i in leads(task):
                name, shown = rf"\textbf{{{name}}}", rf"\textbf{{{shown}}}"
            p = chance(row.p_to_first)
            cells = [
                name + ("$^*$" if row.random_features else ""),
                shown,
                latex(span(metric, row.low, row.high)).replace(" to ", "--"),
                latex(to_first(row, task)),
                f"${p}$" if row.p_to_first is not None else latex(p),
                latex(percent(row.source_kept).removesuffix(" %")),
                duration(row.seconds).replace(" ", r"\,"),
            ]
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


HEADS = {"accuracy": "Acc. (%)", "balanced_accuracy": "Bal. acc. (%)", "macro_f1": "F1 (%)", "log_loss": "Log-loss"}
"""Of a metric's column where there is little room."""


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
            for t, (members, pairs) in enumerate(zip(rows(findings), all_pairs, strict=True))
        ],
    }
    return json.dumps(_plain(facts), indent=1, allow_nan=False) + "\n"


def _task(findings: Findings, t: int, members: Sequence[Row], pairs: Sequence[Comparison]) -> dict[str, Any]:
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
        "cells": [_cell(findings, t, i, row) for i, row in enumerate(members)],
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


def _cell(findings: Findings, t: int, i: int, row: Row) -> dict[str, Any]:
    cell, found = findings.tasks[t].cells[i], findings.mistakes[t][i]
    names = findings.classes
    return {
        **dataclasses.asdict(row),
        "source_before": source_before(cell),
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
                cell.runs.items(), findings.tasks[t].means[i].values or [None] * len(cell.runs), strict=False
            )
        ],
        "accuracy_by_class": dict(zip(names, found.accuracy_K, strict=True)),
        "confused": [{"class": names[i], "called": called(names, j), "share": share} for i, j, share in found.confused],
        "calibration": {"confidence": found.confidence_B, "right": found.right_B, "share": found.share_B},
    }


def called(classes: Sequence[str], index: int) -> str:
    """The name of what an image was taken for. A head may have more outputs than there are classes."""
    return classes[index] if index < len(classes) else f"no class ({index})"


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
