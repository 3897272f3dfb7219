"""Events that the agent's code records itself: arguments checked and completed from what surrounds the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, cast
from uuid import UUID

import msgspec

from pactstream import clock, ids
from pactstream.events.model import MAX_TEXT, Event, Response, SessionEnd, SessionStart, ToolCall
from pactstream.sdk.config import checked_uuid
from pactstream.sdk.plain import snapshot, text
from pactstream.sdk.recorder import CURRENT_CALL, Recorder, Scope, moment
from pactstream.sdk.session import Metadata

Kind = type[SessionStart] | type[ToolCall] | type[Response] | type[SessionEnd]

_MOMENTS: Final = frozenset({"started_at", "attempted_at", "emitted_at", "ended_at"})
_TEXTS: Final = frozenset({"input", "output", "reason", "error_message"})


class EventContext(TypedDict, total=False):
    """What every event may carry; what is left out comes from the session around it, then from `Telemetry`."""

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
    unknown = context.keys() - EventContext.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown argument {', '.join(sorted(unknown))}")
    values = {name: _value(name, value) for name, value in fields.items()}
    exact = True
    if kind is ToolCall:
        params, exact = _params(fields["params"])
        values["params"] = params
    scope = _scope(recorder, context.get("session_id"))
    pact_id = scope.pact_id if kind in (ToolCall, SessionStart) else None
    build = cast(Callable[..., Event], kind)
    return build(
        session_id=scope.session_id,
        agent_id=_uuid("agent_id", context.get("agent_id")) or scope.agent_id,
        event_id=ids.uuid7(),
        parent_event_id=_uuid("parent_event_id", context.get("parent_event_id")) or CURRENT_CALL.get(),
        room_id=context.get("room_id") or scope.room_id,
        pact_id=_uuid("pact_id", context.get("pact_id")) or pact_id,
        metadata=recorder.metadata(context.get("metadata"), exact=exact),
        **values,
    )


def _scope(recorder: Recorder, session_id: str | None) -> Scope:
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
        return moment(clock.now_micros())
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
