"""The gateway's answer to a batch, read as the fate of each event in it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from pactstream.sdk.receipt import Status
from pactstream.sdk.verdict import Verdict

_MAX_ERROR = 500
_NULL = msgspec.Raw(b"null")


class Fate(NamedTuple):
    """What became of one event, with its verdict, and what was wrong with either."""

    status: Status
    verdict: Verdict | None = None
    error: str | None = None


class Unreadable(ValueError):
    """The content is not an answer of the gateway (a captive portal's page, a truncated body)."""


class _Result(msgspec.Struct, rename="camel"):
    status: str
    event_id: str = ""
    validation: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


class _Answer(msgspec.Struct):
    results: list[_Result]


_ANSWER = msgspec.json.Decoder(_Answer)
# Failing values may be numbers that binary floats do not hold.
_VERDICT: msgspec.json.Decoder[Verdict | None] = msgspec.json.Decoder(Verdict | None, float_hook=Decimal)
_UNNAMED = Fate("rejected", error="the server's answer does not name this event")


class Foreseen(NamedTuple):
    """A verdict before the call: whether its budget is held, and whether earlier calls were looked at."""

    verdict: Verdict
    held: bool
    looked_back: bool


class _Preflight(msgspec.Struct, rename="camel"):
    valid: bool
    validation: Verdict
    as_of: str | None = None
    reservation: dict[str, str] | None = None


_PREFLIGHT = msgspec.json.Decoder(_Preflight, float_hook=Decimal)


def read_fates(content: bytes, event_ids: Sequence[str]) -> list[Fate]:
    """The fate of each of `event_ids`, in their order.

    A result counts for the event it names; one that names none counts by its position. An event without a
    result was not confirmed, so it is reported as rejected rather than hoped for.

    Raises:
        Unreadable: `content` is not of the form `{"results":[{"status":…}]}`.
    """
    try:
        results = _ANSWER.decode(content).results
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"the answer is not the gateway's: {error}") from None
    by_name = {}
    for position, result in enumerate(results):
        name = result.event_id or (event_ids[position] if position < len(event_ids) else "")
        by_name[name] = result
    return [_fate(by_name[name]) if name in by_name else _UNNAMED for name in event_ids]


def read_foreseen(content: bytes) -> Foreseen:
    """A pre-flight's answer `{"valid":…,"validation":{…}}`, with `asOf` and `reservation` where it has them.

    Raises:
        Unreadable: there is none, or it contradicts `valid`.
    """
    try:
        answer = _PREFLIGHT.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"the answer is not the gateway's: {error}") from None
    if answer.valid != answer.validation.valid:
        raise Unreadable("the answer contradicts itself: valid differs from validation.valid")
    return Foreseen(answer.validation, answer.reservation is not None, answer.as_of is not None)


def _fate(result: _Result) -> Fate:
    # "duplicate" and the like mean that the server has the event: only a rejection is one.
    if result.status == "rejected" or result.error != _NULL:
        return Fate("rejected", error=bytes(result.error)[:_MAX_ERROR].decode("utf-8", "replace"))
    try:
        return Fate("accepted", _VERDICT.decode(result.validation))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Fate("accepted", error=f"its verdict cannot be read: {error}")
