"""News of a tenant's events as they are sealed: one poller a tenant, however many of its people watch.

Where the ledger was read to is kept for each log, not as a time: events of several logs do not arrive in the
order of their times. A stream keeps no queue. It remembers how far it has come in the latest events of its
tenant; one that is too slow for them is told how many it missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from itertools import count
from typing import Any

import msgspec
from fastapi.sse import format_sse_event

from oracle_api.console.events import COLUMNS, Event, Filter, event_of
from oracle_api.console.rows import Rows
from pactstream import clock
from pactstream.errors import PactstreamError
from pactstream.web import Refused, retry_after

STREAM_SECONDS = 600.0
"""A stream's longest life; the browser makes a new one."""

_KEPT = 500
_AT_ONCE = 200
_STREAMS_PER_TENANT = 50
_HEARTBEAT_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_HEADS = "SELECT log, max(tree_size) FROM ledger_segments GROUP BY log"
_log = logging.getLogger(__name__)


class Channel:
    """One watched tenant: its latest events with running numbers, and who waits for news."""

    def __init__(self) -> None:
        self.events: deque[tuple[int, Event]] = deque(maxlen=_KEPT)
        self.numbers = count(1)
        self.last = 0
        self.watchers = 0
        self.heads: dict[int, int] | None = None
        self.changed = asyncio.Event()

    def add(self, events: list[Event], skipped: int) -> None:
        """Take news; `skipped` events were too many to fetch."""
        for _ in range(skipped):
            self.last = next(self.numbers)
        for one in events:
            self.last = next(self.numbers)
            self.events.append((self.last, one))
        self.changed.set()
        self.changed = asyncio.Event()


class Live:
    """All channels, by the tenant's pseudonym."""

    def __init__(self, rows: Rows, poll_seconds: float) -> None:
        self._rows = rows
        self._poll_seconds = poll_seconds
        self._channels: dict[str, Channel] = {}
        self._pollers: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def close(self) -> None:
        """End every stream; called when the process stops."""
        self._closed = True
        for channel in self._channels.values():
            channel.changed.set()

    def take_place(self, tenant: str) -> Channel:
        """A place at the tenant's channel; give it back with `leave_place`.

        Raises:
            Refused: 503, none is left.
        """
        channel = self._channels.setdefault(tenant, Channel())
        if self._closed or channel.watchers >= _STREAMS_PER_TENANT:
            raise Refused(503, "no stream is free", headers=retry_after(10))
        channel.watchers += 1
        if tenant not in self._pollers:
            self._pollers[tenant] = asyncio.create_task(self._poll(tenant, channel))
        return channel

    def leave_place(self, tenant: str) -> None:
        """Give a place back; the last one to leave ends the polling."""
        channel = self._channels[tenant]
        channel.watchers -= 1
        if not channel.watchers:
            self._pollers.pop(tenant).cancel()
            del self._channels[tenant]

    async def stream(self, tenant: str, wanted: Filter, still: Callable[[], bool]) -> AsyncGenerator[bytes]:
        """Server-sent events (WHATWG HTML, 9.2).

        `events`: an array, newest last. `missed`: a number. `over`: `still` says that the session is.
        """
        channel = self.take_place(tenant)
        try:
            async for part in self._parts(channel, wanted, still):
                yield part
        finally:
            self.leave_place(tenant)

    async def _parts(
        self, channel: Channel, wanted: Filter, still: Callable[[], bool]
    ) -> AsyncGenerator[bytes]:
        begun = spoken = clock.monotonic_seconds()
        reached = channel.last
        yield format_sse_event(event="hello", data_str="{}", retry=1_000)
        while not self._closed and (now := clock.monotonic_seconds()) - begun < STREAM_SECONDS:
            if not still():
                yield format_sse_event(event="over", data_str="{}")
                return
            news = [(number, one) for number, one in channel.events if number > reached]
            missed = channel.last - reached - len(news)
            reached = channel.last
            if missed:
                yield _event("missed", missed)
            if shown := [one for _, one in news if wanted.matches(one)]:
                yield _event("events", shown)
            if shown or missed:
                spoken = now
            elif now - spoken > _HEARTBEAT_SECONDS:
                yield format_sse_event(comment="still here")
                spoken = now
            await self._news(channel, reached)

    async def _news(self, channel: Channel, reached: int) -> None:
        changed = channel.changed
        if channel.last > reached:
            return
        try:
            await asyncio.wait_for(changed.wait(), _LOOK_SECONDS)
        except TimeoutError:
            return

    async def _poll(self, tenant: str, channel: Channel) -> None:
        while True:
            try:
                await self._look(tenant, channel)
            except PactstreamError as error:
                _log.warning("the live stream waits: %s", error)
            await asyncio.sleep(self._poll_seconds)

    async def _look(self, tenant: str, channel: Channel) -> None:
        if channel.heads is None:
            channel.heads = dict(await self._rows.ask(_HEADS))
        where, parameters = _beyond(channel.heads)
        sql = (
            "SELECT log, max(leaf_index) + 1, countIf(tenant = {tenant:String})"  # noqa: S608 - our own numbers only
            f" FROM room_events WHERE {where} GROUP BY log"
        )
        grown = await self._rows.ask(sql, tenant=tenant, **parameters)
        count_of_ours = sum(ours for _, _, ours in grown)
        if count_of_ours:
            ends = {log: end for log, end, _ in grown}
            sql = (
                f"SELECT {COLUMNS} FROM room_events WHERE tenant = {{tenant:String}} AND ({where})"  # noqa: S608
                " AND leaf_index < transform(log, {logs:Array(UInt16)}, {ends:Array(UInt64)}, toUInt64(0))"
                f" ORDER BY received_at DESC, log, leaf_index DESC LIMIT {_AT_ONCE}"
            )
            bounds = {"logs": list(ends), "ends": list(ends.values())}
            rows = await self._rows.ask(sql, tenant=tenant, **parameters, **bounds)
            channel.add([event_of(row) for row in reversed(rows)], max(0, count_of_ours - len(rows)))
        # Only now: what could not be read is read by the next look.
        channel.heads.update({log: end for log, end, _ in grown})


def _beyond(heads: dict[int, int]) -> tuple[str, dict[str, object]]:
    """The leaves beyond these, as SQL that the primary key answers, and its parameters."""
    parts = ["log NOT IN {known:Array(UInt16)}"]
    parameters: dict[str, object] = {"known": list(heads)}
    for number, (log, head) in enumerate(heads.items()):
        parts.append(f"(log = {{log{number}:UInt16}} AND leaf_index >= {{head{number}:UInt64}})")
        parameters |= {f"log{number}": log, f"head{number}": head}
    return " OR ".join(parts), parameters


def _event(name: str, data: Any) -> bytes:
    return format_sse_event(event=name, data_str=msgspec.json.encode(data).decode())
