"""The pictures of a report: what they hold, and that they can be read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from tests.report import invented
from tests.report.drawn import BEST, drawn, faults, lines, picture, texts
from tlfw.report.cells import SOURCE_KEPT
from tlfw.report.costs import pareto
from tlfw.report.figures import pictures
from tlfw.report.figures.confusions import differing, pair
from tlfw.report.figures.curves import learning
from tlfw.report.figures.figure import Subject
from tlfw.report.figures.labels import images
from tlfw.report.figures.paradigms import grounds_of
from tlfw.report.figures.style import paper, style
from tlfw.report.findings import Findings, find_out, rival

ALL = [
    "accuracy", "paradigms", "comparisons", "cost", "curves", "forgetting", "confusion", "classes", "calibration",
]  # fmt: skip


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return find_out([invented.sweep(tmp_path_factory.mktemp("ten"), seeds=5, images=400, best=BEST)])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    counts = (10, 50, 200)
    return find_out([invented.sweep(tmp_path_factory.mktemp("labelled"), seeds=3, labelled=counts, best=BEST)])


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    names = ("resnet18", "a_backbone_with_a_rather_long_name")
    return find_out([invented.sweep(tmp_path_factory.mktemp("backbones"), seeds=3, backbones=names, best=BEST)])


def test_all_make_sense_of_a_whole_grid(ten: Findings, labelled: Findings) -> None:
    assert [each.name for each in pictures(ten)] == ALL
    assert [each.name for each in pictures(labelled)] == [*ALL[:3], "labels", *ALL[3:]]
    order = ["verdict", "labels", "cost", "learning", "mistakes"]
    places = [order.index(each.section) for each in pictures(labelled)]
    assert places == sorted(places)


@pytest.mark.parametrize("which", ["ten", "labelled", "backbones"])
def test_every_text_can_be_read(which: str, request: pytest.FixtureRequest) -> None:
    findings = request.getfixturevalue(which)
    for each in pictures(findings):
        figure = drawn(findings, each.name)
        assert faults(figure) == [], each.name
        assert figure.get_size_inches()[0] <= 6.5, each.name


def test_captions_and_alternatives_say_what_is_shown(ten: Findings, labelled: Findings) -> None:
    best, accuracy = ten.tasks[0].cells[0].name, ten.tasks[0].means[0]
    for each in pictures(ten):
        assert "5 repetitions a cell, 400 test images" in each.caption
        assert "numbers of labelled images" not in each.caption
    assert best in picture(ten, "accuracy").alt
    assert f"{100 * accuracy.value:.1f} %" in picture(ten, "accuracy").alt
    for each in pictures(labelled):
        largest = "200 labelled images a class. Of the 3 numbers of labelled images, this is the largest."
        assert (largest in each.caption) == (each.name not in ("labels", "paradigms")), each.name


def test_accuracy_has_an_interval_a_cell_and_fills_the_group(ten: Findings) -> None:
    task = ten.tasks[0]
    assert 1 < len(task.group) < len(task.cells)
    figure = drawn(ten, "accuracy")
    bars = [each for each in figure.axes[0].containers if isinstance(each, ErrorbarContainer)]
    assert len(bars) == len(task.cells)
    with style(dark=False):
        hollow = paper()
    for row, bar in enumerate(bars):
        data = bar[0]
        assert data.get_xydata().tolist() == [[pytest.approx(100 * task.means[row].value), row]]
        ends = bar[2][0].get_segments()[0][:, 0]
        mean = task.means[row]
        assert ends == pytest.approx([100 * mean.low, 100 * mean.high])
        assert (data.get_markerfacecolor() != hollow) == (row in task.group)
    ticks = [each for each in figure.axes[0].lines if each.get_marker() == "|"]
    assert [len(each.get_xdata()) for each in ticks] == [5] * len(task.cells)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [cell.name + "*" * cell.random_features for cell in task.cells]
    assert any(name.endswith("*") for name in names)


def test_the_map_outlines_the_group_and_shows_what_is_absent(ten: Findings) -> None:
    figure = drawn(ten, "paradigms")
    outlined = [each for each in figure.axes[0].patches if each.get_gid() == "group"]
    assert len(outlined) == len(ten.tasks[0].group)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written.count("–") == 2  # target_only is full only
    for cell, mean in zip(ten.tasks[0].cells, ten.tasks[0].means, strict=True):
        assert f"{100 * mean.value:.1f}" + "*" * cell.random_features in written
        assert f"{100 * mean.low:.1f}–{100 * mean.high:.1f}" in written


def test_maps_of_backbones_and_of_labels_stand_side_by_side(labelled: Findings, backbones: Findings) -> None:
    titles = [axes.get_title() for axes in drawn(labelled, "paradigms").axes if axes.get_title()]
    assert titles == ["10 labelled a class", "50 labelled a class", "200 labelled a class"]
    titles = [axes.get_title() for axes in drawn(backbones, "paradigms").axes if axes.get_title()]
    assert sorted(title[:9] for title in titles) == ["a_backbon", "resnet18"]


def test_what_has_no_source_is_beside_all_of_its_backbone(tmp_path: Path) -> None:
    right = invented.correct(np.random.default_rng(0), 1.0, hard_N=np.zeros(100))
    for number, source in enumerate(("this", "that")):
        invented.run(tmp_path, "joint", "full", 0, right, source=source, run_id=f"{number}" * 64)
    invented.run(tmp_path, "target_only", "full", 0, ~right)
    findings = find_out([tmp_path])
    assert [source for _, source in grounds_of(findings.tasks[0])] == ["that", "this"]
    figure = drawn(findings, "paradigms")
    control = f"{100 * findings.tasks[0].means[-1].value:.1f}"
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [control in [text.get_text() for text in axes.texts] for axes in panels] == [True, True]
    for each in pictures(findings):
        assert faults(drawn(findings, each.name)) == [], each.name


def test_comparisons_colour_the_pairs_that_can_be_told_apart(ten: Findings) -> None:
    task = ten.tasks[0]
    patches = [each for each in drawn(ten, "comparisons").axes[0].patches if isinstance(each, Rectangle)]
    upper = np.triu_indices(len(task.cells), 1)
    assert len(patches) == len(upper[0])
    apart = [each for each in patches if each.get_alpha() is None]
    assert {(round(each.get_x() + 0.47), round(each.get_y() + 0.47)) for each in apart} == {
        (j, i) for i, j in zip(*upper, strict=True) if task.apart(i, j)
    }
    assert 0 < len(apart) < len(patches)


def test_labels_have_a_line_a_paradigm(labelled: Findings) -> None:
    figure = drawn(labelled, "labels")
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert set(panels) == {"pretrain_finetune", "joint", "pretrain_joint"}
    for axes in panels.values():
        bars = [each for each in axes.containers if isinstance(each, ErrorbarContainer)]
        assert len(bars) == 4  # three policies, and the control
        assert axes.get_xscale() == "log"
    line = next(each for each in panels["joint"].lines if each.get_gid() == "joint/full")
    wanted = [
        100 * mean.value
        for task in labelled.tasks
        for cell, mean in zip(task.cells, task.means, strict=True)
        if cell.name == "joint / full"
    ]
    assert line.get_ydata() == pytest.approx(wanted)
    gains = {
        cell.name: 100 * (mean.value - labelled.tasks[0].means[first].value)
        for cell, mean in zip(labelled.tasks[-1].cells, labelled.tasks[-1].means, strict=True)
        for first, other in enumerate(labelled.tasks[0].cells)
        if other.name == cell.name
    }
    most = max(gains, key=lambda name: gains[name])
    said = f"From 10 to 200, {most} gains most ({gains[most]:.1f} points in the mean), "
    assert said in picture(labelled, "labels").caption
    assert {"10", "50", "200"} <= {text.get_text() for text in texts(figure)}


def test_all_labelled_images_stand_apart_from_any_number(tmp_path: Path) -> None:
    findings = find_out([invented.sweep(tmp_path, seeds=1, images=60, labelled=(10, None))])
    assert images(findings.tasks, 5) == [10, 15]  # 50 images of 5 classes, as many as the other has
    assert "all" in [text.get_text() for text in texts(drawn(findings, "labels"))]


def test_cost_joins_what_no_cheaper_cell_beats(ten: Findings) -> None:
    figure = drawn(ten, "cost")
    accuracies = [mean.value for mean in ten.tasks[0].means]
    candidates = [i for i, cell in enumerate(ten.tasks[0].cells) if not cell.random_features]
    assert len(candidates) == 8
    measures = [[getattr(price, name) for price in ten.costs[0]] for name in ("images", "flops", "seconds")]
    for line, prices in zip(lines(figure, "pareto"), measures, strict=True):
        best = [candidates[i] for i in pareto(*([each[i] for i in candidates] for each in (prices, accuracies)))]
        assert line.get_xdata() == pytest.approx([prices[i] for i in best])
        assert line.get_ydata() == pytest.approx([100 * accuracies[i] for i in best])
    assert len(lines(figure, "alone")) == 30  # ten cells, three costs
    assert len(lines(figure, "shared")) == 3 * 6  # pretrainings are shared


def test_curves_are_of_all_stages(ten: Findings) -> None:
    task = ten.tasks[0]
    place = next(i for i, cell in enumerate(task.cells) if cell.name == "pretrain_joint / full")
    found = learning(task.cells[place], place)
    assert found.stages == ("pretrain", "adapt")
    assert found.ends == (32000, 32000 + 300 * 32)
    assert [len(found.curves[name]) for name in ("target/val/acc", "source/val/acc", "train/loss")] == [1, 2, 2]
    assert found.curves["source/val/acc"][1].images[-1] == found.ends[-1]
    figure = drawn(ten, "curves")
    assert len(figure.axes) == 4 * 3
    assert {"pretrain", "adapt", "no source"} <= {text.get_text() for text in texts(figure)}
    named = {line.get_gid() for line in figure.findobj(Line2D)}  # type: ignore[union-attr]
    assert {cell.name + "*" * cell.random_features for cell in task.cells} <= named


def test_a_band_of_curves_is_from_the_least_to_the_most(ten: Findings) -> None:
    cell = ten.tasks[0].cells[0]
    runs = dict(cell.runs)
    for add, (replicate, run) in enumerate(cell.runs.items()):
        stages = [
            {**stage, "curve": [{**point, "train/loss": 1.0 + add} for point in stage["curve"]]}
            for stage in run.record.stages
        ]
        runs[replicate] = dataclasses.replace(run, record=dataclasses.replace(run.record, stages=stages))
    curve = learning(dataclasses.replace(cell, runs=runs), 0).curves["train/loss"][0]
    assert (curve.low[0], curve.mean[0], curve.high[0]) == (1, 3, 5)


def test_forgetting_is_of_cells_with_a_source(ten: Findings) -> None:
    cells = ten.tasks[0].cells
    figure = drawn(ten, "forgetting")
    assert len(lines(figure, "after")) == 9
    assert len(lines(figure, "before")) == 6
    starts = {cell.data_mix: cell.before_last_stage(SOURCE_KEPT) for cell in cells}
    assert starts["pretrain_finetune"] == pytest.approx(0.85)
    assert starts["joint"] is None


def test_mistakes_are_of_the_best_and_its_rival(ten: Findings) -> None:
    subject = Subject.of(ten)
    assert pair(subject) == [0, rival(ten.tasks[0])]
    figure = drawn(ten, "confusion")
    names = [ten.tasks[0].cells[i].name for i in pair(subject)]
    assert [axes.get_title() for axes in figure.axes[:2]] == names
    share = 100 * ten.confusions[0][0][0, 0] / ten.confusions[0][0][0].sum()
    assert figure.axes[0].texts[0].get_text() == f"{share:.0f}"
    titles = [axes.get_title() for axes in drawn(ten, "calibration").axes if axes.get_title()]
    assert titles == [
        f"{name}\nECE {100 * ten.mistakes[0][i].ece:.1f} %" for name, i in zip(names, pair(subject), strict=True)
    ]
    by_class = ten.mistakes[0][0].accuracy_K - ten.mistakes[0][pair(subject)[1]].accuracy_K
    found, shown = differing(subject)
    assert found == list(range(5))
    assert shown == sorted(found, key=lambda k: -by_class[k])
