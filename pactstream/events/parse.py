"""What the edge accepts: a body of events, each checked by itself, so that a bad one loses nothing else.

What must never be resolved silently is refused: duplicate keys, NaN, lone surrogates, absurd depth. RFC 8259
leaves these to the receiver, RFC 7493 (I-JSON) refuses them, and so do we. A body in which everything is right
is read in one go. Of any other, each event is looked at by itself, by two readers: jiter sees these faults,
msgspec gives the event its type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, TypeAlias

import jiter
import msgspec
from msgspec import Meta

from pactstream import clock
from pactstream.errors import Detail, InvalidInput
from pactstream.events.model import TIME_FIELDS, Event, ToolCall, control_faults, occurred_at
from pactstream.pacts import values

MAX_EVENTS = 500
MAX_PARAMS_BYTES = 65_536
MAX_PARAMS_KEYS = 128
MAX_DEPTH = 32
FUTURE_TOLERANCE_SECONDS = 300

_HEAD = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"events"[ \t\r\n]*:[ \t\r\n]*\[')
_TAIL = re.compile(rb"\][ \t\r\n]*\}[ \t\r\n]*\Z")
# A string without its end swallows the rest, so that no quotation mark is looked at twice: linear time.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[{\]},]', re.DOTALL)


class Accepted(NamedTuple):
    """An event that is what it says it is; `occurred_at_micros` since 1970.

    `params` are a tool call's parameters as `pacts.values.decode` reads them; None where nobody has read them.
    """

    event: Event
    occurred_at_micros: int
    params: dict[str, Any] | None = None


class Rejected(NamedTuple):
    """An event that is not, and why; paths begin with `events[<index>]`."""

    details: tuple[Detail, ...]


Parsed: TypeAlias = Accepted | Rejected


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


class _Events(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[Event], Meta(min_length=1, max_length=MAX_EVENTS)]


_EVENTS = msgspec.json.Decoder(_Events)
_ENCODER = msgspec.json.Encoder()
_BODY = msgspec.json.Decoder(_Body)
_EVENT: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_FAULT_PATH = re.compile(r"^(?P<message>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)


def parse_events(body: bytes, *, received_at_micros: int) -> list[Parsed]:
    """The events of a request body `{"events":[…]}`, in order, each accepted or rejected by itself.

    Raises:
        InvalidInput: the body as a whole is not of this form: not JSON, no events, or too many.
    """
    latest = received_at_micros + FUTURE_TOLERANCE_SECONDS * clock.MICROS_PER_SECOND
    return _at_once(body, latest) or _one_by_one(body, latest)


def _at_once(body: bytes, latest_micros: int) -> list[Parsed] | None:
    """The events of a body in which everything is right; None: something may not be.

    msgspec keeps the last of two keys. That one was dropped is found by counting quotation marks: what was read
    is written again, and has at least two less for each key dropped. Nothing adds any but a mark that came as
    `\\u0022` and is written as itself; a body that has one is not read here.
    """
    try:
        found = _EVENTS.decode(body)
        if body.count(b'"') != _ENCODER.encode(found).count(b'"') or b"\\u0022" in body:
            return None
        # A control character in a string is DEL or written as an escape.
        one_line = b"\\" not in body and b"\x7f" not in body
        parsed: list[Parsed] = []
        for event in found.events:
            occurred = clock.to_micros(occurred_at(event))
            if not 0 <= occurred <= latest_micros or not (one_line or not any(control_faults(event))):
                return None
            params = None
            if isinstance(event, ToolCall):
                params = _usable_params(bytes(event.params))
                if params is None:
                    return None
            parsed.append(Accepted(event, occurred, params))
        return parsed
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def _usable_params(params: bytes) -> dict[str, Any] | None:
    if len(params) > MAX_PARAMS_BYTES or _may_be_deep(params) or _may_be_many(params):
        return None
    decoded = values.decode(params)
    return decoded if isinstance(decoded, dict) else None


def _one_by_one(body: bytes, latest_micros: int) -> list[Parsed]:
    fault = strict_fault(body)
    raws = _split(body) if fault is None else _split_leniently(body, fault)
    if not raws:
        raise InvalidInput("no events", [Detail("events", "at least one event is required")])
    if len(raws) > MAX_EVENTS:
        message = f"{len(raws)} events; at most {MAX_EVENTS} are taken at once"
        raise InvalidInput("too many events", [Detail("events", message)])
    return [_parse(raw, f"events[{index}]", fault is None, latest_micros) for index, raw in enumerate(raws)]


def strict_fault(text: bytes) -> str | None:
    """Why I-JSON (RFC 7493) refuses `text`, or None."""
    try:
        jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="lossless-float")
    except ValueError as error:
        return str(error)
    return None


def params_faults(params: bytes, path: str) -> Iterator[Detail]:
    """What keeps `params`, well-formed JSON without white space around it, from being a call's parameters."""
    if not params.startswith(b"{"):
        yield Detail(path, "must be an object")
        return
    if len(params) > MAX_PARAMS_BYTES:
        yield Detail(path, f"{len(params)} bytes; at most {MAX_PARAMS_BYTES} are taken")
        return
    if _may_be_deep(params) and _depth(params) > MAX_DEPTH:
        yield Detail(path, f"nested deeper than {MAX_DEPTH} levels")
    if _may_be_many(params) and len(jiter.from_json(params)) > MAX_PARAMS_KEYS:
        yield Detail(path, f"more than {MAX_PARAMS_KEYS} keys")


def fault_detail(path: str, error: msgspec.ValidationError) -> Detail:
    """msgspec's message with its `$.a[...]` path made ours; it never quotes more than a type or a key."""
    found = _FAULT_PATH.match(str(error))
    message, inner = (found["message"], found["path"] or "") if found else (str(error), "")
    return Detail((path + inner).lstrip("."), message[:300])


# Both limits can only be passed by as many brackets or commas: counting them spares most calls the walk.


def _may_be_deep(params: bytes) -> bool:
    return params.count(b"{") + params.count(b"[") > MAX_DEPTH


def _may_be_many(params: bytes) -> bool:
    return params.count(b",") >= MAX_PARAMS_KEYS


def _split(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _BODY.decode(body).events]
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "the body is not an object with a list of events", [fault_detail("", error)]
        ) from None


def _split_leniently(body: bytes, fault: str) -> list[bytes]:
    """The source text of each event of a body that is not I-JSON.

    A client that writes NaN, half a surrogate pair or absurd nesting into one event should not lose the others.
    So we look only at what delimits events: strings, brackets and commas; each piece is then judged by itself.
    """
    pieces = _pieces(body)
    if pieces is None:
        raise InvalidInput("the body is not JSON", [Detail("", fault)])
    return pieces


def _pieces(body: bytes) -> list[bytes] | None:
    head = _HEAD.match(body)
    if head is None:
        return None
    pieces, depth, start = [], 0, head.end()
    for token in _TOKEN.finditer(body, start):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
        elif depth and mark in (b"]", b"}"):
            depth -= 1
        elif depth == 0 and mark == b",":
            pieces.append(body[start : token.start()].strip(b" \t\r\n"))
            start = token.end()
        elif depth == 0 and mark in (b"]", b"}"):
            pieces.append(body[start : token.start()].strip(b" \t\r\n"))
            return pieces if _TAIL.match(body, token.start()) else None
    return None


def _parse(raw: bytes, path: str, clean: bool, latest_micros: int) -> Parsed:
    if not clean:
        fault = strict_fault(raw)
        if fault is not None:
            return Rejected((Detail(path, f"not I-JSON: {fault}"),))
    try:
        event = _EVENT.decode(raw)
    except msgspec.ValidationError as error:
        return Rejected((fault_detail(path, error),))
    except (msgspec.DecodeError, RecursionError) as error:
        return Rejected((Detail(path, str(error)),))
    occurred = clock.to_micros(occurred_at(event))
    details = [*_time_faults(event, occurred, latest_micros, path)]
    details += [Detail(f"{path}.{member}", "has control characters") for member in control_faults(event)]
    if isinstance(event, ToolCall):
        details += params_faults(bytes(event.params), path + ".params")
    return Rejected(tuple(details)) if details else Accepted(event, occurred)


def _time_faults(event: Event, occurred: int, latest: int, path: str) -> Iterator[Detail]:
    path += f".{TIME_FIELDS[type(event)]}"
    if occurred > latest:
        yield Detail(path, f"is more than {FUTURE_TOLERANCE_SECONDS} s ahead of the server's clock")
    elif occurred < 0:
        yield Detail(path, "is before 1970")


def _depth(params: bytes) -> int:
    deepest, level = 0, [jiter.from_json(params)]
    while level:
        deepest += 1
        values = [one.values() if isinstance(one, dict) else one for one in level]
        level = [value for some in values for value in some if isinstance(value, dict | list)]
    return deepest
