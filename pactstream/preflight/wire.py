"""Questions of a gateway and answers of an evaluator: JSON over HTTP, between our own processes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pactstream.pacts import Severity

ASK: Final = "/v1/ask"
CANCEL: Final = "/v1/cancel"

NOT_HELD: Final = 421
"""Misdirected Request (RFC 9110, section 15.5.20): the partition is not, or not yet, this worker's."""


class Reserve(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Hold what the call takes, unless its verdict is at least as grave as `block_on` (None: as anything)."""

    reservation_id: str
    seconds: float | None = None
    block_on: Severity | None = None


class Question(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A call that is yet to be made.

    `after` is the offset of the latest record that this gateway knows to be in the partition: the answer takes
    it into account. -1: it knows of none.
    """

    partition: int
    after: int
    received_at_micros: int
    tenant_id: str
    agent_id: str
    pact_id: str
    pact_version: int
    tool: str
    params: msgspec.Raw
    session_id: str | None = None
    reserve: Reserve | None = None


class Cancellation(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A reservation that is no longer wanted."""

    partition: int
    tenant_id: str
    agent_id: str
    reservation_id: str


class Reservation(msgspec.Struct, rename="camel"):
    """What is held, and until when."""

    reservation_id: str
    expires_at: str


class Answer(msgspec.Struct, rename="camel"):
    """The verdict (a gateway leaves it in the bytes it came in), with what it says in brief.

    `as_of`: what had arrived by then is taken into account.
    """

    valid: bool
    bound: bool
    severity: Severity | None
    validation: Any
    as_of: str
    reservation: Reservation | None = None


class ReadAnswer(Answer):
    """An answer as a gateway reads it."""

    validation: msgspec.Raw


class Refusal(msgspec.Struct):
    """Why there is no answer."""

    error: str


class Cancelled(msgspec.Struct):
    """Whether there was anything to cancel."""

    found: bool
