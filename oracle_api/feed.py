"""Live events of watched agents: one poller an agent, however many watch it.

A stream keeps no queue. It remembers the last sequence number it sent and, when something changes, sends what
of the agent's latest thirty events is newer: a slow reader costs no memory and catches up in one step.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec
from fastapi.sse import format_sse_event

from oracle_api import report
from oracle_api.state import AgentState, Event
from pactstream import clock
from pactstream.errors import PactstreamError
from pactstream.web import Refused, retry_after

SHOWN = 30
"""Events on the page."""

STREAM_SECONDS = 600.0
"""A stream's longest life, so that no reader holds a place for ever."""

_HEARTBEAT_SECONDS = 15.0
_RECONNECT_MILLIS = 2_000
_log = logging.getLogger(__name__)


class EventSource(Protocol):
    """Where events and states come from."""

    async def agent_state(self, agent_id: UUID) -> AgentState | None:
        """The agent's state now; None if nothing is known of it."""

    async def latest_events(self, agent_id: UUID, after_sequence: int, limit: int) -> Sequence[Event]:
        """The agent's last `limit` events beyond `after_sequence`, oldest first."""


class Channel:
    """One watched agent: its latest events, its summary, and who waits for news of it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.summary: dict[str, Any] = {}
        self.watchers = 0
        self.closed = False
        self.changed = asyncio.Event()

    @property
    def last_sequence(self) -> int:
        """Of the newest event; 0 without any."""
        return self.events[-1].sequence if self.events else 0

    def update(self, events: Sequence[Event], summary: dict[str, Any]) -> None:
        """Take news, and wake the watchers if it is any."""
        if not events and summary == self.summary:
            return
        self.events = [*self.events, *events][-SHOWN:]
        self.summary = summary
        self.wake()

    def wake(self) -> None:
        """Let every watcher look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def close(self) -> None:
        """End every stream."""
        self.closed = True
        self.wake()


class Feed:
    """All channels. At most `max_streams` streams, and `max_per_address` of them from one address."""

    def __init__(
        self,
        source: EventSource,
        *,
        deployment: str,
        issuer: str,
        poll_seconds: float,
        max_streams: int,
        max_per_address: int,
    ) -> None:
        self._source = source
        self._deployment = deployment
        self._issuer = issuer
        self._poll_seconds = poll_seconds
        self._max_streams = max_streams
        self._max_per_address = max_per_address
        self._addresses: Counter[str] = Counter()
        self._channels: dict[UUID, Channel] = {}
        self._pollers: dict[UUID, asyncio.Task[None]] = {}
        self._closed = False

    def take_place(self, address: str) -> None:
        """Take one of the places for streams; whoever takes one gives it back with `leave_place`.

        Raises:
            Refused: none is left (503), or this address has its share (429).
        """
        if self._closed or self._addresses.total() >= self._max_streams:
            raise Refused(503, "no stream is free", headers=retry_after(10))
        if self._addresses[address] >= self._max_per_address:
            raise Refused(429, "too many streams from this address", headers=retry_after(10))
        self._addresses[address] += 1

    def leave_place(self, address: str) -> None:
        """Give a place back."""
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    async def stream(self, agent_id: UUID, last_sequence: int) -> AsyncGenerator[bytes]:
        """Server-sent events (WHATWG HTML, 9.2) from beyond `last_sequence` until the feed is closed.

        `events`: an array of events, oldest first, its id the last one's sequence number. `summary`: the
        figures over them. A comment now and then keeps the connection open; after `STREAM_SECONDS` the stream
        ends, and browsers come back by themselves.
        """
        channel = self._join(agent_id)
        try:
            yield format_sse_event(retry=_RECONNECT_MILLIS, comment="pactstream")
            sent: dict[str, Any] = {}
            end = clock.monotonic_seconds() + STREAM_SECONDS
            while not channel.closed and clock.monotonic_seconds() < end:
                changed = channel.changed
                if last_sequence > channel.last_sequence and channel.events:
                    last_sequence = 0  # of another life of this agent: the ledger was begun anew
                fresh = [one for one in channel.events if one.sequence > last_sequence]
                if fresh:
                    last_sequence = fresh[-1].sequence
                    yield _message("events", fresh, str(last_sequence))
                if channel.summary != sent:
                    sent = channel.summary
                    yield _message("summary", sent)
                try:
                    await asyncio.wait_for(changed.wait(), _HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield format_sse_event(comment="still here")
        finally:
            self._leave(agent_id, channel)

    def close(self) -> None:
        """End every stream, now and from now on."""
        self._closed = True
        for channel in self._channels.values():
            channel.close()
        for poller in self._pollers.values():
            poller.cancel()

    def _join(self, agent_id: UUID) -> Channel:
        channel = self._channels.get(agent_id)
        if channel is None:
            channel = self._channels[agent_id] = Channel()
            self._pollers[agent_id] = asyncio.create_task(self._poll(agent_id, channel))
        channel.watchers += 1
        return channel

    def _leave(self, agent_id: UUID, channel: Channel) -> None:
        channel.watchers -= 1
        if not channel.watchers:
            del self._channels[agent_id]
            self._pollers.pop(agent_id).cancel()

    async def _poll(self, agent_id: UUID, channel: Channel) -> None:
        while True:
            try:
                events = await self._source.latest_events(agent_id, channel.last_sequence, SHOWN)
                state = await self._source.agent_state(agent_id) if events or channel.events else None
                channel.update(events, self._summary(state))
            except PactstreamError as error:
                _log.warning("feed of %s: %s", agent_id, error)
                channel.update([], channel.summary | {"stale": True})
            await asyncio.sleep(self._poll_seconds)

    def _summary(self, state: AgentState | None) -> dict[str, Any]:
        """The figures above the events: those of the report, without its signature."""
        if state is None:
            return {"known": False}
        score, head, checkpoint = state.score, state.head, state.checkpoint
        return {
            "known": True,
            "issuer": self._issuer,
            "composite": score.composite if score else None,
            "confidence": score.confidence if score else None,
            "bound": score.bound_calls if score else 0,
            "valid": score.valid_calls if score else 0,
            "rate": report.compliance_rate(score),
            "sessions": score.sessions if score else 0,
            "scoredThrough": score.through_sequence if score else 0,
            "asOf": clock.to_iso(score.last_received_at_micros) if score else None,
            "sealedThrough": head.sequence if head else 0,
            "headHash": head.leaf_hash if head else None,
            "origin": report.origin(self._deployment, checkpoint.log) if checkpoint else None,
            "treeSize": checkpoint.tree_size if checkpoint else 0,
            "sealedAt": clock.to_iso(checkpoint.sealed_at_micros) if checkpoint else None,
        }


def _message(kind: str, data: object, event_id: str | None = None) -> bytes:
    return format_sse_event(data_str=msgspec.json.encode(data).decode(), event=kind, id=event_id)
