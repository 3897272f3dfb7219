"""The event that stands in the ledger for a window that a call took beyond its limit."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec

from pactstream import ids
from pactstream.ledger.leaf import Contributing
from pactstream.pacts import Crossing, Verdict

TYPE: Final = "tool_call.violation"

_SHARED: Final = ("session_id", "room_id", "tool", "occurred_at_micros", "pact_id", "pact_version")


def event(call: dict[str, Any], crossing: Crossing) -> dict[str, Any]:
    """The event, child of the call (both in the shape of Avro's `TelemetryEvent`).

    Its id follows from the call's and the condition's, so that whoever judges again gives it the same one.
    """
    event_id = ids.derived_event_id(TYPE, UUID(call["event_id"]).bytes, crossing.condition)
    changed = {"type": TYPE, "event_id": str(event_id), "parent_event_id": call["event_id"]}
    return dict.fromkeys(call) | {name: call[name] for name in _SHARED} | changed


def verdict(of_call: Verdict, crossing: Crossing) -> Verdict:
    """Its verdict: that of the call, reduced to the window."""
    violation = crossing.violation
    return msgspec.structs.replace(of_call, severity=violation.severity, violations=(violation,))


def contributing(crossing: Crossing) -> Contributing:
    """The calls that led to it."""
    return Contributing(crossing.calls, tuple(str(one) for one in crossing.event_ids))
