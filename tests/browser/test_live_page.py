"""The live page in a real browser, on a real oracle and a real ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from oracle_api.settings import OracleSettings
from pactstream.clickhouse.client import ClickHouse
from tests.browsers import MISSING
from tests.oracle_process import oracle, prepared
from tests.oracle_tools import History, Told, atlas_day
from tests.stack import ClickHouseAddress, eventually

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

ROWS = "#events .event"
SHOWN_TEXT = """
(selector) => {
  const node = document.querySelector(selector);
  return node?.checkVisibility() ? node.innerText : "";
}
"""
COLOUR = "(node) => getComputedStyle(node).color.match(/\\d+/g).map(Number)"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture
def settings(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> OracleSettings:
    return prepared(kafka_bootstrap, topic_prefix, clickhouse_database, tmp_path, oracle_poll_seconds=0.1)


@pytest.fixture
def history(settings: OracleSettings) -> Iterator[History]:
    with ClickHouse(settings) as database:
        yield History(database)


@pytest.fixture
def url(settings: OracleSettings) -> Iterator[str]:
    with oracle(settings) as (address, _):
        yield address


def text(page: Page, selector: str) -> str:
    """What a person reads there; nothing if there is no such thing."""
    return str(page.evaluate(SHOWN_TEXT, selector))


def test_thirty_events_a_red_violation_and_a_live_update(page: Page, url: str, history: History) -> None:
    history.tell(atlas_day())
    page.goto(f"{url}/demo")
    eventually(lambda: page.locator(ROWS).count() == 30, timeout=20)
    eventually(lambda: text(page, "#composite") not in ("", "–"), timeout=20)
    assert text(page, "#counts") == "24 of 25 bound calls"
    assert text(page, "#connection") == "Live"
    assert page.locator("#events .broken .rules li").count() == 2
    violation = text(page, "#events .event.broken")
    assert "Violation, critical" in violation
    assert "destination is not on the allow list" in violation
    red, green, blue = page.locator(".event.broken strong").first.evaluate(COLOUR)
    assert red > 2 * max(green, blue)

    history.tell([Told("tool_call", "sess-live", "transfer_funds", "success", latency_ms=12.5)])
    eventually(lambda: "sess-live" in text(page, "#events .session"), timeout=20)
    assert page.locator(ROWS).count() == 30
    assert text(page, "#events .event:first-child .number") == "41"
    assert "1 new event" in text(page, "#announcement")
    eventually(lambda: text(page, "#sealed") == "41", timeout=20)


def test_what_an_agent_calls_its_tools_is_shown_and_never_run(page: Page, url: str, history: History) -> None:
    rules = ((HOSTILE[:60], "regex", "minor"),)
    history.tell([Told("tool_call", HOSTILE, HOSTILE, "success", broken=rules)])
    page.goto(f"{url}/demo")
    eventually(lambda: page.locator(ROWS).count() == 1, timeout=20)
    assert text(page, "#events .tool") == HOSTILE
    assert text(page, "#events h3 code") == HOSTILE
    assert text(page, "#events .rules code") == HOSTILE[:60]
    assert page.locator("#events img, #events script").count() == 0
    assert "owned" not in page.title()


def test_the_page_waits_for_an_agents_first_event(page: Page, url: str, history: History) -> None:
    page.goto(f"{url}/demo")
    eventually(lambda: text(page, "#connection") == "Live", timeout=20)
    assert "Waiting for this agent" in text(page, "#empty")
    history.tell([Told("session_start")])
    eventually(lambda: page.locator(ROWS).count() == 1, timeout=20)
    assert text(page, "#empty") == ""


def test_a_lost_connection_is_said_and_made_again(
    context: BrowserContext, settings: OracleSettings, history: History
) -> None:
    page = context.new_page()  # it complains of the lost connection
    history.tell(atlas_day())
    with oracle(settings) as (url, _):
        page.goto(f"{url}/demo")
        eventually(lambda: page.locator(ROWS).count() == 30, timeout=20)
    eventually(lambda: "Connection lost" in text(page, "#connection"), timeout=20)
    history.tell([Told("session_start", "sess-meanwhile")])
    with oracle(settings):
        eventually(lambda: "sess-meanwhile" in text(page, "#events .session"), timeout=40)
        assert page.locator(ROWS).count() == 30
        assert text(page, "#connection") == "Live"


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (390, "dark"), (1_200, "dark")])
def test_it_fits_the_screen_and_can_be_read(
    page: Page, url: str, history: History, width: int, scheme: str
) -> None:
    history.tell(atlas_day())
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{url}/demo")
    eventually(lambda: page.locator(ROWS).count() == 30, timeout=20)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []


# WCAG 2.2, 1.4.3: texts whose contrast with what is behind them is under 4.5 to 1.
CONTRAST = """
() => {
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = channels(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const faint = new Set();
for (const node of document.querySelectorAll("main *, header *")) {
  const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
  if (!own || !node.checkVisibility()) continue;
  const [a, b] = [luminance(channels(getComputedStyle(node).color)), luminance(behind(node))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) faint.add(`${node.className}: ${node.textContent} ${contrast}`);
}
return [...faint];
}
"""
