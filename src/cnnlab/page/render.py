"""The page itself: one HTML file with its style, its scripts and its data inside, and nothing outside."""

import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
SCRIPTS = (
    "base.js",
    "charts.js",
    "maps.js",
    "overview.js",
    "networks.js",
    "study.js",
    "comparisons.js",
    "packed.js",
    "engine.js",
    "drawing.js",
    "live.js",
    "sampler.js",
    "products.js",
)
WORKER = ("packed.js", "prepare.js", "explain.js", "place.js", "worker.js")


def render(data: Mapping[str, Any], blobs: Mapping[str, str] | None = None) -> str:
    """The whole page; the same data give the same bytes.

    The data go in as JSON without `<`, so that no text in them can end the script that holds them; the scripts put
    every text on the page as text, never as markup. blobs: the live part's files as text, by name (see live.packed).
    """
    parts = {
        "TITLE": html.escape(heading(data)),
        "STYLE": _file("page.css"),
        "SCRIPT": "\n".join(_file(name) for name in SCRIPTS),
        "WORKER": "\n".join(_file(name) for name in WORKER) if blobs else "",
        "BLOBS": "\n".join(
            f'<script type="text/plain" id="blob-{name}">{text}</script>' for name, text in (blobs or {}).items()
        ),
        "DATA": json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    before, *rest = _file("page.html").split("{{")
    return before + "".join(parts[name] + text for name, text in (part.split("}}", 1) for part in rest))


def heading(data: Mapping[str, Any]) -> str:
    """The page's title: how many networks, on what."""
    count = len(data["networks"])
    words = NUMBERS[count] if count < len(NUMBERS) else str(count)
    return f"{words} convolutional network{'' if count == 1 else 's'} on {data['dataset']['title']}"


def _file(name: str) -> str:
    return files("cnnlab.page").joinpath("assets", name).read_text(encoding="utf-8")
