"""Events that the agent's code records itself: arguments checked and completed from what surrounds the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, cast
from uuid import UUID

import msgspec

from pactstream import clock, ids
from pactstream.events.model import MAX_TEXT, Event, Response, SessionEnd, SessionStart, ToolCall
from pactstream.sdk.call import Call
from pactstream.sdk.config import checked_uuid
from pactstream.sdk.plain import MAX_KEYS, Snapshot, snapshot, text
from pactstream.sdk.recorder import CURRENT_CALL, Recorder, Scope
from pactstream.sdk.session import Metadata, Session
from pactstream.sdk.verdict import Verdict

Kind = type[SessionStart] | type[ToolCall] | type[Response] | type[SessionEnd]

_MOMENTS: Final = frozenset({"started_at", "attempted_at", "emitted_at", "ended_at"})
_TEXTS: Final = frozenset({"input", "output", "reason", "error_message"})


class EventContext(TypedDict, total=False):
    """What every event may carry; what is left out comes from the session around it, then from `Telemetry`.

    `session` is one that is not around this code; `event_id` is made unless given.
    """

    event_id: UUID | str | None
    session: Session | None
    session_id: str | None
    agent_id: UUID | str | None
    pact_id: UUID | str | None
    room_id: str | None
    parent_event_id: UUID | str | None
    metadata: Metadata | None


def explicit_event(recorder: Recorder, kind: Kind, context: EventContext, fields: Mapping[str, Any]) -> Event:
    """The event, complete and with its id; its values are checked where it is encoded.

    Raises:
        TypeError: an unknown argument, or one of a wrong type.
        ValueError: an id that is not a UUID, a time that is not ISO 8601.
    """
    _check_names(context)
    values = {name: _value(name, value) for name, value in fields.items()}
    exact = True
    if kind is ToolCall:
        params, exact = _params(fields["params"])
        values["params"] = params
    scope = scope_of(recorder, context)
    pact_id = scope.pact_id if kind in (ToolCall, SessionStart) else None
    build = cast(Callable[..., Event], kind)
    return build(
        session_id=scope.session_id,
        agent_id=_uuid("agent_id", context.get("agent_id")) or scope.agent_id,
        event_id=_uuid("event_id", context.get("event_id")) or ids.uuid7(),
        parent_event_id=_uuid("parent_event_id", context.get("parent_event_id")) or CURRENT_CALL.get(),
        room_id=context.get("room_id") or scope.room_id,
        pact_id=_uuid("pact_id", context.get("pact_id")) or pact_id,
        metadata=recorder.metadata(context.get("metadata"), exact=exact),
        **values,
    )


def open_call(recorder: Recorder, tool: str, params: Mapping[str, Any] | None, context: EventContext) -> Call:
    """A call in `context`; `params` is None where nobody can say what they are.

    Raises:
        TypeError, ValueError: as `explicit_event`.
    """
    _check_names(context)
    if not isinstance(tool, str):
        raise TypeError(f"a tool's name must be text, not {type(tool).__name__}")
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping, not {type(params).__name__}")
    scope = scope_of(recorder, context)
    scope = scope._replace(
        agent_id=_uuid("agent_id", context.get("agent_id")) or scope.agent_id,
        room_id=context.get("room_id") or scope.room_id,
    )
    taken = Snapshot(b"{}", exact=False) if params is None else snapshot(params)
    return Call(
        recorder,
        tool,
        scope,
        _uuid("pact_id", context.get("pact_id")) or scope.pact_id,
        taken,
        recorder.metadata(context.get("metadata"), exact=taken.exact),
        event_id=_uuid("event_id", context.get("event_id")),
        parent_event_id=_uuid("parent_event_id", context.get("parent_event_id")),
        checked=False,
    )


def foresee(recorder: Recorder, tool: str, params: Mapping[str, Any], context: EventContext) -> Verdict:
    """The verdict on a call in `context` that nobody makes yet.

    Raises:
        PreflightUnavailable: nobody can say.
        TypeError, ValueError: as `explicit_event`.
    """
    _check_names(context)
    scope = scope_of(recorder, context)
    return recorder.preflight.verdict(
        pact=_uuid("pact_id", context.get("pact_id"))
        or scope.pact_id
        or scope.pact_fault
        or "no pact is in scope",
        agent_id=_uuid("agent_id", context.get("agent_id")) or scope.agent_id,
        session_id=scope.session_id,
        tool=tool,
        params=snapshot(params),
    )


def unusable_call(recorder: Recorder, tool: object, fault: Exception) -> Call:
    """A call that cannot be described: never judged as allowed where `block_on` is set, and never recorded."""
    scope = recorder.scope()._replace(pact_fault=f"the call cannot be described: {fault}")
    nothing = Snapshot(b"{}", exact=False)
    return Call(recorder, str(tool)[:MAX_KEYS], scope, None, nothing, None, recorded=False)


def _check_names(context: EventContext) -> None:
    unknown = context.keys() - EventContext.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown argument {', '.join(sorted(unknown))}")


def scope_of(recorder: Recorder, context: EventContext) -> Scope:
    """What an event in `context` takes from its surroundings."""
    given, session_id = context.get("session"), context.get("session_id")
    if given is not None:
        return given.scope
    session = recorder.session()
    if session_id is None or (session is not None and session.scope.session_id == session_id):
        return recorder.scope()
    # A session other than the one around this code: its pact and room are not known here.
    return Scope(session_id, recorder.config.agent_id, recorder.config.pact_id)


def _value(name: str, value: Any) -> Any:
    if name == "reservation_id":
        return _uuid(name, value)
    if name in _MOMENTS:
        return _moment(value)
    if name in _TEXTS and value is not None:
        return text(value, MAX_TEXT)
    return value


def _moment(value: object) -> datetime:
    if value is None:
        return clock.from_micros(clock.now_micros())
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise TypeError(f"a time must be a datetime or ISO 8601 text, not {type(value).__name__}")
    return value.astimezone(UTC)


def _params(params: object) -> tuple[msgspec.Raw, bool]:
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping, not {type(params).__name__}")
    encoded, exact = snapshot(params or {})
    return msgspec.Raw(encoded), exact


def _uuid(name: str, value: UUID | str | None) -> UUID | None:
    return None if value is None else checked_uuid(name, value)
