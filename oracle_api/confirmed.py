"""Whether what is read of a compacted topic is current: a revocation that was missed would open a door."""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import Any, Final

from pactstream import clock
from pactstream.errors import Fatal, Retryable
from pactstream.kafka.table import Table

UNKNOWN_AFTER_SECONDS: Final = 30.0
_CONFIRM_SECONDS: Final = 2.0
_CONFIRM_TIMEOUT_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class Confirmed:
    """Looks now and then, in a thread, that a table has been read to its topic's end; `what` it tells."""

    def __init__(self, table: Table[Any], what: str) -> None:
        self._table = table
        self._what = what
        self._confirmed_at: float | None = None
        self._stop = Event()
        self._thread = Thread(target=self._confirm, name=f"confirm {what}", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the table was read to its end a short while ago."""
        at = self._confirmed_at
        return at is not None and clock.monotonic_seconds() - at <= UNKNOWN_AFTER_SECONDS

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _confirm(self) -> None:
        while not self._stop.is_set():
            try:
                self._table.catch_up(_CONFIRM_TIMEOUT_SECONDS)
                self._confirmed_at = clock.monotonic_seconds()
            except (Retryable, Fatal) as error:
                _log.warning("%s is not confirmed: %s", self._what, error)
            self._stop.wait(_CONFIRM_SECONDS)
