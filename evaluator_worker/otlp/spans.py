"""An event of the ledger as an OpenTelemetry span: the table of `ingest_gateway.otlp`, the other way.

Trace and span ids are made of the session's and the event's, so a record that is read again gives the same
spans. What is private of an event goes along only where the destination is to have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from evaluator_worker.crossings import TYPE as CROSSING
from evaluator_worker.evaluated import Found, Opening, PactRef, openings_of, params_of, value_of
from evaluator_worker.otlp.sessions import Began, Sessions
from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.genai import ERROR_TYPE, FINISH_REASONS, METADATA, NAMES, OPERATION, OUTCOMES

_AGENT: Final = "gen_ai.agent.id"
_CONVERSATION: Final = "gen_ai.conversation.id"
_MICRO_NANOS: Final = 1_000
_MILLI_NANOS: Final = 1_000_000
_FINISHES: Final = {"success": "stop"} | {outcome: reason for reason, outcome in reversed(OUTCOMES.items())}
_NOT_FAILED: Final = frozenset({None, *_FINISHES})


class _Verdict(msgspec.Struct):
    bound: bool
    valid: bool
    violations: list[Found]
    severity: str | None = None


class _Leaf(msgspec.Struct, rename="camel"):
    event_id: str
    occurred_at: datetime
    sequence: int
    session_id: str
    tenant: str
    type: str
    confidence: int | None = None
    latency_ms: float | None = None
    outcome: str | None = None
    pact: PactRef | None = None
    parent_event_id: str | None = None
    room_id: str | None = None
    severity: str | None = None
    token_count: int | None = None
    tool: str | None = None
    verdict: _Verdict | None = None


_decode_leaf = msgspec.json.Decoder(_Leaf).decode


class Of(NamedTuple):
    """Whose event it is: what ids are made of."""

    tenant_id: str
    agent_id: str


def trace_id(of: Of, session_id: str) -> bytes:
    """The trace of a session, 16 bytes."""
    return _digest("trace", of, session_id)[:16]


def span_id(of: Of, event_id: str) -> bytes:
    """The span of an event, 8 bytes."""
    return _digest("event", of, event_id)[:8]


def root_id(of: Of, session_id: str) -> bytes:
    """The span of a session, 8 bytes: known to its calls before it has ended."""
    return _digest("session", of, session_id)[:8]


def spans_of(
    batch: Mapping[str, Any], sessions: Sessions, *, offset: int, private: bool, export: bool = True
) -> list[Span]:
    """The spans of an `EvaluatedBatch`; starts and ends of sessions are noted in `sessions`.

    Without `export` that is all that is done. Raises `InvalidInput`: an event of it is no leaf.
    """
    of = Of(batch["tenant_id"], batch["agent_id"])
    found = []
    try:
        for event in batch["events"]:
            leaf = _decode_leaf(event["leaf"])
            started = _note(leaf, of, sessions, offset, batch["received_at_micros"])
            if not export:
                continue
            span = _span(leaf, of, started, openings_of(event["private"] if private else None))
            if span is not None:
                found.append(span)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"not a leaf with its openings: {error}") from error
    return found


def _note(leaf: _Leaf, of: Of, sessions: Sessions, offset: int, arrived: int) -> int | None:
    if leaf.type == "session_start":
        began = Began(clock.to_micros(leaf.occurred_at), offset, arrived)
        sessions.began(trace_id(of, leaf.session_id), began)
    elif leaf.type == "session_end":
        return sessions.ended(trace_id(of, leaf.session_id))
    return None


def _span(leaf: _Leaf, of: Of, started_micros: int | None, opened: Mapping[str, Opening]) -> Span | None:
    at = clock.to_micros(leaf.occurred_at) * _MICRO_NANOS
    took = int((leaf.latency_ms or 0) * _MILLI_NANOS)
    match leaf.type:
        case "session_end":
            began = at if started_micros is None else min(started_micros * _MICRO_NANOS, at)
            span = Span(name="invoke_agent", kind=Span.SPAN_KIND_INTERNAL, start_time_unix_nano=began)
            span.end_time_unix_nano = at
        case "tool_call":
            span = Span(name=f"execute_tool {leaf.tool}", kind=Span.SPAN_KIND_INTERNAL)
            span.start_time_unix_nano, span.end_time_unix_nano = at, at + took
        case "response":
            span = Span(name="chat", kind=Span.SPAN_KIND_CLIENT)
            span.start_time_unix_nano, span.end_time_unix_nano = max(1, at - took), at
        case str(kind) if kind == CROSSING:
            span = Span(name=CROSSING, kind=Span.SPAN_KIND_INTERNAL)
            span.start_time_unix_nano = span.end_time_unix_nano = at
        case _:
            return None
    span.trace_id = trace_id(of, leaf.session_id)
    if leaf.type == "session_end":
        span.span_id = root_id(of, leaf.session_id)
    else:
        span.span_id = span_id(of, leaf.event_id)
        parent = leaf.parent_event_id
        span.parent_span_id = root_id(of, leaf.session_id) if parent is None else span_id(of, parent)
    if leaf.outcome not in _NOT_FAILED:
        span.status.code = Status.STATUS_CODE_ERROR
        span.status.message = _fault(opened)
    pairs = (
        *_of_event(leaf, of),
        *_of_operation(leaf, started_micros),
        *_of_verdict(leaf),
        *_of_private(leaf, opened),
    )
    span.attributes.extend(KeyValue(key=key, value=_any(value)) for key, value in pairs if value is not None)
    return span


_Pairs = Iterator[tuple[str, Any]]


def _of_event(leaf: _Leaf, of: Of) -> _Pairs:
    yield _AGENT, of.agent_id
    yield _CONVERSATION, leaf.session_id
    yield "pactstream.event.id", leaf.event_id
    yield "pactstream.sequence", leaf.sequence
    yield "pactstream.tenant", leaf.tenant
    yield "pactstream.room.id", leaf.room_id
    yield "pactstream.outcome", leaf.outcome
    if leaf.confidence is not None:
        yield METADATA["confidence"][0], leaf.confidence / 100


def _of_operation(leaf: _Leaf, started_micros: int | None) -> _Pairs:
    if leaf.type == "session_end":
        yield OPERATION, "invoke_agent"
        yield "pactstream.session.start_unknown", True if started_micros is None else None
    elif leaf.type == "tool_call":
        yield OPERATION, "execute_tool"
    elif leaf.type == "response":
        yield OPERATION, "chat"
        yield NAMES["tokens"][0], leaf.token_count
        finish = _FINISHES.get(leaf.outcome or "")
        yield FINISH_REASONS, None if finish is None else [finish]
    yield NAMES["tool"][0], leaf.tool
    yield ERROR_TYPE, None if leaf.outcome in _NOT_FAILED else leaf.outcome


def _of_verdict(leaf: _Leaf) -> _Pairs:
    if leaf.pact is not None:
        yield NAMES["pactId"][0], leaf.pact.id
        yield "pactstream.pact.version", leaf.pact.version
    verdict = leaf.verdict
    if verdict is not None:
        yield "pactstream.verdict.bound", verdict.bound
        yield "pactstream.verdict.valid", verdict.valid
        if verdict.violations:
            said = [f"{one.severity} {one.rule} {one.param_path}".rstrip() for one in verdict.violations]
            yield "pactstream.verdict.violations", said
    yield "pactstream.severity", leaf.severity or (None if verdict is None else verdict.severity)


def _of_private(leaf: _Leaf, opened: Mapping[str, Opening]) -> _Pairs:
    if not opened:
        return
    if leaf.type == "tool_call":
        yield NAMES["params"][0], bytes(params_of(opened)).decode()
    for member in ("input", "output"):
        if member in opened:
            yield NAMES[member][0], _text(opened[member])
    for name in ("model_version", "provider", "tool_call_id"):
        if (value := opened.get(f"metadata.{name}")) is not None:
            yield METADATA[name][0], _text(value)


def _fault(opened: Mapping[str, Opening]) -> str:
    said = opened.get("errorMessage") or opened.get("reason")
    return "" if said is None else _text(said)


def _text(opening: Opening) -> str:
    value = value_of(opening)
    return value if isinstance(value, str) else bytes(opening.value).decode()


def _any(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case _:
            return AnyValue(array_value=ArrayValue(values=[_any(one) for one in value]))


def _digest(kind: str, of: Of, name: str) -> bytes:
    return sha256("\0".join(("pactstream", kind, of.tenant_id, of.agent_id, name)).encode()).digest()
