"""The evaluator's task without Kafka: pacts, batches, and everything it emits."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec

from evaluator_worker.agents import Memory
from evaluator_worker.task import EvaluatorTask
from pactstream import avro
from pactstream.control.pacts import PactVersion
from pactstream.kafka.records import Headers, Record
from pactstream.ledger.leaf import Leaf, parse_leaf
from pactstream.pacts import CompiledPact, compile_pact, parse_pact

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
PACT = "11111111-1111-4111-8111-111111111111"
HOUR = 3_600_000_000
DOCUMENT = {
    "name": "Treasury",
    "agentId": AGENT,
    "conditions": [
        {
            "type": "param_binding",
            "severity": "critical",
            "parameterBinding": {
                "tool": "transfer_funds",
                "rules": [{"paramPath": "amount", "valueRange": {"max": 1000}, "required": True}],
            },
        }
    ],
}


class Pacts:
    """A `PactBook` that has read the versions of one pact, from 1."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self._versions = [
            compile_pact(parse_pact(document), pact_id=PACT, version=number)
            for number, document in enumerate(documents or (DOCUMENT,), start=1)
        ]

    def compiled(self, pact_id: str, version: int, *, timeout_seconds: float = 0) -> CompiledPact | None:
        return self._versions[version - 1] if pact_id == PACT and version <= len(self._versions) else None

    def owner(self, pact_id: str, version: int) -> str | None:
        return "t" if pact_id == PACT and version <= len(self._versions) else None


class Book(Pacts):
    """What the gateway asks a `PactBook`; any tenant's pact."""

    def latest(self, pact_id: str) -> PactVersion:
        return PactVersion(pact_id, 1, "t", None, "a pact", b"", "", 0, "k")

    def compiled(self, pact_id: str, version: int, *, timeout_seconds: float = 0) -> CompiledPact:
        found = super().compiled(pact_id, version)
        assert found is not None
        return found

    def owner(self, pact_id: str, version: int) -> str | None:
        return None


@dataclass
class Written:
    """Everything a task emitted, as a transaction would hold it."""

    records: list[tuple[str, bytes, bytes | None, int | None, Headers]] = field(default_factory=list)

    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        self.records.append((topic, key, value, partition, headers))

    def of(self, topic: str) -> list[tuple[bytes, bytes | None]]:
        return [(key, value) for name, key, value, _, _ in self.records if name == topic]

    def leaves(self) -> list[Leaf]:
        batches = [avro.decode_as("EvaluatedBatch", value) for _, value in self.of("telemetry.evaluated")]
        return [parse_leaf(event["leaf"]) for batch in batches for event in batch["events"]]


def task(memory: Memory | None = None, pacts: Pacts | None = None) -> EvaluatorTask:
    return EvaluatorTask(3, pacts or Pacts(), memory or Memory(events=10_000, hours=24))


def call(amount: object = 10, **changes: Any) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "event_id": str(uuid.uuid4()),
        "session_id": "s-1",
        "occurred_at_micros": 1_700_000_000_000_000,
        "pact_id": PACT,
        "pact_version": 1,
        "tool": "transfer_funds",
        "params": msgspec.json.encode({"amount": amount}),
        "outcome": "success",
    } | changes


def record(*events: dict[str, Any], received: int = HOUR, offset: int = 0, key: str = AGENT) -> Record:
    batch = {
        "tenant_id": "t",
        "tenant_pseudonym": "tenant-1",
        "agent_id": AGENT,
        "key_id": "k",
        "request_id": "r",
        "received_at_micros": received,
        "events": list(events),
    }
    return Record("telemetry.batches", 3, offset, key.encode(), avro.encode("TelemetryBatch", batch))
