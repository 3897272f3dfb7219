"""What the SDK writes on the wire: events, requests, compression; against a real HTTP server."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pactstream.events.parse import Accepted, parse_events
from pactstream.sdk import Telemetry
from tests.sdk_gateway import AGENT, KEY, PACT, Gateway, answer, serving


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


@pytest.fixture
def tel(gateway: Gateway) -> Iterator[Telemetry]:
    with gateway.telemetry() as telemetry:
        yield telemetry


def test_the_four_events_on_the_wire(gateway: Gateway, tel: Telemetry) -> None:
    moment = datetime(2026, 5, 13, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
    common: dict[str, Any] = {"session_id": "s-1", "metadata": {"model_version": "m7", "n": 3}}
    tel.session_start(started_at=moment, pact_id=PACT, room_id="room", **common)
    tel.tool_call(
        tool="transfer_funds",
        params={"amount": 250},
        outcome="error",
        latency_ms=142,
        error_message="no",
        attempted_at="2026-05-13T10:00:00+00:00",
        pact_id=uuid.UUID(PACT),
        parent_event_id=AGENT,
        **common,
    )
    tel.response(input="q", output="a", outcome="partial", latency_ms=1.5, token_count=240, emitted_at=moment)
    tel.session_end(session_id="s-1", outcome="timeout", reason="slow", ended_at=moment)
    assert tel.flush(5)
    start, call, response, end = gateway.events
    ids = [event.pop("eventId") for event in (start, call, response, end)]
    assert all(uuid.UUID(one).version == 7 for one in ids)
    assert len(set(ids)) == 4
    assert re.fullmatch(r"unsessioned-[0-9a-f-]{36}", response.pop("sessionId"))
    own = {"agentId": AGENT, "sessionId": "s-1", "metadata": {"model_version": "m7", "n": 3}}
    at = "2026-05-13T10:00:00.250000Z"
    assert start == own | {"type": "session_start", "startedAt": at, "pactId": PACT, "roomId": "room"}
    assert call == own | {
        "type": "tool_call",
        "tool": "transfer_funds",
        "params": {"amount": 250},
        "outcome": "error",
        "latencyMs": 142,
        "errorMessage": "no",
        "attemptedAt": "2026-05-13T10:00:00Z",
        "pactId": PACT,
        "parentEventId": AGENT,
    }
    assert response == {
        "type": "response",
        "agentId": AGENT,
        "input": "q",
        "output": "a",
        "outcome": "partial",
        "latencyMs": 1.5,
        "tokenCount": 240,
        "emittedAt": at,
    }
    del own["metadata"]
    assert end == own | {"type": "session_end", "endedAt": at, "outcome": "timeout", "reason": "slow"}


def test_the_request_carries_key_and_type_and_nothing_shows_the_key(
    gateway: Gateway, tel: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.replies.append(answer(401, {"error": f"unknown key {KEY}", "code": "UNAUTHENTICATED"}))
    caplog.set_level("DEBUG")
    receipt = tel.tool_call(tool="t")
    assert tel.flush(5)
    seen = gateway.requests[0]
    assert seen.path == "/api/v1/telemetry/events"
    assert seen.headers["x-pact-key"] == KEY
    assert seen.headers["content-type"] == "application/json"
    assert receipt.error == "HTTP 401: unknown key *** (UNAUTHENTICATED)"
    assert KEY not in caplog.text + repr(tel) + repr(vars(tel)) + repr(vars(tel._recorder))
    assert "UNAUTHENTICATED" in caplog.text


def test_what_the_sdk_sends_is_what_the_gateway_takes(gateway: Gateway, tel: Telemetry) -> None:
    tel.response(input="\ud800" * 70_000, output="\x00" * 70_000)
    tel.tool_call(tool="t", params={"nan": float("nan"), "deep": _nested(100), "big": 10**500, "\udc00": 1})
    tel.tool_call(tool="t", params={f"k{n}": n for n in range(1_000)}, metadata={f"k{n}": n for n in range(99)})
    tel.tool_call(tool="t", metadata={"nested": {"a": [1]}, "text": "é" * 9_000, "inf": float("inf")})  # type: ignore[dict-item]
    assert tel.flush(5)
    for seen in gateway.requests:
        body = json.dumps(seen.body).encode()
        parsed = parse_events(body, received_at_micros=2**53)
        assert [type(one) for one in parsed] == [Accepted] * len(parsed), parsed
    assert tel.stats().accepted == 4


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def test_large_bodies_are_gzipped_and_small_ones_not(gateway: Gateway, tel: Telemetry) -> None:
    tel.tool_call(tool="small")
    assert tel.flush(5)
    tel.tool_call(tool="large", params={"text": "a" * 20_000})
    assert tel.flush(5)
    small, large = gateway.requests
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"
    assert len(large.raw) < 1_000
    assert large.body["events"][0]["params"] == {"text": "a" * 20_000}


def test_connections_are_kept_alive(gateway: Gateway, tel: Telemetry) -> None:
    for _ in range(5):
        tel.tool_call(tool="t")
        assert tel.flush(5)
    assert len({seen.connection for seen in gateway.requests}) == 1
