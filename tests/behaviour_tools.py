"""Judged batches with openings, for tests of the windows of behaviour and of anomalies."""

from __future__ import annotations

import json
from typing import Any

from pactstream import avro, clock
from pactstream.kafka import topics
from pactstream.kafka.records import Record

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
MINUTE = 60 * clock.MICROS_PER_SECOND
START = 1_790_000_000_000_000 // MINUTE * MINUTE


def tenant(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def event(
    kind: str = "tool_call", *, at: int = START, opened: dict[str, Any] | None = None, **leaf: Any
) -> Any:
    """A pair of leaf and openings; `opened` maps field paths to values."""
    called = {"tool": "pay", "outcome": "success", "latencyMs": 10} if kind == "tool_call" else {}
    private = {name: {"salt": "00" * 16, "value": value} for name, value in (opened or {}).items()}
    return {"occurredAt": clock.to_iso(at), "type": kind} | called | leaf, private or None


def batch(
    events: list[Any], *, received: int, who: str = tenant(1), agent: str = AGENT, offset: int = 0
) -> Record:
    written = [
        {
            "event_id": "e",
            "sequence": n,
            "leaf": json.dumps(leaf).encode(),
            "private": None if private is None else json.dumps(private).encode(),
        }
        for n, (leaf, private) in enumerate(events, 1)
    ]
    value = {
        "tenant_id": who,
        "tenant_pseudonym": "p",
        "agent_id": agent,
        "received_at_micros": received,
        "source_topic": topics.BATCHES,
        "source_partition": 0,
        "source_offset": offset,
        "events": written,
    }
    return Record(topics.EVALUATED, 0, offset, agent.encode(), avro.encode("EvaluatedBatch", value))
