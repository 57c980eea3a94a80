"""The figures of a report, from its findings: a function for each, in the order of `PICTURES`.

It imports the findings and what they are made of, and Matplotlib. Begin with `figure`; add a figure as a function that
returns a `Picture`, and to `PICTURES`.
"""

from __future__ import annotations

from tlfw.report.figures.accuracy import accuracy
from tlfw.report.figures.comparisons import comparisons
from tlfw.report.figures.confusions import calibration, classes, confusion
from tlfw.report.figures.cost import cost
from tlfw.report.figures.curves import curves
from tlfw.report.figures.figure import Drawing, Picture, Subject, drawing, leave
from tlfw.report.figures.forgetting import forgetting
from tlfw.report.figures.labels import labels
from tlfw.report.figures.paradigms import paradigms
from tlfw.report.findings import Findings

__all__ = ["Drawing", "Picture", "drawing", "leave", "pictures"]

PICTURES = (accuracy, paradigms, comparisons, labels, cost, curves, forgetting, confusion, classes, calibration)
"""In a page's order."""


def pictures(findings: Findings) -> list[Picture]:
    """Those that make sense for these findings, in a page's order."""
    subject = Subject.of(findings)
    return [picture for make in PICTURES if (picture := make(subject)) is not None]
