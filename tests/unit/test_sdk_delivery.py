"""Batching, verdicts and accounts, against a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pactstream.sdk import Receipt, Telemetry, TelemetryProblem, Verdict, last_receipt
from tests.sdk_gateway import AGENT, PACT, VIOLATED, Gateway, Seen, accept, answer, serving, wait_until


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


@pytest.fixture
def tel(gateway: Gateway) -> Iterator[Telemetry]:
    with gateway.telemetry() as telemetry:
        yield telemetry


def test_a_full_batch_goes_out_at_once_and_no_sooner(gateway: Gateway, tel: Telemetry) -> None:
    for number in range(24):
        tel.tool_call(tool=f"t{number}")
    assert gateway.requests == []
    tel.tool_call(tool="t24")
    wait_until(lambda: tel.stats().accepted == 25)
    assert [event["tool"] for event in gateway.events] == [f"t{n}" for n in range(25)]
    assert len(gateway.batches) == 1


def test_an_incomplete_batch_goes_out_when_its_time_is_up(gateway: Gateway) -> None:
    with gateway.telemetry(flush_interval_seconds=0.05) as tel:
        tel.tool_call(tool="a")
        tel.tool_call(tool="b")
        wait_until(lambda: tel.stats().accepted == 2)
        tel.tool_call(tool="c")
        wait_until(lambda: tel.stats().accepted == 3)
    assert [len(batch) for batch in gateway.batches] == [2, 1]


def test_many_events_go_out_in_order_in_batches(gateway: Gateway, tel: Telemetry) -> None:
    for number in range(110):
        tel.tool_call(tool="t", params={"n": number})
    assert tel.flush(10)
    assert [event["params"]["n"] for event in gateway.events] == list(range(110))
    assert max(len(batch) for batch in gateway.batches) == 25


def test_a_batch_is_bounded_in_bytes_too(gateway: Gateway, tel: Telemetry) -> None:
    for _ in range(20):
        tel.response(input="i" * 60_000, output="o" * 60_000)
    assert tel.flush(10)
    assert sum(len(batch) for batch in gateway.batches) == 20
    assert all(len(json.dumps(batch)) < 1024 * 1024 for batch in gateway.batches)


def test_verdicts_reach_receipt_and_callback(gateway: Gateway) -> None:
    told: list[tuple[str, Verdict]] = []
    gateway.judge = lambda event: VIOLATED if event.get("tool") == "transfer_funds" else None
    with gateway.telemetry(on_verdict=lambda event_id, verdict: told.append((event_id, verdict))) as tel:
        free = tel.tool_call(tool="look")
        bad = tel.tool_call(tool="transfer_funds", params={"destination": "0xBAD"}, pact_id=PACT)
        assert last_receipt() is bad
        assert bad.status == "pending"
        verdict = bad.verdict(timeout=5)
        assert verdict is not None
        assert not verdict.valid
        assert (verdict.pact_version, verdict.severity) == (3, "critical")
        assert verdict.violations[0].value == "0xBAD"
        assert verdict.summary() == "destination breaks allowList"
        assert free.verdict(timeout=5) is None
        assert (free.status, bad.status) == ("accepted", "accepted")
        assert tel.flush(5)
        assert told == [(bad.event_id, verdict)]


def test_a_verdict_is_asked_for_without_waiting_for_the_batch(gateway: Gateway, tel: Telemetry) -> None:
    # The flush interval is a minute: only the question itself can have sent the event.
    assert tel.tool_call(tool="t", pact_id=PACT).verdict(timeout=5) is not None


def test_a_verdict_that_does_not_come_is_none_and_pending(gateway: Gateway, tel: Telemetry) -> None:
    gateway.accepting.clear()
    receipt = tel.tool_call(tool="t", pact_id=PACT)
    assert receipt.verdict(timeout=0.05) is None
    assert receipt.status == "pending"
    gateway.accepting.set()
    assert receipt.verdict(timeout=5) is not None


def test_many_threads_may_wait_for_one_verdict(gateway: Gateway, tel: Telemetry) -> None:
    gateway.accepting.clear()
    receipt = tel.tool_call(tool="t", pact_id=PACT)
    got: list[Verdict | None] = []
    threads = [threading.Thread(target=lambda: got.append(receipt.verdict(5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    gateway.accepting.set()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert None not in got


def test_a_receipt_can_be_awaited(gateway: Gateway, tel: Telemetry) -> None:
    async def scenario() -> tuple[Verdict | None, str]:
        gateway.accepting.clear()
        receipt = tel.tool_call(tool="t", pact_id=PACT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await receipt
        gateway.accepting.set()
        async with asyncio.timeout(5):
            verdicts = await asyncio.gather(*(_verdict(receipt) for _ in range(5)))
            assert len(set(map(id, verdicts))) == 1
            return await receipt, receipt.status

    verdict, status = asyncio.run(scenario())
    assert verdict is not None
    assert status == "accepted"


async def _verdict(receipt: Receipt) -> Verdict | None:
    return await receipt


def test_a_loop_that_is_gone_when_the_verdict_comes_harms_nothing(gateway: Gateway, tel: Telemetry) -> None:
    async def impatient() -> Receipt:
        receipt = tel.tool_call(tool="t", pact_id=PACT)
        asyncio.ensure_future(_verdict(receipt))  # noqa: RUF006 - cancelled by the end of run()
        await asyncio.sleep(0)
        return receipt

    gateway.accepting.clear()
    receipt = asyncio.run(impatient())
    gateway.accepting.set()
    assert receipt.verdict(5) is not None


def test_callbacks_that_raise_do_not_stop_delivery(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the agent's own fault")

    with gateway.telemetry(on_verdict=fail, on_error=fail, batch_size=1) as tel:
        first = tel.tool_call(tool="t", pact_id=PACT)
        assert first.verdict(5) is not None
        second = tel.tool_call(tool="t", pact_id=PACT)
        assert second.verdict(5) is not None
        assert tel.flush(5)
    assert "on_verdict raised" in caplog.text
    assert "on_error raised" in caplog.text


def test_rejected_events_of_a_batch_are_reported_each_and_the_others_land(gateway: Gateway) -> None:
    def partly(handler: Any, seen: Seen) -> None:
        results = []
        for event in seen.body["events"]:
            if event["tool"] == "bad":
                error = {"error": "no", "code": "INVALID_INPUT", "details": [{"path": "x", "message": "y"}]}
                results.append({"eventId": event["eventId"], "status": "rejected", "error": error})
            else:
                results.append({"eventId": event["eventId"], "status": "accepted", "validation": None})
        handler.send(207, json.dumps({"accepted": 1, "results": results}).encode())

    problems: list[TelemetryProblem] = []
    gateway.replies.append(partly)
    with gateway.telemetry(on_error=problems.append) as tel:
        receipts = [tel.tool_call(tool=tool) for tool in ("bad", "good", "bad")]
        assert tel.flush(5)
        assert [receipt.status for receipt in receipts] == ["rejected", "accepted", "rejected"]
        assert [problem.event_id for problem in problems] == [receipts[0].event_id, receipts[2].event_id]
        assert {problem.kind for problem in problems} == {"rejected"}
        assert "INVALID_INPUT" in str(problems[0])
        stats = tel.stats()
        assert (stats.accepted, stats.rejected, stats.dropped) == (1, 2, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 302])
def test_a_refused_batch_is_counted_reported_and_never_retried(gateway: Gateway, status: int) -> None:
    problems: list[TelemetryProblem] = []
    gateway.replies.append(answer(status, {"error": "refused", "code": "X"}, Location="/elsewhere"))
    with gateway.telemetry(on_error=problems.append) as tel:
        receipts = [tel.tool_call(tool="t") for _ in range(3)]
        assert tel.flush(5)
        assert [receipt.status for receipt in receipts] == ["rejected"] * 3
        assert tel.tool_call(tool="t").verdict(5) is None
        assert tel.flush(5)
        assert tel.stats().rejected == 3
        assert tel.stats().accepted == 1
    assert len(gateway.requests) == 2
    assert [(problem.kind, problem.count) for problem in problems] == [("rejected", 3)]
    assert f"HTTP {status}: refused (X)" in str(problems[0])


def test_a_batch_that_is_too_large_for_this_gateway_is_halved(gateway: Gateway) -> None:
    def two_at_most(handler: Any, seen: Seen) -> None:
        reply = answer(413) if len(seen.body["events"]) > 2 else accept
        reply(handler, seen)

    gateway.replies.extend([two_at_most] * 10)
    with gateway.telemetry() as tel:
        receipts = [tel.tool_call(tool=f"t{number}") for number in range(7)]
        assert tel.flush(5)
        assert [receipt.status for receipt in receipts] == ["accepted"] * 7
        taken = [event["tool"] for batch in gateway.batches if len(batch) <= 2 for event in batch]
        assert taken == [f"t{number}" for number in range(7)]
        gateway.replies.clear()
        gateway.replies.append(answer(413))
        alone = tel.tool_call(tool="t", params={"text": "x"})
        assert tel.flush(5)
        assert alone.status == "rejected"


def test_a_batch_of_which_nothing_is_taken_says_why_for_each(gateway: Gateway) -> None:
    def none_taken(handler: Any, seen: Seen) -> None:
        results = [
            {"eventId": event["eventId"], "status": "rejected", "error": {"error": event["tool"], "code": "X"}}
            for event in seen.body["events"]
        ]
        body = {"accepted": 0, "results": results, "error": "no event was accepted", "code": "X"}
        handler.send(422, json.dumps(body).encode())

    problems: list[TelemetryProblem] = []
    gateway.replies.append(none_taken)
    with gateway.telemetry(on_error=problems.append) as tel:
        receipts = [tel.tool_call(tool="a"), tel.tool_call(tool="b")]
        assert tel.flush(5)
        assert [receipt.error for receipt in receipts] == [
            '{"error": "a", "code": "X"}',
            '{"error": "b", "code": "X"}',
        ]
        assert tel.stats().rejected == 2
    assert [problem.event_id for problem in problems] == [receipt.event_id for receipt in receipts]
    assert len(gateway.requests) == 1


def test_numbers_in_a_verdict_are_exact(gateway: Gateway, tel: Telemetry) -> None:
    def exact(handler: Any, seen: Seen) -> None:
        (event,) = seen.body["events"]
        validation = (
            '{"valid":false,"severity":"major","violations":[{"paramPath":"amount","rule":"maxAmount",'
            '"severity":"major","value":500.00000000000000001,"expected":[1e400,7]}]}'
        )
        result = f'{{"eventId":"{event["eventId"]}","status":"accepted","validation":{validation}}}'
        handler.send(200, b'{"accepted":1,"results":[' + result.encode() + b"]}")

    gateway.replies.append(exact)
    verdict = tel.tool_call(tool="t", pact_id=PACT).verdict(5)
    assert verdict is not None
    assert verdict.violations[0].value == Decimal("500.00000000000000001")
    assert verdict.violations[0].expected == [Decimal("1e400"), 7]


def test_flush_returns_false_when_time_is_up_and_true_when_all_is_settled(
    gateway: Gateway, tel: Telemetry
) -> None:
    assert tel.flush(0)
    gateway.accepting.clear()
    tel.tool_call(tool="t")
    assert not tel.flush(0.05)
    gateway.accepting.set()
    assert tel.flush(5)


def test_a_callback_does_not_wait_for_itself(gateway: Gateway) -> None:
    results: list[object] = []

    def callback(event_id: str, verdict: Verdict) -> None:
        if not results:
            results.append(own.flush(None))
            results.append(own.tool_call(tool="t", pact_id=PACT).verdict(None))

    with gateway.telemetry(on_verdict=callback) as own:
        assert own.tool_call(tool="t", pact_id=PACT).verdict(5)
        wait_until(lambda: own.stats().accepted == 2)
    assert results == [False, None]


def test_a_callback_may_close(gateway: Gateway) -> None:
    results: list[bool] = []
    own: Telemetry = gateway.telemetry(on_verdict=lambda *_: results.append(own.close()))
    own.tool_call(tool="t", pact_id=PACT)
    assert own.close()
    assert results == [False]


def test_a_thread_that_cannot_start_is_tried_again(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    problems: list[TelemetryProblem] = []
    with gateway.telemetry(on_error=problems.append) as tel:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_more)
            tel.tool_call(tool="a")
        tel.tool_call(tool="b")
        assert tel.flush(5)
        assert [event["tool"] for event in gateway.events] == ["a", "b"]
    assert [problem.kind for problem in problems] == ["delayed"]


def test_an_invalid_event_does_not_use_up_the_declaration_of_drops(gateway: Gateway) -> None:
    gateway.accepting.clear()
    with gateway.telemetry(max_buffered_events=25) as tel:
        for _ in range(25):
            tel.tool_call(tool="t")
        wait_until(lambda: gateway.requests)
        for _ in range(28):
            tel.tool_call(tool="t")
        gateway.accepting.set()
        assert tel.flush(5)
        assert tel.tool_call(tool="").status == "invalid"
        tel.tool_call(tool="last")
    assert gateway.events[-1]["metadata"] == {"pactstream_dropped_events": 3}


def test_close_delivers_and_takes_no_more(gateway: Gateway) -> None:
    problems: list[TelemetryProblem] = []
    tel = gateway.telemetry(on_error=problems.append)
    tel.tool_call(tool="t")
    assert tel.close()
    late = tel.tool_call(tool="late")
    assert late.status == "dropped"
    assert late.error == "telemetry is closed"
    assert late.verdict() is None
    assert [event["tool"] for event in gateway.events] == ["t"]
    assert [(problem.kind, str(problem)) for problem in problems] == [("dropped", "telemetry is closed")]
    assert tel.close()
    assert not any(thread.name == "pactstream-telemetry" for thread in threading.enumerate())


def test_unusable_arguments_are_reported_not_raised(gateway: Gateway) -> None:
    problems: list[TelemetryProblem] = []
    with gateway.telemetry(on_error=problems.append) as tel:
        anything: Any = tel
        receipts = [
            anything.tool_call(tool=7),
            anything.tool_call(tool=""),
            anything.tool_call(tool="t", params=[1]),
            anything.tool_call(tool="t", outcome="great"),
            anything.tool_call(tool="t", session_id="line\nbreak"),
            anything.tool_call(tool="t", session_id=object()),
            anything.tool_call(tool="t", pact_id="no-uuid"),
            anything.tool_call(tool="t", latency_ms="fast"),
            anything.tool_call(tool="t", attempted_at="yesterday"),
            anything.tool_call(tool="t", metadata=5),
            anything.tool_call(tool="t", sesion_id="typo"),
            anything.response(input="a", output="b", token_count=-1),
            anything.session_end(ended_at=5),
        ]
        assert [receipt.status for receipt in receipts] == ["invalid"] * len(receipts)
        assert all(receipt.verdict() is None and receipt.error for receipt in receipts)
        assert receipts[10].error == "ToolCall: unknown argument sesion_id"
        stats = tel.stats()
        assert (stats.invalid, stats.recorded) == (len(receipts), 0)
    assert {problem.kind for problem in problems} == {"invalid"}
    assert sum(problem.count for problem in problems) == len(receipts)
    assert gateway.requests == []


def test_an_event_may_belong_to_another_agent(gateway: Gateway, tel: Telemetry) -> None:
    other = str(uuid.uuid4())
    tel.tool_call(tool="t", agent_id=other)
    tel.tool_call(tool="t")
    assert tel.flush(5)
    assert [event["agentId"] for event in gateway.events] == [other, AGENT]


def test_a_default_pact_binds_tool_calls(gateway: Gateway) -> None:
    with gateway.telemetry(pact_id=PACT) as tel:
        tel.tool_call(tool="t")
        tel.response(input="", output="")
    assert [event.get("pactId") for event in gateway.events] == [PACT, None]


def test_verdicts_match_events_by_name_in_whatever_order(gateway: Gateway, tel: Telemetry) -> None:
    def reversed_results(handler: Any, seen: Seen) -> None:
        results = [
            {"eventId": event["eventId"], "status": "accepted", "validation": {"valid": event["tool"] == "a"}}
            for event in reversed(seen.body["events"])
        ]
        handler.send(200, json.dumps({"results": results}).encode())

    gateway.replies.append(reversed_results)
    a, b = tel.tool_call(tool="a"), tel.tool_call(tool="b")
    assert [(r.verdict(5) or pytest.fail("no verdict")).valid for r in (a, b)] == [True, False]


def test_threads_record_without_losing_or_mixing(gateway: Gateway, tel: Telemetry) -> None:
    def record(thread: int) -> None:
        for number in range(200):
            tel.tool_call(tool="t", params={"thread": thread, "n": number})

    threads = [threading.Thread(target=record, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tel.flush(20)
    assert tel.stats().accepted == 1_200
    for thread_number in range(6):
        mine = [e["params"]["n"] for e in gateway.events if e["params"]["thread"] == thread_number]
        assert mine == list(range(200))
