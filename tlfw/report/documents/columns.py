"""The columns of the report: each is one entry of `COLUMNS`, from which CSV, JSON, W&B, page, Markdown, LaTeX and
terminal are made. A new column is written here and nowhere else.

A row is one cell of a task. The files for programs hold every column, in the order of `COLUMNS`; a table for people
holds those that say how they appear in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tlfw.records.metric import Metric
from tlfw.report.cells import SOURCE_KEPT
from tlfw.report.comparisons import standing
from tlfw.report.documents.column_type import Appearance, Column, Place, TableName, Text, of_metric
from tlfw.report.documents.markup import latex
from tlfw.report.number_format import NONE, chance, decimals, duration, percent, short
from tlfw.report.sentences import bare, span


def columns_of(table: TableName) -> list[Column]:
    """Those that stand in a table, from left to right."""
    return sorted((column for column in COLUMNS if table in column.tables), key=lambda column: column.order)


def notes_of(table: TableName, metric: Metric) -> list[str]:
    """What a caption says of the columns."""
    noted = [column.tables[table].note for column in columns_of(table)]
    return [of_metric(note, metric) for note in noted if note]


def values(at: Place) -> dict[str, Any]:
    """All columns of a cell, numbers in full."""
    return {column.name: column.value(at) for column in COLUMNS}


def fields(at: Place) -> dict[str, Any]:
    """All columns of a cell, each as one field of a table holds it: mappings are JSON."""
    return {
        name: json.dumps(value, sort_keys=True, default=str) if isinstance(value, Mapping) else value
        for name, value in values(at).items()
    }


def _in(form: Callable[[Any], str]) -> Text:
    """Text that says the value alone."""
    return lambda value, _: form(value)


def _with_unit(value: float, at: Place) -> str:
    return at.metric.text(value)


def _bare(value: float | None, at: Place) -> str:
    return NONE if value is None else bare(at.metric, value)


def _interval(_: Any, at: Place) -> str:
    return span(at.metric, at.mean.low, at.mean.high)


def _signed(value: float | None, at: Place) -> str:
    """How far a cell's value is from the first one's: `−3.2`, `+0.4`; a dash for the first itself."""
    shown = _bare(value, at)
    return shown if value is None or shown.startswith("−") or float(shown) == 0 else f"+{shown}"


def _difference_interval(at: Place) -> str:
    first = at.to_first
    return "" if first is None or first.low is None or first.high is None else span(at.metric, first.low, first.high)


def _shares(_: Any, at: Place) -> str:
    """Of the variance of a mean: `71, 25, 4 %`, or `40 + 31, 25, 4 %` where seeds and draws are crossed."""
    shares = at.mean.shares
    if "images" not in shares or "rest" not in shares or (repetitions := _from_repetitions(at)) is None:
        return NONE
    repeated = [shares["seeds"], shares["draws"]] if "seeds" in shares else [repetitions]
    first = " + ".join(f"{100 * share:.0f}" for share in repeated)
    return f"{first}, {100 * shares['images']:.0f}, {100 * shares['rest']:.0f} %"


def _from_repetitions(at: Place) -> float | None:
    shares = at.mean.shares
    return shares.get("repetitions", shares["seeds"] + shares["draws"] if "seeds" in shares else None)


def _tested(metric: str, unit: str, head: str, form: Callable[[Any], str]) -> Column:
    """A metric on the test, whichever the cells are judged by."""
    return Column(
        metric,
        f"mean on the test, {unit}",
        lambda at: at.tested(metric),
        tables={"details": Appearance(head)},
        text=_in(form),
    )


def _settings(value: Mapping[str, Any], _: Place) -> str:
    return ", ".join(f"{name} = {chosen}" for name, chosen in value.items()) or NONE


def _latex_p(value: float | None, _: Place) -> str:
    return latex(NONE) if value is None else f"${chance(value)}$"


COLUMNS: tuple[Column, ...] = (
    Column(
        "rank",
        "place by the metric's mean on the test, among cells with as many labelled images; 1 is the best",
        lambda at: at.position + 1,
        tables={"markdown": Appearance(""), "terminal": Appearance("", align="left", width=2)},
    ),
    Column(
        "labelled", "labelled target images a class, validation included", lambda at: at.task.labelled, missing="all"
    ),
    Column(
        "cell",
        "what tells it from the other cells of the report",
        lambda at: at.cell.name,
        tables={
            "leaderboard": Appearance("Cell"),
            "details": Appearance("Cell"),
            "markdown": Appearance("cell"),
            "latex": Appearance("Cell"),
            "terminal": Appearance("cell"),
        },
        numeric=False,
        names_row=True,
        bold=True,
    ),
    Column("data_mix", "what the model was trained on: an option's name", lambda at: at.cell.data_mix, numeric=False),
    Column(
        "freeze_policy",
        "what the last stage could change: an option's name",
        lambda at: at.cell.freeze_policy,
        numeric=False,
    ),
    Column("backbone", "the network below the head: an option's name", lambda at: at.cell.backbone, numeric=False),
    Column("source", "the data set that was transferred from; empty: none", lambda at: at.cell.source, numeric=False),
    Column(
        "compared",
        "the fields that a person compares, with this cell's values, as JSON",
        lambda at: at.cell.compared,
        numeric=False,
    ),
    Column(
        "settings",
        "of its hyper-parameters that were varied, those chosen on validation data, as JSON",
        lambda at: at.cell.settings,
        tables={"details": Appearance("Settings chosen", wide=True)},
        text=_settings,
        numeric=False,
        order=2,
    ),
    Column(
        "tried",
        "from how many settings they were chosen",
        lambda at: at.cell.tried,
        tables={"details": Appearance("Settings tried")},
        small=lambda at: f"{at.cell.tied} tie" if at.cell.tied > 1 else "",
        order=1,
    ),
    Column("tied", "how many of these validate equally well, the chosen ones included", lambda at: at.cell.tied),
    Column(
        "repetitions",
        "over how many the means are",
        lambda at: at.mean.repetitions,
        tables={"details": Appearance("Repetitions")},
        small=lambda at: f"{at.cell.diverged} diverged" if at.cell.diverged else "",
    ),
    Column("diverged", "how many more repetitions diverged", lambda at: at.cell.diverged),
    Column(
        "metric",
        "what is judged by; value, low, high, sd, chance, majority, validation and difference are in its units",
        lambda at: at.metric.name,
        numeric=False,
    ),
    Column(
        "value",
        "the metric's mean on the test; shares are in [0, 1], log-loss in nats",
        lambda at: at.mean.value,
        tables={
            "leaderboard": Appearance("Test {title}"),
            "markdown": Appearance("test {title}, {unit}", text=_bare),
            "latex": Appearance("{short_title}", text=lambda value, at: latex(_bare(value, at))),
            "terminal": Appearance("{title}", width=10),
        },
        text=_with_unit,
        small=lambda at: _interval(None, at),
        bold=True,
    ),
    Column(
        "low",
        "lower end of the value's 95 % interval; with one repetition it covers test images only",
        lambda at: at.mean.low,
        tables={
            "leaderboard": Appearance("95 % interval", bar=True),
            "markdown": Appearance("95 % interval", align="center"),
            "latex": Appearance(
                r"95\,\% interval",
                align="center",
                text=lambda _, at: latex(_interval(_, at)).replace(" to ", "--"),
            ),
            "terminal": Appearance("95 % interval", width=14),
        },
        text=_interval,
        sort=lambda at: at.mean.value,
    ),
    Column("high", "upper end of that interval", lambda at: at.mean.high),
    Column(
        "sd",
        "standard deviation of the repetitions' values",
        lambda at: at.mean.sd,
        tables={"details": Appearance("SD of repetitions, {difference}")},
        text=_bare,
    ),
    Column(
        "from_repetitions",
        "share of the value's variance that is of repetitions (seeds, draws), [0, 1]",
        _from_repetitions,
        tables={"details": Appearance("Variance: repetitions, images, rest")},
        text=_shares,
    ),
    Column(
        "from_seeds",
        "of it, the share of seeds, where seeds and draws are crossed, [0, 1]",
        lambda at: at.mean.shares.get("seeds"),
    ),
    Column(
        "from_draws",
        "of it, the share of draws, where seeds and draws are crossed, [0, 1]",
        lambda at: at.mean.shares.get("draws"),
    ),
    Column(
        "from_images",
        "share of the value's variance that is of test images, [0, 1]",
        lambda at: at.mean.shares.get("images"),
    ),
    Column(
        "from_rest",
        "share of the value's variance that is of repetitions and images together, [0, 1]",
        lambda at: at.mean.shares.get("rest"),
    ),
    Column("chance", "the metric of guessing uniformly", lambda at: at.task.floor.chance),
    Column("majority", "the metric of always naming the most frequent class", lambda at: at.task.floor.majority),
    Column(
        "validation",
        "the metric's mean on validation images",
        lambda at: at.cell.validation,
        tables={"details": Appearance("Validation {title}")},
        text=_with_unit,
    ),
    _tested("accuracy", "[0, 1]", "Accuracy", percent),
    _tested("balanced_accuracy", "[0, 1]", "Balanced accuracy", percent),
    _tested("macro_f1", "[0, 1]", "Macro F1", decimals),
    _tested("log_loss", "nats", "Log-loss, nats", decimals),
    Column(
        "ece",
        "expected calibration error on the test, over all repetitions together, [0, 1]",
        lambda at: at.findings.mistakes[at.number][at.position].ece,
        tables={"details": Appearance("ECE")},
        text=_in(percent),
    ),
    Column(
        "source_kept",
        "accuracy on the source's validation images after all training, [0, 1]; empty: it never learnt of it",
        lambda at: at.cell.mean(SOURCE_KEPT),
        tables={
            "leaderboard": Appearance("Source kept"),
            "markdown": Appearance("source kept"),
            "latex": Appearance(
                r"Kept (\%)",
                text=lambda value, _: latex(percent(value).removesuffix(" %")),
                note="Kept: accuracy on the source.",
            ),
            "terminal": Appearance("source kept", width=11, spared=True),
        },
        text=_in(percent),
        order=4,
    ),
    Column(
        "epochs",
        "over the target's training images, as if the run had been alone",
        lambda at: at.cost.epochs,
        tables={"details": Appearance("Target epochs")},
        text=_in("{:.3g}".format),
    ),
    Column(
        "steps",
        "of the optimizer, as if the run had been alone",
        lambda at: at.cost.steps,
        tables={"details": Appearance("Steps")},
        text=_in(short),
    ),
    Column(
        "images",
        "seen in training, each time, as if the run had been alone",
        lambda at: at.cost.images,
        tables={"details": Appearance("Images seen")},
        text=_in(short),
        small=lambda at: f"{short(at.cost.shared_images)} shared",
    ),
    Column(
        "flops",
        "of training, forward and backward, multiply and add counted apart, as if the run had been alone",
        lambda at: at.cost.flops,
        tables={"details": Appearance("FLOPs")},
        text=_in(short),
        small=lambda at: f"{short(at.cost.shared_flops)} shared",
    ),
    Column(
        "direct_flops",
        "of training, if no features were stored: what a budget in FLOPs is counted in",
        lambda at: at.cost.direct_flops,
    ),
    Column(
        "seconds",
        "of training, validation, features and test, as if the run had been alone",
        lambda at: at.cost.seconds,
        tables={
            "leaderboard": Appearance("Time alone"),
            "markdown": Appearance("time alone"),
            "latex": Appearance("Time", text=lambda value, _: duration(value).replace(" ", r"\,")),
            "terminal": Appearance("time alone", width=10, spared=True),
        },
        text=_in(duration),
        order=4,
    ),
    Column(
        "shared_images",
        "its part of the images that all runs saw; what several have in common counts for its part of each",
        lambda at: at.cost.shared_images,
    ),
    Column("shared_flops", "its part of the FLOPs that all runs took", lambda at: at.cost.shared_flops),
    Column(
        "shared_seconds",
        "its part of the seconds that all runs took",
        lambda at: at.cost.shared_seconds,
        tables={
            "leaderboard": Appearance("Time shared"),
            "markdown": Appearance("shared"),
            "terminal": Appearance("shared", width=8, spared=True),
        },
        text=_in(duration),
        order=4,
    ),
    Column(
        "verdict",
        "what is known of it, in a word or two",
        lambda at: standing(at.task, at.position),
        tables={"markdown": Appearance("verdict"), "terminal": Appearance("verdict", width=12)},
        numeric=False,
        order=3,
    ),
    Column(
        "p_to_first",
        "p value of the difference to the first, corrected for all pairs of the report (Holm); empty: no claim",
        lambda at: at.to_first and at.to_first.adjusted,
        tables={
            "leaderboard": Appearance("p, corrected"),
            "markdown": Appearance("p"),
            "latex": Appearance("$p$", text=_latex_p),
        },
        text=_in(chance),
        order=2,
    ),
    Column(
        "difference",
        "to the first, over the repetitions that both have; empty: it is the first, or they share none",
        lambda at: at.to_first and at.to_first.difference,
        tables={
            "leaderboard": Appearance(
                "{Difference} to the first",
                text=lambda value, at: _signed(value, at) if at.position else "first",
            ),
            "markdown": Appearance("to the first"),
            "latex": Appearance("Gap", note="Gap: {difference} to the first."),
        },
        text=_signed,
        small=_difference_interval,
        sort=lambda at: at.to_first.difference if at.to_first else 0.0,
        order=1,
    ),
    Column(
        "difference_low",
        "lower end of the difference's 95 % interval, for this pair alone",
        lambda at: at.to_first and at.to_first.low,
    ),
    Column("difference_high", "upper end of that interval", lambda at: at.to_first and at.to_first.high),
    Column(
        "random_features",
        "whether nothing below its trained layers ever learnt: a control",
        lambda at: at.cell.random_features,
        numeric=False,
    ),
    Column("control", "whether nothing was transferred", lambda at: at.cell.control, numeric=False),
)
"""In the order of the files for programs."""
