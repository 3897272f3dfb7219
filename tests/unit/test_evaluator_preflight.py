"""Pre-flight questions to an evaluator: verdicts as of now, reservations, and what hostile bytes get."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from evaluator_worker import preflight as preflight_module
from evaluator_worker.holds import GRACE_MICROS
from evaluator_worker.preflight import Conflict, Limits, Preflight, TooMany
from evaluator_worker.preflight_server import MAX_BODY_BYTES, application, may_serve
from evaluator_worker.task import EvaluatorTask
from pactstream import clock
from pactstream.errors import Retryable
from pactstream.kafka.places import Loan
from pactstream.kafka.processor import NotHeld
from pactstream.preflight.settings import PreflightSettings
from pactstream.preflight.wire import ASK, CANCEL, Answer, Cancellation, Question, Reserve
from tests.evaluator_tools import AGENT, HOUR, PACT, Pacts, Written, call, record, task
from tests.pact_calls import document, sequence, window

BUDGET = document(window("critical", tools=["transfer_funds"], limit=100))
ORDERED = document(sequence("major", requires={"tool": "transfer_funds", "after": "verify"}))


@dataclass
class Worker:
    """A processor with one task, and a writer of which the test decides what comes of it."""

    task: EvaluatorTask
    next_offset: int = 1
    caught_up: bool = True
    at_end: bool = False
    held: bool = True
    failure: Exception | None = None
    written: list[tuple[str, bytes | None]] = field(default_factory=list)

    @contextmanager
    def lend(self, partition: int) -> Iterator[Loan]:
        if not self.held or partition != 3:
            raise NotHeld("not here")
        yield Loan(self.task, self.next_offset, self.caught_up, self.at_end)

    def submit(self, partition: int, task: object, entries: list[tuple[str, bytes | None]]) -> Future[None]:
        assert (partition, task) == (3, self.task)
        done: Future[None] = Future()
        if self.failure is None:
            self.written += entries
            done.set_result(None)
        else:
            done.set_exception(self.failure)
        return done


class Desk:
    """A worker, and questions to it."""

    def __init__(self, *documents: dict[str, Any], limits: Limits | None = None) -> None:
        pacts = Pacts(*documents)
        self.worker = Worker(task(pacts=pacts))
        worker: Any = self.worker
        self.preflight = Preflight(worker, pacts, worker, limits or Limits(10, 60, 600))

    def ask(self, amount: object = 60, *, reserve: Reserve | None = None, **changes: Any) -> Answer:
        fields: dict[str, Any] = {
            "partition": 3,
            "after": -1,
            "received_at_micros": HOUR,
            "tenant_id": "t",
            "agent_id": AGENT,
            "pact_id": PACT,
            "pact_version": 1,
            "tool": "transfer_funds",
            "params": msgspec.Raw(msgspec.json.encode({"amount": amount})),
            "reserve": reserve,
        }
        return asyncio.run(self.preflight.ask(Question(**(fields | changes))))

    def reserve(
        self, name: str, amount: object = 60, *, seconds: float | None = None, **changes: Any
    ) -> Answer:
        return self.ask(amount, reserve=Reserve(name, seconds), **changes)

    def cancel(self, name: str, tenant_id: str = "t") -> bool:
        return asyncio.run(self.preflight.cancel(Cancellation(3, tenant_id, AGENT, name))).found

    def happens(self, *events: dict[str, Any], received: int = HOUR) -> None:
        self.worker.task.process(record(*events, received=received), Written())


def test_the_verdict_counts_what_was_judged_and_what_is_held() -> None:
    desk = Desk(BUDGET)
    desk.happens(call(amount=20))
    assert (desk.ask(80).valid, desk.ask(81).valid) == (True, False)
    assert desk.reserve("a", 50).reservation is not None
    assert (desk.ask(30).valid, desk.ask(31).valid) == (True, False)
    assert desk.reserve("b", 31).reservation is None


def test_a_hold_is_written_before_the_answer() -> None:
    desk = Desk(BUDGET)
    answer = desk.reserve("a")
    assert answer.reservation is not None
    assert answer.reservation.expires_at == clock.to_iso(HOUR + 60_000_000)
    ((key, value),) = desk.worker.written
    assert key.startswith(f"{AGENT}/")
    assert value is not None


def test_what_cannot_be_written_is_not_promised_but_takes_its_budget() -> None:
    desk = Desk(BUDGET)
    desk.worker.failure = Retryable("the group has moved on")
    with pytest.raises(Retryable, match="moved on"):
        desk.reserve("a")
    assert not desk.ask(60).valid
    desk.worker.failure = None
    # The same request again is told, now that it is certain.
    assert desk.reserve("a").reservation is not None


def test_the_same_request_twice_holds_once() -> None:
    desk = Desk(BUDGET)
    first, second = desk.reserve("a"), desk.reserve("a", received_at_micros=HOUR + 1)
    assert first.reservation == second.reservation
    assert second.valid
    assert len(desk.worker.task.holds) == 1
    assert len({key for key, _ in desk.worker.written}) == 1


@pytest.mark.parametrize("changes", [{"amount": 61}, {"tool": "other"}, {"session_id": "s"}])
def test_one_id_is_not_for_two_calls(changes: dict[str, Any]) -> None:
    desk = Desk(BUDGET)
    desk.reserve("a")
    with pytest.raises(Conflict):
        desk.reserve("a", **changes)


def test_another_tenant_may_use_the_same_id() -> None:
    desk = Desk(BUDGET)
    assert desk.reserve("a", 10).reservation is not None
    assert desk.reserve("a", 11, tenant_id="u").reservation is not None
    assert not desk.cancel("a", tenant_id="v")
    assert len(desk.worker.task.holds) == 2


def test_the_call_takes_up_its_hold() -> None:
    desk = Desk(BUDGET)
    desk.reserve("a", 60)
    desk.happens(call(amount=60, reservation_id="a"))
    assert (desk.ask(40).valid, desk.ask(41).valid) == (True, False)
    assert not desk.cancel("a")


def test_what_is_cancelled_is_free_again() -> None:
    desk = Desk(BUDGET)
    desk.reserve("a", 100)
    assert not desk.ask(1).valid
    assert desk.cancel("a")
    assert desk.ask(100).valid
    assert desk.worker.written[-1] == (desk.worker.written[0][0], None)
    assert not desk.cancel("a")


def test_a_lapsed_hold_is_free_again_at_the_end_of_what_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(BUDGET)
    desk.reserve("a", 100)
    later = HOUR + 60_000_000 + GRACE_MICROS + 1
    monkeypatch.setattr(clock, "now_micros", lambda: later)
    assert not desk.ask(1, received_at_micros=later).valid  # something may still wait to be judged
    desk.worker.at_end = True
    assert desk.ask(100, received_at_micros=later).valid
    # The id may be used anew, for another call.
    assert desk.reserve("a", 7, received_at_micros=later).reservation is not None


def test_a_hold_lasts_no_longer_than_is_allowed() -> None:
    for seconds, expected in ((None, 60), (5.5, 5.5), (10_000, 600)):
        answer = Desk(BUDGET).reserve("a", seconds=seconds)
        assert answer.reservation is not None
        assert answer.reservation.expires_at == clock.to_iso(HOUR + int(expected * 1_000_000))


def test_an_agent_has_so_many_holds() -> None:
    desk = Desk(BUDGET, limits=Limits(2, 60, 600))
    desk.reserve("a", 1)
    desk.reserve("b", 1)
    desk.reserve("b", 1)
    with pytest.raises(TooMany):
        desk.reserve("c", 1)


@pytest.mark.parametrize(
    ("block_on", "held"), [(None, False), ("critical", True), ("major", False), ("info", False)]
)
def test_what_is_held_in_spite_of_lighter_violations(block_on: Any, held: bool) -> None:
    answer = Desk(ORDERED).ask(1, reserve=Reserve("a", block_on=block_on), session_id="s-1")
    assert (answer.valid, answer.severity) == (False, "major")
    assert (answer.reservation is not None) is held


def test_sequences_as_of_now() -> None:
    desk = Desk(ORDERED)
    assert [one.rule for one in desk.ask().validation.violations] == ["session"]
    assert [one.rule for one in desk.ask(session_id="s-1").validation.violations] == ["requires"]
    desk.happens(call(tool="verify"))
    assert desk.ask(session_id="s-1").valid
    assert not desk.ask(session_id="s-2").valid


def test_an_answer_waits_for_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_module, "_WAIT_SECONDS", 0.01)
    desk = Desk(BUDGET)
    assert desk.ask(after=0).valid
    with pytest.raises(Retryable, match="not judged yet"):
        desk.ask(after=1)
    desk.worker.next_offset = 2
    assert desk.ask(after=1).valid
    desk.worker.caught_up = False
    with pytest.raises(Retryable, match="not judged yet"):
        desk.ask()
    with pytest.raises(Retryable, match="has not arrived"):
        desk.ask(pact_version=2)


def request(desk: Desk, content: bytes, path: str = ASK, secret: str = "", shown: str = "") -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(application(desk.preflight, secret))
        async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
            headers = {"Authorization": shown} if shown else {}
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(ask())


def question(**changes: Any) -> bytes:
    fields = {"partition": 3, "after": -1, "receivedAtMicros": HOUR, "tenantId": "t", "agentId": AGENT}
    fields |= {"pactId": PACT, "pactVersion": 1, "tool": "transfer_funds", "params": {"amount": 1}}
    return msgspec.json.encode(fields | changes)


def test_over_http() -> None:
    desk = Desk(BUDGET)
    answer = request(desk, question(reserve={"reservationId": "a"}))
    assert (answer.status_code, answer.json()["valid"]) == (200, True)
    assert answer.json()["reservation"]["reservationId"] == "a"
    gone = msgspec.json.encode({"partition": 3, "tenantId": "t", "agentId": AGENT, "reservationId": "a"})
    assert request(desk, gone, CANCEL).json() == {"found": True}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        question(extra=1),
        question(partition="3"),
        question(reserve={}),
        b"1e999",
    ],
)
def test_what_is_no_question_is_refused(content: bytes) -> None:
    assert request(Desk(BUDGET), content).status_code == 400


def test_what_is_too_large_is_refused() -> None:
    assert request(Desk(BUDGET), b" " * (MAX_BODY_BYTES + 1)).status_code == 400


@pytest.mark.parametrize(("shown", "status"), [("", 401), ("Bearer wrong", 401), ("s", 401), ("Bearer s", 200)])
def test_the_secret_is_asked_for(shown: str, status: int) -> None:
    assert request(Desk(BUDGET), question(), secret="s", shown=shown).status_code == status


def test_statuses_say_what_to_do() -> None:
    desk = Desk(BUDGET, limits=Limits(1, 60, 600))
    assert request(desk, question(partition=4)).status_code == 421
    assert request(desk, question(reserve={"reservationId": "a"})).status_code == 200
    other = question(reserve={"reservationId": "a"}, params={"amount": 2})
    assert (request(desk, other).status_code, request(desk, other).json()["error"]) == (
        409,
        "the reservation id is in use for another call",
    )
    assert request(desk, question(reserve={"reservationId": "b"})).status_code == 429
    desk.worker.failure = Retryable("no")
    assert request(desk, question(reserve={"reservationId": "a"})).status_code == 503


@pytest.mark.parametrize(
    ("host", "secret", "may"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("localhost", "", True),
        ("0.0.0.0", "", False),
        ("worker.example", "", False),
        ("0.0.0.0", "s", True),
    ],
)
def test_without_a_secret_only_loopback_is_served(host: str, secret: str, may: bool) -> None:
    assert may_serve(PreflightSettings(preflight_secret=SecretStr(secret)), host) is may
