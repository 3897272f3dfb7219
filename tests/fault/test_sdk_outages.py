"""The gateway fails in every way; nothing is lost uncounted, or doubled, or felt by the agent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from pactstream.sdk import Telemetry, TelemetryProblem
from tests.sdk_gateway import (
    PACT,
    Gateway,
    Handler,
    Reply,
    Seen,
    accept,
    answer,
    hang_up,
    hang_up_midway,
    serving,
    wait_until,
)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


def books_balance(tel: Telemetry) -> bool:
    stats = tel.stats()
    return stats.recorded == stats.accepted + stats.rejected + stats.dropped + stats.pending


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_retried_until_taken_and_the_same_bytes_each_time(gateway: Gateway, status: int) -> None:
    problems: list[TelemetryProblem] = []
    gateway.replies.extend([answer(status, {"error": "later", "code": "X"})] * 3)
    with gateway.telemetry(on_error=problems.append) as tel:
        receipts = [tel.tool_call(tool="t", params={"text": "x" * 5_000}, pact_id=PACT) for _ in range(3)]
        assert tel.flush(10)
        assert [receipt.status for receipt in receipts] == ["accepted"] * 3
        assert tel.stats().retries == 3
    assert len(gateway.requests) == 4
    assert len({seen.raw for seen in gateway.requests}) == 1
    assert gateway.requests[0].headers["content-encoding"] == "gzip"
    assert {problem.kind for problem in problems} == {"delayed"}
    assert sum(problem.count for problem in problems) == 3
    assert f"HTTP {status}: later (X)" in str(problems[0])


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(gateway: Gateway, form: str) -> None:
    arrivals: list[float] = []

    def busy(handler: Handler, seen: Seen) -> None:
        arrivals.append(time.monotonic())
        # A date has whole seconds: two from now are between one and two away.
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        handler.send(429, b"{}", Retry_After="1" if form == "seconds" else date)

    def taken(handler: Handler, seen: Seen) -> None:
        arrivals.append(time.monotonic())
        accept(handler, seen)

    gateway.replies.extend([busy, taken])
    with gateway.telemetry() as tel:
        receipt = tel.tool_call(tool="t")
        # flush() hurries; a server that asked for a pause gets it all the same.
        assert tel.flush(10)
        assert receipt.status == "accepted"
    assert 0.95 <= arrivals[1] - arrivals[0] < 4


def test_flush_cuts_a_back_off_short(gateway: Gateway) -> None:
    gateway.replies.append(answer(503))
    with gateway.telemetry(retry_first_seconds=600, retry_max_seconds=600, batch_size=1) as tel:
        receipt = tel.tool_call(tool="t")
        wait_until(lambda: tel.stats().retries == 1)
        assert tel.flush(5)
        assert receipt.status == "accepted"


def test_asking_for_verdicts_does_not_press_a_failing_gateway(gateway: Gateway) -> None:
    gateway.replies.append(answer(503))
    with gateway.telemetry(retry_first_seconds=600, retry_max_seconds=600, batch_size=1) as tel:
        receipt = tel.tool_call(tool="t")
        wait_until(lambda: tel.stats().retries == 1)
        for _ in range(5):
            assert receipt.verdict(timeout=0.01) is None
        assert len(gateway.requests) == 1


def test_a_gateway_that_comes_back_gets_everything_once() -> None:
    port = free_port()
    down = Gateway(port=port)
    with down.telemetry(batch_size=10) as tel:
        for number in range(100):
            tel.tool_call(tool="t", params={"n": number})
        wait_until(lambda: tel.stats().retries >= 2)
        assert tel.stats().pending == 100
        with serving(port) as up:
            assert tel.flush(10)
            assert [event["params"]["n"] for event in up.events] == list(range(100))
        assert tel.stats().accepted == 100


def test_a_gateway_restarted_between_batches(gateway: Gateway) -> None:
    # The kept-alive connection is dead when the second batch wants to use it.
    port = free_port()
    with serving(port) as before:
        tel = before.telemetry()
        tel.tool_call(tool="a")
        assert tel.flush(5)
    with serving(port) as after, tel:
        tel.tool_call(tool="b")
        assert tel.flush(5)
        assert [event["tool"] for event in after.events] == ["b"]


@pytest.mark.parametrize("failure", [hang_up, hang_up_midway])
def test_a_connection_closed_before_the_answer(gateway: Gateway, failure: Reply) -> None:
    gateway.replies.extend([failure, failure])
    with gateway.telemetry() as tel:
        receipt = tel.tool_call(tool="t", pact_id=PACT)
        assert receipt.verdict(10) is not None
    # Sent three times with the same id: the gateway recognises it.
    assert len(gateway.requests) == 3
    assert len({event["eventId"] for event in gateway.events}) == 1


def test_a_silent_gateway_is_given_up_on_and_asked_again(gateway: Gateway) -> None:
    released = threading.Event()

    def silent(handler: Handler, seen: Seen) -> None:
        released.wait(30)
        handler.hang_up()

    gateway.replies.append(silent)
    with gateway.telemetry(request_timeout_seconds=0.2) as tel:
        assert tel.tool_call(tool="t", pact_id=PACT).verdict(10) is not None
        released.set()


def test_an_answer_in_drops_is_given_up_on(gateway: Gateway) -> None:
    released = threading.Event()

    def dripping(handler: Handler, seen: Seen) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while not released.wait(0.02):
                handler.wfile.write(b"{")
        except OSError:
            handler.close_connection = True

    gateway.replies.append(dripping)
    with gateway.telemetry(request_timeout_seconds=0.3) as tel:
        # Each byte comes in time; the whole does not.
        assert tel.tool_call(tool="t", pact_id=PACT).verdict(10) is not None
        released.set()


@pytest.mark.parametrize(
    "content",
    [b"<html>Please log in</html>", b"", b"[]", b'{"results":7}', b'{"results":[{}]}', b"\xff", b"[" * 100_000],
)
def test_an_answer_that_is_not_the_gateways_proves_nothing(gateway: Gateway, content: bytes) -> None:
    gateway.replies.append(answer(200, content))
    with gateway.telemetry() as tel:
        assert tel.tool_call(tool="t", pact_id=PACT).verdict(10) is not None
        assert tel.stats().retries == 1
        assert len(gateway.requests) == 2


def test_a_huge_answer_is_not_read_to_its_end(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pactstream.sdk.transport.MAX_ANSWER_BYTES", 100_000)
    sent: list[int] = []

    def huge(handler: Handler, seen: Seen) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        try:
            while len(sent) < 10_000:
                handler.wfile.write(b" " * 100_000)
                sent.append(1)
        except OSError:
            handler.close_connection = True

    gateway.replies.append(huge)
    with gateway.telemetry() as tel:
        assert tel.tool_call(tool="t", pact_id=PACT).verdict(10) is not None
    assert len(sent) < 1_000


@pytest.mark.parametrize(
    ("results", "statuses"),
    [
        ([], ["rejected", "rejected"]),
        ([{"status": "accepted"}], ["accepted", "rejected"]),
        ([{"status": "accepted"}] * 3, ["accepted", "accepted"]),
        ([{"status": "accepted", "eventId": "someone-else"}] * 2, ["rejected", "rejected"]),
        (
            [{"status": "accepted", "validation": {"valid": "?"}}, {"status": "duplicate"}],
            ["accepted", "accepted"],
        ),
    ],
)
def test_results_of_the_wrong_number_or_form(
    gateway: Gateway, results: list[dict[str, Any]], statuses: list[str]
) -> None:
    problems: list[TelemetryProblem] = []
    gateway.replies.append(answer(200, {"accepted": 2, "results": results}))
    with gateway.telemetry(on_error=problems.append) as tel:
        receipts = [tel.tool_call(tool="t"), tel.tool_call(tool="t")]
        assert tel.flush(5)
        assert [receipt.status for receipt in receipts] == statuses
        assert books_balance(tel)
    assert len([p for p in problems if p.kind == "rejected"]) == statuses.count("rejected")
    if "validation" in str(results):
        assert [p.kind for p in problems] == ["answer"]


def test_a_batch_that_the_server_fails_on_is_given_up_and_the_next_one_goes(gateway: Gateway) -> None:
    def poisoned(handler: Handler, seen: Seen) -> None:
        gateway.replies.append(poisoned)
        if seen.body["events"][0]["tool"] == "poison":
            handler.send(500, b"")
        else:
            accept(handler, seen)

    problems: list[TelemetryProblem] = []
    gateway.replies.append(poisoned)
    with gateway.telemetry(batch_size=1, retry_for_seconds=0.1, on_error=problems.append) as tel:
        bad, good = tel.tool_call(tool="poison"), tel.tool_call(tool="good")
        assert tel.flush(10)
        assert (bad.status, good.status) == ("dropped", "accepted")
        assert bad.error == "given up: HTTP 500: "
        assert books_balance(tel)
        assert tel.stats().dropped == 1
    assert [p.count for p in problems if p.kind == "dropped"] == [1]


def test_an_outage_longer_than_that_loses_nothing(gateway: Gateway) -> None:
    with Gateway(port=free_port()).telemetry(retry_for_seconds=0.05, close_timeout_seconds=0.05) as tel:
        tel.tool_call(tool="t")
        tel.flush(0)
        wait_until(lambda: tel.stats().retries > 20)
        assert tel.stats().pending == 1


def test_drops_are_counted_reported_and_told_to_the_server(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    problems: list[TelemetryProblem] = []
    gateway.accepting.clear()
    with gateway.telemetry(max_buffered_events=25, on_error=problems.append) as tel:
        for _ in range(25):
            tel.tool_call(tool="t")
        wait_until(lambda: gateway.requests)
        receipts = [tel.tool_call(tool="t") for _ in range(40)]
        assert [receipt.status for receipt in receipts] == ["pending"] * 25 + ["dropped"] * 15
        assert receipts[-1].error == "the buffer is full (25 events)"
        assert receipts[-1].verdict(timeout=5) is None
        assert tel.stats().dropped == 15
        assert books_balance(tel)
        # The first drop is told at once, the others together: a flood of drops is no flood of reports.
        assert [(p.kind, p.count) for p in problems] == [("dropped", 1)]
        gateway.accepting.set()
        assert tel.flush(10)
        tel.tool_call(tool="after", metadata={"own": 1})
        tel.tool_call(tool="later")
    assert tel.stats().accepted == 52
    assert [(p.kind, p.count) for p in problems] == [("dropped", 1), ("dropped", 14)]
    assert "the buffer is full (25 events)" in caplog.text
    after, later = gateway.events[-2:]
    assert after["metadata"] == {"own": 1, "pactstream_dropped_events": 15}
    assert "metadata" not in later


def test_the_buffer_is_bounded_in_bytes(gateway: Gateway) -> None:
    gateway.accepting.clear()
    with gateway.telemetry(max_buffered_bytes=100_000) as tel:
        receipts = [tel.response(input="x" * 30_000, output="") for _ in range(5)]
        assert [receipt.status for receipt in receipts] == ["pending"] * 3 + ["dropped"] * 2
        gateway.accepting.set()
        assert tel.flush(5)
        assert tel.response(input="x" * 30_000, output="").status == "pending"


def test_recording_never_waits_for_the_gateway(gateway: Gateway) -> None:
    gateway.accepting.clear()
    with gateway.telemetry(max_buffered_events=1_000) as tel:
        before = time.monotonic()
        for _ in range(2_000):
            tel.tool_call(tool="t")
        # The gateway is silent for as long as this test likes; ten seconds is slow for 2,000 calls anywhere.
        assert time.monotonic() - before < 10
        assert tel.stats().accepted == 0
        gateway.accepting.set()


def test_close_gives_up_in_time_and_counts_what_it_gives_up() -> None:
    problems: list[TelemetryProblem] = []
    tel = Gateway(port=free_port()).telemetry(
        on_error=problems.append, batch_size=10, retry_first_seconds=600, retry_max_seconds=600
    )
    receipts = [tel.tool_call(tool="t") for _ in range(35)]
    wait_until(lambda: tel.stats().retries == 1)
    before = time.monotonic()
    assert not tel.close(timeout=0.1)
    assert time.monotonic() - before < 5
    # The batch on its way is given up by the sending thread, the rest by close().
    wait_until(lambda: not any(t.name == "pactstream-telemetry" for t in threading.enumerate()))
    assert (tel.stats().dropped, tel.stats().pending) == (35, 0)
    assert {receipt.status for receipt in receipts} == {"dropped"}
    assert sum(p.count for p in problems if p.kind == "dropped") == 35


def test_close_says_what_it_leaves_in_the_middle_of_a_request(gateway: Gateway) -> None:
    problems: list[TelemetryProblem] = []
    gateway.accepting.clear()
    tel = gateway.telemetry(on_error=problems.append)
    receipt = tel.tool_call(tool="t")
    assert not tel.close(timeout=0.05)
    assert [(p.kind, str(p)) for p in problems] == [("delayed", "on their way when the time to close was up")]
    gateway.accepting.set()
    wait_until(lambda: receipt.status == "accepted")
    assert tel.close()


def test_close_waits_for_a_batch_on_its_way(gateway: Gateway) -> None:
    gateway.accepting.clear()
    tel = gateway.telemetry()
    receipt = tel.tool_call(tool="t")
    closer = threading.Thread(target=tel.close)
    closer.start()
    wait_until(lambda: gateway.requests)
    gateway.accepting.set()
    closer.join()
    assert receipt.status == "accepted"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
