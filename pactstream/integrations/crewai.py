"""CrewAI: a listener on its event bus that records, and hooks that ask before a tool is called.

CrewAI runs listeners in a thread pool, later than what they hear of, but with a copy of the context it came
from. Its hooks run before and after a tool, in the tool's own thread. So the hooks say in the context which
call it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crewai.events import (
    CrewKickoffCompletedEvent,
    CrewKickoffFailedEvent,
    CrewKickoffStartedEvent,
    LLMCallCompletedEvent,
    LLMCallFailedEvent,
    LLMCallStartedEvent,
    ToolUsageErrorEvent,
    ToolUsageFinishedEvent,
    crewai_event_bus,
)
from crewai.hooks import (
    register_after_tool_call_hook,
    register_before_tool_call_hook,
    unregister_after_tool_call_hook,
    unregister_before_tool_call_hook,
)

from pactstream.integrations.open_runs import OpenRuns
from pactstream.sdk import Call, PactViolation, PreflightUnavailable, Session, Telemetry


@dataclass(eq=False, slots=True)
class _Tool:
    """A call that a hook saw begin, and the one around it."""

    call: Call
    name: str
    args: Any
    outer: _Tool | None
    ended: bool = False
    denied: bool = False


_RUNNING: ContextVar[_Tool | None] = ContextVar("pactstream_crewai_running", default=None)
_LATEST: ContextVar[_Tool | None] = ContextVar("pactstream_crewai_latest", default=None)


class PactstreamListener:
    """Make one before the crews, and keep it: it hears every crew of the process until `close`.

    A kickoff becomes a session, unless the code around it has one; tool uses `tool_call`, model calls
    `response`. Where `tel` has `block_on`, it is asked before each tool. A call that is refused is not made,
    and CrewAI tells the model that it was blocked.
    """

    def __init__(self, tel: Telemetry) -> None:
        self._tel = tel
        self._sessions: OpenRuns[tuple[Session, bool]] = OpenRuns()
        self._tasks: OpenRuns[Session] = OpenRuns()
        self._asked: OpenRuns[datetime] = OpenRuns()
        self._handlers = {
            CrewKickoffStartedEvent: self._kickoff,
            CrewKickoffCompletedEvent: self._completed,
            CrewKickoffFailedEvent: self._failed,
            ToolUsageFinishedEvent: self._finished,
            ToolUsageErrorEvent: self._tool_failed,
            LLMCallStartedEvent: self._model_asked,
            LLMCallCompletedEvent: self._answered,
            LLMCallFailedEvent: self._unanswered,
        }
        for kind, handler in self._handlers.items():
            crewai_event_bus.on(kind)(handler)
        register_before_tool_call_hook(self._before)
        register_after_tool_call_hook(self._after)

    def close(self) -> None:
        """Listen no longer, once everything said so far is heard."""
        crewai_event_bus.flush()
        for kind, handler in self._handlers.items():
            crewai_event_bus.off(kind, handler)
        unregister_before_tool_call_hook(self._before)
        unregister_after_tool_call_hook(self._after)

    def _kickoff(self, source: Any, event: Any) -> None:
        around = self._tel.current_session()
        name = getattr(source, "name", None) or event.crew_name
        session = around or self._tel.session(event.event_id, metadata={"crew": str(name)}).open()
        self._sessions.put(event.event_id, (session, around is None))
        for task in getattr(source, "tasks", ()):
            self._tasks.put(str(task.id), session)

    def _completed(self, source: Any, event: Any) -> None:
        self._end_session(event.started_event_id, None)

    def _failed(self, source: Any, event: Any) -> None:
        self._end_session(event.started_event_id, event.error)

    def _end_session(self, started_event_id: str | None, error: str | None) -> None:
        session, owned = self._sessions.pop(started_event_id) or (None, False)
        if session is not None and owned:
            if error is not None:
                session.outcome, session.reason = "failure", error
            session.close()

    def _session(self, task_id: object) -> Session | None:
        return self._tasks.get(str(task_id)) or self._tel.current_session()

    def _before(self, context: Any) -> bool | None:
        """Whether the call may be made: False if not. A hook that raised would be passed over."""
        outer = _RUNNING.get()
        call = self._tel.open_call(
            tool=context.tool_name,
            params=context.tool_input or {},
            session=self._session(getattr(context.task, "id", None)),
            parent_event_id=None if outer is None else outer.call.event_id,
        )
        tool = _Tool(call, context.tool_name, dict(context.tool_input or {}), outer)
        _RUNNING.set(tool)
        try:
            call.check()
        except (PactViolation, PreflightUnavailable):
            tool.ended = tool.denied = True
            return False
        return None

    def _after(self, context: Any) -> None:
        tool = _RUNNING.get()
        if tool is not None:
            _RUNNING.set(tool.outer)
            _LATEST.set(tool)

    def _finished(self, source: Any, event: Any) -> None:
        failure = getattr(event, "failure", None)
        self._end_tool(event, None if failure is None else str(getattr(failure, "message", failure)))

    def _tool_failed(self, source: Any, event: Any) -> None:
        error = event.error
        self._end_tool(
            event, f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)
        )

    def _end_tool(self, event: Any, error: str | None) -> None:
        args = _arguments(event.tool_args)
        tool = next(
            (t for t in (_RUNNING.get(), _LATEST.get()) if t and (t.name, t.args) == (event.tool_name, args)),
            None,
        )
        if tool is not None and tool.denied:
            return
        if tool is not None and not tool.ended:
            tool.ended = True
            tool.call.end(outcome="success" if error is None else "error", error_message=error)
            return
        # No hook saw it begin, or it was tried again.
        started, finished = getattr(event, "started_at", None), getattr(event, "finished_at", None)
        self._tel.tool_call(
            tool=event.tool_name,
            params=args,
            outcome="success" if error is None else "error",
            error_message=error,
            latency_ms=None if started is None or finished is None else _milliseconds(started, finished),
            session=self._session(event.task_id),
        )

    def _model_asked(self, source: Any, event: Any) -> None:
        self._asked.put(event.call_id, event.timestamp)

    def _answered(self, source: Any, event: Any) -> None:
        usage = event.usage if isinstance(getattr(event, "usage", None), Mapping) else {}
        total = usage.get("total_tokens")
        self._respond(event, _said(event.response), total if isinstance(total, int) else None)

    def _unanswered(self, source: Any, event: Any) -> None:
        self._respond(event, str(event.error), None, failed=True)

    def _respond(self, event: Any, output: str, tokens: int | None, *, failed: bool = False) -> None:
        asked = self._asked.pop(event.call_id)
        self._tel.response(
            input=_said(getattr(event, "messages", None)),
            output=output,
            outcome="error" if failed else "success",
            latency_ms=None if asked is None else _milliseconds(asked, event.timestamp),
            token_count=tokens,
            session=self._session(event.task_id),
            metadata=None if event.model is None else {"model_version": str(event.model)},
        )


def _arguments(given: object) -> dict[str, Any]:
    """The arguments; what is no JSON object stands under `arguments`."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return {"arguments": given}
    return dict(given) if isinstance(given, Mapping) else {"arguments": given}


def _said(said: Any) -> str:
    """A text; the last of several messages; or JSON."""
    if (
        isinstance(said, list)
        and said
        and isinstance(said[-1], Mapping)
        and isinstance(said[-1].get("content"), str)
    ):
        return str(said[-1]["content"])
    if said is None or isinstance(said, str):
        return said or ""
    return json.dumps(said, ensure_ascii=False, default=str)


def _milliseconds(since: datetime, until: datetime) -> float:
    return max(round((until - since).total_seconds() * 1_000, 3), 0.0)
