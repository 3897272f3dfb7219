"""Which span becomes which event, by the names of `pactstream.genai`; `docs/otlp.md` shows it all.

A figure is taken from the first name that is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ingest_gateway.otlp.spans import Attributes, Span
from pactstream import ids
from pactstream.genai import ERROR_TYPE, FINISH_REASONS, METADATA, NAMES, OPERATION, OUTCOMES

Shape: TypeAlias = Literal["session", "tool_call", "response"]

KIND: Final = "openinference.span.kind"

SHAPES: Final[Mapping[tuple[str, str], Shape]] = {
    (OPERATION, "invoke_agent"): "session",
    (OPERATION, "invoke_workflow"): "session",
    (OPERATION, "execute_tool"): "tool_call",
    (OPERATION, "chat"): "response",
    (OPERATION, "generate_content"): "response",
    (OPERATION, "text_completion"): "response",
    (KIND, "AGENT"): "session",
    (KIND, "TOOL"): "tool_call",
    (KIND, "LLM"): "response",
}
"""What a span is, by the attribute that says so. A session is two events: its start and its end."""

_NANOS_PER_MILLI: Final = 1_000_000
_MAX_METADATA_CHARS: Final = 4_096

Reason: TypeAlias = Literal["not_genai", "no_agent", "no_tool", "bad_ids", "bad_times"]

SAYS: Final[Mapping[Reason, str]] = {
    "not_genai": f"neither {OPERATION} nor {KIND} names an agent, a tool or a model call",
    "no_agent": "no agent: set pactstream.agent.id to the agent's UUID, at the span or its resource",
    "no_tool": "a tool call without the tool's name",
    "bad_ids": "trace id or span id is missing or malformed",
    "bad_times": "the span ends before it starts, or has no times",
}
"""Why a span gives no event, in words."""


@dataclass(slots=True)
class Mapped:
    """The events of a request, and how many spans gave none, by reason."""

    events: list[dict[str, Any]] = field(default_factory=list)
    unmapped: dict[Reason, int] = field(default_factory=dict)


def events_of(spans: Iterable[Span], tenant_id: str) -> Mapped:
    """The wire form of each span's events. Ids are derived, so a request that is sent again names the same."""
    mapped = Mapped()
    for span in spans:
        found = _events(span, tenant_id)
        if isinstance(found, str):
            mapped.unmapped[found] = mapped.unmapped.get(found, 0) + 1
            continue
        mapped.events += found
    return mapped


def _events(span: Span, tenant_id: str) -> list[dict[str, Any]] | Reason:
    said = {**span.resource, **span.attributes}
    named = ((key, _text(said.get(key))) for key in (OPERATION, KIND))
    shape = next((SHAPES[one] for one in named if one in SHAPES), None)
    if shape is None:
        return "not_genai"
    if not span.trace_id or not span.span_id:
        return "bad_ids"
    if not 0 < span.start_nanos <= span.end_nanos:
        return "bad_times"
    agent_id = _first(said, "agentId")
    if agent_id is None:
        return "no_agent"
    common = _without_nothing(
        {
            "agentId": _text(agent_id),
            "sessionId": _text(_first(said, "sessionId") or span.trace_id)[:128],
            "pactId": _first(said, "pactId"),
            "metadata": _metadata(span, said),
        }
    )
    if shape == "session":
        return [_start(span, tenant_id, common), _end(span, said, tenant_id, common)]
    if shape == "response":
        return [_response(span, said, tenant_id, common)]
    tool = _first(said, "tool")
    return "no_tool" if not tool else [_tool_call(span, said, _text(tool), tenant_id, common)]


def _start(span: Span, tenant_id: str, common: dict[str, Any]) -> dict[str, Any]:
    event_id = _event_id(span, tenant_id, 0)
    return common | {"type": "session_start", "eventId": event_id, "startedAt": _at(span.start_nanos)}


def _end(span: Span, said: Attributes, tenant_id: str, common: dict[str, Any]) -> dict[str, Any]:
    failed = _failed(span, said)
    ended = {
        "type": "session_end",
        "eventId": _event_id(span, tenant_id, 1),
        "endedAt": _at(span.end_nanos),
        "outcome": "failure" if failed else "success",
        "reason": _fault(span, said) if failed else None,
    }
    return _without_nothing(common | ended)


def _tool_call(
    span: Span, said: Attributes, tool: str, tenant_id: str, common: dict[str, Any]
) -> dict[str, Any]:
    failed = _failed(span, said)
    call = {
        "type": "tool_call",
        "eventId": _event_id(span, tenant_id, 0),
        "tool": tool,
        "params": _params(_first(said, "params")),
        "outcome": "error" if failed else "success",
        "errorMessage": _fault(span, said) if failed else None,
        "attemptedAt": _at(span.start_nanos),
        "latencyMs": _latency(span),
        "reservationId": _first(said, "reservationId"),
    }
    return _without_nothing(common | call)


def _response(span: Span, said: Attributes, tenant_id: str, common: dict[str, Any]) -> dict[str, Any]:
    reasons = said.get(FINISH_REASONS) or []
    finished = next((OUTCOMES[one] for one in reasons if one in OUTCOMES), "success")
    answer = {
        "type": "response",
        "eventId": _event_id(span, tenant_id, 0),
        "input": _message(_first(said, "input")),
        "output": _message(_first(said, "output")),
        "outcome": "error" if _failed(span, said) else finished,
        "emittedAt": _at(span.end_nanos),
        "latencyMs": _latency(span),
        "tokenCount": _tokens(said),
    }
    return _without_nothing(common | answer)


def _event_id(span: Span, tenant_id: str, part: int) -> str:
    source = hashlib.sha256(f"otlp {span.trace_id} {span.span_id}".encode()).digest()
    return str(ids.derived_event_id(tenant_id, source, part))


def _params(given: Any) -> msgspec.Raw:
    """The call's parameters, digit by digit. What is no JSON object stands under one name, and breaks rules."""
    if isinstance(given, str):
        try:
            if isinstance(msgspec.json.decode(given, type=dict), dict):
                return msgspec.Raw(given.encode())
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
            pass
    if isinstance(given, dict):
        return msgspec.Raw(msgspec.json.encode(given))
    return msgspec.Raw(b"{}" if given is None else msgspec.json.encode({"arguments": given}))


def _message(given: Any) -> str:
    if given is None:
        return ""
    return given if isinstance(given, str) else msgspec.json.encode(given).decode()


def _tokens(said: Attributes) -> int | None:
    total = _first(said, "tokens")
    parts = (total,) if total is not None else (_first(said, "inputTokens"), _first(said, "outputTokens"))
    counts = [one for one in parts if type(one) is int]
    return sum(counts) if counts else None


def _metadata(span: Span, said: Attributes) -> dict[str, Any]:
    found: dict[str, Any] = {"trace_id": span.trace_id, "span_id": span.span_id}
    for name, places in METADATA.items():
        value = next((said[place] for place in places if said.get(place) is not None), None)
        if isinstance(value, str):
            value = value[:_MAX_METADATA_CHARS]
        if isinstance(value, str | int | float | bool):
            found[name] = value
    return found


def _failed(span: Span, said: Attributes) -> bool:
    return span.failed or said.get(ERROR_TYPE) is not None


def _fault(span: Span, said: Attributes) -> str | None:
    return span.message or _text(said.get(ERROR_TYPE) or "") or None


def _latency(span: Span) -> float:
    return (span.end_nanos - span.start_nanos) / _NANOS_PER_MILLI


def _at(nanos: int) -> str:
    try:
        second = datetime.fromtimestamp(nanos // 1_000_000_000, UTC)
    except (OverflowError, ValueError):  # beyond the year 9999: the event's own check says so
        second = datetime.max.replace(tzinfo=UTC)
    return second.replace(microsecond=nanos // 1_000 % 1_000_000).isoformat()


def _first(said: Attributes, member: str) -> Any:
    return next((said[name] for name in NAMES[member] if said.get(name) is not None), None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _without_nothing(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if value is not None}
