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
SENT_TYPES = frozenset(_TYPES.values())
"""What agents send; other types are what the deployment itself adds."""


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
        "room_id": event.room_id,
        "outcome": None if isinstance(event, SessionStart) else event.outcome,
    }
    if event.pact_id is not None:
        record["pact_id"] = _text(event.pact_id)
        record["pact_version"] = pact_version
    if event.parent_event_id is not None:
        record["parent_event_id"] = _text(event.parent_event_id)
    if event.metadata:
        record["metadata"] = _encode(event.metadata)
    if isinstance(event, ToolCall):
        record["tool"] = event.tool
        record["params"] = bytes(event.params)
        record["latency_ms"] = event.latency_ms
        record["error_message"] = event.error_message
        if event.reservation_id is not None:
            record["reservation_id"] = _text(event.reservation_id)
    elif isinstance(event, Response):
        record["input"] = event.input
        record["output"] = event.output
        record["latency_ms"] = event.latency_ms
        record["token_count"] = event.token_count
    elif isinstance(event, SessionEnd):
        record["reason"] = event.reason
    return record


_encode = msgspec.json.Encoder().encode


def _text(value: UUID) -> str:
    text: str = msgspec.to_builtins(value)  # faster than `str`, which is computed in Python
    return text
