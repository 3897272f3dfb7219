"""The job of the worker bench: decode a batch, judge its calls, encode the verdicts.

Imports nothing of any Kafka client: the same function runs in each of the loops that are compared.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, Protocol

import msgspec

from pactstream import avro, clock
from pactstream.ledger.leaf import GENESIS, AgentHead, Source, build_leaf
from pactstream.ledger.openings import Salts
from pactstream.pacts import CompiledPact, Verdict, compile_pact, parse_pact
from tests.bench.bench_pacts import RULES, VALID

PACT_ID: Final = "11111111-1111-4111-8111-111111111111"
DOCUMENT: Final[dict[str, Any]] = {
    "name": "Bench",
    "conditions": [
        {
            "type": "param_binding",
            "severity": "critical",
            "parameterBinding": {"tool": "pay", "rules": RULES},
        }
    ],
}
AGENTS: Final = 40
_SALTS: Final = Salts()
_BEGIN_MICROS: Final = 1_778_673_600_000_000

Job = Callable[[bytes], bytes]


class Kept(Protocol):
    """Where an engine keeps what it is to know of the agent of the record at hand."""

    def get(self, name: str) -> bytes | None:
        """What was put under a name."""

    def put(self, name: str, value: bytes) -> None:
        """Keep it, with the record's output or not at all."""


StatefulJob = Callable[[bytes, Kept], bytes]


def batches(events: int, batch: int) -> Iterator[tuple[str, bytes]]:
    """Keys and values of a full topic: so many calls in batches of that size, by agents in turn."""
    chance = Random(1)
    agents = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(AGENTS)]
    for number in range(events // batch):
        agent_id = agents[number % AGENTS]
        record = {
            "tenant_id": "t",
            "tenant_pseudonym": "p",
            "agent_id": agent_id,
            "key_id": "k",
            "request_id": str(number),
            "received_at_micros": _BEGIN_MICROS + number,
            "events": [_call(chance, number) for _ in range(batch)],
        }
        yield agent_id, avro.encode("TelemetryBatch", record)


def _call(chance: Random, number: int) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "session_id": "s",
        "occurred_at_micros": _BEGIN_MICROS + number,
        "pact_id": PACT_ID,
        "pact_version": 1,
        "tool": "pay",
        "params": VALID,
        "outcome": "success",
        "latency_ms": 142.0,
    }


def job(*, leaves: bool) -> Job:
    """The job without state; with `leaves` each call also becomes a leaf, as in the evaluator."""
    pact = compile_pact(parse_pact(DOCUMENT), pact_id=PACT_ID, version=1)
    make = _leaf if leaves else _verdict
    heads: dict[str, AgentHead] = {}

    def run(value: bytes) -> bytes:
        batch = avro.decode_as("TelemetryBatch", value)
        agent_id = batch["agent_id"]
        events, heads[agent_id] = _evaluated(batch, pact, make, heads.get(agent_id, GENESIS))
        return _encoded(batch, events)

    return run


def stateful_job() -> StatefulJob:
    """The job with leaves, and with what the evaluator keeps of an agent: its head, and the ids judged.

    Two small records for each batch, as in the evaluator's changelog. Ids are looked up in memory.
    """
    pact = compile_pact(parse_pact(DOCUMENT), pact_id=PACT_ID, version=1)
    seen: dict[str, set[str]] = {}

    def run(value: bytes, kept: Kept) -> bytes:
        batch = avro.decode_as("TelemetryBatch", value)
        known = seen.setdefault(batch["agent_id"], set())
        fresh = [event for event in batch["events"] if event["event_id"] not in known]
        ids = [event["event_id"] for event in fresh]
        known.update(ids)
        before = kept.get("head")
        head = GENESIS if before is None else AgentHead(int.from_bytes(before[:8], "big"), before[8:])
        events, after = _evaluated(batch | {"events": fresh}, pact, _leaf, head)
        kept.put("head", after.sequence.to_bytes(8, "big") + after.leaf_hash)
        kept.put(f"seen/{head.sequence + 1}", b"".join(uuid.UUID(one).bytes for one in ids))
        return _encoded(batch, events)

    return run


_Make = Callable[[dict[str, Any], int, dict[str, Any], Verdict, AgentHead], tuple[dict[str, Any], AgentHead]]


def _evaluated(
    batch: dict[str, Any], pact: CompiledPact, make: _Make, head: AgentHead
) -> tuple[list[dict[str, Any]], AgentHead]:
    out = []
    for index, event in enumerate(batch["events"]):
        evaluated, head = make(batch, index, event, _judged(pact, event), head)
        out.append(evaluated)
    return out, head


def _encoded(batch: dict[str, Any], events: list[dict[str, Any]]) -> bytes:
    head_of_batch = {
        "tenant_id": batch["tenant_id"],
        "tenant_pseudonym": batch["tenant_pseudonym"],
        "agent_id": batch["agent_id"],
        "received_at_micros": batch["received_at_micros"],
        "source_topic": "telemetry.batches",
        "source_partition": 0,
        "source_offset": 0,
    }
    return avro.encode("EvaluatedBatch", head_of_batch | {"events": events})


def _judged(pact: CompiledPact, event: dict[str, Any]) -> Verdict:
    return pact.judge(event["tool"], event["params"])


def _verdict(
    batch: dict[str, Any], index: int, event: dict[str, Any], verdict: Verdict, head: AgentHead
) -> tuple[dict[str, Any], AgentHead]:
    """The event as it came, in JSON, with its verdict: no hashes, no commitments."""
    public = {
        "agentId": batch["agent_id"],
        "eventId": event["event_id"],
        "index": index,
        "occurredAt": event["occurred_at_micros"],
        "outcome": event["outcome"],
        "sessionId": event["session_id"],
        "tool": event["tool"],
        "type": event["type"],
        "verdict": verdict,
    }
    evaluated = {
        "event_id": event["event_id"],
        "sequence": head.sequence + 1,
        "leaf": msgspec.json.encode(public),
        "private": event["params"],
    }
    return evaluated, AgentHead(head.sequence + 1, head.leaf_hash)


def _leaf(
    batch: dict[str, Any], index: int, event: dict[str, Any], verdict: Verdict, head: AgentHead
) -> tuple[dict[str, Any], AgentHead]:
    built = build_leaf(
        event,
        verdict,
        agent_id=batch["agent_id"],
        tenant=batch["tenant_pseudonym"],
        received_at=clock.to_iso(batch["received_at_micros"]),
        source=Source(index, 0, 0, "telemetry.batches"),
        head=head,
        salts=_SALTS,
    )
    evaluated = {
        "event_id": event["event_id"],
        "sequence": built.head.sequence,
        "leaf": built.leaf,
        "private": built.private,
    }
    return evaluated, built.head
