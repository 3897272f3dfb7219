"""`Telemetry`: what an agent's code holds."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack, overload
from uuid import UUID

from pactstream.events.model import Response, SessionEnd, SessionStart, ToolCall
from pactstream.sdk.call import Call
from pactstream.sdk.config import Config, Secret, Unavailable, checked_url, checked_uuid
from pactstream.sdk.errors import PreflightUnavailable
from pactstream.sdk.explicit import EventContext, Kind, explicit_event, foresee, open_call, unusable_call
from pactstream.sdk.instrument import Tool, instrumented
from pactstream.sdk.receipt import Receipt
from pactstream.sdk.recorder import Recorder
from pactstream.sdk.reports import OnError
from pactstream.sdk.sender import OnVerdict
from pactstream.sdk.session import Metadata, Session, SessionOutcome, open_scope
from pactstream.sdk.verdict import Severity, Verdict

ToolOutcome = Literal["success", "error", "denied", "refused"]
ResponseOutcome = Literal["success", "refusal", "partial", "error"]
F = TypeVar("F", bound=Callable[..., Any])

_logger = logging.getLogger("pactstream.sdk")


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the process started: `recorded == accepted + rejected + dropped + pending` at any moment.

    `invalid` counts unusable calls of telemetry methods (never recorded), `retries` attempts that failed and
    were repeated.
    """

    recorded: int
    accepted: int
    rejected: int
    dropped: int
    pending: int
    invalid: int
    retries: int


class Telemetry:
    """Records an agent's behaviour and delivers it in the background.

    Args:
        api_key: the gateway's key for this tenant.
        base_url: the gateway, `https://…`; plain `http` is refused for any host but loopback.
        agent_id: the agent whose behaviour this is (UUID); a session or an event may name another.
        pact_id: the pact that tool calls are judged against unless a session or a call names another.
        batch_size: events in one request, 1 to 500.
        flush_interval_seconds: how long an event waits for its batch to fill.
        max_buffered_events: events kept while the gateway cannot be reached; what does not fit is dropped and
            counted.
        max_buffered_bytes: the same in bytes.
        on_verdict: called as `on_verdict(event_id, verdict)` on the sending thread, for every judged call.
        on_error: called with a `TelemetryProblem`, from any thread; at most every ten seconds for each kind,
            but for every event that the server rejects by itself.
        block_on: ask for the verdict *before* each instrumented call, and do not call if the pact is broken at
            this severity or a graver one.
        preflight_unavailable: what to do if that verdict cannot be had: "block" (fail closed) or "allow".
        preflight_timeout_seconds: how long an instrumented call waits for that verdict.
        reserve: have what an instrumented call takes of the pact's budgets held from that verdict until the
            call's event is judged, so that two calls at once cannot both be allowed what only one may have.
        request_timeout_seconds: how long one attempt at delivery may take.
        close_timeout_seconds: how long `close` and the end of the process wait for the last events.
        retry_first_seconds: the pause after the first failed attempt; it doubles from there, with jitter.
        retry_max_seconds: the longest such pause. `Retry-After` is honoured up to five minutes.
        retry_for_seconds: how long to repeat a batch that the server fails on (500, an answer that is not the
            gateway's); an unreachable or overloaded server is waited for without limit.
        compress_over_bytes: gzip longer request bodies; None for never.
        ca_certs: a PEM file of certificate authorities to trust instead of the system's.
        allow_insecure: allow plain http to another machine, where the network can read the API key.
        journal: a file that notes each event that the gateway acknowledged, for `pactstream verify sent`.
        journal_max_bytes: the most that it and the file before it, `<journal>.1`, take together.

    Raises:
        ValueError: an argument is out of its range, or the journal cannot be written.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        agent_id: UUID | str,
        pact_id: UUID | str | None = None,
        batch_size: int = 25,
        flush_interval_seconds: float = 5.0,
        max_buffered_events: int = 10_000,
        max_buffered_bytes: int = 64 * 1024 * 1024,
        on_verdict: OnVerdict | None = None,
        on_error: OnError | None = None,
        block_on: Severity | None = None,
        preflight_unavailable: Unavailable = "block",
        preflight_timeout_seconds: float = 2.0,
        reserve: bool = False,
        request_timeout_seconds: float = 10.0,
        close_timeout_seconds: float = 5.0,
        retry_first_seconds: float = 0.5,
        retry_max_seconds: float = 30.0,
        retry_for_seconds: float = 600.0,
        compress_over_bytes: int | None = 8_192,
        ca_certs: str | None = None,
        allow_insecure: bool = False,
        journal: Path | str | None = None,
        journal_max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        config = Config(
            api_key=Secret(api_key),
            base_url=checked_url(base_url, allow_insecure=allow_insecure),
            agent_id=checked_uuid("agent_id", agent_id),
            pact_id=None if pact_id is None else checked_uuid("pact_id", pact_id),
            batch_size=batch_size,
            flush_interval_seconds=flush_interval_seconds,
            max_buffered_events=max_buffered_events,
            max_buffered_bytes=max_buffered_bytes,
            block_on=block_on,
            preflight_unavailable=preflight_unavailable,
            preflight_timeout_seconds=preflight_timeout_seconds,
            reserve=reserve,
            request_timeout_seconds=request_timeout_seconds,
            close_timeout_seconds=close_timeout_seconds,
            retry_first_seconds=retry_first_seconds,
            retry_max_seconds=retry_max_seconds,
            retry_for_seconds=retry_for_seconds,
            compress_over_bytes=compress_over_bytes,
            ca_certs=ca_certs,
            journal=None if journal is None else Path(journal),
            journal_max_bytes=journal_max_bytes,
        )
        self._recorder = Recorder(config, on_verdict, on_error)
        atexit.register(self.close)

    def session_start(
        self, *, started_at: datetime | str | None = None, **context: Unpack[EventContext]
    ) -> Receipt:
        """Record the opening of a session; `session()` does this and closes it too."""
        return self._record(SessionStart, context, started_at=started_at)

    def tool_call(
        self,
        *,
        tool: str,
        params: Mapping[str, object] | None = None,
        outcome: ToolOutcome = "success",
        latency_ms: float | None = None,
        error_message: str | None = None,
        reservation_id: UUID | str | None = None,
        attempted_at: datetime | str | None = None,
        **context: Unpack[EventContext],
    ) -> Receipt:
        """Record one tool invocation; `instrument_tool` does this for every call of a function.

        `reservation_id` is that of a pre-flight which held the call's budget.
        """
        return self._record(
            ToolCall,
            context,
            tool=tool,
            params=params,
            outcome=outcome,
            latency_ms=latency_ms,
            error_message=error_message,
            reservation_id=reservation_id,
            attempted_at=attempted_at,
        )

    def response(
        self,
        *,
        input: str,  # noqa: A002 - the field's name in the wire contract
        output: str,
        outcome: ResponseOutcome = "success",
        latency_ms: float | None = None,
        token_count: int | None = None,
        emitted_at: datetime | str | None = None,
        **context: Unpack[EventContext],
    ) -> Receipt:
        """Record what the agent said to a counterparty. Long texts are cut, with a mark that says so."""
        return self._record(
            Response,
            context,
            input=input,
            output=output,
            outcome=outcome,
            latency_ms=latency_ms,
            token_count=token_count,
            emitted_at=emitted_at,
        )

    def open_call(
        self, *, tool: str, params: Mapping[str, object] | None, **context: Unpack[EventContext]
    ) -> Call:
        """A tool call that begins now and is to end later, for whoever sees it without being the tool.

        Use it in `with` or `async with` around the work, or call its `check` before and its `end` after.
        `params` is None where nobody can say what they are; `block_on` then refuses.
        """
        try:
            return open_call(self._recorder, tool, params, context)
        except Exception as error:
            _logger.debug("a tool call cannot be recorded", exc_info=True)
            self._recorder.invalid("ToolCall", error)
            return unusable_call(self._recorder, tool, error)

    def preflight(self, *, tool: str, params: Mapping[str, object], **context: Unpack[EventContext]) -> Verdict:
        """The verdict on a call that is not made, whatever `block_on` says; blocks until the answer.

        Raises:
            PreflightUnavailable: no pact is in scope, the gateway does not answer, or the arguments cannot be
                judged.
        """
        try:
            return foresee(self._recorder, tool, params, context)
        except (TypeError, ValueError) as error:
            raise PreflightUnavailable(f"the call cannot be described: {error}") from None

    def session_end(
        self,
        *,
        outcome: SessionOutcome = "success",
        reason: str | None = None,
        ended_at: datetime | str | None = None,
        **context: Unpack[EventContext],
    ) -> Receipt:
        """Record the end of a session."""
        return self._record(SessionEnd, context, outcome=outcome, reason=reason, ended_at=ended_at)

    def session(
        self,
        session_id: str | None = None,
        *,
        agent_id: UUID | str | None = None,
        pact_id: UUID | str | None = None,
        room_id: str | None = None,
        metadata: Metadata | None = None,
    ) -> Session:
        """A session for `with`, in sync and async code alike: records its start and its end.

        What is recorded inside it, in this thread or task and the tasks it starts, belongs to it; its tool
        calls carry its pact. What is left out comes from the session around it, then from `Telemetry`; the id
        is made. Unusable arguments are reported and left out, but with `block_on`, calls under an unusable
        `pact_id` are refused.
        """
        scope = open_scope(
            self._recorder, session_id=session_id, agent_id=agent_id, pact_id=pact_id, room_id=room_id
        )
        return Session(self._recorder, scope, metadata)

    def current_session(self) -> Session | None:
        """The innermost session of this thread or task, as `session()` returned it; None outside of any."""
        session = self._recorder.session()
        return session if isinstance(session, Session) else None

    @overload
    def instrument_tool(self, function: F, /) -> F: ...

    @overload
    def instrument_tool(
        self,
        /,
        *,
        name: str | None = None,
        exclude: Collection[str] = (),
        pact_id: UUID | str | None = None,
        metadata: Metadata | None = None,
    ) -> Callable[[F], F]: ...

    @overload
    def instrument_tool(
        self,
        function: F,
        /,
        *,
        name: str | None = None,
        exclude: Collection[str] = (),
        pact_id: UUID | str | None = None,
        metadata: Metadata | None = None,
    ) -> F: ...

    def instrument_tool(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        exclude: Collection[str] = (),
        pact_id: UUID | str | None = None,
        metadata: Metadata | None = None,
    ) -> Any:
        """Record every call of a function, sync or async; as a decorator or as a wrapper.

        Args:
            function: the tool.
            name: the tool's name in the events; the function's own by default.
            exclude: parameters that are not sent: secrets, connections and the like.
            pact_id: judge its calls against this pact, whatever the session says.
            metadata: sent with every call.

        Raises:
            TypeError: a generator function, or a bare `staticmethod` or `classmethod` object.
            ValueError: a name longer than 128 characters or with control characters, a `pact_id` that is no
                UUID, or an excluded parameter that does not exist.
        """

        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            pact = None if pact_id is None else checked_uuid("pact_id", pact_id)
            tool = Tool(self._recorder, function, name=name, exclude=exclude, pact_id=pact, metadata=metadata)
            return instrumented(tool, function)

        return wrap if function is None else wrap(function)

    def flush(self, timeout: float | None = None) -> bool:
        """Send what is buffered and wait for its fate, at most `timeout` seconds (None: as long as it takes).

        Whether everything recorded before this call is settled. Blocks: in a coroutine, use
        `await asyncio.to_thread(tel.flush)`. False at once when called from a callback.
        """
        if not self._recorder.hurry(end_pause=True):
            return False
        return self._recorder.buffer.wait_settled(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Take no more events, deliver those recorded within `timeout` seconds, give up (and count) the rest.

        Whether nothing had to be given up. Called by itself at the end of the process; may be called again.
        """
        atexit.unregister(self.close)
        return self._recorder.close(self._recorder.config.close_timeout_seconds if timeout is None else timeout)

    def stats(self) -> Stats:
        """What has become of the events so far."""
        counts, reports = self._recorder.buffer.snapshot(), self._recorder.reports
        return Stats(
            recorded=counts.recorded,
            accepted=counts.accepted,
            rejected=counts.rejected,
            dropped=counts.dropped,
            pending=counts.pending,
            invalid=reports.count("invalid"),
            retries=self._recorder.sender.retries,
        )

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        config = self._recorder.config
        return f"Telemetry(base_url={config.base_url!r}, agent_id={str(config.agent_id)!r})"

    def _record(self, kind: Kind, context: EventContext, **fields: Any) -> Receipt:
        try:
            return self._recorder.commit(explicit_event(self._recorder, kind, context, fields))
        except Exception as error:
            # Whatever is wrong with the arguments, the agent goes on.
            _logger.debug("an event cannot be recorded", exc_info=True)
            return self._recorder.invalid(kind.__name__, error)
