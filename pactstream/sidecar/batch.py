"""What an agent sends, as it is kept: the events that are what they say they are, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from pactstream.events import parse, results


class _Body(msgspec.Struct):
    events: list[msgspec.Raw]


_decode = msgspec.json.Decoder(_Body).decode


class Taken(NamedTuple):
    """How many events of a body are kept, as which body, and what is answered to each."""

    events: int
    body: bytes
    results: list[results.Result]


def take(body: bytes, *, received_at_micros: int) -> Taken:
    """Check the form of each event, as the gateway will; who may send what is the gateway's to say.

    The body is kept as it came where all of it is right: where an event has no id, the gateway makes one of the
    body's bytes, and the same body gives the same ids.

    Raises:
        InvalidInput: the body as a whole is not of the form `{"events":[…]}`.
    """
    parsed = parse.parse_events(body, received_at_micros=received_at_micros)
    answers = [_result(one) for one in parsed]
    right = [index for index, one in enumerate(parsed) if isinstance(one, parse.Accepted)]
    kept = body if len(right) == len(parsed) else joined(events_of(body)[index] for index in right)
    return Taken(len(right), kept, answers)


def events_of(body: bytes) -> Sequence[bytes]:
    """The events of a body that was taken, each in its own bytes."""
    return [bytes(one) for one in _decode(body).events]


def joined(events: Iterable[bytes]) -> bytes:
    """A body of these events."""
    return b'{"events":[' + b",".join(events) + b"]}"


def _result(parsed: parse.Parsed) -> results.Result:
    if isinstance(parsed, parse.Rejected):
        return results.rejected("INVALID_INPUT", "the event is not valid", parsed.details)
    # No verdict: nobody has judged it yet.
    return results.Accepted(parsed.event.event_id or UNSET, None)
