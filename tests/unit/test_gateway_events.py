"""Sending events: what is taken, what is refused with which exact answer, and that good neighbours land."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prometheus_client import generate_latest

from pactstream.errors import Backpressure
from tests.gateway_tools import (
    ACME,
    ATLAS,
    OTHERS_PACT,
    PAUSED,
    SECOND,
    STRANGER,
    TREASURY,
    TestGateway,
    body,
    call,
    make_gateway,
    pact_document,
)

START = {"type": "session_start", "sessionId": "s-1", "agentId": ATLAS, "startedAt": "2026-05-13T09:59:58Z"}
RESPONSE = {
    "type": "response",
    "sessionId": "s-1",
    "agentId": ATLAS,
    "input": "Settle the invoices.",
    "output": "Settled four.",
    "outcome": "success",
    "emittedAt": "2026-05-13T10:00:01Z",
    "latencyMs": 1340,
    "tokenCount": 240,
}
END = {
    "type": "session_end",
    "sessionId": "s-1",
    "agentId": ATLAS,
    "endedAt": "2026-05-13T10:00:02Z",
    "outcome": "success",
}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> TestGateway:
    return make_gateway(monkeypatch)


def plain(answer: httpx.Response) -> Any:
    """The answer without the columns that the JSON library counts."""
    return json.loads(re.sub(r" at line 1 column \d+", "", answer.text))


def fault(code: str, error: str, path: str, message: str) -> dict[str, Any]:
    return {"error": error, "code": code, "details": [{"path": path, "message": message}]}


def invalid(path: str, message: str) -> dict[str, Any]:
    return fault("INVALID_INPUT", "the event is not valid", path, message)


def test_the_four_events_arrive_as_they_were_sent(gateway: TestGateway) -> None:
    violating = call(
        eventId="0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",
        params={"destination": "0xBAD", "amount": 1000.01, "currency": "USDC"},
        metadata={"model": "m-1", "retry": 2, "ratio": 0.5, "cached": False, "note": None},
        latencyMs=142,
        roomId="room-9",
        parentEventId="0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b21",
    )
    answer = gateway.post_events(body(START, violating, RESPONSE, END), headers={"X-Request-Id": "req-1"})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "req-1"
    results = answer.json()["results"]
    assert answer.json()["accepted"] == 4
    assert [one["status"] for one in results] == ["accepted"] * 4
    assert [one["validation"] is None for one in results] == [True, False, True, True]
    verdict = results[1]["validation"]
    assert results[1]["eventId"] == violating["eventId"]
    assert (verdict["valid"], verdict["bound"], verdict["severity"]) == (False, True, "critical")
    assert (verdict["pactId"], verdict["pactVersion"]) == (TREASURY, 1)
    assert [(one["paramPath"], one["rule"]) for one in verdict["violations"]] == [
        ("destination", "allowList"),
        ("amount", "maxAmount"),
    ]
    assert verdict["violations"][0]["value"] == "0xBAD"
    assert verdict["violations"][0]["expected"] == ["0xA11A"]

    (batch,) = gateway.publisher.batches
    assert (batch["tenant_id"], batch["tenant_pseudonym"], batch["agent_id"]) == (ACME, "tenant-acme", ATLAS)
    assert batch["request_id"] == "req-1"
    assert gateway.key.split("_")[2] == batch["key_id"]
    start, sent, response, end = batch["events"]
    assert [start["type"], response["type"], end["type"]] == ["session_start", "response", "session_end"]
    assert json.loads(sent["params"]) == violating["params"]
    assert json.loads(sent["metadata"]) == violating["metadata"]
    assert (sent["pact_id"], sent["pact_version"]) == (TREASURY, 1)
    assert (sent["tool"], sent["outcome"], sent["latency_ms"]) == ("transfer_funds", "success", 142.0)
    assert (sent["room_id"], sent["parent_event_id"]) == ("room-9", violating["parentEventId"])
    assert sent["occurred_at_micros"] == 1_778_666_400_000_000
    assert (response["input"], response["output"], response["token_count"]) == (
        "Settle the invoices.",
        "Settled four.",
        240,
    )
    assert [UUID(one["event_id"]) for one in batch["events"]] == [UUID(one["eventId"]) for one in results]


def test_params_reach_the_ledger_digit_by_digit(gateway: TestGateway) -> None:
    raw = b'{"amount": 500.00000000000000001, "big": 9007199254740993,"destination": "0xA11A"}'
    content = body(call(params={})).replace(b'"params": {}', b'"params": ' + raw)
    assert gateway.post_events(content).status_code == 200
    assert gateway.publisher.events[0]["params"] == raw


# Every bad event: between two good ones, which must land, with the exact answer.
BAD_EVENTS: list[tuple[str, bytes | dict[str, Any], dict[str, Any]]] = [
    ("a number", b"7", invalid("events[1]", "Expected `object`, got `int`")),
    ("null", b"null", invalid("events[1]", "Expected `object`, got `null`")),
    ("no type", {"sessionId": "s"}, invalid("events[1]", "Object missing required field `type`")),
    ("unknown type", call(type="tool_calls"), invalid("events[1].type", "Invalid value 'tool_calls'")),
    ("no tool", call(tool=None), invalid("events[1]", "Object missing required field `tool`")),
    ("no session", call(sessionId=None), invalid("events[1]", "Object missing required field `sessionId`")),
    ("no params", call(params=None), invalid("events[1]", "Object missing required field `params`")),
    (
        "an unknown member",
        call(pactID=TREASURY),
        invalid("events[1]", "Object contains unknown field `pactID`"),
    ),
    ("a wrong type", call(tool=7), invalid("events[1].tool", "Expected `str`, got `int`")),
    ("a wrong outcome", call(outcome="fine"), invalid("events[1].outcome", "Invalid enum value 'fine'")),
    ("an agent that is no UUID", call(agentId="atlas"), invalid("events[1].agentId", "Invalid UUID")),
    (
        "a session of two lines",
        call(sessionId="s\n1"),
        invalid("events[1].sessionId", "has control characters"),
    ),
    ("DEL in a tool", call(tool="t\x7f"), invalid("events[1].tool", "has control characters")),
    ("a nameless tool", call(tool=""), invalid("events[1].tool", "Expected `str` of length >= 1")),
    (
        "true as a latency",
        call(latencyMs=True),
        invalid("events[1].latencyMs", "Expected `float | null`, got `bool`"),
    ),
    ("a negative latency", call(latencyMs=-1), invalid("events[1].latencyMs", "Expected `float` >= 0.0")),
    ("params in a list", call(params=[1]), invalid("events[1].params", "must be an object")),
    ("params as text", call(params="{}"), invalid("events[1].params", "must be an object")),
    (
        "nested metadata",
        call(metadata={"a": {"b": 1}}),
        invalid("events[1].metadata[...]", "Expected `bool | int | float | str | null`, got `object`"),
    ),
    (
        "65 metadata",
        call(metadata={str(n): n for n in range(65)}),
        invalid("events[1].metadata", "Expected `object` of length <= 64"),
    ),
    (
        "129 params",
        call(params={str(n): n for n in range(129)}),
        invalid("events[1].params", "more than 128 keys"),
    ),
    (
        "a long text",
        {**RESPONSE, "input": "x" * 65_537},
        invalid("events[1].input", "Expected `str` of length <= 65536"),
    ),
    (
        "64 KiB of params",
        call(params={"a": "x" * 65_536}),
        invalid("events[1].params", "65545 bytes; at most 65536 are taken"),
    ),
    (
        "no time zone",
        call(attemptedAt="2026-05-13T10:00:00"),
        invalid("events[1].attemptedAt", "Expected `datetime` with a timezone component"),
    ),
    (
        "a date",
        call(attemptedAt="2026-05-13"),
        invalid("events[1].attemptedAt", "Invalid RFC3339 encoded datetime"),
    ),
    (
        "a time as a number",
        call(attemptedAt=1_778_666_400),
        invalid("events[1].attemptedAt", "Expected `datetime`, got `int`"),
    ),
    ("1969", call(attemptedAt="1969-12-31T23:59:59Z"), invalid("events[1].attemptedAt", "is before 1970")),
    (
        "the far future",
        call(attemptedAt="9999-12-31T23:59:59-23:59"),
        invalid("events[1].attemptedAt", "is more than 300 s ahead of the server's clock"),
    ),
    (
        "NaN",
        json.dumps(call(params={"amount": float("nan")})).encode(),
        invalid("events[1]", "not I-JSON: expected value"),
    ),
    (
        "Infinity",
        json.dumps(call(params={"amount": float("-inf")})).encode(),
        invalid("events[1]", "not I-JSON: invalid number"),
    ),
    (
        "a lone surrogate",
        json.dumps(call(params={"memo": "\ud800"})).encode(),
        invalid("events[1]", "not I-JSON: unexpected end of hex escape"),
    ),
    (
        "a key twice",
        json.dumps(call()).encode().replace(b'"amount": 250', b'"amount": 1, "amount": 5000'),
        invalid("events[1]", 'not I-JSON: Detected duplicate key "amount"'),
    ),
    (
        "bytes that are no UTF-8",
        json.dumps(call()).encode().replace(b"USDC", b"US\xff"),
        invalid("events[1]", "not I-JSON: invalid unicode code point"),
    ),
    (
        "33 levels",
        call(params={"a": json.loads("[" * 32 + "]" * 32)}),
        invalid("events[1].params", "nested deeper than 32 levels"),
    ),
    (
        "100,000 levels",
        json.dumps(call(params={})).encode().replace(b"{}", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        invalid("events[1]", "not I-JSON: recursion limit exceeded"),
    ),
    (
        "another tenant's agent",
        call(agentId=STRANGER),
        fault("FORBIDDEN", "the agent is not one of this tenant's", "events[1].agentId", "is not registered"),
    ),
    (
        "nobody's agent",
        call(agentId=str(uuid4())),
        fault("FORBIDDEN", "the agent is not one of this tenant's", "events[1].agentId", "is not registered"),
    ),
    (
        "a paused agent",
        call(agentId=PAUSED),
        fault("CONFLICT", "the agent is paused", "events[1].agentId", "is paused"),
    ),
    (
        "an unknown pact",
        call(pactId=str(uuid4())),
        fault("NOT_FOUND", "no such pact of this tenant", "events[1].pactId", "is not known"),
    ),
    (
        "another tenant's pact",
        call(pactId=OTHERS_PACT),
        fault("NOT_FOUND", "no such pact of this tenant", "events[1].pactId", "is not known"),
    ),
    (
        "a pact for another agent",
        call(agentId=SECOND),
        fault("INVALID_INPUT", "the pact is for another agent", "events[1].pactId", "is for another agent"),
    ),
]
_STATUS = {"INVALID_INPUT": 422, "FORBIDDEN": 403, "NOT_FOUND": 404, "CONFLICT": 409}


@pytest.mark.parametrize(
    ("bad", "expected"), [one[1:] for one in BAD_EVENTS], ids=[one[0] for one in BAD_EVENTS]
)
def test_a_bad_event_is_named_and_its_neighbours_land(
    gateway: TestGateway, bad: bytes | dict[str, Any], expected: dict[str, Any]
) -> None:
    raw = bad if isinstance(bad, bytes) else json.dumps(bad).encode()
    good = json.dumps(call()).encode()
    answer = gateway.post_events(b'{"events": [' + b", ".join((good, raw, good)) + b"]}")
    assert answer.status_code == 207
    before, rejected, after = plain(answer)["results"]
    assert rejected.pop("eventId", "") != before["eventId"]
    assert rejected == {"status": "rejected", "error": expected}
    assert answer.json()["accepted"] == 2
    assert [before["validation"]["valid"], after["validation"]["valid"]] == [True, True]
    assert [one["event_id"] for one in gateway.publisher.events] == [before["eventId"], after["eventId"]]


@pytest.mark.parametrize(
    ("bad", "expected"), [one[1:] for one in BAD_EVENTS], ids=[one[0] for one in BAD_EVENTS]
)
def test_alone_it_decides_the_status(
    gateway: TestGateway, bad: bytes | dict[str, Any], expected: dict[str, Any]
) -> None:
    raw = bad if isinstance(bad, bytes) else json.dumps(bad).encode()
    answer = gateway.post_events(b'{"events": [' + raw + b"]}")
    details = [{**one, "path": one["path"].replace("[1]", "[0]")} for one in expected["details"]]
    assert answer.status_code == _STATUS[expected["code"]]
    content = plain(answer)
    assert (content["accepted"], len(content["results"])) == (0, 1)
    assert (content["error"], content["code"]) == ("no event was accepted", expected["code"])
    assert content["details"] == details
    assert gateway.publisher.records == []


def test_different_faults_make_422(gateway: TestGateway) -> None:
    answer = gateway.post_events(body(call(agentId=STRANGER), call(pactId=str(uuid4()))))
    assert answer.status_code == 422
    assert answer.json()["code"] == "INVALID_INPUT"
    assert [one["error"]["code"] for one in answer.json()["results"]] == ["FORBIDDEN", "NOT_FOUND"]
    assert [one["path"] for one in answer.json()["details"]] == ["events[0].agentId", "events[1].pactId"]


# Bodies that are refused as a whole.
@pytest.mark.parametrize(
    ("content", "error", "detail"),
    [
        (b"", "the body is not JSON", ("", "EOF while parsing a value")),
        (b"nonsense", "the body is not JSON", ("", "expected ident")),
        (b'{"events": [', "the body is not JSON", ("", "EOF while parsing a list")),
        (b'{"events": [{}]} x', "the body is not JSON", ("", "trailing characters")),
        (b"[]", "the body is not an object with a list of events", ("", "Expected `object`, got `array`")),
        (
            b"{}",
            "the body is not an object with a list of events",
            ("", "Object missing required field `events`"),
        ),
        (
            b'{"events": {}}',
            "the body is not an object with a list of events",
            ("events", "Expected `array`, got `object`"),
        ),
        (
            b'{"events": [], "more": 1}',
            "the body is not an object with a list of events",
            ("", "Object contains unknown field `more`"),
        ),
        (b'{"events": []}', "no events", ("events", "at least one event is required")),
        (
            b'{"events": [1], "events": [2]}',
            "the body is not JSON",
            ("", 'Detected duplicate key "events"'),
        ),
        (
            b'{"events": [' + b", ".join([b"1"] * 501) + b"]}",
            "too many events",
            ("events", "501 events; at most 500 are taken at once"),
        ),
    ],
)
def test_a_body_that_is_no_list_of_events(
    gateway: TestGateway, content: bytes, error: str, detail: tuple[str, str]
) -> None:
    answer = gateway.post_events(content)
    assert answer.status_code == 400
    details = [{"path": detail[0], "message": detail[1]}]
    assert plain(answer) == {"error": error, "code": "INVALID_INPUT", "details": details}
    assert gateway.publisher.records == []


def test_500_events_are_taken(gateway: TestGateway) -> None:
    answer = gateway.post_events(body(*[START] * 500))
    assert (answer.status_code, answer.json()["accepted"]) == (200, 500)
    assert len({one["event_id"] for one in gateway.publisher.events}) == 500


@pytest.mark.parametrize("amount", [2**60, "1152921504606846976", 10**400, "1e9999999", True, None, -1])
def test_no_amount_slips_past_the_cap(gateway: TestGateway, amount: object) -> None:
    params = {"destination": "0xA11A", "amount": amount, "currency": "USDC"}
    (result,) = gateway.post_events(body(call(params=params))).json()["results"]
    # A missing amount is allowed by this pact; every other is refused.
    assert result["status"] == "accepted"
    assert result["validation"]["valid"] is (amount is None)


def test_the_edge_of_the_future(gateway: TestGateway) -> None:
    now = datetime.now(UTC)
    answer = gateway.post_events(
        body(
            call(attemptedAt=(now + timedelta(seconds=250)).isoformat()),
            call(attemptedAt=(now + timedelta(seconds=400)).isoformat()),
        )
    )
    assert [one["status"] for one in answer.json()["results"]] == ["accepted", "rejected"]


def test_the_same_body_names_the_same_events(gateway: TestGateway) -> None:
    content = body(START, call(), call())
    first, again = (gateway.post_events(content).json()["results"] for _ in range(2))
    other = gateway.post_events(content + b" ").json()["results"]
    ids = [one["eventId"] for one in first]
    assert ids == [one["eventId"] for one in again]
    assert len({*ids, *(one["eventId"] for one in other)}) == 6
    assert {UUID(one).version for one in ids} == {8}


def test_compression_does_not_change_the_ids(gateway: TestGateway) -> None:
    import gzip

    content = body(START)
    (plain,) = gateway.post_events(content).json()["results"]
    packed = gateway.post_events(gzip.compress(content), headers={"Content-Encoding": "gzip"})
    assert packed.json()["results"][0]["eventId"] == plain["eventId"]


def test_tenants_do_not_share_derived_ids(gateway: TestGateway) -> None:
    tenant = gateway.directory.get(ACME)
    other = gateway.directory.tenants_of(STRANGER)[0]
    assert tenant is not None
    gateway.put(other.with_agent(tenant.agents[ATLAS]))
    ours = gateway.post_events(body(START)).json()["results"][0]["eventId"]
    theirs = gateway.post_events(body(START), key=gateway.others_key).json()["results"][0]["eventId"]
    assert ours != theirs


def test_an_id_twice_in_a_body_is_taken_once(gateway: TestGateway) -> None:
    event_id = str(uuid4())
    answer = gateway.post_events(body(call(eventId=event_id), START, call(eventId=event_id.upper())))
    assert answer.status_code == 207
    repeated = answer.json()["results"][2]
    assert repeated["eventId"] == event_id
    assert repeated["error"] == fault(
        "INVALID_INPUT", "two events have one id", "events[2].eventId", "repeats events[0]"
    )
    assert len(gateway.publisher.events) == 2


def test_an_id_whose_first_event_was_rejected_is_free(gateway: TestGateway) -> None:
    event_id = str(uuid4())
    answer = gateway.post_events(body(call(eventId=event_id, agentId=STRANGER), call(eventId=event_id)))
    assert [one["status"] for one in answer.json()["results"]] == ["rejected", "accepted"]


def test_each_agent_has_its_own_record_in_order(gateway: TestGateway) -> None:
    answer = gateway.post_events(
        body(START, {**START, "agentId": SECOND}, call(), {**END, "agentId": SECOND.upper()}, END)
    )
    assert answer.status_code == 200
    ids = [one["eventId"] for one in answer.json()["results"]]
    found = {
        one["agent_id"]: [event["event_id"] for event in one["events"]] for one in gateway.publisher.batches
    }
    assert found == {ATLAS: [ids[0], ids[2], ids[4]], SECOND: [ids[1], ids[3]]}


def test_the_version_in_force_is_stamped(gateway: TestGateway) -> None:
    assert (
        gateway.post_events(body(call(params={"destination": "0xNEW"}))).json()["results"][0]["validation"][
            "valid"
        ]
        is False
    )
    rules = [{"paramPath": "destination", "allowList": ["0xNEW"]}]
    document = pact_document()
    document["conditions"][0]["parameterBinding"]["rules"] = rules
    assert gateway.ask("PUT", f"/api/v1/pacts/{TREASURY}", json=document).status_code == 201
    (result,) = gateway.post_events(body(call(params={"destination": "0xNEW"}))).json()["results"]
    assert (result["validation"]["valid"], result["validation"]["pactVersion"]) == (True, 2)
    assert [one["pact_version"] for one in gateway.publisher.events] == [1, 2]


def test_an_unbound_tool_and_an_event_without_pact(gateway: TestGateway) -> None:
    answer = gateway.post_events(body(call(tool="read_balance"), call(pactId=None)))
    unbound, without = (one["validation"] for one in answer.json()["results"])
    assert (unbound["valid"], unbound["bound"]) == (True, False)
    assert without is None
    assert [one["pact_version"] for one in gateway.publisher.events] == [1, None]


def test_a_session_start_with_an_unknown_pact_is_rejected(gateway: TestGateway) -> None:
    answer = gateway.post_events(body({**START, "pactId": OTHERS_PACT}))
    assert answer.status_code == 404


def test_kafka_that_does_not_take_it_is_503(gateway: TestGateway) -> None:
    gateway.publisher.failure = Backpressure("Kafka did not acknowledge", retry_after_seconds=2)
    answer = gateway.post_events(body(call()))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json() == {"error": "Kafka did not acknowledge", "code": "UNAVAILABLE"}
    gateway.publisher.failure = None
    assert gateway.post_events(body(call())).status_code == 200


def test_the_metrics_have_no_label_from_a_tenant(gateway: TestGateway) -> None:
    gateway.post_events(body(call(tool="secret_tool"), call(type="made_up_type"), call(agentId=STRANGER)))
    text = generate_latest().decode()
    for name in ("secret_tool", "made_up_type", ATLAS, STRANGER, ACME, gateway.key):
        assert name not in text
    assert 'pactstream_gateway_events_total{type="tool_call",verdict="unbound"}' in text
    assert 'pactstream_gateway_rejected_total{code="FORBIDDEN"}' in text
    assert 'route="/api/v1/telemetry/events"' in text
