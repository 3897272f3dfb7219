"""The wire form of the four events, as the published clients send it.

Field names are camelCase on the wire. An unknown field is refused, not ignored: a mistyped `pactID` would
otherwise leave a call unjudged without anybody noticing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Meta, Raw

MAX_TEXT = 65_536
MAX_METADATA_KEYS = 64

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_NO_CONTROLS = r"\A[^\x00-\x1f\x7f]+\Z"

# To be converted to, one by one.
SessionId: TypeAlias = Annotated[str, Meta(max_length=128, pattern=_NO_CONTROLS)]
RoomId: TypeAlias = Annotated[str, Meta(max_length=128, pattern=_NO_CONTROLS)]
ToolName: TypeAlias = Annotated[str, Meta(max_length=128, pattern=_NO_CONTROLS)]
# The same within an event, but for the pattern, which would take half of the time to decode one:
# `control_faults` looks for control characters.
Name: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=128, extra_json_schema={"pattern": _NO_CONTROLS})
]
Text: TypeAlias = Annotated[str, Meta(max_length=MAX_TEXT)]
MetadataKey: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
MetadataValue: TypeAlias = Annotated[str, Meta(max_length=4_096)] | int | float | bool | None
Metadata: TypeAlias = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=MAX_METADATA_KEYS)]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
Millis: TypeAlias = Annotated[float, Meta(ge=0, le=1e12)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class _Common(
    msgspec.Struct,
    rename="camel",
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="type",
):
    """What every event may carry."""

    session_id: Name
    agent_id: UUID
    event_id: UUID | None = None
    parent_event_id: UUID | None = None
    room_id: Name | None = None
    pact_id: UUID | None = None
    metadata: Metadata | None = None


class SessionStart(_Common, tag="session_start"):
    """Opens a unit of work."""

    started_at: Moment


class ToolCall(_Common, tag="tool_call"):
    """One tool invocation; judged if it carries `pactId`. `params` is kept as the JSON object it came as.

    `reservation_id` names the hold that a pre-flight made for it.
    """

    tool: Name
    params: Raw
    outcome: Literal["success", "error", "denied", "refused"]
    attempted_at: Moment
    latency_ms: Millis | None = None
    error_message: Text | None = None
    reservation_id: UUID | None = None


class Response(_Common, tag="response"):
    """What the agent said to a counterparty."""

    input: Text
    output: Text
    outcome: Literal["success", "refusal", "partial", "error"]
    emitted_at: Moment
    latency_ms: Millis | None = None
    token_count: Count | None = None


class SessionEnd(_Common, tag="session_end"):
    """Closes a unit of work."""

    ended_at: Moment
    outcome: Literal["success", "failure", "aborted", "timeout"]
    reason: Text | None = None


Event: TypeAlias = SessionStart | ToolCall | Response | SessionEnd

TIME_FIELDS: dict[type, str] = {
    SessionStart: "startedAt",
    ToolCall: "attemptedAt",
    Response: "emittedAt",
    SessionEnd: "endedAt",
}
"""The wire field that holds an event's own time."""


def occurred_at(event: Event) -> datetime:
    """The moment the event itself names."""
    if isinstance(event, ToolCall):
        return event.attempted_at
    if isinstance(event, SessionStart):
        return event.started_at
    if isinstance(event, SessionEnd):
        return event.ended_at
    return event.emitted_at


def control_faults(event: Event) -> Iterator[str]:
    """The wire names of members that hold control characters where none may be."""
    names = {"sessionId": event.session_id, "roomId": event.room_id}
    if isinstance(event, ToolCall):
        names["tool"] = event.tool
    for member, text in names.items():
        if text is not None and _CONTROLS.search(text):
            yield member
