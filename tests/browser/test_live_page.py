"""The live page in a real browser, on a real oracle and a real ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oracle_api.settings import OracleSettings
from pactstream.clickhouse.client import ClickHouse
from tests import webdriver
from tests.oracle_process import oracle, prepared
from tests.oracle_tools import History, Told, atlas_day
from tests.stack import ClickHouseAddress, eventually
from tests.webdriver import Browser

pytestmark = pytest.mark.skipif(bool(webdriver.missing()), reason=webdriver.missing())

ROWS = "return document.querySelectorAll('#events .event').length"
SHOWN_TEXT = """
const node = document.querySelector(arguments[0]);
return node?.checkVisibility() ? node.innerText : "";
"""
COLOUR = "return getComputedStyle(document.querySelector(arguments[0])).color.match(/\\d+/g).map(Number)"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with webdriver.chromium() as opened:
        yield opened


@pytest.fixture
def browser(window: Browser) -> Browser:
    """An empty page and an empty console."""
    window.open("about:blank")
    window.console_errors()
    return window


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


def text(browser: Browser, selector: str) -> str:
    """What a person reads there; nothing if there is no such thing."""
    return str(browser.run(SHOWN_TEXT, selector))


def test_thirty_events_a_red_violation_and_a_live_update(
    browser: Browser, url: str, history: History, tmp_path: Path
) -> None:
    history.tell(atlas_day())
    browser.open(f"{url}/demo")
    eventually(lambda: browser.run(ROWS) == 30, timeout=20)
    eventually(lambda: text(browser, "#composite") not in ("", "–"), timeout=20)
    assert text(browser, "#counts") == "24 of 25 bound calls"
    assert text(browser, "#connection") == "Live"
    assert browser.run("return document.querySelectorAll('#events .broken .rules li').length") == 2
    violation = text(browser, "#events .event.broken")
    assert "Violation, critical" in violation
    assert "destination is not on the allow list" in violation
    red, green, blue = browser.run(COLOUR, ".event.broken strong")
    assert red > 2 * max(green, blue)

    history.tell([Told("tool_call", "sess-live", "transfer_funds", "success", latency_ms=12.5)])
    eventually(lambda: "sess-live" in text(browser, "#events .session"), timeout=20)
    assert browser.run(ROWS) == 30
    assert text(browser, "#events .event:first-child .number") == "41"
    assert "1 new event" in text(browser, "#announcement")
    eventually(lambda: text(browser, "#sealed") == "41", timeout=20)
    assert browser.console_errors() == []
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_what_an_agent_calls_its_tools_is_shown_and_never_run(
    browser: Browser, url: str, history: History
) -> None:
    rules = ((HOSTILE[:60], "regex", "minor"),)
    history.tell([Told("tool_call", HOSTILE, HOSTILE, "success", broken=rules)])
    browser.open(f"{url}/demo")
    eventually(lambda: browser.run(ROWS) == 1, timeout=20)
    assert text(browser, "#events .tool") == HOSTILE
    assert text(browser, "#events h3 code") == HOSTILE
    assert text(browser, "#events .rules code") == HOSTILE[:60]
    assert browser.run("return document.querySelectorAll('#events img, #events script').length") == 0
    assert "owned" not in browser.run("return document.title")
    assert browser.console_errors() == []


def test_the_page_waits_for_an_agents_first_event(browser: Browser, url: str, history: History) -> None:
    browser.open(f"{url}/demo")
    eventually(lambda: text(browser, "#connection") == "Live", timeout=20)
    assert "Waiting for this agent" in text(browser, "#empty")
    history.tell([Told("session_start")])
    eventually(lambda: browser.run(ROWS) == 1, timeout=20)
    assert text(browser, "#empty") == ""


def test_a_lost_connection_is_said_and_made_again(
    browser: Browser, settings: OracleSettings, history: History
) -> None:
    history.tell(atlas_day())
    with oracle(settings) as (url, _):
        browser.open(f"{url}/demo")
        eventually(lambda: browser.run(ROWS) == 30, timeout=20)
    eventually(lambda: "Connection lost" in text(browser, "#connection"), timeout=20)
    history.tell([Told("session_start", "sess-meanwhile")])
    with oracle(settings):
        eventually(lambda: "sess-meanwhile" in text(browser, "#events .session"), timeout=40)
        assert browser.run(ROWS) == 30
        assert text(browser, "#connection") == "Live"


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (390, "dark"), (1_200, "dark")])
def test_it_fits_the_screen_and_can_be_read(
    browser: Browser, url: str, history: History, width: int, scheme: str
) -> None:
    history.tell(atlas_day())
    browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.devtools(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
    )
    try:
        browser.open(f"{url}/demo")
        eventually(lambda: browser.run(ROWS) == 30, timeout=20)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.run(CONTRAST) == []
    finally:
        browser.devtools("Emulation.clearDeviceMetricsOverride")
        browser.devtools("Emulation.setEmulatedMedia", features=[])


# WCAG 2.2, 1.4.3: texts whose contrast with what is behind them is under 4.5 to 1.
CONTRAST = """
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
"""
