"""The answer to a batch: one result for each event, in the order of the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pactstream.errors import Detail
from pactstream.pacts import Verdict

Code: TypeAlias = Literal["INVALID_INPUT", "FORBIDDEN", "NOT_FOUND", "CONFLICT"]

STATUS: dict[Code, int] = {"INVALID_INPUT": 422, "FORBIDDEN": 403, "NOT_FOUND": 404, "CONFLICT": 409}
_MAX_DETAILS = 100
# Failing values may be exact decimals beyond binary floats: they are written digit by digit.
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Fault(msgspec.Struct, frozen=True):
    """Why one event was rejected, in the wire form of errors."""

    error: str
    code: Code
    details: tuple[dict[str, str], ...]


class Accepted(msgspec.Struct, frozen=True, rename="camel", tag_field="status", tag="accepted"):
    """The event is durable; `validation` is its inline verdict, null where it carries no pact.

    The gateway always names the event; a sidecar cannot where the event came without an id.
    """

    event_id: UUID | UnsetType
    validation: Verdict | None


class Rejected(msgspec.Struct, frozen=True, rename="camel", tag_field="status", tag="rejected"):
    """The event was not taken; its id stands here if it could be read."""

    error: Fault
    event_id: UUID | UnsetType = UNSET


Result: TypeAlias = Accepted | Rejected


class Answer(msgspec.Struct, frozen=True):
    """The whole answer; `error`, `code` and `details` only where no event was accepted."""

    accepted: int
    results: Sequence[Result]
    error: str | UnsetType = UNSET
    code: Code | UnsetType = UNSET
    details: Sequence[dict[str, str]] | UnsetType = UNSET


def rejected(code: Code, message: str, details: Sequence[Detail], event_id: UUID | None = None) -> Rejected:
    """The result of an event that was not taken."""
    wire = tuple({"path": one.path, "message": one.message} for one in details)
    return Rejected(Fault(message, code, wire), UNSET if event_id is None else event_id)


def answer(results: Sequence[Result]) -> tuple[int, bytes]:
    """The status and JSON body for these results: 200 all accepted, 207 some, and without any the status of the
    code they share (422 where codes differ).
    """
    faults = [one.error for one in results if isinstance(one, Rejected)]
    accepted = len(results) - len(faults)
    if accepted:
        return (207 if faults else 200), _ENCODER.encode(Answer(accepted, results))
    codes = {one.code for one in faults}
    code: Code = codes.pop() if len(codes) == 1 else "INVALID_INPUT"
    details = [detail for one in faults for detail in one.details][:_MAX_DETAILS]
    return STATUS[code], _ENCODER.encode(Answer(0, results, "no event was accepted", code, details))
