"""OpenAI Agents SDK: a trace processor that records, and its guardrail that asks before a tool is called.

A trace becomes a session, unless the code around it has one; function spans become `tool_call`, generation
and response spans `response`. What a span does not hold cannot be recorded: leave
`trace_include_sensitive_data` on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import wraps
from typing import Any, Literal, ParamSpec, cast

from agents import (
    FunctionSpanData,
    FunctionTool,
    FunctionToolResult,
    GenerationSpanData,
    Span,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolInputGuardrailData,
    Trace,
    TracingProcessor,
    get_current_span,
)
from agents.tracing import AgentSpanData, ResponseSpanData

from pactstream import clock, ids
from pactstream.integrations.open_runs import OpenRuns
from pactstream.sdk import Call, PactViolation, PreflightUnavailable, Session, Telemetry

_logger = logging.getLogger("pactstream.sdk")


P = ParamSpec("P")


def _quietly(method: Callable[P, None]) -> Callable[P, None]:
    """A fault in here is never the agent's; what `Telemetry` cannot use, it reports by itself."""

    @wraps(method)
    def safely(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            _logger.warning("a trace of the agents SDK could not be recorded", exc_info=True)

    return safely


@dataclass(slots=True)
class _OpenTrace:
    session: Session
    owned: bool


@dataclass(slots=True)
class _OpenSpan:
    """`inside` is the event id that children name as their parent."""

    session: Session | None
    parent_event_id: str | None
    inside: str | None
    call: Call | None = None
    since: float = field(default_factory=clock.monotonic_seconds)


class PactstreamProcessor(TracingProcessor):
    """Add it by `add_trace_processor(processor)`; it may serve many runs at once, in threads and in tasks."""

    def __init__(self, tel: Telemetry) -> None:
        self._tel = tel
        self._traces: OpenRuns[_OpenTrace] = OpenRuns()
        self._spans: OpenRuns[_OpenSpan] = OpenRuns()
        self._guarded: set[str] = set()

    def guard(self, tool: FunctionTool, *, on_refusal: Literal["tell", "raise"] = "tell") -> FunctionTool:
        """Give a tool an input guardrail that asks where `block_on` is set; the same tool, for convenience.

        A call that is refused is not made: by default the model is told why and goes on; with "raise" the run
        ends with `ToolInputGuardrailTripwireTriggered`.
        """

        async def pact(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
            refusal = await self._refusal(data)
            if refusal is None:
                return ToolGuardrailFunctionOutput.allow()
            if on_refusal == "raise":
                return ToolGuardrailFunctionOutput.raise_exception(str(refusal))
            return ToolGuardrailFunctionOutput.reject_content(str(refusal), str(refusal))

        guardrail: ToolInputGuardrail[Any] = ToolInputGuardrail(guardrail_function=pact, name="pact")
        tool.tool_input_guardrails = [*(tool.tool_input_guardrails or ()), guardrail]
        self._guarded.add(tool.name)
        return tool

    async def _refusal(self, data: ToolInputGuardrailData) -> PactViolation | PreflightUnavailable | None:
        current = get_current_span()
        span = None if current is None else self._spans.get(current.span_id)
        name = data.context.tool_name
        if current is not None and isinstance(current.span_data, FunctionSpanData):
            name = current.span_data.name
        call = self._tel.open_call(
            tool=name,
            params=arguments(data.context.tool_arguments),
            session=None if span is None else span.session,
            event_id=None if span is None else span.inside,
            parent_event_id=None if span is None else span.parent_event_id,
        )
        if span is not None:
            span.call = call
        try:
            await call.acheck()
        except (PactViolation, PreflightUnavailable) as refusal:
            return refusal
        return None

    @_quietly
    def on_trace_start(self, trace: Trace) -> None:
        """A run begins, or a group of runs."""
        around = self._tel.current_session()
        session = around or self._tel.session(trace.trace_id, metadata=_about(trace)).open()
        self._traces.put(trace.trace_id, _OpenTrace(session, around is None))

    @_quietly
    def on_trace_end(self, trace: Trace) -> None:
        """It is over."""
        ended = self._traces.pop(trace.trace_id)
        if ended is not None and ended.owned:
            ended.session.close()

    @_quietly
    def on_span_start(self, span: Span[Any]) -> None:
        """A step begins."""
        outer = None if span.parent_id is None else self._spans.get(span.parent_id)
        trace = self._traces.get(span.trace_id)
        session = None if trace is None else trace.session
        parent = None if outer is None else outer.inside
        inside = str(ids.uuid7()) if isinstance(span.span_data, FunctionSpanData) else parent
        self._spans.put(span.span_id, _OpenSpan(session, parent, inside))

    @_quietly
    def on_span_end(self, span: Span[Any]) -> None:
        """A step is over, with what came of it."""
        ended = self._spans.pop(span.span_id)
        if ended is not None:
            self._end(span, ended)

    def _end(self, span: Span[Any], ended: _OpenSpan) -> None:
        data = span.span_data
        if isinstance(data, FunctionSpanData):
            self._end_function(data, ended, span)
        elif isinstance(data, GenerationSpanData):
            self._respond(ended, span, _last(data.input), _last(data.output), data.usage, data.model)
        elif isinstance(data, ResponseSpanData):
            said = data.response
            output = "" if said is None else said.output_text or _calls(said.output)
            usage = data.usage or (None if said is None or said.usage is None else said.usage.model_dump())
            self._respond(ended, span, _last(data.input), output, usage, None if said is None else said.model)
        elif isinstance(data, AgentSpanData) and span.error is not None:
            self._failed(span)

    def _end_function(self, data: FunctionSpanData, ended: _OpenSpan, span: Span[Any]) -> None:
        call = ended.call
        if call is None:
            silent = span.error is None and isinstance(data.output, FunctionToolResult | None)
            if silent and data.name in self._guarded:
                # Nobody was asked: it waits for a person's approval, and has another span when it is made.
                return
            self._tel.tool_call(
                tool=data.name,
                params=arguments(data.input) or {},
                outcome="success" if span.error is None else "error",
                latency_ms=_milliseconds(ended),
                error_message=_message(span),
                attempted_at=span.started_at,
                session=ended.session,
                event_id=ended.inside,
                parent_event_id=ended.parent_event_id,
                metadata=None if data.input is not None else {"arguments": "withheld"},
            )
        elif span.error is None:
            call.end()
        else:
            call.end(outcome="error", error_message=_message(span))

    def _respond(
        self,
        ended: _OpenSpan,
        span: Span[Any],
        asked: str,
        said: str,
        usage: Mapping[str, Any] | None,
        model: str | None,
    ) -> None:
        if not asked and not said and span.error is None:
            # A model that tells its spans nothing, or was told to keep it back.
            return
        self._tel.response(
            input=asked,
            output=said if span.error is None else _message(span) or "",
            outcome="success" if span.error is None else "error",
            latency_ms=_milliseconds(ended),
            token_count=_tokens(usage),
            session=ended.session,
            parent_event_id=ended.parent_event_id,
            metadata=None if model is None else {"model_version": model},
        )

    def _failed(self, span: Span[Any]) -> None:
        # The trace's end says nothing of how it went.
        trace = self._traces.get(span.trace_id)
        if trace is not None and trace.owned:
            trace.session.outcome, trace.session.reason = "failure", _message(span)

    def shutdown(self) -> None:
        """Deliver what is recorded; `Telemetry` does so too at the end of the process."""
        self._tel.flush(timeout=5)

    def force_flush(self) -> None:
        """Deliver what is recorded."""
        self._tel.flush(timeout=5)


def _about(trace: Trace) -> dict[str, str]:
    group = getattr(trace, "group_id", None)
    return {"workflow": trace.name} | ({} if group is None else {"group_id": str(group)})


def arguments(text: str | None) -> dict[str, Any] | None:
    """The arguments digit by digit; what is no JSON object stands under `arguments`, nothing is None."""
    if text is None:
        return None
    if not text:
        return {}
    try:
        found = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        found = text
    return found if isinstance(found, dict) else {"arguments": found}


def _last(messages: object) -> str:
    """What the last message says; of one that only asks for tools, which and with what."""
    if isinstance(messages, str) or not messages:
        return cast(str, messages or "")
    last = cast(Sequence[Any], messages)[-1]
    if not isinstance(last, Mapping):
        return str(last)
    for key in ("content", "output", "tool_calls"):
        if last.get(key):
            return last[key] if isinstance(last[key], str) else _parts(last[key])
    return json.dumps(last, ensure_ascii=False, default=str)


def _parts(content: Any) -> str:
    texts = [
        part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    ]
    return "\n".join(texts) or json.dumps(content, ensure_ascii=False, default=str)


def _calls(output: Sequence[Any]) -> str:
    wanted = [{"tool": one.name, "args": one.arguments} for one in output if hasattr(one, "arguments")]
    return json.dumps(wanted, ensure_ascii=False, default=str)


def _message(span: Span[Any]) -> str | None:
    error = span.error
    if error is None:
        return None
    why = (error.get("data") or {}).get("error")
    return f"{error['message']}: {why}" if why else error["message"]


def _milliseconds(ended: _OpenSpan) -> float:
    return round((clock.monotonic_seconds() - ended.since) * 1_000, 3)


def _tokens(usage: Mapping[str, Any] | None) -> int | None:
    if not usage:
        return None
    total = usage.get("total_tokens")
    parts = [usage.get(key) for key in ("input_tokens", "output_tokens", "prompt_tokens", "completion_tokens")]
    counted = sum(part for part in parts if isinstance(part, int))
    return total if isinstance(total, int) else counted or None
