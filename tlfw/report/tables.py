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
from tlfw.report.digits import between, chance, counted, duration, labelled, percent, percents, points
from tlfw.report.findings import Findings, front
from tlfw.report.leaderboard import Comparison, Row, budgets, comparisons, leads, rows, source_before
from tlfw.report.statistics import LEVEL

SCHEMA = 1
"""Of report.json."""

MOST_COMPARISONS = 5000
"""In report.json; where there are more, those with the best of each task are kept."""

PRICES = ("images", "flops", "direct_flops", "seconds", "shared_images", "shared_flops", "shared_seconds")


def csv_text(findings: Findings) -> str:
    """A row a cell, all tasks below each other, numbers in full; `settings` as JSON, what does not apply empty."""
    out = io.StringIO()
    table = csv.DictWriter(out, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
    table.writeheader()
    for row in _flat(findings):
        values = dataclasses.asdict(row)
        values["labelled"] = "all" if row.labelled is None else row.labelled
        values["settings"] = json.dumps(row.settings, sort_keys=True, default=str)
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
        lines += [md(task.advice), ""] if task.advice else []
        lines += [
            "| | cell | test accuracy | 95 % interval | points to the first | p | source kept | time alone | shared |",
            "|--:|---|--:|:-:|--:|--:|--:|--:|--:|",
        ]
        for i, row in enumerate(members):
            bold = "**" if i in leads(task) else ""
            lines.append(
                f"| {row.rank} | {bold}{md(row.cell)}{bold}{STAR_MD if row.random_features else ''} "
                f"| {bold}{percent(row.test_accuracy)}{bold} | {percents(row.low, row.high)} "
                f"| {points(row.difference)} | {md(chance(row.p_against_best))} | {percent(row.source_kept)} "
                f"| {duration(row.seconds)} | {duration(row.shared_seconds)} |"
            )
        lines.append("")
    lines.append(md(f"{_basis(findings)} Bold: {_bold(findings)}.") + "\n")
    if any(row.random_features for row in _flat(findings)):
        lines.append(f"{STAR_MD} {md(RANDOM_FEATURES)}\n")
    lines += [f"- {md(note)}" for note in findings.notes]
    return "\n".join(lines)


STAR_MD = "\\*"
RANDOM_FEATURES = "on random features: nothing below the trained layers ever learnt. A control."


def _basis(findings: Findings) -> str:
    """On what the numbers stand, in a line or two."""
    seeds = [one.seeds for task in findings.tasks for one in task.accuracies]
    over = "test images only, for there is one seed" if max(seeds) == 1 else "seeds and test images"
    many = findings.comparisons
    corrected = f", p values corrected for {many} comparisons (Holm)" if many > 1 else ""
    return (
        f"Mean over {between(min(seeds), max(seeds))} {'seed' if max(seeds) == 1 else 'seeds'} on "
        f"{counted(findings.test_images, 'test image')} of “{findings.target}”; 95 % intervals over {over}{corrected}."
    )


def _bold(findings: Findings) -> str:
    """What the tables' bold type means."""
    if all(task.kind == "winner" for task in findings.tasks):
        return "the best"
    return "the best, and what cannot be told apart from it, unless that is all"


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
    star = f" $^*$On {RANDOM_FEATURES.removeprefix('on ')}" if any(r.random_features for r in _flat(findings)) else ""
    said = (
        f"{_basis(findings)} Bold: {_bold(findings)}.{unequal} Gap: points to the first. Kept: accuracy on the source."
    )
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}  % the width of one column of text",
        r"\caption{" + latex(said) + star + "}",
        r"\label{tab:tlfw}",
        r"\begin{tabular}{lrcrrrr}",
        r"\toprule",
        r"Cell & Acc. (\%) & 95\,\% interval & Gap & $p$ & Kept (\%) & Time \\",
    ]
    for task, members in zip(findings.tasks, rows(findings), strict=True):
        lines += [r"\midrule", rf"\multicolumn{{7}}{{l}}{{\emph{{{latex(labelled(task.labelled).capitalize())}}}}} \\"]
        for i, row in enumerate(members):
            name, shown = latex(row.cell), f"{100 * row.test_accuracy:.1f}"
            if i in leads(task):
                name, shown = rf"\textbf{{{name}}}", rf"\textbf{{{shown}}}"
            p = chance(row.p_against_best)
            cells = [
                name + ("$^*$" if row.random_features else ""),
                shown,
                percents(row.low, row.high).replace(" to ", "--"),
                latex(points(row.difference)),
                f"${p}$" if row.p_against_best is not None else latex(p),
                latex(percent(row.source_kept).removesuffix(" %")),
                duration(row.seconds).replace(" ", r"\,"),
            ]
            lines.append(" & ".join(cells) + r" \\")
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
        "notes": findings.notes,
        "level": LEVEL,
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
        "best_group": [names[i] for i in task.group],
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
            {"run_id": run.record.run_id, "seed": run.record.seed, "folder": run.folder.name}
            for run in cell.runs.values()
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
