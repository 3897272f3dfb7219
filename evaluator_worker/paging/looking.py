"""Looking into ClickHouse again and again, and telling teams what is there: what notices have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, Protocol

from pactstream.errors import Retryable

_log = logging.getLogger(__name__)


class Database(Protocol):
    """What is needed of ClickHouse."""

    def rows(self, sql: str) -> Sequence[Sequence[Any]]: ...  # noqa: D102


class Sends(Protocol):
    """Tells a tenant's team: `Notices.send`."""

    def send(  # noqa: D102
        self, tenant_id: str, title: str, body: str, links: dict[str, str], dedup_key: str
    ) -> bool: ...


def every(seconds: float, look: Callable[[], int], what: str) -> Callable[[Event], None]:
    """A loop that looks until it is told to stop. What fails is looked at again the next time.

    It raises `Fatal` when `look` does.
    """

    def run(stop: Event) -> None:
        while not stop.is_set():
            try:
                look()
            except Retryable as error:
                _log.warning("%s were not looked at: %s", what, error)
            stop.wait(seconds)

    return run
