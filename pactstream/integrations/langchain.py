"""LangChain and LangGraph: a callback handler that records, beside any other.

A run that is nobody's child opens a session, unless the code around it has one. Tool runs become `tool_call`,
model runs `response`. Faults in here are logged by LangChain and never reach the agent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from pactstream import clock
from pactstream.integrations.open_runs import OpenRuns
from pactstream.sdk import Call, Session, Telemetry

CHECKED: ContextVar[list[Call] | None] = ContextVar("pactstream_langchain_checked", default=None)
"""The call that a `PactMiddleware` has asked about, for the handler that sees it begin: one, or none."""

_OUTCOMES: Mapping[object, Literal["refusal", "partial"]] = {
    "content_filter": "refusal",
    "refusal": "refusal",
    "length": "partial",
    "max_tokens": "partial",
}


@dataclass(frozen=True, slots=True)
class Run:
    """An open run. `session` is None outside of any; `owned` if it was opened for this run."""

    session: Session | None
    parent_event_id: str | None = None
    owned: bool = False
    call: Call | None = None
    prompt: str = ""
    since: float = field(default_factory=clock.monotonic_seconds)


class PactstreamHandler(BaseCallbackHandler):
    """Pass it as `config={"callbacks": [handler]}`. It may serve many runs at once, in threads and in tasks."""

    # Recording costs microseconds; a hop to a thread pool costs more, and would lose the order.
    run_inline = True

    def __init__(self, tel: Telemetry) -> None:
        super().__init__()
        self.tel = tel
        self._runs: OpenRuns[Run] = OpenRuns()

    def run(self, run_id: UUID | None) -> Run:
        """What a child of this run belongs to."""
        return self._runs.get(run_id) or Run(self.tel.current_session())

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A chain, a graph or a node begins."""
        run = self.run(parent_run_id)
        if parent_run_id is None and run.session is None:
            thread = (metadata or {}).get("thread_id")
            session = self.tel.session(
                str(run_id), metadata=None if thread is None else {"thread_id": str(thread)}
            )
            run = Run(session.open(), owned=True)
        self._runs.put(run_id, Run(run.session, run.parent_event_id, run.owned and parent_run_id is None))

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        """It returned."""
        self._end_chain(run_id, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It raised, was cancelled, or is interrupted."""
        self._end_chain(run_id, None if _is_interrupt(error) else error)

    def _end_chain(self, run_id: UUID, error: BaseException | None) -> None:
        run = self._runs.pop(run_id)
        if run is not None and run.owned and run.session is not None:
            run.session.close(error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool begins. A text in place of named arguments is called `input`."""
        run = self.run(parent_run_id)
        checked = CHECKED.get()
        call = checked.pop() if checked else None
        if call is None:
            call = self.tel.open_call(
                tool=(serialized or {}).get("name") or kwargs.get("name") or "tool",
                params={"input": input_str} if inputs is None else inputs,
                session=run.session,
                parent_event_id=run.parent_event_id,
            )
        self._runs.put(run_id, Run(run.session, call.event_id, call=call))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It returned; a `ToolMessage` may say that it failed."""
        run = self._runs.pop(run_id)
        if run is not None and run.call is not None:
            end_call(run.call, output)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It raised; or it waits for a person, and will begin anew with the answer."""
        run = self._runs.pop(run_id)
        if run is not None and run.call is not None:
            end_call(run.call, None, error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A chat model is asked."""
        asked = messages[0] if messages else []
        self._model_begins(run_id, parent_run_id, _text(asked[-1]) if asked else "")

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A model of plain texts is asked."""
        self._model_begins(run_id, parent_run_id, prompts[0] if prompts else "")

    def _model_begins(self, run_id: UUID, parent_run_id: UUID | None, prompt: str) -> None:
        run = self.run(parent_run_id)
        self._runs.put(run_id, Run(run.session, run.parent_event_id, prompt=prompt))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """It answered."""
        run = self._runs.pop(run_id)
        if run is None or not response.generations or not response.generations[0]:
            return
        generation = response.generations[0][0]
        message = generation.message if isinstance(generation, ChatGeneration) else None
        facts = dict(getattr(message, "response_metadata", None) or generation.generation_info or {})
        reason = facts.get("finish_reason") or facts.get("stop_reason") or facts.get("done_reason")
        model = facts.get("model_name") or facts.get("model")
        self.tel.response(
            input=run.prompt,
            output=generation.text if message is None else _text(message),
            outcome=_OUTCOMES.get(reason, "success"),
            latency_ms=_milliseconds(run),
            token_count=_tokens(message, response),
            session=run.session,
            parent_event_id=run.parent_event_id,
            metadata=None if model is None else {"model_version": model},
        )

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It did not."""
        run = self._runs.pop(run_id)
        if run is not None:
            self.tel.response(
                input=run.prompt,
                output=f"{type(error).__name__}: {error}",
                outcome="error",
                latency_ms=_milliseconds(run),
                session=run.session,
                parent_event_id=run.parent_event_id,
            )


def end_call(call: Call, output: object, error: BaseException | None = None) -> None:
    """Record what a tool run came to, unless it only pauses."""
    if error is not None and _is_interrupt(error):
        call.abandon()
    elif isinstance(output, ToolMessage) and output.status == "error":
        call.end(outcome="error", error_message=_text(output))
    else:
        call.end(error)


def _is_interrupt(error: BaseException) -> bool:
    # LangGraph pauses a run by an exception of its own; langchain-core alone does not have the class.
    return any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)


def _text(message: BaseMessage) -> str:
    """What a message says; of one that only asks for tools, which and with what."""
    said = message.text
    if not said and isinstance(message, AIMessage) and message.tool_calls:
        wanted: Sequence[Mapping[str, object]] = [
            {"tool": one["name"], "args": one["args"]} for one in message.tool_calls
        ]
        return json.dumps(wanted, ensure_ascii=False, default=str)
    return str(said)


def _milliseconds(run: Run) -> float:
    return round((clock.monotonic_seconds() - run.since) * 1_000, 3)


def _tokens(message: BaseMessage | None, response: LLMResult) -> int | None:
    usage = getattr(message, "usage_metadata", None) or (response.llm_output or {}).get("token_usage") or {}
    total = usage.get("total_tokens") if isinstance(usage, Mapping) else None
    return total if isinstance(total, int) else None
