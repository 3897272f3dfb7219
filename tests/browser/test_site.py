"""The documentation site: warnings are errors, no other host is asked, everybody can read it."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer.main
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ViewportSize

from pactstream.cli.app import app
from tests.browsers import DESK, MISSING, PHONE, watch
from tests.http_servers import serving
from tests.stack import eventually

ROOT = Path(__file__).parents[2]
ASIDE = {"code", "pre", "script", "style", "title", "h1", "h2", "h3", "h4"}
FETCHES = {"src", "srcset", "poster", "data"}
"""Attributes whose address a browser fetches by itself; of links, only those in `<link>`."""


class Built(HTMLParser):
    """What a page would fetch, and its running text: without code and headings."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.text: list[str] = []
        self._aside = 0
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._aside += tag in ASIDE
        for name, value in attrs:
            if value and (name in FETCHES or (tag == "link" and name == "href") or name == "style"):
                self.fetched.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._aside -= tag in ASIDE

    def handle_data(self, data: str) -> None:
        if not self._aside:
            self.text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    where = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(where)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
    return where


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Built]:
    """Every page by its path."""
    return {path.relative_to(site).as_posix(): Built(path) for path in sorted(site.rglob("*.html"))}


def test_no_page_fetches_anything_from_another_host(site: Path, pages: dict[str, Built]) -> None:
    foreign = {
        (path, address)
        for path, page in pages.items()
        for address in page.fetched
        if urlsplit(address).netloc or "//" in address.split("?")[0]
    }
    styles = re.compile(r"(?:@import|url\()\s*['\"]?(?:https?:)?//")
    foreign |= {
        (sheet.name, found[0])
        for sheet in site.rglob("*.css")
        for found in styles.finditer(sheet.read_text(encoding="utf-8"))
    }
    assert foreign == set()
    assert len(pages) > 60


def test_what_the_pages_mean_as_markup_has_become_markup(pages: dict[str, Built]) -> None:
    """What GitHub and the site read differently: fences and lists that are indented too little for the one."""
    left = {
        (path, line.strip())
        for path, page in pages.items()
        for line in "".join(page.text).splitlines()
        if re.match(r"\s*(```|[-*] \S|\|.*\|$|\d+\. \S)", line)
    }
    assert left == set()


def test_the_reference_has_every_command_route_and_schema(site: Path) -> None:
    def words(page: str) -> str:
        return (site / "reference" / page / "index.html").read_text(encoding="utf-8")

    def leaves(command: Any, name: str) -> Iterator[str]:
        inner = getattr(command, "commands", {})
        yield from (leaf for key, one in inner.items() for leaf in leaves(one, f"{name} {key}"))
        if not inner:
            yield name

    missing = [
        name for name in leaves(typer.main.get_command(app), "pactstream") if name not in words("commands")
    ]
    assert missing == []
    assert "/api/v1/pacts/{pactId}/validate-call" in words("gateway")
    assert "/api/v1/trust/{agentId}" in words("oracle")
    assert "EvaluatedEvent" in words("schemas")
    assert "UNSUPPORTED_MEDIA_TYPE" in words("errors")
    assert "LedgerForked" in words("errors")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    handler = functools.partial(_Quiet, directory=str(site))
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as where:
        yield where


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_pages_are_accessible_and_stay_on_their_host(
    chromium_browser: Browser, address: str, scheme: Any, size: ViewportSize
) -> None:
    with chromium_browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce") as context:
        page = context.new_page()
        complaints = watch(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for path in ("/", "/ledger/", "/queries/", "/reference/errors/"):
            page.goto(address + path)
            page.wait_for_load_state("networkidle")
            found = Axe().run(page).response["violations"]
            grave = [one for one in found if one["impact"] in ("serious", "critical")]
            assert [(one["id"], one["nodes"][0]["html"]) for one in grave] == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert [url for url in asked if not url.startswith((address, "data:"))] == []
        assert complaints == []


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_search_finds(chromium_browser: Browser, address: str) -> None:
    with chromium_browser.new_context(viewport=DESK) as context:
        page = context.new_page()
        page.goto(address)
        box, results = page.get_by_role("textbox", name="Search"), page.locator(".md-search-result__item")

        box.press_sequentially("cosignature")

        def found() -> bool:
            # The theme listens to keys that are let go, once its script is there: the next one counts.
            box.press("End")
            return results.count() > 0

        eventually(found, timeout=60, interval=0.2)
        assert "The ledger" in page.locator(".md-search-result__list").inner_text()
