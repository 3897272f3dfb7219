"""Debian's Chromium for tests, by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

_NAMES = ("chromium", "google-chrome", "chrome")
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-proxy-server",
)
PHONE: ViewportSize = {"width": 390, "height": 800}
DESK: ViewportSize = {"width": 1_280, "height": 900}


def executable() -> str | None:
    """Where Chromium is, if it is installed."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


MISSING = "" if executable() else "Chromium is not installed: apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser, ended on leaving."""
    # Chromium does not sandbox root; in containers tests run as root.
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def watch(page: Page) -> list[str]:
    """What the page will complain of: exceptions, refused resources, violated policies."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    return found
