"""What happens to pages, as events of the agent: on their way to the ledger like any other.

Such an event has the type `page`. Its `outcome` says what happened, its `parentEventId` names the page (that of
the opening: the violating event), and who did it and why are private. No client can send one.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from pactstream import avro, ids
from pactstream.paging.records import Action, Page

TYPE: Final = "page"


def page_id(tenant_id: str, agent_id: str, event_id: str, about: str) -> str:
    """The id of the page that an event opens about a rule: the same whenever the event is read."""
    return _derived(tenant_id, agent_id, event_id, about)


def action_id(page: Page, action: str, by: str, what: str = "") -> str:
    """The id of the event of an action: the same for the same action, tried again."""
    return _derived(page.tenant_id, page.page_id, action, by, what)


def resumed_id(tenant_id: str, agent_id: str, request_id: str) -> str:
    """The id of the event of an agent that is resumed: of this request."""
    return _derived(tenant_id, agent_id, "resumed", request_id)


def page_event(
    page: Page, action: Action, *, event_id: str, by: str, reason: str | None, at_micros: int
) -> dict[str, Any]:
    """The Avro `TelemetryEvent` of something that happened to a page."""
    return {
        "type": TYPE,
        "event_id": event_id,
        "session_id": page.session_id,
        "occurred_at_micros": at_micros,
        "pact_id": page.pact_id,
        "pact_version": page.pact_version,
        "parent_event_id": page.event_id if action == "opened" else page.page_id,
        "tool": page.tool,
        "outcome": action,
        "reason": reason,
        "metadata": json.dumps({"by": by}).encode(),
    }


def agent_event(
    action: Action, *, agent_id: str, event_id: str, by: str, reason: str, at_micros: int
) -> dict[str, Any]:
    """The Avro `TelemetryEvent` of something that happened to an agent, without a page."""
    return {
        "type": TYPE,
        "event_id": event_id,
        "session_id": agent_id,
        "occurred_at_micros": at_micros,
        "outcome": action,
        "reason": reason,
        "metadata": json.dumps({"by": by}).encode(),
    }


def session_end(session_id: str, page: Page, *, at_micros: int) -> dict[str, Any]:
    """The Avro `TelemetryEvent` that ends a session in flight, when an agent's keys were taken away."""
    return {
        "type": "session_end",
        "event_id": _derived(page.tenant_id, page.page_id, "aborted", session_id),
        "session_id": session_id,
        "occurred_at_micros": at_micros,
        "parent_event_id": page.page_id,
        "outcome": "aborted",
        "reason": "the agent's keys were rotated",
    }


def batch(
    events: list[dict[str, Any]],
    *,
    tenant_id: str,
    tenant_pseudonym: str,
    agent_id: str,
    key_id: str,
    at_micros: int,
    request_id: str = "",
) -> bytes:
    """The Avro `TelemetryBatch` of events that the deployment itself adds, for `telemetry.batches`."""
    record = {
        "tenant_id": tenant_id,
        "tenant_pseudonym": tenant_pseudonym,
        "agent_id": agent_id,
        "key_id": key_id,
        "request_id": request_id,
        "received_at_micros": at_micros,
        "events": events,
    }
    return avro.encode("TelemetryBatch", record)


def _derived(tenant_id: str, *parts: str) -> str:
    found: UUID = ids.derived_event_id(tenant_id, sha256("\0".join(parts).encode()).digest(), 0)
    return str(found)
