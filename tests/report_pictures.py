"""Photograph report/index.html for README: `python -m tests.report_pictures` writes docs/pictures/, in Chromium."""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from cnnlab.core import artifacts
from tools import chromium

FOLDER = Path("docs/pictures")
WIDTH, HEIGHT = 1200, 800  # pixels
COLOURS = 128  # of the files: flat areas and type need no more


def main() -> None:
    """Write page.png (the head), map.png (a dot pointed at, dark), curves.png, and live.png where the page is live."""
    path = chromium.find()
    if not path:
        sys.exit(f"Error: {chromium.MISSING}.")
    with chromium.start(path) as browser:
        for name, scheme in (("page", "light"), ("map", "dark"), ("curves", "light"), ("live", "light")):
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            page.set_default_timeout(120_000)
            page.goto(artifacts.report_path().resolve().as_uri())
            page.wait_for_selector("html[data-ready]", state="attached")
            if name == "live" and page.evaluate("!LIVE"):
                print("no live.png: the page has no live part; `make page-assets`, then `dvc repro page`.")
                continue
            write(FOLDER / f"{name}.png", SHOTS[name](page))


def of_map(page: Page) -> bytes:
    """The maps, walked to a mistake by the keyboard, in the frame that a reader has."""
    page.locator("#mistakes-only").check()
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.evaluate("document.querySelector('.stage > canvas').focus({preventScroll: true})")
    page.keyboard.press("ArrowUp")
    picked = page.locator(".live").inner_text()
    page.locator("#mistakes-only").evaluate("(box) => { box.checked = false; box.dispatchEvent(new Event('change')); }")
    page.evaluate("document.getElementById('maps').scrollIntoView()")
    print(picked)
    return page.screenshot()


def of_curves(page: Page) -> bytes:
    """The section of the curves alone."""
    return page.locator("#curves").screenshot()


def of_live(page: Page) -> bytes:
    """A drawing of trousers, the answer and the heat map."""
    page.wait_for_selector("html[data-live]", state="attached", timeout=300_000)
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.get_by_label("Pen width").fill("40")
    page.locator(".board canvas").scroll_into_view_if_needed()
    box = page.locator(".board canvas").bounding_box()
    assert box
    place = page.mouse
    for number, (x, y) in enumerate(((100, 250), (110, 40), (170, 40), (180, 250))):
        place.move(box["x"] + x, box["y"] + y, steps=12)
        if number == 0:
            place.down()
    place.up()
    page.wait_for_selector("html[data-explained]", state="attached", timeout=60_000)
    return page.locator("#live .live-grid").screenshot()


SHOTS = {"page": lambda page: page.screenshot(), "map": of_map, "curves": of_curves, "live": of_live}


def write(path: Path, png: bytes) -> None:
    """Keep a picture with few colours."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    artifacts.write_bytes(path, buffer.getvalue())
    print(f"{path}: {len(buffer.getvalue()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
