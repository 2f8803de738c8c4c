"""Chromium for tests of the page: Debian's, driven by playwright.

Where either is missing the tests are skipped with a word; in CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path(os.environ.get("COORD_TEST_CHROMIUM", "/usr/bin/chromium"))
#: Sizes of a window and of a telephone.
WINDOW, PHONE = (1280, 900), (390, 844)
#: A loaded machine draws late; a page that shows nothing is the only other reason.
SHOWN_MS = 60_000


@dataclass
class Look:
    """One tab, and all that its console, its errors and its requests told."""

    tab: Any
    told: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return str(self.tab.locator(selector).inner_text())

    def wait(self, script: str, *arguments: object) -> None:
        """Wait until a script of the page is true; it looks whenever the page draws."""
        self.tab.wait_for_function(script, arg=list(arguments), timeout=SHOWN_MS)

    def violations(self) -> list[str]:
        """Return what axe finds wrong, each with the element."""
        self.tab.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
        found = self.tab.evaluate("axe.run(document)")["violations"]
        return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


class Browser:
    """Chromium for one test."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium
        self.looks: list[Look] = []

    def look(
        self,
        url: str,
        *,
        size: tuple[int, int] = WINDOW,
        scheme: str = "light",
        shown: str = "#group:not([hidden])",
    ) -> Look:
        """Open the page in a tab of its own; return once it shows something."""
        width, height = size
        tab = self._chromium.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        look = Look(tab)
        tab.on("console", lambda message: look.told.append(message.text))
        tab.on("pageerror", lambda error: look.told.append(str(error)))
        tab.on("request", lambda request: look.requests.append(request.url))
        self.looks.append(look)
        tab.goto(url)
        tab.wait_for_selector(shown, timeout=SHOWN_MS)
        return look


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium_there = CHROMIUM.exists()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium_there = False
    if not chromium_there:
        why = f"needs {CHROMIUM} (apt install chromium) and requirements-browser.lock"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        # No sandbox: tests may run as root, and the pages are ours.
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield Browser(chromium)
        finally:
            chromium.close()
