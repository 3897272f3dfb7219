"""Pictures of the console for `docs/console.md`: `python -m tests.console_pictures` beside a running demo.

Takes the console's address and a key as the demo prints them. `pngquant`, if installed, makes them small.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

from pactstream import atlas
from tests.browsers import PHONE, chromium

FOLDER: Final = Path(__file__).parents[1] / "docs" / "console"
_WAIT_MILLIS = 1_500


def main(url: str, key: str) -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    with chromium() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1_120, "height": 720}, reduced_motion="reduce")
            page.set_default_timeout(60_000)
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.goto(url)
            page.get_by_label("API key").fill(key)
            page.get_by_role("button", name="Log in").click()
            page.locator(".stream .event.broken").first.wait_for()
            if scheme == "light":
                _light(page, url)
            else:
                _dark(page, url)
            page.close()


def _light(page: Page, url: str) -> None:
    page.locator(".stream .event.broken").first.evaluate("node => node.scrollIntoView({block: 'center'})")
    _take(page, "live")
    event = page.request.get(f"{url}/api/events?verdict=critical").json()["events"][0]
    pages = page.request.get(f"{url}/api/pages").json()["pages"]
    _visit(page, f"{url}/pages/{pages[0]['pageId']}", "page")
    _visit(page, f"{url}/sessions/{atlas.AGENT_ID}/{event['sessionId']}", "session")
    _visit(page, f"{url}/ledger?event={event['eventId']}", "ledger")
    page.goto(f"{url}/pacts/{atlas.PACT_ID}")
    area = page.get_by_label("Pact as JSON")
    area.fill(area.input_value().replace('"caseInsensitive": true', '"caseInsensitive": "yes"'))
    page.locator(".faults button").first.click()
    _take(page, "pact")
    page.set_viewport_size(PHONE)
    _visit(page, f"{url}/pages/{pages[0]['pageId']}", "phone")


def _dark(page: Page, url: str) -> None:
    _visit(page, f"{url}/agents/{atlas.AGENT_ID}?span=1h", "agent")


def _visit(page: Page, address: str, name: str) -> None:
    page.goto(address)
    page.locator("main h1").wait_for()
    _take(page, name)


def _take(page: Page, name: str) -> None:
    page.wait_for_timeout(_WAIT_MILLIS)
    file = FOLDER / f"{name}.png"
    page.screenshot(path=file)
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--strip", "--output", file, "64", file], check=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
