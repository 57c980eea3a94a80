"""How pictures look, and how they become files."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from tests.report import invented
from tests.report.drawn import BEST, picture, texts
from tlfw.report.figures import drawing, leave, pictures
from tlfw.report.figures.figure import svg
from tlfw.report.figures.style import MIXES, POLICIES, Marks, lined, on, plain, style
from tlfw.report.findings import Findings, find_out


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return find_out([invented.sweep(tmp_path_factory.mktemp("ten"), seeds=3, images=400, best=BEST)])


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
    drawn = drawing(picture(ten, "accuracy"))
    leave(drawn, tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["accuracy.png", "accuracy.svg"]
    with Image.open(tmp_path / "figures" / "accuracy.png") as image:
        assert image.width == 1300
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    ground, *_ = [
        node for node in ElementTree.parse(tmp_path / "figures" / "accuracy.svg").iter() if node.get("width")
    ][1:]
    assert ground.get("fill") == "#ffffff"


def test_what_is_composed_once_is_as_if_each_were(ten: Findings) -> None:
    for each in pictures(ten):
        drawn = drawing(each)
        assert drawn.light == svg(each, dark=False), each.name
        assert drawn.dark == svg(each, dark=True), each.name


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
