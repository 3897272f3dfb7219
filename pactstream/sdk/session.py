"""`Telemetry.session()`: a unit of work that opens, encloses and closes its events."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Literal
from uuid import UUID

import msgspec

from pactstream import clock, ids
from pactstream.events.model import RoomId, SessionEnd, SessionId, SessionStart
from pactstream.sdk.plain import text
from pactstream.sdk.recorder import CURRENT_CALL, CURRENT_SESSION, OpenSession, Recorder, Scope

Metadata = Mapping[str, str | int | float | bool | None]
SessionOutcome = Literal["success", "failure", "aborted", "timeout"]

MAX_REASON = 1_000

_logger = logging.getLogger("pactstream.sdk")


class Session:
    """A session, as `Telemetry.session()` returns it for `with`.

    `id` and `pact_id` are what its events carry. Set `outcome` and `reason` to override what is read from the
    exception that leaves the block: none is `success`, `TimeoutError` is `timeout`, cancellation and the like
    are `aborted`, any other is `failure`.
    """

    def __init__(self, recorder: Recorder, scope: Scope, metadata: Metadata | None = None) -> None:
        self.recorder = recorder
        self.scope = scope
        self.outer: OpenSession | None = None
        self.outcome: SessionOutcome | None = None
        self.reason: str | None = None
        self._metadata = metadata
        self._pid = 0
        self._token: Token[OpenSession | None] | None = None

    @property
    def id(self) -> str:
        """The session id that its events carry."""
        return self.scope.session_id

    @property
    def pact_id(self) -> str | None:
        """The pact that its tool calls are judged against."""
        return None if self.scope.pact_id is None else str(self.scope.pact_id)

    def __enter__(self) -> Session:
        if self._pid:
            self.recorder.invalid("session", ValueError("a session is entered only once; make another"))
            return self
        self._pid = os.getpid()
        self.outer = CURRENT_SESSION.get()
        self._token = CURRENT_SESSION.set(self)
        self._safely(self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        try:
            CURRENT_SESSION.reset(token)
        except ValueError:
            # Left in another context than entered, as some async fixtures do; that context ends with its task.
            _logger.debug("a session was left in another context than it was entered in")
        # In a child forked inside the block, the session is still the parent's to end.
        if self._pid == os.getpid():
            self._safely(lambda: self._end(error))

    def open(self) -> Session:
        """Record the start, without making this the session of the code around it.

        For frameworks that tell of start and end in different threads or tasks: `session=` says what belongs
        to it.
        """
        if not self._pid:
            self._pid = os.getpid()
            self._safely(self._start)
        return self

    def close(self, error: BaseException | None = None) -> None:
        """Record the end of a session that was opened by `open`."""
        if self._pid == os.getpid() and self._token is None:
            self._pid = -1
            self._safely(lambda: self._end(error))

    def _safely(self, record: Callable[[], object]) -> None:
        try:
            record()
        except Exception as fault:
            # Unusable metadata, an outcome that is none, an exception whose text cannot be had.
            _logger.debug("a session's event cannot be recorded", exc_info=True)
            self.recorder.invalid("session", fault)

    def _start(self) -> None:
        scope = self.scope
        start = SessionStart(
            session_id=scope.session_id,
            agent_id=scope.agent_id,
            event_id=ids.uuid7(),
            parent_event_id=CURRENT_CALL.get(),
            room_id=scope.room_id,
            pact_id=scope.pact_id,
            metadata=self.recorder.metadata(self._metadata),
            started_at=clock.from_micros(clock.now_micros()),
        )
        self.recorder.commit(start)

    def _end(self, error: BaseException | None) -> None:
        scope = self.scope
        reason = self.reason if self.reason is not None or error is None else describe(error)
        end = SessionEnd(
            session_id=scope.session_id,
            agent_id=scope.agent_id,
            event_id=ids.uuid7(),
            room_id=scope.room_id,
            ended_at=clock.from_micros(clock.now_micros()),
            parent_event_id=CURRENT_CALL.get(),
            outcome=self.outcome or _outcome(error),
            reason=None if reason is None else text(reason, MAX_REASON),
        )
        self.recorder.commit(end)


def open_scope(
    recorder: Recorder,
    *,
    session_id: str | None,
    agent_id: UUID | str | None,
    pact_id: UUID | str | None,
    room_id: str | None,
) -> Scope:
    """The scope of a new session inside the present one; what cannot be used is reported and left out."""
    outer = recorder.scope()
    pact = _usable(recorder, "pact_id", pact_id, UUID)
    inherits = pact_id is None
    return Scope(
        session_id=_usable(recorder, "session_id", session_id, SessionId) or str(ids.uuid7()),
        agent_id=_usable(recorder, "agent_id", agent_id, UUID) or outer.agent_id,
        pact_id=outer.pact_id if inherits else pact,
        room_id=_usable(recorder, "room_id", room_id, RoomId) or outer.room_id,
        pact_fault=outer.pact_fault if inherits else None if pact else "the session's pact_id is not a UUID",
    )


def _usable(recorder: Recorder, name: str, value: object, kind: Any) -> Any:
    try:
        if isinstance(value, str):
            value.encode()
        return None if value is None else msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        recorder.invalid(f"session: {name}", error)
        return None


def describe(error: BaseException) -> str:
    """An exception's type and text, bounded: `ValueError: no such account`."""
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:
        # The agent's own class; its name must do.
        _logger.debug("an exception's text cannot be had", exc_info=True)
        message = ""
    return text(f"{name}: {message}" if message else name, MAX_REASON)


def _outcome(error: BaseException | None) -> SessionOutcome:
    if error is None:
        return "success"
    if isinstance(error, TimeoutError):
        return "timeout"
    return "failure" if isinstance(error, Exception) else "aborted"
