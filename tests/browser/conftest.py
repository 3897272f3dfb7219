"""One browser for each file, and one stack of the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browsers import DESK, chromium, watch
from tests.console_stack import ConsoleStack, console_stack
from tests.stack import StackAddresses, fresh_database, fresh_prefix


# One for each file: while Playwright runs, this thread has a running event loop, and `asyncio.run` has none.
@pytest.fixture(scope="module")
def chromium_browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


# One for each file, too: seven services that wait for work keep the broker busy until they are stopped.
@pytest.fixture(scope="module")
def console(stack: StackAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleStack]:
    with (
        fresh_database(stack) as database,
        console_stack(
            stack.kafka_bootstrap, database, fresh_prefix(), tmp_path_factory.mktemp("console")
        ) as up,
    ):
        yield up


@pytest.fixture
def context(chromium_browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of this test's own."""
    with chromium_browser.new_context(viewport=DESK, reduced_motion="reduce") as opened:
        opened.set_default_timeout(15_000)
        yield opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """An empty page; that nothing went wrong in it is checked afterwards."""
    opened = context.new_page()
    complaints = watch(opened)
    yield opened
    assert complaints == []
