"""Wire events as the flat Avro `TelemetryEvent`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from pactstream.events.model import Event, Response, SessionEnd, SessionStart, ToolCall
from pactstream.events.parse import Accepted

_TYPES: dict[type, str] = {
    SessionStart: "session_start",
    ToolCall: "tool_call",
    Response: "response",
    SessionEnd: "session_end",
}


def event_type(event: Event) -> str:
    """`session_start`, `tool_call`, `response` or `session_end`."""
    return _TYPES[type(event)]


def to_avro(accepted: Accepted, *, event_id: UUID, pact_version: int | None) -> dict[str, Any]:
    """The Avro record of one accepted event; fields that do not apply are left to their default, null."""
    event = accepted.event
    record: dict[str, Any] = {
        "type": _TYPES[type(event)],
        "event_id": _text(event_id),
        "session_id": event.session_id,
        "occurred_at_micros": accepted.occurred_at_micros,
        "pact_id": _text(event.pact_id),
        "pact_version": pact_version,
        "parent_event_id": _text(event.parent_event_id),
        "room_id": event.room_id,
    }
    if event.metadata:
        record["metadata"] = msgspec.json.encode(event.metadata)
    if isinstance(event, ToolCall):
        record |= {
            "tool": event.tool,
            "params": bytes(event.params),
            "outcome": event.outcome,
            "latency_ms": event.latency_ms,
            "error_message": event.error_message,
            "reservation_id": _text(event.reservation_id),
        }
    elif isinstance(event, Response):
        record |= {
            "input": event.input,
            "output": event.output,
            "outcome": event.outcome,
            "latency_ms": event.latency_ms,
            "token_count": event.token_count,
        }
    elif isinstance(event, SessionEnd):
        record |= {"outcome": event.outcome, "reason": event.reason}
    return record


def _text(value: UUID | None) -> str | None:
    text: str | None = msgspec.to_builtins(value)  # faster than `str`, which is computed in Python
    return text
