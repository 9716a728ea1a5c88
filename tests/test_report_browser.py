"""The page in a real headless Chromium, opened from disk: what a reader sees, points at and presses."""

import os
import shutil

import pytest

from cnnlab.core import artifacts, params
from cnnlab.page.assemble import assemble
from cnnlab.page.render import render
from cnnlab.page.sources import read
from tests import report_lab
from tests.test_report import HOSTILE

pytestmark = pytest.mark.slow
SECTIONS = [
    "live",
    "study",
    "reported",
    "run",
    "size",
    "curves",
    "confusion",
    "mistakes",
    "features",
    "maps",
    "ablation",
    "vae",
    "onnx",
]


def write_page(folder, sizes=(), **changes):
    """The page of a laboratory whose class names are hostile, in a folder of its own; `sizes` of its classes."""
    before = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        settings = report_lab.settings(**changes)
        report_lab.build(settings, HOSTILE, channels=3)
        if sizes:
            rows = [{"class": name, "train": 9 * size, "test": size} for name, size in zip(HOSTILE, sizes, strict=True)]
            artifacts.write_csv(artifacts.classes_path(), rows)
            for place, name in enumerate(report_lab.NETWORKS):
                path = artifacts.metrics_path("test", name)
                artifacts.write_json(path, artifacts.read_json(path) | {"balanced_accuracy": 0.5 + place / 10})
        page = folder / "index.html"
        page.write_text(render(assemble(read(settings), settings)), encoding="utf-8")
    finally:
        os.chdir(before)
    return page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def open_page(browser, page_file):
    """Opens the page at a width; whatever it says on the console or throws fails the test."""
    contexts, said = [], []

    def opened(width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or said.append(request.url))
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def point_at_a_dot(page):
    """Move the mouse over the map until a dot answers."""
    canvas = page.locator(".stage > canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for row in range(0, int(box["height"]), 12):
        for column in range(0, int(box["width"]), 12):
            page.mouse.move(box["x"] + column, box["y"] + row)
            if page.locator(".tip").is_visible():
                return
    pytest.fail("no dot answered")


def test_every_section_is_there_with_something_in_it(open_page):
    page = open_page()
    assert page.evaluate("[...document.querySelectorAll('main > section')].map((s) => s.id)") == SECTIONS
    for section in SECTIONS:
        assert page.locator(f"#{section} :is(figure, table, .note)").count() > 0, section
        assert page.locator(f"#toc a[href='#{section}']").count() == 1
    assert page.evaluate("[...document.images].every((picture) => picture.alt)")
    assert page.locator("svg[role=img]:not([aria-label])").count() == 0


def test_a_hostile_class_name_is_text(open_page):
    page = open_page()
    assert page.evaluate("[...document.images].every((picture) => picture.src.startsWith('data:'))")
    assert page.locator("#confusion tbody th").all_inner_texts()[0] == HOSTILE[0]
    assert page.locator("#maps .legend").first.inner_text().startswith(HOSTILE[0])


def test_pointing_at_a_dot_shows_its_picture_class_and_answer(open_page):
    page = open_page()
    point_at_a_dot(page)
    tip = page.locator(".tip")
    assert tip.locator("b").inner_text() in HOSTILE
    assert "correct" in tip.inner_text() or "classified as" in tip.inner_text()
    painted = (
        "(picture) => picture.getContext('2d').getImageData(0, 0, 8, 8).data.some((value) => value && value < 255)"
    )
    assert tip.locator("canvas").evaluate(painted)
    page.mouse.move(2, 2)
    assert tip.is_hidden()


def test_arrow_keys_walk_from_dot_to_dot(open_page):
    page = open_page()
    canvas, told = page.locator(".stage > canvas"), page.locator(".live")
    canvas.focus()
    seen = set()
    for key in ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
        seen.add(told.inner_text())
        assert told.inner_text() in page.locator(".live[aria-live=polite]").inner_text()
    assert len(seen) > 1
    assert all("test picture" in text for text in seen)
    page.keyboard.press("Escape")
    assert told.inner_text() == ""


def test_a_class_and_the_right_answers_can_be_hidden(open_page):
    page = open_page()
    page.locator("#mistakes-only").check()
    page.locator(".stage > canvas").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".live").inner_text() == f"{HOSTILE[0]}, classified as {HOSTILE[1]}; test picture 0."
    page.keyboard.press("Escape")
    page.locator("#maps .legend input").first.uncheck()
    page.locator(".stage > canvas").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".live").inner_text() == ""


def test_a_hidden_curve_disappears_and_comes_back(open_page):
    page = open_page()
    curve = page.locator("#curves .chart [data-series=lenet]")
    assert curve.count() == 1
    page.locator("[data-toggle=lenet]").uncheck()
    assert curve.count() == 0
    assert page.locator("#curves .chart [data-series=mynet]").count() == 1
    page.locator("[data-toggle=lenet]").check()
    assert curve.count() == 1


def test_under_the_reports_recipe_the_training_curves_are_drawn(open_page, page_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = report_lab.settings(recipe="plain")
    report_lab.build(settings)
    other = tmp_path / "report.html"
    other.write_text(render(assemble(read(settings), settings)), encoding="utf-8")
    page = open_page()
    page.goto(other.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.locator("#curves .chart [data-series=mynet]").count() == 1
    assert "recipe plain holds nothing out" in page.locator("#curves figcaption").inner_text()
    assert page.locator("#curves").get_by_role("radio", name="both").count() == 0


def test_picking_shows_another_network_method_and_layer(open_page):
    page = open_page()
    for name in ("lenet", "mynet"):
        page.locator("#confusion").get_by_label(name).check()
        assert page.locator("#confusion figcaption").first.inner_text().startswith(f"{name}:")
    page.locator("#maps").get_by_role("radio", name="PCA").check()
    page.locator("#maps").get_by_role("radio", name="conv2").check()
    assert page.evaluate("document.activeElement.value") == "conv2"
    assert "layer conv2 of lenet. PCA of" in page.locator("#maps figcaption").inner_text()


def test_an_interval_is_drawn_for_each_variant_and_marked_as_a_first_look(open_page):
    page = open_page()
    assert page.locator("#ablation [data-row=relu] .interval").count() >= 3
    assert "A first look, not a finding" in page.locator("#ablation .note").inner_text()


def test_a_page_of_ones_own_pictures_says_nothing_of_other_data(open_page, tmp_path):
    page = open_page()
    page.goto(write_page(tmp_path, dataset="folder").as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    shown = page.locator("main > section").evaluate_all("(all) => all.map((section) => section.id)")
    assert shown == [section for section in SECTIONS if section not in ("study", "reported")]
    assert page.locator("#onnx .number").inner_text() == str(len(shown))
    assert "Fashion-MNIST" not in page.locator("body").inner_text()


@pytest.mark.parametrize(("sizes", "first"), [((8, 8, 8), "best test"), ((20, 3, 1), "best balanced test")])
def test_balanced_accuracy_and_recall_come_first_where_classes_are_unequal(open_page, tmp_path, sizes, first):
    page = open_page()
    page.goto(write_page(tmp_path, sizes).as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.locator("#glance").inner_text().startswith(f"{first} accuracy")
    captions = page.locator("#run figcaption").all_inner_texts()
    assert captions[0].startswith("The networks." if first == "best test" else "The classes:")
    assert len(captions) == 2


def test_the_caption_of_a_map_names_the_perplexity_and_the_neighbours_that_were_used(open_page):
    caption = open_page().locator("#maps figcaption").inner_text()
    assert "perplexity 5.5. A vote of the 7 nearest dots" in caption


OVERLAPPING = """() => [...document.querySelectorAll("#size svg")].flatMap((chart) => {
    const boxes = [...chart.querySelectorAll(".name")].map((name) => name.getBoundingClientRect());
    return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3).map((b) => [a.top, b.top]));
})"""


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_names_of_networks_of_the_same_accuracy_do_not_overlap(open_page, tmp_path, width):
    names = params.load(report_lab.ROOT / "params.yaml").models
    page = open_page(width)
    page.goto(write_page(tmp_path, models=names).as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.locator("#size .name").count() == 3 * len(names)
    assert page.evaluate(OVERLAPPING) == []


OVERFLOWING = """() => [document.documentElement, ...document.querySelectorAll("main *")]
    .filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && !e.closest(".matrix thead, .matrix th"))
    .filter((e) => e === document.documentElement || getComputedStyle(e).overflowX !== "visible")
    .map((e) => `${e.tagName} ${e.className} ${e.getAttribute("aria-label")} ${e.scrollWidth} > ${e.clientWidth}`)"""


@pytest.mark.parametrize("width", [320, 360, 768, 1024, 1280, 1440])
def test_nothing_overflows_or_is_cut_off(open_page, width):
    page = open_page(width, 740)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate(OVERFLOWING) == []


def test_a_table_on_a_phone_names_every_value(open_page):
    page = open_page(360, 740)
    cell = page.locator("#run tbody td").first
    label = cell.evaluate("(node) => getComputedStyle(node, '::before').content")
    assert label == '"parameters"'
    assert page.locator("#run thead").is_hidden()


def test_every_figure_and_table_says_how_to_read_it_and_every_term_is_explained(open_page):
    page = open_page()
    captions = page.locator("figcaption").all_inner_texts()
    assert len(captions) > 10
    assert all(len(caption.split()) >= 5 for caption in captions)
    assert page.locator("dfn").all_inner_texts() == ["Calibration", "A tap", "Perplexity", "The loss"]
    assert "evidence lower bound (ELBO)" in page.locator("body").inner_text()


def test_the_theme_follows_the_system_until_it_is_switched(open_page):
    page = open_page(color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.locator("#theme").click()
    light = page.evaluate(colour)
    assert sum(map(int, light[4:-1].split(","))) > 600 > sum(map(int, dark[4:-1].split(",")))
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_in_print_nothing_is_to_be_pressed_and_paper_is_white(open_page):
    page = open_page(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator(".controls").first.is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(page.pdf(format="A4")) > 10_000


def test_a_page_without_networks_says_so(browser, tmp_path, monkeypatch, open_page, page_file):
    monkeypatch.chdir(tmp_path)
    settings = report_lab.settings()
    report_lab.build(settings)
    shutil.rmtree("metrics")
    page = open_page()
    empty = tmp_path / "empty.html"
    empty.write_text(render(assemble(read(settings), settings)), encoding="utf-8")
    page.goto(empty.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.locator("h1").inner_text().startswith("No convolutional networks")
    for section in SECTIONS:
        assert page.locator(f"#{section} :is(.note, table)").count() > 0, section
