"""How soon does the live page answer a stroke? `python -m benchmarks.live_page`.

First `make page-assets` and `make page`. A real Chromium opens report/index.html from disk, and the mouse draws
strokes, 60 steps a second. The page itself takes the times of each answer, from the event of the mouse (the oldest that
the answer covers) to the probabilities on the page, to the frame that shows them, and to the feature maps and the place
on the map. The figures are over all answers of all rounds. Let nothing else run meanwhile; the load is recorded, and
so is the processor time that all of Chromium's processes took while the mouse drew, for each answer.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer

from benchmarks.inference import processors
from cnnlab.core import artifacts
from cnnlab.core.errors import UserError, run_command
from tools import chromium

STEPS, PAUSE = 60, 1 / 60  # of one stroke; seconds between two steps
LISTEN = """() => {
    window.events = [];
    window.answers = { answered: [], shown: [], looked: [] };
    const heard = (event) => window.events.push([event.timeStamp, performance.now()]);
    for (const name of ["pointerdown", "pointermove"]) window.addEventListener(name, heard, true);
    const channel = new MessageChannel();
    let waiting = [];
    channel.port1.onmessage = () => {
        for (const since of waiting.splice(0)) window.answers.shown.push([since, performance.now()]);
    };
    document.addEventListener("answered", ({ detail: since }) => {
        window.answers.answered.push([since, performance.now()]);
        // The message comes after the frame that is drawn next.
        requestAnimationFrame(() => { waiting.push(since); channel.port2.postMessage(null); });
    });
    document.addEventListener("looked", ({ detail: since }) => window.answers.looked.push([since, performance.now()]));
}"""


def main(
    rounds: Annotated[int, typer.Option(min=1, help="strokes, each on a cleared drawing")] = 7,
    results: Path = Path("benchmarks/results/live_page.json"),
) -> None:
    """Write the median, the 95th percentile and the least of each time, in milliseconds, with the machine's load."""
    path = chromium.find()
    report = artifacts.report_path()
    if not path:
        raise UserError(f"{chromium.MISSING}.")
    if not report.is_file():
        raise UserError(f"{report} is not here: `make page` makes it.")
    load = [os.getloadavg()[0]]
    with chromium.start(path) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        if page.evaluate("!LIVE"):
            raise UserError(f"{report} has no live part: run `make page-assets`, then `dvc repro page`.")
        page.wait_for_selector("html[data-live]", state="attached", timeout=300_000)
        figures: dict[str, Any] = {
            "machine": processors(),
            "chromium": browser.version,
            "page_megabytes": round(report.stat().st_size / 1e6, 2),
            "page_ready_ms": int(page.locator("html").get_attribute("data-ready")),
            "network_ready_ms": int(page.locator("html").get_attribute("data-live")),
            "rounds": rounds,
        }
        page.evaluate(LISTEN)
        seconds = 0.0
        for _ in range(rounds):
            seconds += draw(page)
            load.append(os.getloadavg()[0])
        found, events = page.evaluate("[window.answers, window.events]")
    figures["processor_ms_per_answer"] = round(1000 * seconds / len(times(found["answered"], events)), 1)
    figures["load"] = [round(value, 1) for value in (min(load), max(load))]
    for name, pairs in found.items():
        figures |= summary(name, times(pairs, events))
    artifacts.write_text(results, json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


def draw(page: Any) -> float:
    """One stroke, a zigzag, and Chromium's processor seconds meanwhile; then wait for the heat map and clear."""
    box = page.locator(".board canvas").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    begun = processor_seconds()
    page.mouse.down()
    for step in range(1, STEPS + 1):
        across = abs((step / 10) % 2 - 1)
        page.mouse.move(box["x"] + 240 - 200 * across, box["y"] + 40 + 200 * step / STEPS)
        page.wait_for_timeout(1000 * PAUSE)
    seconds = processor_seconds() - begun
    page.mouse.up()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Clear").click()
    page.wait_for_timeout(1500)
    return seconds


def processor_seconds() -> float:
    """That all processes of Chromium which this one started have taken so far."""
    found = [each for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]
    return sum(times.user + times.system for times in (each.cpu_times() for each in found))


def times(pairs: list[list[float]], events: list[list[float]]) -> np.ndarray:
    """Milliseconds from the mouse's event to each answer; answers to a cleared drawing have no event and are left out.

    pairs: when the page began to handle the oldest change that an answer covers, and when the answer was there.
    events: the mouse's time of an event, and when the page got it, just before it handled it.
    """
    found = []
    for since, done in pairs:
        causes = [stamp for stamp, heard in events if heard <= since < heard + 5]
        if causes:
            found.append(done - causes[-1])
    return np.array(found)


def summary(name: str, values: np.ndarray) -> dict[str, float]:
    """Of one kind of time: median, 95th percentile, least, and how many."""
    return {
        f"{name}_median_ms": round(float(np.median(values)), 1),
        f"{name}_p95_ms": round(float(np.quantile(values, 0.95)), 1),
        f"{name}_least_ms": round(float(values.min()), 1),
        f"{name}_n": len(values),
    }


if __name__ == "__main__":
    run_command(main)
