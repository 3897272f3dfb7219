"""An event as paging reads it: of the leaf what it needs, and of the openings what its owners may see."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from evaluator_worker.evaluated import Found, PactRef
from pactstream.errors import InvalidInput
from pactstream.paging.records import dumps

MAX_PARAMS_CHARS: Final = 2_048
MAX_TEXT_CHARS: Final = 1_024
"""Of the parameters of a call, and of any one value, this much is shown."""


class Verdict(msgspec.Struct):
    """How a call was judged."""

    valid: bool
    severity: str | None = None
    violations: tuple[Found, ...] = ()


class Event(msgspec.Struct, rename="camel"):
    """A leaf, read leniently: the ledger's own checks are elsewhere."""

    type: str
    event_id: str
    session_id: str
    occurred_at: str
    tool: str | None = None
    outcome: str | None = None
    parent_event_id: str | None = None
    pact: PactRef | None = None
    verdict: Verdict | None = None


_log = logging.getLogger(__name__)
_event = msgspec.json.Decoder(Event).decode
_openings = msgspec.json.Decoder(dict[str, dict[str, Any]], float_hook=Decimal).decode


def read_event(leaf: bytes) -> Event:
    """The event of a leaf. Raises `InvalidInput`."""
    try:
        return _event(leaf)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"not a leaf: {error}") from error


def values_of(private: bytes | None) -> dict[str, Any]:
    """The private values of an event by field; none if they cannot be read: a page goes out all the same."""
    try:
        return {field: opening.get("value") for field, opening in _openings(private or b"{}").items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _log.error("openings cannot be read: %s", error)
        return {}


def shown_call(event: Event, values: Mapping[str, Any]) -> dict[str, Any]:
    """A call as a page lists it."""
    verdict = event.verdict
    return {
        "eventId": event.event_id,
        "sessionId": event.session_id,
        "tool": event.tool,
        "outcome": event.outcome,
        "valid": None if verdict is None else verdict.valid,
        "severity": None if verdict is None else verdict.severity,
        "occurredAt": event.occurred_at,
        "params": _params(values),
    }


def shown_violations(
    found: Iterable[Found], values: Mapping[str, Any], expected: Mapping[tuple[str, str], Any]
) -> list[dict[str, Any]]:
    """A call's violations with failing values, and what the pact expects at each path and rule."""
    listed = []
    for index, one in enumerate(found):
        value = short(values.get(f"violations.{index}.value"))
        listed.append(
            {
                "paramPath": one.param_path,
                "rule": one.rule,
                "severity": one.severity,
                "value": value,
                "expected": short(expected.get((one.param_path, one.rule))),
                "message": f"{one.param_path or 'The call'} breaks {one.rule}: {short_text(value)}.",
            }
        )
    return listed


def short(value: Any) -> Any:
    """A value, or the beginning of its JSON where it is long."""
    text = dumps(value).decode()
    if len(text) <= MAX_TEXT_CHARS:
        return value
    return (value if isinstance(value, str) else text)[:MAX_TEXT_CHARS] + "…"


def short_text(value: Any) -> str:
    """A value in a sentence."""
    text = dumps(value).decode()
    return text if len(text) <= 200 else text[:200] + "…"


def _params(values: Mapping[str, Any]) -> Any:
    whole = values.get("params")
    if whole is None:
        whole = {
            name.removeprefix("params."): value for name, value in values.items() if name.startswith("params.")
        }
    text = dumps(whole).decode()
    return whole if len(text) <= MAX_PARAMS_CHARS else text[:MAX_PARAMS_CHARS] + "…"
