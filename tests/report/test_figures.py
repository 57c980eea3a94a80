"""The pictures of a report: what they hold, that they can be read, and that nothing odd breaks them."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from tests.report import invented
from tlfw.report.costs import pareto
from tlfw.report.figures import Picture, leave, pictures, svg
from tlfw.report.figures.accuracy import MOST, rows
from tlfw.report.figures.confusions import chosen, differing, pair
from tlfw.report.figures.curves import learning
from tlfw.report.figures.forgetting import before
from tlfw.report.figures.labels import images
from tlfw.report.figures.paradigms import grounds_of
from tlfw.report.figures.picture import Subject
from tlfw.report.figures.style import MIXES, POLICIES, Marks, lined, on, paper, plain, style
from tlfw.report.findings import Findings, find_out, rival

BEST = {("pretrain_finetune", "full"): 0.9, ("pretrain_joint", "full"): 0.85, ("joint", "last_layer"): -0.8}
ALL = [
    "accuracy", "paradigms", "comparisons", "cost", "curves", "forgetting", "confusion", "classes", "calibration",
]  # fmt: skip


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return find_out([invented.sweep(tmp_path_factory.mktemp("ten"), seeds=3, images=400, best=BEST)])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    counts = (10, 50, 200)
    return find_out([invented.sweep(tmp_path_factory.mktemp("labelled"), seeds=2, labelled=counts, best=BEST)])


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    names = ("resnet18", "a_backbone_with_a_rather_long_name")
    return find_out([invented.sweep(tmp_path_factory.mktemp("backbones"), seeds=2, backbones=names, best=BEST)])


def picture(findings: Findings, name: str) -> Picture:
    return next(each for each in pictures(findings) if each.name == name)


def drawn(findings: Findings, name: str) -> Figure:
    with style(dark=False):
        return picture(findings, name).draw()


def texts(figure: Figure) -> list[Text]:
    """Those that are really drawn."""
    found: list[Text] = []
    draw = Text.draw

    def noting(self: Text, renderer: Any, *others: Any, **more: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append(self)
        draw(self, renderer, *others, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noting)
        figure.draw_without_rendering()
    return list(dict.fromkeys(found))


def faults(figure: Figure) -> list[tuple[str, ...]]:
    """Texts that are smaller than 8 points, that are cut off, and pairs that overlap."""
    found: list[tuple[str, ...]] = []
    shown = texts(figure)
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    found += [("small", text.get_text()) for text in shown if text.get_fontsize() < 8]
    inner = figure.bbox.padded(1)
    found += [("cut off", name) for name, box in boxes if not (inner.contains(*box.min) and inner.contains(*box.max))]
    found += [
        ("overlap", name, other)
        for (name, box), (other, another) in itertools.combinations(boxes, 2)
        if min(box.x1, another.x1) - max(box.x0, another.x0) > 0.5
        and min(box.y1, another.y1) - max(box.y0, another.y0) > 0.5
    ]
    return found


def lines(figure: Figure, gid: str) -> list[Line2D]:
    return [each for each in figure.findobj(Line2D) if each.get_gid() == gid]  # type: ignore[misc]


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
    best, accuracy = ten.tasks[0].cells[0].name, ten.tasks[0].accuracies[0]
    for each in pictures(ten):
        assert "3 seeds a cell, 400 test images" in each.caption
        assert "numbers of labelled images" not in each.caption
    assert best in picture(ten, "accuracy").alt
    assert f"{100 * accuracy.mean:.1f} %" in picture(ten, "accuracy").alt
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
        assert data.get_xydata().tolist() == [[pytest.approx(100 * task.accuracies[row].mean), row]]
        ends = bar[2][0].get_segments()[0][:, 0]
        one = task.accuracies[row]
        assert ends == pytest.approx([100 * one.low, 100 * one.high])
        assert (data.get_markerfacecolor() != hollow) == (row in task.group)
    ticks = [each for each in figure.axes[0].lines if each.get_marker() == "|"]
    assert [len(each.get_xdata()) for each in ticks] == [3] * len(task.cells)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [cell.name + "*" * cell.random_features for cell in task.cells]
    assert any(name.endswith("*") for name in names)


def test_the_map_outlines_the_group_and_shows_what_is_absent(ten: Findings) -> None:
    figure = drawn(ten, "paradigms")
    outlined = [each for each in figure.axes[0].patches if each.get_gid() == "group"]
    assert len(outlined) == len(ten.tasks[0].group)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written.count("–") == 2  # target_only is full only
    for cell, one in zip(ten.tasks[0].cells, ten.tasks[0].accuracies, strict=True):
        assert f"{100 * one.mean:.1f}" + "*" * cell.random_features in written
        assert f"{100 * one.low:.1f}–{100 * one.high:.1f}" in written


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
    control = f"{100 * findings.tasks[0].accuracies[-1].mean:.1f}"
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
        (j, i) for i, j in zip(*upper, strict=True) if task.adjusted[i, j] < 0.05
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
        100 * one.mean
        for task in labelled.tasks
        for cell, one in zip(task.cells, task.accuracies, strict=True)
        if cell.name == "joint / full"
    ]
    assert line.get_ydata() == pytest.approx(wanted)
    assert {"10", "50", "200"} <= {text.get_text() for text in texts(figure)}


def test_all_labelled_images_stand_apart_from_any_number(tmp_path: Path) -> None:
    findings = find_out([invented.sweep(tmp_path, seeds=1, images=60, labelled=(10, None))])
    assert images(findings.tasks, 5) == [10, 15]  # 50 images of 5 classes, as many as the other has
    assert "all" in [text.get_text() for text in texts(drawn(findings, "labels"))]


def test_cost_joins_what_no_cheaper_cell_beats(ten: Findings) -> None:
    figure = drawn(ten, "cost")
    accuracies = [one.mean for one in ten.tasks[0].accuracies]
    measures = [[getattr(price, name) for price in ten.costs[0]] for name in ("images", "flops", "seconds")]
    for line, prices in zip(lines(figure, "pareto"), measures, strict=True):
        best = pareto(prices, accuracies)
        assert line.get_xdata() == pytest.approx([prices[i] for i in best])
        assert line.get_ydata() == pytest.approx([100 * accuracies[i] for i in best])
    assert len(lines(figure, "alone")) == 30
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
    assert (curve.low[0], curve.mean[0], curve.high[0]) == (1, 2, 3)


def test_forgetting_is_of_cells_with_a_source(ten: Findings) -> None:
    cells = ten.tasks[0].cells
    figure = drawn(ten, "forgetting")
    assert len(lines(figure, "after")) == 9
    assert len(lines(figure, "before")) == 6
    starts = {cell.data_mix: before(cell) for cell in cells}
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


def test_of_many_classes_those_that_differ_most_are_shown(tmp_path: Path) -> None:
    names = [f"class ${k}_{{" for k in range(100)]
    findings = find_out([invented.sweep(tmp_path, seeds=1, images=300, classes=names)])
    subject = Subject.of(findings)
    assert 2 <= len(chosen(subject)) <= 10
    confused = findings.mistakes[0][0].confused[0]
    assert {confused[0], confused[1]} <= {k for entry in findings.mistakes[0][0].confused for k in entry[:2]}
    found, shown = differing(subject)
    assert (len(found), len(shown)) == (100, 30)
    assert "The 30 of 100 classes" in picture(findings, "classes").caption
    assert "of 100 classes" in picture(findings, "confusion").caption
    for name in ("confusion", "classes"):
        assert faults(drawn(findings, name)) == []


def test_a_class_without_images_and_a_logit_without_class(tmp_path: Path) -> None:
    findings = find_out([invented.sweep(tmp_path, seeds=1, images=60)])
    looked = findings.mistakes[0][0]
    accuracy_K = looked.accuracy_K.copy()
    accuracy_K[1] = np.nan
    confusion = findings.confusions[0][0].copy()
    confusion[1] = 0
    wide = np.column_stack([confusion, [3, 0, 0, 0, 0]])
    odd = dataclasses.replace(
        findings,
        mistakes=((dataclasses.replace(looked, accuracy_K=accuracy_K), *findings.mistakes[0][1:]),),
        confusions=({**findings.confusions[0], 0: wide},),
    )
    assert differing(Subject.of(odd))[0] == [0, 2, 3, 4]
    assert "no image of 1 more" in picture(odd, "classes").caption
    figure = drawn(odd, "confusion")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()][-1] == "no class"
    assert "–" in [text.get_text() for text in figure.axes[0].texts]
    assert "nan" not in " ".join(text.get_text() for name in ALL for text in texts(drawn(odd, name)))


def one_run(folder: Path, **changes: Any) -> Findings:
    right = np.arange(changes.pop("images", 40)) % 4 > 0
    invented.run(folder, changes.pop("mix", "joint"), "full", 0, right, **changes)
    return find_out([folder])


def test_one_cell_with_one_seed(tmp_path: Path) -> None:
    findings = one_run(tmp_path)
    names = [each.name for each in pictures(findings)]
    assert names == ["accuracy", "curves", "forgetting", "confusion", "classes", "calibration"]
    assert "1 seed a cell, 40 test images" in picture(findings, "accuracy").caption
    for name in names:
        assert faults(drawn(findings, name)) == [], name


def test_one_image_and_no_curves_and_no_source(tmp_path: Path) -> None:
    findings = one_run(tmp_path, mix="target_only", images=1, classes=("a", "b"))
    for run in findings.gathered.runs:
        for stage in run.record.stages:
            stage["curve"] = []
    assert [each.name for each in pictures(findings)] == ["accuracy", "confusion", "classes", "calibration"]
    for each in pictures(findings):
        assert drawn(findings, each.name)


@pytest.mark.parametrize("classes", [("a", "b"), ("鳥", "\udcff\n--")], ids=["two", "strange"])
def test_names_of_any_kind_become_files(tmp_path: Path, classes: Sequence[str]) -> None:
    findings = one_run(tmp_path, classes=classes)
    for each in pictures(findings):
        ElementTree.fromstring(svg(each, dark=True))


def many(findings: Findings, cells: int) -> Findings:
    """The same cells again and again."""
    task = findings.tasks[0]
    places = sorted(i % len(task.cells) for i in range(cells))
    block = np.ix_(places, places)
    found = task.differences
    matrices = {name: getattr(found, name)[block] for name in ("mean", "low", "high", "p", "seeds")}
    several = dataclasses.replace(
        task,
        cells=tuple(task.cells[i] for i in places),
        accuracies=tuple(task.accuracies[i] for i in places),
        correct=tuple(task.correct[i] for i in places),
        differences=dataclasses.replace(found, **matrices),
        adjusted=task.adjusted[block],
        group=tuple(k for k, i in enumerate(places) if i in task.group),
    )
    return dataclasses.replace(
        findings,
        tasks=(several,),
        costs=(tuple(findings.costs[0][i] for i in places),),
        mistakes=(tuple(findings.mistakes[0][i] for i in places),),
        confusions=({0: findings.confusions[0][0], cells - 1: findings.confusions[0][0]},),
    )


def test_of_many_cells_the_best_are_shown_and_a_control(ten: Findings) -> None:
    findings = many(ten, 200)
    subject = Subject.of(findings)
    shown = rows(subject)
    assert len(shown) == MOST
    assert "target_only" in {findings.tasks[0].cells[i].data_mix for i in shown}
    assert "The best 60 of 200 cells, the control with them." in picture(findings, "accuracy").caption
    assert "The best 30 of 200 cells." in picture(findings, "comparisons").caption
    assert "The best 12 of 200 cells." in picture(findings, "curves").caption
    for name in ("accuracy", "comparisons", "curves", "cost"):
        figure = drawn(findings, name)
        assert faults(figure) == [], name
        assert figure.get_size_inches()[1] < 13, name


def test_svg_is_the_same_each_time_and_has_no_date(ten: Findings) -> None:
    for each in (picture(ten, "accuracy"), picture(ten, "cost")):
        once = svg(each, dark=False)
        assert once == svg(each, dark=False)
        assert "<dc:date>" not in once
        assert svg(each, dark=True) != once
        root = ElementTree.fromstring(once)
        ids = {node.get("id") for node in root.iter() if node.get("id")}
        assert all(str(name).startswith(f"{each.name}-light-") for name in ids)
        links = {value[1:] for node in root.iter() for key, value in node.items() if key.endswith("href")}
        assert links <= ids


def test_a_picture_is_left_for_papers(ten: Findings, tmp_path: Path) -> None:
    leave(picture(ten, "accuracy"), tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["accuracy.png", "accuracy.svg"]
    with Image.open(tmp_path / "figures" / "accuracy.png") as image:
        assert image.width == 1300
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    ElementTree.parse(tmp_path / "figures" / "accuracy.svg")


def test_dark_pictures_have_light_text(ten: Findings) -> None:
    with style(dark=True):
        figure = picture(ten, "accuracy").draw()
        assert {on(text.get_color()) for text in texts(figure)} == {"#000000"}


def test_a_colour_and_a_marker_are_one_thing_only() -> None:
    marks = Marks.of([*MIXES, "own", "other"], [*POLICIES, "named"])
    for dark in (False, True):
        with style(dark=dark):
            assert len({marks.colour(mix) for mix in marks.mixes}) == len(marks.mixes)
    assert len({marks.marker(policy) for policy in marks.policies}) == len(marks.policies)
    fewer = Marks.of(["joint"], ["last_layer"])
    assert fewer.marker("last_layer") == marks.marker("last_layer")
    with style(dark=False):
        assert fewer.colour("joint") == marks.colour("joint")


def test_a_persons_own_style_has_no_part() -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.grid": True}), style(dark=False):
        assert matplotlib.rcParams["axes.grid"] is False
        assert matplotlib.rcParams["font.size"] == 8.5


def test_names_are_shortened_in_the_middle() -> None:
    assert plain("a" * 30 + "b" * 30, 9) == "aaaa…bbbb"
    assert plain("tab\there") == "tab\N{REPLACEMENT CHARACTER}here"
    assert lined("pretrain_finetune / last_layers, a_long_backbone") == (
        "pretrain_finetune / last_layers,\na_long_backbone"
    )


def test_a_report_needs_neither_torch_nor_a_window() -> None:
    code = (
        "import sys, tlfw.report.findings, tlfw.report.figures; print({'torch', 'matplotlib.pyplot'} & {*sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
