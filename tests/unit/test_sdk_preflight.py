"""`block_on`: the verdict before the call, and what happens when there is none."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pactstream.sdk import (
    PactViolation,
    PreflightUnavailable,
    Telemetry,
    TelemetryProblem,
    Verdict,
    last_receipt,
)
from tests.sdk_gateway import AGENT, PACT, VIOLATED, Gateway, Reply, answer, hang_up, serving, wait_until


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


class Funds:
    """A tool that must not be called when it must not be called."""

    def __init__(self, tel: Telemetry) -> None:
        self.moved: list[tuple[str, float]] = []
        self.transfer = tel.instrument_tool(self._transfer, name="transfer_funds")
        self.transfer_later = tel.instrument_tool(self._transfer_later, name="transfer_funds")

    def _transfer(self, destination: str, amount: float = 5) -> str:
        self.moved.append((destination, amount))
        return "done"

    async def _transfer_later(self, destination: str, amount: float = 5) -> str:
        return self._transfer(destination, amount)


def graded(severity: str | None) -> dict[str, Any]:
    return VIOLATED | {"severity": severity}


def test_an_allowed_call_goes_ahead_after_the_question(gateway: Gateway) -> None:
    with gateway.telemetry(pact_id=PACT, block_on="critical") as tel:
        funds = Funds(tel)
        assert funds.transfer("0xA11A", 7) == "done"
        assert funds.moved == [("0xA11A", 7)]
        (question,) = gateway.requests
        assert question.path == f"/api/v1/pacts/{PACT}/validate-call"
        asked = question.body
        assert asked.pop("sessionId").startswith("unsessioned-")
        assert asked == {
            "agentId": AGENT,
            "tool": "transfer_funds",
            "params": {"destination": "0xA11A", "amount": 7},
        }
        assert tel.flush(5)
    assert [event["outcome"] for event in gateway.requests[1].body["events"]] == ["success"]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_forbidden_call_is_not_made(gateway: Gateway, mode: str) -> None:
    gateway.preflight = VIOLATED
    with gateway.telemetry(block_on="critical") as tel:
        funds = Funds(tel)

        async def call_later() -> None:
            await funds.transfer_later("0xBAD")

        def call() -> None:
            with tel.session("s", pact_id=PACT):
                if mode == "sync":
                    funds.transfer("0xBAD")
                else:
                    asyncio.run(call_later())

        with pytest.raises(PactViolation) as caught:
            call()
        assert funds.moved == []
        assert caught.value.verdict.violations[0].param_path == "destination"
        assert str(caught.value) == "the pact forbids this call (critical): destination breaks allowList"
        assert tel.flush(5)
    _, call_event, end = gateway.requests[-1].body["events"]
    assert (call_event["tool"], call_event["outcome"]) == ("transfer_funds", "denied")
    assert call_event["params"] == {"destination": "0xBAD", "amount": 5}
    assert call_event["pactId"] == PACT
    assert "latencyMs" not in call_event
    assert "destination breaks allowList" in call_event["errorMessage"]
    assert end["outcome"] == "failure"


def test_a_violation_survives_pickling() -> None:
    violation = PactViolation(Verdict(valid=False, severity="major"))
    copy = pickle.loads(pickle.dumps(violation))
    assert (copy.verdict, str(copy)) == (violation.verdict, str(violation))


def test_the_denied_call_has_a_receipt(gateway: Gateway) -> None:
    gateway.preflight = VIOLATED

    async def scenario(tel: Telemetry) -> None:
        with pytest.raises(PactViolation):
            await Funds(tel).transfer_later("0xBAD")
        receipt = last_receipt()
        assert receipt is not None
        await receipt
        assert receipt.event_id == gateway.requests[-1].body["events"][0]["eventId"]

    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        asyncio.run(scenario(tel))


@pytest.mark.parametrize(
    ("threshold", "severity", "blocked"),
    [
        ("critical", "critical", True),
        ("critical", "major", False),
        ("major", "critical", True),
        ("major", "major", True),
        ("major", "minor", False),
        ("info", "info", True),
        ("critical", None, True),
        ("critical", "apocalyptic", True),
    ],
)
def test_the_threshold(gateway: Gateway, threshold: str, severity: str | None, blocked: bool) -> None:
    gateway.preflight = graded(severity)
    with gateway.telemetry(block_on=threshold, pact_id=PACT) as tel:
        funds = Funds(tel)
        if blocked:
            with pytest.raises(PactViolation):
                funds.transfer("0xBAD")
        else:
            funds.transfer("0xBAD")
        assert bool(funds.moved) != blocked


def test_nothing_is_asked_without_a_pact_or_without_block_on(gateway: Gateway) -> None:
    gateway.preflight = VIOLATED
    with gateway.telemetry(block_on="critical") as tel:
        assert Funds(tel).transfer("0xBAD") == "done"
    with gateway.telemetry(pact_id=PACT) as tel:
        assert Funds(tel).transfer("0xBAD") == "done"
    assert not any(seen.path.endswith("/validate-call") for seen in gateway.requests)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(404, {"error": "no such pact", "code": "NOT_FOUND"}), "HTTP 404: no such pact"),
        (answer(401, {"error": "unknown key", "code": "UNAUTHENTICATED"}), "HTTP 401"),
        (answer(429, {"error": "slow down"}, Retry_After="60"), "HTTP 429"),
        (answer(500), "HTTP 500"),
        (answer(302, b"", Location="http://127.0.0.1:9/"), "HTTP 302"),
        (answer(200, b"<html>"), "not the gateway's"),
        (answer(200, {"valid": True}), "not the gateway's"),
        (answer(200, {"valid": True, "validation": None}), "not the gateway's"),
        (answer(200, {"valid": True, "validation": {"valid": "yes"}}), "not the gateway's"),
        (answer(200, {"valid": True, "validation": VIOLATED}), "contradicts itself"),
    ],
)
def test_no_verdict_no_call(gateway: Gateway, reply: Reply, reason: str) -> None:
    gateway.replies.append(reply)
    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        funds = Funds(tel)
        with pytest.raises(PreflightUnavailable, match=reason) as caught:
            funds.transfer("0xA11A")
        assert "no verdict before calling transfer_funds" in str(caught.value)
        assert funds.moved == []
        assert tel.flush(5)
    assert gateway.requests[-1].body["events"][0]["outcome"] == "denied"


def test_no_verdict_and_yet_a_call_where_that_is_wished(gateway: Gateway) -> None:
    problems: list[TelemetryProblem] = []
    gateway.replies.append(answer(503))
    with gateway.telemetry(
        block_on="critical", pact_id=PACT, preflight_unavailable="allow", on_error=problems.append
    ) as tel:
        assert Funds(tel).transfer("0xA11A") == "done"
    assert [problem.kind for problem in problems] == ["preflight"]
    assert "HTTP 503" in str(problems[0])


def test_a_network_that_is_down_blocks(gateway: Gateway) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        tel = Gateway(port=unheard.getsockname()[1]).telemetry(block_on="critical", pact_id=PACT)
        funds = Funds(tel)
        with pytest.raises(PreflightUnavailable, match="no answer"):
            funds.transfer("0xA11A")
        assert funds.moved == []
        tel.close(0)


def test_a_silent_gateway_blocks_in_time(gateway: Gateway) -> None:
    gateway.accepting.clear()
    with gateway.telemetry(block_on="critical", pact_id=PACT, preflight_timeout_seconds=0.1) as tel:
        funds = Funds(tel)
        with pytest.raises(PreflightUnavailable, match="no answer"):
            funds.transfer("0xA11A")
        gateway.accepting.set()
        assert funds.moved == []


def test_a_connection_that_broke_meanwhile_is_tried_once_more(gateway: Gateway) -> None:
    gateway.replies.append(hang_up)
    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        assert Funds(tel).transfer("0xA11A") == "done"
    assert [seen.path.endswith("/validate-call") for seen in gateway.requests][:2] == [True, True]


@pytest.mark.parametrize("destination", ["x" * 70_000, object(), float("nan"), b"0xBAD", "\ud800"])
def test_arguments_that_cannot_be_said_exactly_are_not_judged(gateway: Gateway, destination: Any) -> None:
    # Judging a stand-in could allow what the real value forbids.
    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        funds = Funds(tel)
        with pytest.raises(PreflightUnavailable, match="no exact JSON form"):
            funds.transfer(destination)
        assert funds.moved == []
    assert not any(seen.path.endswith("/validate-call") for seen in gateway.requests)


def test_what_is_excluded_is_not_judged_and_does_not_block(gateway: Gateway) -> None:
    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:

        @tel.instrument_tool(exclude=("connection",))
        def query(connection: object, sql: str) -> str:
            return sql

        assert query(object(), "select 1") == "select 1"
        assert gateway.requests[0].body["params"] == {"sql": "select 1"}


def test_a_call_that_cannot_be_described_is_blocked(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entropy() -> None:
        raise OSError("no entropy")

    with (
        gateway.telemetry(block_on="critical", pact_id=PACT) as tel,
        gateway.telemetry(block_on="critical", pact_id=PACT, preflight_unavailable="allow") as lenient,
    ):
        funds, allowed = Funds(tel), Funds(lenient)
        monkeypatch.setattr("pactstream.sdk.call.ids.uuid7", no_entropy)
        with pytest.raises(PreflightUnavailable, match="cannot be described"):
            funds.transfer("0xA11A")
        assert funds.moved == []
        assert allowed.transfer("0xA11A") == "done"
        monkeypatch.undo()
        assert (tel.stats().invalid, lenient.stats().invalid) == (1, 1)


def test_a_session_with_an_unusable_pact_blocks(gateway: Gateway) -> None:
    with gateway.telemetry(block_on="critical") as tel:
        funds = Funds(tel)
        with tel.session(pact_id="treasury"), pytest.raises(PreflightUnavailable, match="not a UUID"):
            funds.transfer("0xA11A")
        assert funds.moved == []
    with gateway.telemetry() as tel, tel.session(pact_id="treasury"):
        assert Funds(tel).transfer("0xA11A") == "done"


def test_the_event_loop_goes_on_during_the_question(gateway: Gateway) -> None:
    gateway.accepting.clear()

    async def scenario(tel: Telemetry) -> None:
        call = asyncio.create_task(Funds(tel).transfer_later("0xA11A"))
        await asyncio.to_thread(wait_until, lambda: gateway.requests)
        assert not call.done()
        gateway.accepting.set()
        assert await call == "done"

    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        asyncio.run(scenario(tel))


def test_many_threads_may_ask_at_once(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with gateway.telemetry(block_on="critical", pact_id=PACT) as tel:
        funds = Funds(tel)
        threads = [threading.Thread(target=funds.transfer, args=(f"0x{n}",)) for n in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(funds.moved) == 24
    asked = [json.dumps(seen.body) for seen in gateway.requests if seen.path.endswith("/validate-call")]
    assert len(set(asked)) == 24
    assert "Connection pool is full" not in caplog.text
