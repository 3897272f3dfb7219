"""`Telemetry.open_call`, sessions that are opened and closed by hand, and `Telemetry.preflight`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from pactstream.sdk import PactViolation, PreflightUnavailable
from tests.sdk_gateway import AGENT, PACT, VALID, VIOLATED, Gateway, serving

OTHER = "0b0b0b0b-0000-4000-8000-000000000002"
NO_TEXT: str = 5  # type: ignore[assignment]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


def test_what_is_recorded_inside_a_call_names_it_as_parent(gateway: Gateway) -> None:
    with gateway.telemetry() as tel, tel.session("s-1", pact_id=PACT):
        with tel.open_call(tool="outer", params={"n": 1}) as outer:
            tel.tool_call(tool="inner")
        tel.tool_call(tool="after")
    inner, recorded, after = [e for e in gateway.events if e["type"] == "tool_call"]
    assert inner["parentEventId"] == recorded["eventId"] == outer.event_id
    assert "parentEventId" not in after
    assert (recorded["outcome"], recorded["params"], recorded["sessionId"]) == ("success", {"n": 1}, "s-1")
    assert recorded["latencyMs"] >= 0
    assert recorded["pactId"] == PACT


def test_a_call_ends_once_from_any_thread_and_says_what_went_wrong(gateway: Gateway) -> None:
    with gateway.telemetry() as tel:
        call = tel.open_call(tool="pay", params={}, event_id=OTHER, parent_event_id=PACT, session_id="s-2")
        threads = [threading.Thread(target=call.end, args=(ValueError("no funds"),)) for _ in range(2)]
        for thread in threads:
            thread.start()
            thread.join()
        call.end()
        dropped = tel.open_call(tool="never", params={})
        dropped.abandon()
        dropped.end()
        told = tel.open_call(tool="told", params={})
        told.end(outcome="error", error_message="x" * 2_000)
    first, second = gateway.events
    assert (first["eventId"], first["parentEventId"], first["sessionId"]) == (OTHER, PACT, "s-2")
    assert (first["outcome"], first["errorMessage"]) == ("error", "ValueError: no funds")
    assert second["tool"] == "told"
    assert len(second["errorMessage"]) == 1_000


def test_a_forbidden_call_is_denied_before_the_block(gateway: Gateway) -> None:
    gateway.preflight = VIOLATED

    async def tried() -> None:
        async with tel.open_call(tool="pay", params={"to": "0xBAD"}):
            pytest.fail("the call was made")

    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        with pytest.raises(PactViolation), tel.open_call(tool="pay", params={"to": "0xBAD"}):
            pytest.fail("the call was made")
        with pytest.raises(PactViolation):
            asyncio.run(tried())
        with pytest.raises(PreflightUnavailable, match="no exact JSON form"):
            tel.open_call(tool="pay", params=None).check()
    assert [e["outcome"] for e in gateway.events] == ["denied"] * 3
    assert all("latencyMs" not in e for e in gateway.events)


@pytest.mark.parametrize("tool", [NO_TEXT, "x" * 200, "a\x00b"])
def test_a_call_that_cannot_be_described_is_reported_and_refused_where_it_matters(
    gateway: Gateway, tool: str
) -> None:
    with gateway.telemetry() as tel:
        with tel.open_call(tool=tool, params={}):
            pass
        assert (tel.stats().recorded, tel.stats().invalid) == (0, 1)
    with gateway.telemetry(block_on="info", pact_id=PACT) as tel, pytest.raises(PreflightUnavailable):
        tel.open_call(tool="t", params={}, agent_id="nobody").check()
    assert gateway.events == []


def test_a_session_by_hand_is_not_that_of_the_code_around_it(gateway: Gateway) -> None:
    with gateway.telemetry() as tel:
        session = tel.session("s-3", pact_id=PACT, room_id="room-1").open()
        assert tel.current_session() is None
        tel.open_call(tool="inside", params={}, session=session).end()
        tel.response(input="a", output="b", session=session)
        tel.tool_call(tool="outside")
        for _ in range(2):
            session.close(TimeoutError("too slow"))
        with tel.session("s-4") as around:
            assert tel.current_session() is around
    ended = [e for e in gateway.events if e["type"] == "session_end"]
    assert [(e["sessionId"], e["outcome"]) for e in ended] == [("s-3", "timeout"), ("s-4", "success")]
    inside = [e for e in gateway.events if e["sessionId"] == "s-3"]
    assert [e["type"] for e in inside] == ["session_start", "tool_call", "response", "session_end"]
    assert {e["roomId"] for e in inside} == {"room-1"}
    assert inside[1]["pactId"] == PACT


def test_a_verdict_without_a_call(gateway: Gateway) -> None:
    with gateway.telemetry() as tel:
        gateway.preflight = VIOLATED
        verdict = tel.preflight(tool="pay", params={"to": "0xBAD"}, pact_id=PACT, session_id="s-5")
        assert (verdict.valid, verdict.severity) == (False, "critical")
        gateway.preflight = VALID
        assert tel.preflight(tool="pay", params={}, pact_id=PACT).valid
        with pytest.raises(PreflightUnavailable, match="no pact is in scope"):
            tel.preflight(tool="pay", params={})
        with pytest.raises(PreflightUnavailable, match="cannot be described"):
            tel.preflight(tool="pay", params={}, pact_id="treasury")
    assert gateway.events == []
    body = gateway.requests[0].body
    assert (body["agentId"], body["sessionId"], body["params"]) == (AGENT, "s-5", {"to": "0xBAD"})
