"""Random features do not squash the axes of all else, and nothing but random features is ever put beyond them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D

from tests.report import invented
from tests.report.drawn import drawn, faults, lines, picture
from tests.report.test_verdict import cell
from tlfw.report.documents.column_type import places
from tlfw.report.documents.page_tables import leaderboard
from tlfw.report.figures import pictures
from tlfw.report.figures.figure import beyond
from tlfw.report.figures.style import faint, style
from tlfw.report.findings import Findings, find_out

RANDOM = {"joint / last_layer", "joint / last_layers"}


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Two cells on random features far below, one of which knows nothing of the source either."""
    best = {("joint", "last_layer"): -2.5, ("joint", "last_layers"): -2.0, ("target_only", "full"): -0.4}
    folder = invented.sweep(tmp_path_factory.mktemp("low"), images=600, labelled=(10, 50), best=best)
    return find_out([folder])


def test_only_random_features_are_ever_beyond_an_axis() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        count = int(random.integers(1, 9))
        values = random.random(count) ** random.uniform(0.2, 5)
        lows = values * random.random(count)
        cells = [dataclasses.replace(cell("a"), random_features=bool(random.random() < 0.5)) for _ in range(count)]
        end, off = beyond(cells, values.tolist(), lows.tolist())
        assert all(cells[i].random_features for i in off)
        assert len(off) < count
        assert all(lows[i] >= end for i in range(count) if i not in off)
        assert all(values[i] < end for i in off)


def test_what_is_near_or_alone_is_on_the_axis() -> None:
    real, other = cell("a"), dataclasses.replace(cell("b"), random_features=True)
    assert beyond([real, real, other], [0.8, 0.6, 0.56], [0.8, 0.6, 0.5]) == (0.5, frozenset())
    assert beyond([real, real, other], [0.8, 0.6, 0.54], [0.8, 0.6, 0.5]) == (0.6, {2})
    assert beyond([other, other], [0.8, 0.1], [0.8, 0.1]) == (0.1, frozenset())
    assert beyond([real, other], [0.5, 0.49], [0.5, 0.49]) == (0.49, frozenset())


def test_figures_have_an_arrow_for_them_and_all_else_on_their_axes(low: Findings) -> None:
    task = low.tasks[-1]
    real = [i for i, each in enumerate(task.cells) if not each.random_features]
    assert len(real) == len(task.cells) - 2
    for name, count in (("accuracy", 2), ("cost", 6), ("forgetting", 2), ("labels", 4)):
        figure = drawn(low, name)
        assert len(lines(figure, "beyond")) == count, name
        assert "Arrows: random features, below the axis at " in picture(low, name).caption, name
        for axes in figure.axes:
            marks = [each for each in axes.lines if each.get_gid() not in ("beyond", "pareto")]
            for each in [*marks, *(bar[0] for bar in axes.containers if isinstance(bar, ErrorbarContainer))]:
                if each.get_transform() != axes.transData:
                    continue
                data = each.get_xydata()
                inside = axes.transAxes.inverted().transform(axes.transData.transform(data))
                assert (inside > -1e-9).all(), name
                assert (inside < 1 + 1e-9).all(), name
    low_end = min(task.means[i].low for i in real)
    assert 100 * low_end - 5 < drawn(low, "accuracy").axes[0].get_xlim()[0] <= 100 * low_end
    for each in pictures(low):
        assert faults(drawn(low, each.name)) == [], each.name


def test_colours_are_ruled_by_the_others(low: Findings) -> None:
    figure = drawn(low, "paradigms")
    with style(dark=False):
        grey = np.array(to_rgba(faint()))
    faces = [patch.get_facecolor() for axes in figure.axes[:2] for patch in axes.patches if patch.get_fill()]
    assert sum(bool(np.allclose(face, grey)) for face in faces) == 4
    real = [mean.value for t in low.tasks for c, mean in zip(t.cells, t.means, strict=True) if not c.random_features]
    assert figure.axes[-1].get_ylim()[0] == pytest.approx(100 * min(real))
    assert "Grey: random features" in picture(low, "paradigms").caption
    assert "Colours end at " in picture(low, "comparisons").caption


def test_the_leaderboard_has_an_arrow_too(low: Findings) -> None:
    members = places(low)[-1]
    table = leaderboard(low.tasks[-1], members, "All.")
    bars = [row[2].bar for row in table.rows]
    assert [bar[1] < 0 for bar in bars if bar] == [at.cell.name in RANDOM for at in members]
    assert all(0 <= end <= 1 for bar in bars if bar and bar[1] >= 0 for end in bar)
    assert "An arrow" in table.caption


def test_curves_follow_the_data(tmp_path: Path) -> None:
    findings = find_out([invented.sweep(tmp_path, seeds=1, images=60)])
    runs = findings.gathered.runs
    for run in runs:
        random = "random_features" in run.record.labels
        for stage in run.record.stages:
            for k, point in enumerate(stage["curve"]):
                for measure in ("target/val/acc", "source/val/acc"):
                    if measure in point:
                        point[measure] = 0.1 if random else 0.8 + 0.05 * k
    figure = drawn(findings, "curves")
    for axes in figure.axes[:2]:
        assert 78 < axes.get_ylim()[0] < 80
    marks = [each for each in figure.findobj(Line2D) if each.get_gid() == "beyond"]  # type: ignore[misc]
    assert len(marks) == 4  # two cells on random features, target and source
    assert "below the axis at 10.0 %" in picture(findings, "curves").caption
