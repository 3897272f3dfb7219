"""Events as an agent sends them, and the leaves that gateway and evaluator make of them."""

from __future__ import annotations

import json
from typing import Any, cast

from ingest_gateway.admission import admit
from pactstream.control.pacts import PactBook
from pactstream.control.tenants import Agent, Tenant
from pactstream.ledger.leaf import encode_leaf
from tests.evaluator_tools import AGENT, PACT, Book, Pacts, Written, record, task

RECEIVED = 1_780_000_000_000_000
_BOOK, _PACTS = Book(), Pacts()


def event_id(number: int) -> str:
    return f"0196c9a4-0000-7000-8000-{number:012}"


def sent(number: int, **changes: Any) -> dict[str, Any]:
    """A tool call on the wire; None takes a member away."""
    event = {
        "type": "tool_call",
        "eventId": event_id(number),
        "sessionId": "s-1",
        "agentId": AGENT,
        "pactId": PACT,
        "tool": "transfer_funds",
        "params": {"amount": number},
        "outcome": "success",
        "attemptedAt": "2026-05-13T10:00:00Z",
    } | changes
    return {name: value for name, value in event.items() if value is not None}


def leaves_of(*events: dict[str, Any]) -> list[bytes]:
    """The leaves of what the gateway accepts of these events."""
    tenant = Tenant("t", "Treasury", "tenant-1", 0).with_agent(Agent(AGENT, "Atlas", "active", 0))
    body = json.dumps({"events": events}).encode()
    admitted = admit(body, tenant, cast(PactBook, _BOOK), received_at_micros=RECEIVED)
    written = Written()
    taken = admitted.events_by_agent.get(AGENT, [])
    if taken:
        task(pacts=_PACTS).process(record(*taken, received=RECEIVED), written)
    return [encode_leaf(leaf) for leaf in written.leaves()]
