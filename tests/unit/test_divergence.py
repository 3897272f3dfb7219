"""The gateway's inline verdict and the worker's on the same call, taken alone, are one and the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from evaluator_worker import judging, metrics
from evaluator_worker.agents import Memory
from evaluator_worker.task import EvaluatorTask
from ingest_gateway.admission import admit
from pactstream import avro
from pactstream.control.pacts import PactBook
from pactstream.control.tenants import Agent, Tenant
from pactstream.events.parse import strict_fault
from pactstream.kafka.records import Record
from pactstream.ledger.leaf import AgentHead
from tests.evaluator_tools import AGENT, PACT, Book, Pacts, Written
from tests.pact_calls import document, escalate, sequence, window

CALLS = 100_000
EVENTS = 500
NOW = 1_778_673_600_000_000


def bindings(limit: int = 1_000) -> dict[str, Any]:
    """Every rule on one call, for one tool, and for any tool besides."""
    rules: list[dict[str, Any]] = [
        {"paramPath": "amount", "valueRange": {"min": 0, "max": limit}, "required": True},
        {"paramPath": "amount", "maxAmount": {"amount": "750.5", "currency": "USDC"}},
        {"paramPath": "to", "allowList": ["0xA11A", "1000", "true", "Straße"], "caseInsensitive": True},
        {"paramPath": "to", "denyList": ["0xBAD"], "normalize": "nfkc"},
        {"paramPath": "memo", "regex": r"^[\w ]{0,20}$"},
        {"paramPath": "items[*].price", "valueRange": {"max": "9007199254740992"}},
        {"paramPath": "items[*].name", "required": True},
    ]
    binding = {"tool": "pay", "rules": rules, "unknownParams": "forbid"}
    return {"type": "param_binding", "severity": "critical", "parameterBinding": binding}


STATEFUL = [
    window("major", limit=5_000),
    sequence("minor", requires={"tool": "pay", "after": "verify"}),
    escalate(**{"from": "minor", "times": 3, "within": 60}),
]
NUMBERS = [
    *("0", "-0", "1", "750.5", "750.50", "750.500000000000000001", "1000", "1000.0", "1e3", "1.0001e3", "-1"),
    *("9007199254740992", "9007199254740993", "1e9999999", "1e-9999999", "0." + "9" * 400, "9" * 400),
    *('"250.50"', '"1e2"', '" 1"', '"01"', '""', '"NaN"', '"Infinity"', '"١٠"', "true", "false", "null", "[]"),
    *("{}", "[1]", '{"amount":1}', "1E+2", "100e-2", "0.30000000000000004", "500.00000000000000001"),
]
TEXTS = [
    *(
        '"0xA11A"',
        '"0xa11a"',
        '"0xBAD"',
        '"0xＢＡＤ"',
        '"STRASSE"',
        '"Straße"',
        "1000",
        '"1000"',
        "1e3",
        "true",
    ),
    *(
        '"\\u0430"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"x\\n"',
        '"x\\u0000"',
        "null",
        "[]",
        '"' + "x" * 300 + '"',
    ),
]


def params(chance: Random) -> bytes:
    """Parameters as they are on the wire: mostly fit to be judged, hard cases among them."""
    pick = chance.choice
    members = [f'"amount":{pick(NUMBERS) if chance.random() < 0.5 else chance.randrange(2_000)}']
    if chance.random() < 0.7:
        members.append(f'"to":{pick(TEXTS)}')
    if chance.random() < 0.5:
        members.append('"currency":' + pick(['"USDC"', '"usdc"', "null"]))
    if chance.random() < 0.5:
        members.append(f'"memo":{pick(TEXTS)}')
    if chance.random() < 0.4:
        items = [f'{{"price":{pick(NUMBERS)},"name":{pick(TEXTS)}}}' for _ in range(chance.randrange(3))]
        members.append('"items":' + pick(["[" + ",".join(items) + "]", "{}", "null"]))
    if chance.random() < 0.1:
        members.append(pick(['"amount":1', '"\\u0061mount":2', '"extra":{"deep":[1]}', '"items[*]":1', '"":0']))
    if chance.random() < 0.1:
        del members[0]
    chance.shuffle(members)
    space = pick(["", "", " ", "\n\t"])
    return ("{" + space + ("," + space).join(members) + "}").encode()


def bodies(chance: Random) -> Iterator[bytes]:
    """Every other one without what is not I-JSON: the gateway reads those in another way."""
    head = f'"type":"tool_call","agentId":"{AGENT}","pactId":"{PACT}","sessionId":"s"'.encode()
    for number in count():
        events: list[bytes] = []
        while len(events) < EVENTS:
            made = params(chance)
            if number % 2 and strict_fault(made) is not None:
                continue
            event_id = uuid.UUID(int=chance.getrandbits(128), version=4)
            tool = chance.choice(["pay", "pay", "pay", "verify", "other"])
            outcome = chance.choice(["success", "error"])
            tail = f',"eventId":"{event_id}","tool":"{tool}","outcome":"{outcome}",'
            tail += '"attemptedAt":"2026-05-13T12:00:00Z","params":'
            events.append(b"{" + head + tail.encode() + made + b"}")
        yield b'{"events":[' + b",".join(events) + b"]}"


def through_both(gateway: Book, worker: Pacts, calls: int) -> tuple[int, int, int]:
    """Calls that were judged, those of them that violated something, and how many were judged differently."""
    tenant = Tenant("t", "Acme", "p", 0).with_agent(Agent(AGENT, "Atlas", "active", 0))
    task = EvaluatorTask(3, worker, Memory(events=500, hours=24))
    before = metrics.DIVERGENCE._value.get()
    judged = violated = 0
    for offset, body in enumerate(bodies(Random(7))):
        admission = admit(body, tenant, cast(PactBook, gateway), received_at_micros=NOW + offset)
        events = admission.events_by_agent.get(AGENT, [])
        verdicts = [verdict for _, verdict in admission.verdicts if verdict is not None]
        judged += len(verdicts)
        violated += sum(not verdict.valid for verdict in verdicts)
        batch = {
            "tenant_id": "t",
            "tenant_pseudonym": "p",
            "agent_id": AGENT,
            "key_id": "k",
            "request_id": "r",
            "received_at_micros": NOW + offset,
            "events": events,
        }
        value = avro.encode("TelemetryBatch", batch)
        written = Written()
        task.process(Record("telemetry.batches", 3, offset, AGENT.encode(), value), written)
        task.flush(written)
        task.checkpoint(offset + 1)
        if judged >= calls:
            return judged, violated, int(metrics.DIVERGENCE._value.get() - before)
    raise AssertionError("there are always more bodies")


def _no_leaf(*_: Any, head: AgentHead, **__: Any) -> SimpleNamespace:
    """Leaves take nine tenths of the time, and are not what this is about."""
    return SimpleNamespace(head=AgentHead(head.sequence + 1, bytes(32)), leaf=b"", private=None)


def test_a_hundred_thousand_calls_are_judged_alike_inline_and_by_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judging, "build_leaf", _no_leaf)
    pact = document(bindings())
    judged, violated, diverged = through_both(Book(pact), Pacts(pact), CALLS)
    assert (judged >= CALLS, diverged) == (True, 0)
    assert judged // 4 < violated < judged * 19 // 20


def test_a_worker_that_judges_otherwise_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    gateway, worker = Book(document(bindings(), *STATEFUL)), Pacts(document(bindings(1_001), *STATEFUL))
    _, _, diverged = through_both(gateway, worker, 1_000)
    assert diverged > 0
    assert "judged otherwise than inline" in caplog.text
