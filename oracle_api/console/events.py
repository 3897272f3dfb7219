"""A tenant's events: lists with filters, one event with its private values, a session as it went.

Every query names the tenant's pseudonym. What is another's is not found, exactly as what does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from oracle_api.console.rows import Rows
from pactstream import clock

PAGE: Final = 100
SESSION_EVENTS: Final = 500
SHOWN_CHARS: Final = 2_000
"""Of a private value in a session; an event's own page shows more."""

_EVENT_CHARS = 100_000
_HOUR = 3_600 * clock.MICROS_PER_SECOND
# Newest first without reading everything: most tenants' last events are in the first of these, and received_at
# has an index of minima and maxima.
_WINDOWS = (_HOUR, 24 * _HOUR, 30 * 24 * _HOUR, None)

COLUMNS: Final = """
    log, leaf_index, toString(event_id), type, toString(agent_id), session_id, toString(parent_event_id),
    sequence, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Micro(received_at), tool, outcome,
    latency_ms, token_count, toString(pact_id), pact_version, bound, valid, severity,
    arrayZip(violations.param_path, violations.rule, violations.severity), violations_omitted"""
_LIST = f"SELECT {COLUMNS} FROM room_events WHERE tenant = {{tenant:String}}"  # noqa: S608 - constants only
_EVENT = f"""
SELECT {COLUMNS}, leaf, lower(hex(leaf_hash)) FROM room_events
WHERE tenant = {{tenant:String}} AND event_id = {{event:UUID}} LIMIT 1
"""  # noqa: S608
_SESSION = f"""
SELECT {COLUMNS} FROM room_events
WHERE tenant = {{tenant:String}} AND agent_id = {{agent:UUID}} AND session_id = {{session:String}}
ORDER BY sequence LIMIT {SESSION_EVENTS}
"""  # noqa: S608
_VALUES = """
SELECT toString(event_id), field, substringUTF8(value, 1, {chars:UInt32}), lengthUTF8(value) > {chars:UInt32}
FROM room_event_payloads
WHERE tenant = {tenant:String} AND agent_id = {agent:UUID} AND event_id IN {events:Array(UUID)}
ORDER BY event_id, field LIMIT 10000
"""


class Violation(msgspec.Struct, frozen=True, rename="camel"):
    """One violated rule, as it stands in the leaf."""

    param_path: str
    rule: str
    severity: str


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """One leaf of the tenant's, in the parts that people read."""

    log: int
    leaf_index: int
    event_id: str
    type: str
    agent_id: str
    session_id: str
    parent_event_id: str | None
    sequence: int
    occurred_at: str
    received_at: str
    tool: str
    outcome: str
    latency_ms: float | None
    token_count: int | None
    pact_id: str | None
    pact_version: int | None
    bound: bool
    valid: bool | None
    severity: str
    violations: tuple[Violation, ...]
    omitted: int


class Value(msgspec.Struct, frozen=True, rename="camel"):
    """The opening of one commitment; `json` is cut where `cut` says so."""

    field: str
    json: str
    cut: bool


class FullEvent(msgspec.Struct, frozen=True, rename="camel"):
    """An event with its private values, its leaf (JSON, byte for byte) and the leaf's RFC 6962 hash."""

    event: Event
    values: list[Value]
    leaf: str
    leaf_hash: str


class Session(msgspec.Struct, frozen=True, rename="camel"):
    """The first events of a session, oldest first, and private values by event id."""

    events: list[Event]
    values: dict[str, list[Value]]
    complete: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events; empty: all."""

    agent: UUID | None = None
    type: str = ""
    verdict: str = ""
    """`violated`, `valid`, or a severity."""
    tool: str = ""
    path: str = ""

    def clauses(self) -> tuple[str, dict[str, object]]:
        """As SQL, to be put after the tenant's own clause, with its parameters."""
        found: list[tuple[str, str, object]] = []
        if self.agent is not None:
            found.append(("agent_id = {agent:UUID}", "agent", self.agent))
        if self.type:
            found.append(("type = {type:String}", "type", self.type))
        if self.tool:
            found.append(("tool = {tool:String}", "tool", self.tool))
        if self.path:
            found.append(("has(violations.param_path, {path:String})", "path", self.path))
        if self.verdict in ("violated", "valid"):
            found.append(("valid = {valid:Bool}", "valid", self.verdict == "valid"))
        elif self.verdict:
            found.append(("severity = {severity:String}", "severity", self.verdict))
        return "".join(f" AND {sql}" for sql, _, _ in found), {name: value for _, name, value in found}

    def matches(self, event: Event) -> bool:
        """The same of an event that is at hand."""
        verdict = {"violated": event.valid is False, "valid": event.valid is True, "": True}
        return (
            (self.agent is None or str(self.agent) == event.agent_id)
            and self.type in ("", event.type)
            and self.tool in ("", event.tool)
            and (not self.path or any(one.param_path == self.path for one in event.violations))
            and verdict.get(self.verdict, event.severity == self.verdict)
        )


class Events:
    """Reads events of one tenant, named by its pseudonym."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def latest(self, tenant: str, wanted: Filter, before_micros: int | None = None) -> list[Event]:
        """The last `PAGE` events that arrived before that time, newest first."""
        before = before_micros or clock.now_micros() + _HOUR
        where, parameters = wanted.clauses()
        bounds = " AND received_at < fromUnixTimestamp64Micro({before:Int64})"
        for window in _WINDOWS:
            since = 0 if window is None else before - window - _HOUR
            sql = (
                f"{_LIST}{where}{bounds} AND received_at >= fromUnixTimestamp64Micro({{since:Int64}})"
                f" ORDER BY received_at DESC, log, leaf_index DESC LIMIT {PAGE}"
            )
            rows = await self._rows.ask(sql, tenant=tenant, before=before, since=since, **parameters)
            if len(rows) == PAGE:
                break
        return [event_of(row) for row in rows]

    async def one(self, tenant: str, event_id: UUID) -> FullEvent | None:
        """An event with all that is known of it; None if it is not the tenant's."""
        rows = await self._rows.ask(_EVENT, tenant=tenant, event=event_id)
        if not rows:
            return None
        *columns, leaf, leaf_hash = rows[0]
        event = event_of(columns)
        values = await self.values(tenant, event.agent_id, [event.event_id], _EVENT_CHARS)
        return FullEvent(event, values.get(event.event_id, []), leaf, leaf_hash)

    async def session(self, tenant: str, agent: UUID, session_id: str) -> Session | None:
        """A session from its start; None if the tenant has no event of it."""
        rows = await self._rows.ask(_SESSION, tenant=tenant, agent=agent, session=session_id)
        if not rows:
            return None
        events = [event_of(row) for row in rows]
        values = await self.values(tenant, str(agent), [one.event_id for one in events], SHOWN_CHARS)
        return Session(events, values, len(events) < SESSION_EVENTS)

    async def values(
        self, tenant: str, agent: str, events: Sequence[str], chars: int
    ) -> dict[str, list[Value]]:
        """Private values by event id, each of at most so many characters."""
        found: dict[str, list[Value]] = {}
        rows = await self._rows.ask(_VALUES, tenant=tenant, agent=agent, events=list(events), chars=chars)
        for event_id, field, value, cut in rows:
            found.setdefault(event_id, []).append(Value(field, value, bool(cut)))
        return found


def event_of(row: Sequence[Any]) -> Event:
    """An event from a row of `COLUMNS`."""
    *head, occurred, received, tool, outcome, latency, tokens = row[:14]
    pact, version, bound, valid, severity, broken, omitted = row[14:]
    violations = tuple(Violation(*one) for one in broken)
    times = clock.to_iso(occurred), clock.to_iso(received)
    verdict = pact, version, bound, valid, severity, violations, omitted
    return Event(*(*head, *times, tool, outcome, latency, tokens, *verdict))
