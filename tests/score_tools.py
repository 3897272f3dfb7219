"""Judged batches for tests of the aggregator."""

from __future__ import annotations

import json
from typing import Any

from pactstream import avro
from pactstream.kafka import topics
from pactstream.kafka.records import Record

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
OTHER = "00000000-0000-4000-8000-000000000001"
KEPT = {"valid": True, "bound": True, "violations": []}
BROKEN = {"valid": False, "bound": True, "severity": "critical", "violations": [{"paramPath": "amount"}]}
UNBOUND = {"valid": True, "bound": False, "violations": []}


def call(verdict: dict[str, Any] | None) -> dict[str, Any]:
    return {"type": "tool_call"} | ({} if verdict is None else {"verdict": verdict})


def batch(
    first: int, leaves: list[dict[str, Any]], agent: str = AGENT, received: int = 1_000, offset: int = 0
) -> Record:
    events = [
        {"event_id": "e", "sequence": n, "leaf": json.dumps(leaf | {"sequence": n, "agentId": agent}).encode()}
        for n, leaf in enumerate(leaves, first)
    ]
    value = avro.encode(
        "EvaluatedBatch",
        {
            "tenant_id": "t",
            "tenant_pseudonym": "p",
            "agent_id": agent,
            "received_at_micros": received,
            "source_topic": topics.BATCHES,
            "source_partition": 1,
            "source_offset": offset,
            "events": events,
        },
    )
    return Record(topics.EVALUATED, 1, offset, agent.encode(), value)


def atlas() -> list[dict[str, Any]]:
    """Five sessions, twenty-five calls, one of them broken."""
    day: list[dict[str, Any]] = []
    for session in range(5):
        calls = [call(BROKEN if (session, n) == (2, 1) else KEPT) for n in range(5)]
        day += [{"type": "session_start"}, *calls, {"type": "response"}, {"type": "session_end"}]
    return day
