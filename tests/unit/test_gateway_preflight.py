"""Pre-flights that look back, and reservations, at the gateway: what is passed on, and what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from ingest_gateway.evaluators import Evaluators
from pactstream.errors import Backpressure
from pactstream.preflight.settings import PreflightSettings
from pactstream.preflight.wire import ReadAnswer, Refusal, Reservation, Reserve
from pactstream.web import Refused
from tests.gateway_tools import ACME, ATLAS, PAUSED, SECOND, STRANGER, TestGateway, make_gateway, pact_document

BUDGET = str(uuid4())
PATH = f"/api/v1/pacts/{BUDGET}/validate-call"
WINDOW = {
    "type": "window",
    "severity": "critical",
    "window": {
        "aggregate": "sum",
        "tools": ["pay"],
        "paramPath": "amount",
        "over": {"sliding": "PT1H"},
        "limit": "100",
    },
}
RESERVATION = str(uuid4())


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> TestGateway:
    made = make_gateway(monkeypatch)
    document = pact_document(conditions=[*pact_document()["conditions"], WINDOW])
    assert made.ask("PUT", f"/api/v1/pacts/{BUDGET}", json=document).status_code == 201
    return made


def question(**changes: Any) -> dict[str, Any]:
    return {"agentId": ATLAS, "tool": "pay", "params": {"amount": 10}} | changes


def answer(**changes: Any) -> ReadAnswer:
    verdict = {"valid": True, "violations": [], "value": 0.1}
    fields: dict[str, Any] = {
        "valid": True,
        "bound": True,
        "severity": None,
        "validation": msgspec.Raw(json.dumps(verdict).encode()),
        "as_of": "2026-05-13T10:00:00.000000Z",
    }
    return ReadAnswer(**(fields | changes))


def test_what_looks_back_is_asked_of_the_evaluator(gateway: TestGateway) -> None:
    gateway.evaluators.answer = answer()
    found = gateway.ask("POST", PATH, json=question(sessionId="s-1"))
    assert found.json() == {
        "valid": True,
        "validation": {"valid": True, "violations": [], "value": 0.1},
        "asOf": "2026-05-13T10:00:00.000000Z",
        "reservation": None,
    }
    (asked,) = gateway.evaluators.asked
    assert asked == {
        "tenant_id": ACME,
        "agent_id": ATLAS,
        "pact_id": BUDGET,
        "pact_version": 1,
        "tool": "pay",
        "params": b'{"amount":10}',
        "session_id": "s-1",
        "reserve": None,
    }


def test_what_does_not_look_back_is_answered_here(gateway: TestGateway) -> None:
    gateway.evaluators.failure = Backpressure("nobody is there")
    found = gateway.ask("POST", PATH, json=question(tool="transfer_funds"))
    assert (found.status_code, set(found.json())) == (200, {"valid", "validation"})
    assert gateway.ask("POST", PATH, json=question(tool="unknown")).status_code == 200
    assert gateway.evaluators.asked == []


def test_nobody_who_could_say_is_503(gateway: TestGateway) -> None:
    gateway.evaluators.failure = Backpressure("no evaluator holds the agent's state at present")
    found = gateway.ask("POST", PATH, json=question())
    assert (found.status_code, found.headers["Retry-After"]) == (503, "1")
    assert found.json() == {"error": "no evaluator holds the agent's state at present", "code": "UNAVAILABLE"}


def test_a_reservation_is_passed_on_and_comes_back(gateway: TestGateway) -> None:
    held = Reservation(RESERVATION, "2026-05-13T10:01:00.000000Z")
    gateway.evaluators.answer = answer(reservation=held)
    asked = question(reserve=True, reservationId=RESERVATION, ttlSeconds=5, blockOn="major")
    found = gateway.ask("POST", PATH, json=asked)
    assert found.json()["reservation"] == {
        "reservationId": RESERVATION,
        "expiresAt": "2026-05-13T10:01:00.000000Z",
    }
    assert gateway.evaluators.asked[0]["reserve"] == Reserve(RESERVATION, 5, "major")


def test_a_reservation_without_an_id_gets_one_that_tells_time(gateway: TestGateway) -> None:
    gateway.ask("POST", PATH, json=question(reserve=True, tool="transfer_funds"))
    reserve = gateway.evaluators.asked[0]["reserve"]
    assert (UUID(reserve.reservation_id).version, reserve.seconds, reserve.block_on) == (7, None, None)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"reservationId": RESERVATION}, "reservationId"),
        ({"ttlSeconds": 5}, "ttlSeconds"),
        ({"blockOn": "major"}, "blockOn"),
        ({"reserve": True, "ttlSeconds": 0}, "ttlSeconds"),
        ({"reserve": True, "ttlSeconds": 3_601}, "ttlSeconds"),
        ({"reserve": True, "ttlSeconds": "5"}, "ttlSeconds"),
        ({"reserve": True, "reservationId": "mine"}, "reservationId"),
        ({"reserve": True, "blockOn": "apocalyptic"}, "blockOn"),
        ({"reserve": "yes"}, "reserve"),
        ({"sessionId": "s\n1"}, "sessionId"),
        ({"sessionId": "s" * 129}, "sessionId"),
        ({"sessionID": "s"}, ""),
    ],
)
def test_what_is_not_valid_is_refused(gateway: TestGateway, changes: dict[str, Any], path: str) -> None:
    found = gateway.ask("POST", PATH, json=question(**changes))
    assert found.status_code == 422
    assert [one["path"] for one in found.json()["details"]] == [path]
    assert gateway.evaluators.asked == []


@pytest.mark.parametrize(("agent", "status"), [(STRANGER, 403), (SECOND, 422)])
def test_others_agents_are_not_asked_about(gateway: TestGateway, agent: str, status: int) -> None:
    found = gateway.ask("POST", PATH, json=question(agentId=agent, reserve=True))
    assert found.status_code == status
    assert gateway.evaluators.asked == []


def test_a_paused_agent_is_refused_every_call_and_gets_no_reservation(gateway: TestGateway) -> None:
    found = gateway.ask("POST", PATH, json=question(agentId=PAUSED, reserve=True))
    assert found.status_code == 200
    answer = found.json()
    assert (answer["valid"], answer["reason"]) == (False, "agent_paused")
    assert answer["validation"]["severity"] == "critical"
    assert "reservation" not in answer
    assert gateway.evaluators.asked == []


def test_a_reservation_is_cancelled(gateway: TestGateway) -> None:
    path = f"/api/v1/agents/{ATLAS}/reservations/{RESERVATION}"
    assert gateway.ask("DELETE", path).status_code == 204
    asked = {"tenant_id": ACME, "agent_id": ATLAS, "reservation_id": UUID(RESERVATION)}
    assert gateway.evaluators.asked == [asked]
    gateway.evaluators.found = False
    found = gateway.ask("DELETE", path)
    assert (found.status_code, found.json()["code"]) == (404, "NOT_FOUND")


def test_only_ones_own_reservations_are_cancelled(gateway: TestGateway) -> None:
    path = f"/api/v1/agents/{STRANGER}/reservations/{RESERVATION}"
    assert gateway.ask("DELETE", path).status_code == 403
    assert gateway.ask("DELETE", path, key=None).status_code == 401
    assert gateway.ask("DELETE", path, key=gateway.new_key("telemetry:write")).status_code == 403
    assert gateway.ask("DELETE", f"/api/v1/agents/{ATLAS}/reservations/mine").status_code == 400
    # An agent that was paused meanwhile still gives back.
    assert gateway.ask("DELETE", f"/api/v1/agents/{PAUSED}/reservations/{RESERVATION}").status_code == 204


class Owners:
    """Who holds the one partition, as the test says, look after look."""

    def __init__(self, *addresses: str | None) -> None:
        self.addresses = list(addresses)
        self.stale: list[str | None] = []

    def partition_of(self, agent_id: str) -> int:
        return 0

    async def address(self, partition: int, *, stale: str | None = None) -> str | None:
        self.stale.append(stale)
        return self.addresses.pop(0)


class Asking(Evaluators):
    """An `Evaluators` whose evaluators answer as the test says."""

    def __init__(self, owners: Owners, *answers: tuple[int, object] | Exception) -> None:
        anything: Any = owners
        super().__init__(anything, anything, PreflightSettings(), 1)
        self.answers = list(answers)
        self.urls: list[str] = []

    async def _send(self, url: str, body: bytes, deadline: float) -> tuple[int, bytes]:
        self.urls.append(url)
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found[0], msgspec.json.encode(found[1])


async def cancel(asking: Asking) -> bool:
    return await asking.cancel(tenant_id="t", agent_id=ATLAS, reservation_id=UUID(RESERVATION))


@pytest.mark.parametrize("first", [(421, Refusal("not here")), TimeoutError()])
def test_the_new_holder_is_asked_where_the_old_one_is_not_it_any_more(first: Any) -> None:
    owners = Owners("http://old", "http://new")
    asking = Asking(owners, first, (200, {"found": True}))
    assert asyncio.run(cancel(asking))
    assert (asking.urls, owners.stale) == (
        ["http://old/v1/cancel", "http://new/v1/cancel"],
        [None, "http://old"],
    )


@pytest.mark.parametrize(
    ("addresses", "answers", "error", "message"),
    [
        ([None], [], Backpressure, "no evaluator holds"),
        (["a", "b"], [(421, Refusal("no")), (421, Refusal("no"))], Backpressure, "does not answer"),
        (["a"], [(503, Refusal("behind"))], Backpressure, "behind"),
        (["a"], [(409, Refusal("in use"))], Refused, "in use"),
        (["a"], [(429, Refusal("too many"))], Refused, "too many"),
        (["a"], [(401, Refusal("secret"))], Backpressure, "does not take"),
        (["a"], [(500, "?")], Backpressure, "does not take"),
    ],
)
def test_what_an_evaluator_says_becomes_an_answer(
    addresses: list[str | None], answers: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asyncio.run(cancel(Asking(Owners(*addresses), *answers)))
