"""How the console asks ClickHouse: always for one tenant, parameterised, bounded in rows, bytes and time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import anyio

from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import PactstreamError

_THREADS = 8
_T = TypeVar("_T")

LIMITS: Final = "\nSETTINGS max_execution_time = 10, max_result_rows = 20000, max_result_bytes = 64000000"


class Rows:
    """Queries in a few threads, so that a slow one holds up its own caller only.

    Raises `Retryable` when ClickHouse does not answer.
    """

    def __init__(self, database: ClickHouse) -> None:
        self._database = database
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def ask(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return await self.thread(partial(self._database.rows, sql + LIMITS, parameters))

    async def thread(self, call: Callable[[], _T]) -> _T:
        """The result of a call that blocks."""
        return await anyio.to_thread.run_sync(call, limiter=self._threads)

    async def answers(self) -> bool:
        """Whether ClickHouse does, and has our tables."""
        try:
            await self.ask("SELECT 1 FROM room_events LIMIT 1")
        except PactstreamError:
            return False
        return True
