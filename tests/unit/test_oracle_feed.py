"""The live feed: one poller an agent, bounded streams, nothing lost, nothing twice, an orderly end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from oracle_api import feed as feed_module
from oracle_api.feed import SHOWN, Feed
from pactstream.web import Refused
from tests.oracle_states import AGENT, STATE, STRANGER, FakeStore, event, violating

Message = tuple[str, Any]


def make(store: FakeStore, max_streams: int = 3, max_per_address: int = 2) -> Feed:
    return Feed(
        store,
        deployment="test.local",
        issuer="oracle.test",
        poll_seconds=0.005,
        max_streams=max_streams,
        max_per_address=max_per_address,
    )


class Watching:
    """Reads a stream, message by message."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self.last_id = ""

    async def next(self) -> Message:
        """The next message that carries data; its kind and its data."""
        while True:
            chunk = await asyncio.wait_for(anext(self._stream), 5)
            fields = dict(line.split(": ", 1) for line in chunk.decode().strip().split("\n") if line[0] != ":")
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                return fields["event"], json.loads(fields["data"])

    async def events(self) -> list[int]:
        """The sequence numbers of the next message of events."""
        while True:
            kind, data = await self.next()
            if kind == "events":
                return [one["sequence"] for one in data]


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(test), 20))


async def _awaited(test: Callable[[], Awaitable[None]]) -> None:
    await test()


def test_a_stream_begins_with_the_latest_thirty_and_goes_on_with_what_comes() -> None:
    async def test() -> None:
        store = FakeStore(STATE, [event(n) for n in range(1, 41)])
        watching = Watching(make(store).stream(AGENT, 0))
        assert await watching.events() == list(range(11, 41))
        kind, summary = await watching.next()
        assert kind == "summary"
        assert (summary["composite"], summary["rate"], summary["treeSize"]) == (96.0, 0.96, 40)
        assert summary["issuer"] == "oracle.test"
        store.events.append(violating(41))
        assert await watching.events() == [41]
        assert watching.last_id == "41"

    run(test)


def test_events_come_in_the_wire_form_without_any_value() -> None:
    async def test() -> None:
        watching = Watching(make(FakeStore(STATE, [violating(1)])).stream(AGENT, 0))
        _, (told,) = await watching.next()
        assert told == {
            "sequence": 1,
            "eventId": "00000000-0000-0000-0000-000000000001",
            "type": "tool_call",
            "sessionId": "sess-1",
            "occurredAt": "2026-05-13T10:00:01.000000Z",
            "receivedAt": "2026-05-13T10:00:01.000000Z",
            "tool": "transfer_funds",
            "outcome": "success",
            "latencyMs": 142.0,
            "bound": True,
            "valid": False,
            "severity": "critical",
            "violations": [{"paramPath": "destination", "rule": "allowList", "severity": "critical"}],
            "omitted": 0,
            "log": 0,
            "leafIndex": 0,
        }

    run(test)


@pytest.mark.parametrize(
    ("last_seen", "expected"),
    [(38, [39, 40]), (3, list(range(11, 41))), (99, list(range(11, 41)))],
    ids=["goes on", "too far behind for more than thirty", "of an earlier ledger"],
)
def test_a_reader_that_comes_back_gets_what_it_missed(last_seen: int, expected: list[int]) -> None:
    async def test() -> None:
        store = FakeStore(STATE, [event(n) for n in range(1, 41)])
        assert await Watching(make(store).stream(AGENT, last_seen)).events() == expected

    run(test)


def test_many_readers_cost_one_poller_and_none_left_cost_nothing() -> None:
    async def test() -> None:
        store = FakeStore(STATE, [event(1)])
        feed = make(store)
        streams = [feed.stream(AGENT, 0) for _ in range(10)]
        for stream in streams:
            assert await Watching(stream).events() == [1]
        assert len(feed._pollers) == 1
        for stream in streams:
            await stream.aclose()
        assert feed._pollers == {}
        asked = store.asked
        await asyncio.sleep(0.05)
        assert store.asked == asked

    run(test)


def test_a_slow_reader_catches_up_in_one_step_and_holds_no_queue() -> None:
    async def test() -> None:
        store = FakeStore(STATE, [event(1)])
        feed = make(store)
        slow, quick = Watching(feed.stream(AGENT, 0)), Watching(feed.stream(AGENT, 0))
        assert await slow.events() == await quick.events() == [1]
        for number in range(2, 102):
            store.events.append(event(number))
            if number % 25 == 0:
                assert (await quick.events())[-1] <= number
        while (await quick.events())[-1] < 101:
            pass
        caught_up = await slow.events()
        assert caught_up == list(range(72, 102))
        assert len(caught_up) == SHOWN

    run(test)


def test_an_agent_without_events_may_be_waited_for() -> None:
    async def test() -> None:
        store = FakeStore(None)
        watching = Watching(make(store).stream(AGENT, 0))
        assert await watching.next() == ("summary", {"known": False})
        store.state = STATE
        store.events.append(event(1))
        assert await watching.events() == [1]

    run(test)


def test_a_silent_store_is_said_and_the_stream_recovers() -> None:
    async def test() -> None:
        store = FakeStore(STATE, [event(1)])
        watching = Watching(make(store).stream(AGENT, 0))
        await watching.events()
        await watching.next()
        store.down = True
        kind, summary = await watching.next()
        assert (kind, summary["stale"], summary["composite"]) == ("summary", True, 96.0)
        store.down = False
        _, summary = await watching.next()
        assert "stale" not in summary

    run(test)


def test_a_quiet_stream_is_kept_open_and_an_old_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "_HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(feed_module, "STREAM_SECONDS", 0.3)

    async def test() -> None:
        chunks = [chunk async for chunk in make(FakeStore(STATE, [event(1)])).stream(AGENT, 0)]
        assert b": still here\n\n" in chunks

    run(test)


def test_closing_ends_every_stream_and_admits_no_more() -> None:
    async def test() -> None:
        feed = make(FakeStore(STATE, [event(1)]))
        streams = [feed.stream(AGENT, 0), feed.stream(STRANGER, 0)]
        for stream in streams:
            await anext(stream)
        feed.close()
        for stream in streams:
            assert b"summary" not in b"".join([chunk async for chunk in stream])
        assert feed._pollers == {}
        with pytest.raises(Refused) as refused:
            feed.take_place("192.0.2.1")
        assert refused.value.status == 503

    run(test)


def test_places_are_bounded_in_all_and_for_each_address() -> None:
    feed = make(FakeStore(), max_streams=3, max_per_address=2)
    feed.take_place("a")
    feed.take_place("a")
    with pytest.raises(Refused) as share:
        feed.take_place("a")
    feed.take_place("b")
    with pytest.raises(Refused) as full:
        feed.take_place("c")
    assert (share.value.status, full.value.status) == (429, 503)
    assert "Retry-After" in share.value.headers
    feed.leave_place("a")
    feed.take_place("c")
