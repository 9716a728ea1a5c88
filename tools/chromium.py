"""A headless Chromium, for tests, benchmarks and README's pictures."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MISSING = "no Chromium here: install one, or name it in the variable CHROMIUM"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def find() -> str | None:
    """Where Chromium is: the variable CHROMIUM, or the first on the path; None without one."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def start(path: str) -> Iterator[Any]:
    """A playwright Browser that asks no network for anything by itself, closed at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()
