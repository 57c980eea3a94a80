"""The page in a real browser: usable by everyone, on a phone too, and without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report import invented
from tests.report.sketched import instead
from tlfw.report import report

pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed: pip install '.[dev]'")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is on PATH: apt-get install chromium"),
]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that a page can have: a lead, a draw, several tasks, names that are long or odd."""
    classes = ("cat", "dog & <b>wolf</b>", "Frösche_und_Kröten_im_Botanischen_Garten", "ship", "truck")
    folder = invented.sweep(
        tmp_path_factory.mktemp("page"),
        seeds=3,
        images=300,
        labelled=(10, None),
        backbones=("resnet18", "a_backbone_whose_name_is_much_longer_than_a_phone_is_wide"),
        best={("pretrain_finetune", "full"): 1.0, ("joint", "full"): 1.0},
        classes=classes,
    )
    with pytest.MonkeyPatch.context() as patch:
        instead(patch)
        report([folder])
    return folder / "report.html"


@pytest.fixture(params=[(PHONE, "dark"), (DESK, "light")], ids=["phone-dark", "desk-light"])
def page(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Page]:
    """The page, opened, each width and each scheme once; it fails the test where it asks for anything or complains."""
    viewport, scheme = request.param
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    opened, asked, said = context.new_page(), [], []
    opened.on("request", lambda each: asked.append(each.url))
    opened.on("console", lambda each: said.append(each.text))
    opened.on("pageerror", lambda each: said.append(str(each)))
    opened.goto(file.as_uri())
    yield opened
    context.close()
    assert [each for each in asked if not each.startswith("data:")] == [file.as_uri()]
    assert said == []


def test_everyone_can_use_it(page: Page) -> None:
    """axe finds nothing, with everything unfolded and then with the dialog open."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert violations(page) == []
    page.locator(".enlarge").first.click()
    assert violations(page) == []


def violations(page: Page) -> list[tuple[str, list[str]]]:
    found = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found]


def test_it_is_no_wider_than_the_window(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    page.locator(".enlarge").first.click()
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_the_first_column_stays(page: Page) -> None:
    box = page.locator(".scroll").first
    before = box.locator("tbody th").first.bounding_box()
    box.evaluate("(each) => each.scrollBy(200, 0)")
    assert box.locator("tbody th").first.bounding_box() == before


def test_a_table_is_sorted_by_keyboard(page: Page) -> None:
    table = page.locator("table").first

    def names() -> list[str]:
        return table.locator("tbody th").evaluate_all("(all) => all.map((each) => each.dataset.v)")

    first = names()
    accuracy = table.get_by_role("button", name="Test accuracy")
    head = table.locator("thead th").nth(1)
    assert head.get_attribute("aria-sort") == "descending"
    accuracy.focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert names() == first[::-1]
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"
    assert names() == first
    page.keyboard.press("Shift+Tab")  # the column before
    page.keyboard.press("Enter")
    assert names() == sorted(first, key=str.lower)
    assert head.get_attribute("aria-sort") == "none"


@pytest.mark.parametrize("column", ["p, corrected", "Source kept", "Time alone"])
def test_numbers_are_sorted_as_numbers_and_none_is_last(page: Page, column: str) -> None:
    table = page.locator("table").first
    button = table.get_by_role("button", name=column)
    at = table.locator("thead th").evaluate_all(
        "(all, name) => all.findIndex((e) => e.innerText.startsWith(name))", column
    )
    for sign in (-1, 1):
        button.click()
        values = table.locator(f"tbody tr > :nth-child({at + 1})").evaluate_all("(all) => all.map((e) => e.dataset.v)")
        there = [float(each) for each in values if each]
        assert there == sorted(there, key=lambda each: sign * each)
        assert all(values[: len(there)])


def test_a_figure_is_enlarged_by_keyboard_and_closed(page: Page) -> None:
    dialog = page.locator("dialog")
    button = page.locator(".enlarge").first
    for close in ("Escape", "Enter"):
        button.focus()
        page.keyboard.press("Enter")
        assert dialog.is_visible()
        assert dialog.locator("h2").inner_text() == "One"
        shown = dialog.locator("img").evaluate("(each) => atob(each.currentSrc.split(',')[1])")
        assert ("dark" if page.viewport_size == PHONE else "light") in shown
        if close == "Enter":
            page.locator(".close").focus()
        page.keyboard.press(close)
        assert not dialog.is_visible()
        assert button.evaluate("(each) => each === document.activeElement")


def test_what_others_wrote_runs_nothing(browser: Any, file: Path) -> None:
    """Not even if it came past the escaping: the page's policy allows its own script alone."""
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda each: refused.append(each.text))
    page.goto(file.as_uri())
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:x onerror=\"window.bad = 1\">')")
    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s)"
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.bad ?? null") is None
    assert len([each for each in refused if "Content Security Policy" in each]) == 2
    page.close()
