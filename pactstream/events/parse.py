"""What the edge accepts: a body of events, each checked by itself, so that a bad one loses nothing else.

Two readers look at each event. jiter sees what must never be resolved silently (duplicate keys, NaN, lone
surrogates, absurd depth); msgspec gives it its type. RFC 8259 leaves the first group to the receiver, RFC 7493
(I-JSON) refuses it, and so do we.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import jiter
import msgspec

from pactstream import clock
from pactstream.errors import Detail, InvalidInput
from pactstream.events.model import Event, ToolCall, occurred_at

MAX_EVENTS = 500
MAX_PARAMS_BYTES = 65_536
MAX_PARAMS_KEYS = 128
MAX_DEPTH = 32
FUTURE_TOLERANCE_SECONDS = 300

_OPENERS = re.compile(rb"[\[{]")
_HEAD = re.compile(r'\s*\{\s*"events"\s*:\s*\[\s*')
_COMMA = re.compile(r"\s*,\s*")
_TAIL = re.compile(r"\s*\]\s*\}\s*\Z")


class Accepted(NamedTuple):
    """An event that is what it says it is; `occurred_at_micros` since 1970."""

    event: Event
    occurred_at_micros: int


class Rejected(NamedTuple):
    """An event that is not, and why; paths begin with `events[<index>]`."""

    details: tuple[Detail, ...]


Parsed: TypeAlias = Accepted | Rejected


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


_BODY = msgspec.json.Decoder(_Body)
_EVENT: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_FAULT_PATH = re.compile(r"^(?P<message>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)


def parse_events(body: bytes, *, received_at_micros: int) -> list[Parsed]:
    """The events of a request body `{"events":[…]}`, in order, each accepted or rejected by itself.

    Raises:
        InvalidInput: the body as a whole is not of this form: not JSON, no events, or too many.
    """
    raws = _split(body)
    if not raws:
        raise InvalidInput("no events", [Detail("events", "at least one event is required")])
    if len(raws) > MAX_EVENTS:
        message = f"{len(raws)} events; at most {MAX_EVENTS} are taken at once"
        raise InvalidInput("too many events", [Detail("events", message)])
    clean = _is_strict(body)
    latest = received_at_micros + FUTURE_TOLERANCE_SECONDS * clock.MICROS_PER_SECOND
    return [_parse(raw, f"events[{index}]", clean, latest) for index, raw in enumerate(raws)]


def _split(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _BODY.decode(body).events]
    except msgspec.ValidationError as error:
        raise InvalidInput("the body is not an object with a list of events", [_detail("", error)]) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # A client that writes NaN or half a surrogate pair into one event should not lose the others.
        found = _split_leniently(body)
        if found is None:
            raise InvalidInput("the body is not JSON", [Detail("", str(error))]) from None
        return found


def _split_leniently(body: bytes) -> list[bytes] | None:
    """The source text of each event, for a body that only Python's forgiving reader gets through."""
    try:
        text = body.decode()
        return [piece.encode() for piece in _pieces(text)]
    except (ValueError, RecursionError):
        return None


def _pieces(text: str) -> Iterator[str]:
    scan = json.JSONDecoder().raw_decode
    head = _HEAD.match(text)
    if head is None:
        raise ValueError("not a list of events")
    at = head.end()
    while True:
        _, end = scan(text, at)
        yield text[at:end]
        comma = _COMMA.match(text, end)
        if comma is None:
            break
        at = comma.end()
    if _TAIL.match(text, end) is None:
        raise ValueError("text follows the events")


def _is_strict(text: bytes) -> bool:
    return _strict_fault(text) is None


def _strict_fault(text: bytes) -> str | None:
    """Why I-JSON refuses `text`, or None."""
    try:
        jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="decimal")
    except ValueError as error:
        return str(error)
    return None


def _parse(raw: bytes, path: str, clean: bool, latest_micros: int) -> Parsed:
    if not clean:
        fault = _strict_fault(raw)
        if fault is not None:
            return Rejected((Detail(path, f"not I-JSON: {fault}"),))
    try:
        event = _EVENT.decode(raw)
    except msgspec.ValidationError as error:
        return Rejected((_detail(path, error),))
    except (msgspec.DecodeError, RecursionError) as error:
        return Rejected((Detail(path, str(error)),))
    occurred = clock.to_micros(occurred_at(event))
    details = [*_time_faults(occurred, latest_micros, path), *_params_faults(event, path)]
    return Rejected(tuple(details)) if details else Accepted(event, occurred)


def _time_faults(occurred: int, latest: int, path: str) -> Iterator[Detail]:
    if occurred > latest:
        yield Detail(path, f"its time is more than {FUTURE_TOLERANCE_SECONDS} s ahead of the server's clock")
    elif occurred < 0:
        yield Detail(path, "its time is before 1970")


def _params_faults(event: Event, path: str) -> Iterator[Detail]:
    if not isinstance(event, ToolCall):
        return
    params = bytes(event.params)
    path += ".params"
    if not params.startswith(b"{"):
        yield Detail(path, "must be an object")
        return
    if len(params) > MAX_PARAMS_BYTES:
        yield Detail(path, f"{len(params)} bytes; at most {MAX_PARAMS_BYTES} are taken")
        return
    # Both limits can only be passed by as many brackets or commas: counting them spares most calls the walk.
    if len(_OPENERS.findall(params)) > MAX_DEPTH and _depth(params) > MAX_DEPTH:
        yield Detail(path, f"nested deeper than {MAX_DEPTH} levels")
    if params.count(b",") >= MAX_PARAMS_KEYS and len(jiter.from_json(params)) > MAX_PARAMS_KEYS:
        yield Detail(path, f"more than {MAX_PARAMS_KEYS} keys")


def _depth(params: bytes) -> int:
    deepest, level = 0, [jiter.from_json(params)]
    while level:
        deepest += 1
        values = [one.values() if isinstance(one, dict) else one for one in level]
        level = [value for some in values for value in some if isinstance(value, dict | list)]
    return deepest


def _detail(path: str, error: msgspec.ValidationError) -> Detail:
    """msgspec's message with its `$.a[...]` path made ours; it never quotes more than a type or a key."""
    found = _FAULT_PATH.match(str(error))
    message, inner = (found["message"], found["path"] or "") if found else (str(error), "")
    return Detail((path + inner).lstrip("."), message[:300])
