"""A real browser for tests: the Chromium of the machine, driven by playwright, which downloads none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.patience import SCALE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 30_000 * SCALE


def chromium() -> str:
    """The path of Chromium; skips the test where there is none. ENGAGEMENT_TEST_CHROMIUM names another one."""
    found = os.environ.get("ENGAGEMENT_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium): the page was not looked at")
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as driver:
        # Without a sandbox of its own: tests run as root in containers, and open our own page alone.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Look:
    """An open page, with all that it must not do: errors, dialogs, requests to other servers."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def axe(self) -> list[str]:
        """What axe-core finds, each as rule and element."""
        found = Axe().run(self.page).response["violations"]
        return [f"{rule['id']}: {node['html'][:160]}" for rule in found for node in rule["nodes"]]

    def overflows(self) -> bool:
        """Whether the page is wider than the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"))


@contextmanager
def look_at(
    browser: Browser, address: str, *, scheme: str = "light", width: int = 1280, height: int = 900
) -> Iterator[Look]:
    """Opens an address in a window of this size and colour scheme; fails when the page does what it must not."""
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    look, home = Look(page), urlsplit(address).netloc
    page.on("pageerror", lambda error: look.faults.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (look.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda said: look.faults.append(f"{said.type}: {said.text}") if said.type == "error" else None)
    page.on(
        "request",
        lambda asked: look.faults.append(f"asked {asked.url}") if urlsplit(asked.url).netloc != home else None,
    )
    try:
        page.goto(address)
        yield look
    finally:
        context.close()
    assert look.faults == []
