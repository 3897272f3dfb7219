"""One tool call, from its arguments to the record of its outcome.

`instrument_tool` makes one for every call of a function. `Telemetry.open_call` hands one to whoever sees a call
without being the function: a framework's callback, a client of a tool server.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Literal
from uuid import UUID

import msgspec

from pactstream import clock, ids
from pactstream.events.model import ToolCall
from pactstream.sdk.errors import PactViolation, PreflightUnavailable
from pactstream.sdk.plain import Snapshot, text
from pactstream.sdk.recorder import CURRENT_CALL, Recorder, Scope
from pactstream.sdk.session import MAX_REASON, describe

CallOutcome = Literal["success", "error", "denied", "refused"]

_logger = logging.getLogger("pactstream.sdk")


class Call:
    """A call that has begun and has no outcome yet.

    As a context manager (`with` or `async with`) it asks first where `block_on` is set, and records what left
    the block. Otherwise call `check` or `acheck` before the tool, and `end` after it, from any thread. Only the
    first `end` counts. `event_id` is the id of the event to come: what happens inside the call names it as its
    parent.
    """

    __slots__ = (
        "_attempted_micros",
        "_checked",
        "_ended",
        "_event_id",
        "_metadata",
        "_outer",
        "_pact_id",
        "_params",
        "_previous",
        "_recorder",
        "_reservation_id",
        "_scope",
        "_since",
        "_tool",
    )

    def __init__(
        self,
        recorder: Recorder,
        tool: str,
        scope: Scope,
        pact_id: UUID | None,
        params: Snapshot,
        metadata: dict[str, Any] | None,
        *,
        event_id: UUID | None = None,
        parent_event_id: UUID | None = None,
        checked: bool = True,
        recorded: bool = True,
    ) -> None:
        self._recorder = recorder
        self._tool = tool
        self._scope = scope
        self._pact_id = pact_id
        self._params = params
        self._metadata = metadata
        self._checked = checked
        self._event_id = event_id or ids.uuid7()
        self._reservation_id = ids.uuid7() if recorder.config.reserve else None
        self._attempted_micros = clock.now_micros()
        self._since: float | None = clock.monotonic_seconds()
        self._previous: UUID | None = None
        self._outer = parent_event_id or CURRENT_CALL.get()
        self._ended = not recorded

    @property
    def event_id(self) -> str:
        """The id of the event that records this call."""
        return str(self._event_id)

    def needs_preflight(self) -> bool:
        """Whether a verdict must be had before the call."""
        blocks = self._recorder.config.block_on is not None
        return blocks and (self._pact_id is not None or self._scope.pact_fault is not None)

    def check(self) -> None:
        """Where `block_on` is set: ask, and return if the call may be made; blocks until the answer.

        Raises:
            PactViolation: the pact forbids the call. It is recorded as denied.
            PreflightUnavailable: nobody can say. Likewise.
        """
        if not self.needs_preflight():
            return
        try:
            self._ask()
        except BaseException as denial:
            self._refused(denial)
            raise
        self._begin()

    async def acheck(self) -> None:
        """`check` for coroutines: the event loop goes on meanwhile."""
        if not self.needs_preflight():
            return
        try:
            await asyncio.to_thread(self._ask)
        except BaseException as denial:
            self._refused(denial)
            raise
        self._begin()

    def _ask(self) -> None:
        self._recorder.preflight.check(
            pact=self._pact_id or self._scope.pact_fault or "",
            agent_id=self._scope.agent_id,
            session_id=self._scope.session_id,
            tool=self._tool,
            params=self._params,
            reservation_id=self._reservation_id,
        )

    def _begin(self) -> None:
        # What is held is held for a call from now on.
        self._attempted_micros = clock.now_micros()
        self._since = clock.monotonic_seconds()

    def _refused(self, denial: BaseException) -> None:
        self._since = None
        self._give_back()
        if isinstance(denial, PactViolation | PreflightUnavailable):
            self.end(denial)
        self._ended = True

    def abandon(self) -> None:
        """The call is not made, or will be made anew: record nothing, and let go of what may be held for it."""
        if not self._ended:
            self._ended = True
            self._give_back()

    def _give_back(self) -> None:
        if self.needs_preflight() and self._reservation_id is not None:
            self._recorder.preflight.give_back(self._scope.agent_id, self._reservation_id)

    def start(self) -> None:
        """The tool is called now; what this thread or task records meanwhile has this call as its parent."""
        self._previous = CURRENT_CALL.get()
        CURRENT_CALL.set(self._event_id)
        self._since = clock.monotonic_seconds()

    def leave(self) -> None:
        """What is recorded from now on no longer belongs to this call."""
        CURRENT_CALL.set(self._previous)

    def end(
        self,
        error: BaseException | None = None,
        *,
        outcome: CallOutcome | None = None,
        error_message: str | None = None,
    ) -> None:
        """Record the outcome: `success`, or what `error` stands for, unless `outcome` says otherwise."""
        if self._ended:
            return
        self._ended = True
        latency_ms = None
        if self._since is not None:
            latency_ms = round((clock.monotonic_seconds() - self._since) * 1_000, 3)
        try:
            if error_message is not None:
                error_message = text(error_message, MAX_REASON)
            elif error is not None:
                error_message = describe(error)
            self._record(outcome or _outcome(error), error_message, latency_ms)
        except Exception as fault:
            # For instance an exception whose text cannot be had.
            _logger.debug("a tool call cannot be recorded", exc_info=True)
            self._recorder.invalid(f"call of {self._tool[:200]}", fault)

    def _record(self, outcome: CallOutcome, error_message: str | None, latency_ms: float | None) -> None:
        scope = self._scope
        event = ToolCall(
            session_id=scope.session_id,
            agent_id=scope.agent_id,
            event_id=self._event_id,
            parent_event_id=self._outer,
            room_id=scope.room_id,
            pact_id=self._pact_id,
            metadata=self._metadata,
            tool=self._tool,
            params=msgspec.Raw(self._params.encoded),
            outcome=outcome,
            attempted_at=clock.from_micros(self._attempted_micros),
            latency_ms=latency_ms,
            error_message=error_message,
            reservation_id=self._reservation_id if self.needs_preflight() else None,
        )
        self._recorder.commit(event, check=not self._checked)

    def __enter__(self) -> Call:
        self.check()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        self.end(error)

    async def __aenter__(self) -> Call:
        await self.acheck()
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        self.end(error)


def _outcome(error: BaseException | None) -> CallOutcome:
    if error is None:
        return "success"
    return "denied" if isinstance(error, PactViolation | PreflightUnavailable) else "error"
