"""Counts one agent's leaves, one after another, and says what they come to: totals, days, attestations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final

from pactstream import clock
from pactstream.scores import attested
from pactstream.scores.attested import Attested
from pactstream.scores.evidence import Day
from pactstream.scores.findings import DAY_SECONDS, Evidence, TenantDay
from pactstream.scores.formula import Scored, score
from pactstream.scores.leaves import CountedLeaf

DAY_MICROS: Final = DAY_SECONDS * clock.MICROS_PER_SECOND
_HOUR_MICROS: Final = DAY_MICROS // 24
_COUNTED: Final = frozenset({"session_start", "tool_call", "response", "session_end"})

DayKey = tuple[int, str]
"""Day since 1970, tenant's pseudonym."""


@dataclass(slots=True)
class Totals:
    """An agent's counts since its first event, in the words of the Avro schemas."""

    through_sequence: int = 0
    first_received_at_micros: int = 0
    last_received_at_micros: int = 0
    sessions: int = 0
    tool_calls: int = 0
    bound_calls: int = 0
    valid_calls: int = 0
    violations: dict[str, int] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """As fields of the Avro records."""
        return {name: getattr(self, name) for name in TOTALS}

    def count(self, leaf: CountedLeaf) -> None:
        """Count one leaf."""
        self.through_sequence = leaf.sequence
        if leaf.type == "session_start":
            self.sessions += 1
        if leaf.type != "tool_call":
            return
        self.tool_calls += 1
        if not leaf.bound:
            return
        self.bound_calls += 1
        if leaf.violated is None:
            self.valid_calls += 1
        else:
            self.violations[leaf.violated] = self.violations.get(leaf.violated, 0) + 1


TOTALS: Final = tuple(one.name for one in fields(Totals))


class Tally:
    """What has been counted of one agent."""

    __slots__ = ("attested", "days", "totals")

    def __init__(self) -> None:
        self.totals = Totals()
        self.attested: Attested = {}
        self.days: dict[DayKey, Day] = {}

    def add(self, leaves: Iterable[CountedLeaf], tenant: str, received_at_micros: int) -> bool:
        """Count the leaves beyond the last one counted; returns whether there were any."""
        totals = self.totals
        before = totals.through_sequence
        hour = received_at_micros % DAY_MICROS // _HOUR_MICROS
        for leaf in leaves:
            if leaf.sequence <= totals.through_sequence:
                continue
            totals.count(leaf)
            if leaf.type in _COUNTED:
                self.days.setdefault(day_key(tenant, received_at_micros), Day()).add(leaf, hour)
            elif leaf.type == attested.TYPE and leaf.attestation is not None:
                attested.take(self.attested, leaf.attestation, leaf.sequence)
        if totals.through_sequence == before:
            return False
        if not before:
            totals.first_received_at_micros = received_at_micros
        # Arrival is stamped by several gateways, whose clocks differ a little: never let it go back.
        totals.last_received_at_micros = max(totals.last_received_at_micros, received_at_micros)
        return True

    def score(self, now_micros: int) -> Scored:
        """The agent's score now."""
        days = [TenantDay(key[1], key[0], day.counts()) for key, day in self.days.items()]
        days.sort(key=lambda one: one[:2])
        return score(Evidence(days, attested.in_force(self.attested, now_micros), now_micros))


def day_key(tenant: str, received_at_micros: int) -> DayKey:
    """The day on which what arrives then is counted."""
    return received_at_micros // DAY_MICROS, tenant


def record(agent_id: str, totals: Totals, scored: Scored) -> dict[str, Any]:
    """The Avro record `Score`."""
    computed_at = {"agent_id": agent_id, "computed_at_micros": scored.evidence.as_of_micros}
    return totals.fields() | computed_at | scored.fields()
