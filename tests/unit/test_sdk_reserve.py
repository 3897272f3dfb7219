"""`reserve=True`: the budget of a call is held before it, and given back where the call is not made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pactstream.sdk import PactViolation, PreflightUnavailable, Telemetry
from tests.sdk_gateway import AGENT, PACT, VIOLATED, Gateway, Seen, answer, serving, wait_until


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


def paying(tel: Telemetry) -> Any:
    """A tool that is asked for before it is called."""
    return tel.instrument_tool(lambda amount: amount, name="pay")


def telemetry(gateway: Gateway, **options: Any) -> Telemetry:
    return gateway.telemetry(**{"pact_id": PACT, "block_on": "major", "reserve": True} | options)


def questions(gateway: Gateway) -> list[dict[str, Any]]:
    return [seen.body for seen in gateway.requests if seen.path.endswith("/validate-call")]


def cancelled(gateway: Gateway) -> list[Seen]:
    return [seen for seen in list(gateway.requests) if "/reservations/" in seen.path]


def test_the_event_carries_the_reservation_that_was_asked_for(gateway: Gateway) -> None:
    with telemetry(gateway) as tel:
        assert paying(tel)(7) == 7
        assert tel.flush(5)
    (question,), (event,) = questions(gateway), gateway.events
    assert (question["reserve"], question["blockOn"]) == (True, "major")
    assert event["reservationId"] == question["reservationId"]
    assert event["sessionId"] == question["sessionId"]
    assert cancelled(gateway) == []


def test_without_reserve_nothing_is_held(gateway: Gateway) -> None:
    with telemetry(gateway, reserve=False) as tel:
        paying(tel)(7)
        assert tel.flush(5)
    assert {"reserve", "reservationId", "blockOn"}.isdisjoint(questions(gateway)[0])
    assert "reservationId" not in gateway.events[0]


def test_a_call_that_is_forbidden_gives_back_what_may_be_held(gateway: Gateway) -> None:
    gateway.preflight = VIOLATED
    with telemetry(gateway) as tel:
        with pytest.raises(PactViolation):
            paying(tel)(7)
        wait_until(lambda: cancelled(gateway))
    (seen,) = cancelled(gateway)
    assert seen.path == f"/api/v1/agents/{AGENT}/reservations/{questions(gateway)[0]['reservationId']}"


def test_an_allowed_call_for_which_nothing_is_held_is_not_made(gateway: Gateway) -> None:
    gateway.holds = False
    with telemetry(gateway) as tel:
        with pytest.raises(PreflightUnavailable, match="holds nothing for it"):
            paying(tel)(7)
        wait_until(lambda: cancelled(gateway))


def test_a_lighter_violation_goes_ahead_with_its_reservation(gateway: Gateway) -> None:
    gateway.preflight = VIOLATED | {"severity": "minor", "valid": True}
    with telemetry(gateway) as tel:
        paying(tel)(7)
        assert tel.flush(5)
    assert gateway.events[0]["reservationId"] == questions(gateway)[0]["reservationId"]


def test_nobody_can_say_and_the_budget_is_given_back_once_somebody_can(gateway: Gateway) -> None:
    gateway.replies.append(answer(503, {"error": "no evaluator"}))
    with telemetry(gateway) as tel:
        with pytest.raises(PreflightUnavailable):
            paying(tel)(7)
        wait_until(lambda: cancelled(gateway))
        assert tel.flush(5)
    # The event that says so lets go of it too, should the cancellation be lost.
    assert gateway.events[0]["reservationId"] == questions(gateway)[0]["reservationId"]


def test_a_task_that_is_cancelled_while_it_asks_gives_back_what_it_gets(gateway: Gateway) -> None:
    gateway.accepting.clear()

    async def scenario(tel: Telemetry) -> None:
        async def pay(amount: int) -> int:
            return amount

        task = asyncio.create_task(tel.instrument_tool(pay)(7))
        await asyncio.to_thread(wait_until, lambda: gateway.requests)
        task.cancel()
        threading.Timer(0.05, gateway.accepting.set).start()
        with pytest.raises(asyncio.CancelledError):
            await task

    with telemetry(gateway) as tel:
        asyncio.run(scenario(tel))
        # Once from the cancelled task, and once from the answer that came after it.
        wait_until(lambda: len(cancelled(gateway)) == 2)


def test_what_was_recorded_before_is_delivered_before_the_question(gateway: Gateway) -> None:
    gateway.looks_back = True
    with telemetry(gateway, reserve=False) as tel:
        pay = paying(tel)
        tel.tool_call(tool="verify")
        pay(1)
        pay(2)
    kinds = [seen.path.rpartition("/")[2] for seen in gateway.requests]
    ask, send = "validate-call", "events"
    # The first answer told that earlier calls matter: what was recorded is sent, and it is asked again.
    assert kinds == [ask, send, ask, send, ask, send]


def test_what_cannot_be_delivered_leaves_the_question_open(gateway: Gateway) -> None:
    gateway.looks_back = True
    with telemetry(gateway, reserve=False, preflight_timeout_seconds=0.2) as tel:
        pay = paying(tel)
        pay(1)
        gateway.replies.extend([answer(503)] * 100)
        with pytest.raises(PreflightUnavailable, match="not delivered yet"):
            pay(2)
        gateway.replies.clear()


def test_reserve_needs_block_on(gateway: Gateway) -> None:
    with pytest.raises(ValueError, match="needs block_on"):
        gateway.telemetry(reserve=True)


def test_an_explicit_call_may_name_its_reservation(gateway: Gateway) -> None:
    with gateway.telemetry() as tel:
        tel.tool_call(tool="pay", reservation_id=PACT)
        assert tel.tool_call(tool="pay", reservation_id="r-1").status == "invalid"
        assert tel.flush(5)
    assert [event.get("reservationId") for event in gateway.events] == [PACT]
