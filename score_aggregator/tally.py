"""What the aggregator remembers of an agent: totals, days of the window, attestations; and their Avro form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final

from pactstream import avro, clock
from pactstream.scores import attestation
from pactstream.scores.dimensions import WINDOW_DAYS
from score_aggregator import attested
from score_aggregator.attested import Attested, Held
from score_aggregator.dimensions import DAY_SECONDS, Evidence, TenantDay
from score_aggregator.evidence import Day
from score_aggregator.formula import Scored, score
from score_aggregator.leaves import CountedLeaf

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
    """One agent. Days that nobody has looked at since they were packed stay as Avro."""

    __slots__ = ("_changed", "_days", "_packed", "agent_id", "attested", "computed_at_micros", "totals")

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.totals = Totals()
        self.attested: Attested = {}
        self.computed_at_micros = 0
        self._days: dict[DayKey, Day] = {}
        self._packed: dict[DayKey, bytes] = {}
        self._changed: set[DayKey] = set()

    def add(self, leaves: Iterable[CountedLeaf], tenant: str, received_at_micros: int) -> bool:
        """Count the leaves beyond the last one counted; returns whether there were any."""
        totals = self.totals
        before = totals.through_sequence
        key = (received_at_micros // DAY_MICROS, tenant)
        hour = received_at_micros % DAY_MICROS // _HOUR_MICROS
        for leaf in leaves:
            if leaf.sequence <= totals.through_sequence:
                continue
            totals.count(leaf)
            if leaf.type in _COUNTED:
                self._day(key).add(leaf, hour)
                self._changed.add(key)
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
        self._unpack()
        days = [TenantDay(key[1], key[0], day.counts()) for key, day in self._days.items()]
        days.sort(key=lambda one: one[:2])
        return score(Evidence(days, attested.in_force(self.attested, now_micros), now_micros))

    def encode_score(self, now_micros: int) -> bytes:
        """The score as Avro, in wire format; never older than the one before it."""
        self.computed_at_micros = max(now_micros, self.computed_at_micros + 1)
        return avro.encode("Score", record(self.agent_id, self.totals, self.score(self.computed_at_micros)))

    def encode_totals(self) -> bytes:
        """The totals as Avro, in wire format."""
        held = [
            {"sequence": one.sequence, "compact": one.compact, "revoked": int(one.revoked)}
            for one in self.attested.values()
        ]
        state = self.totals.fields() | {"computed_at_micros": self.computed_at_micros, "attestations": held}
        return avro.encode("ScoreTotals", state)

    def drain(self, now_micros: int) -> Iterator[tuple[DayKey, bytes | None]]:
        """The days that changed since the last call, as Avro; None: the day has left the window."""
        changed, self._changed = self._changed, set()
        for key in sorted(changed):
            yield key, _encode_day(self._days[key])
        oldest = now_micros // DAY_MICROS - WINDOW_DAYS
        for key in sorted(key for key in (*self._days, *self._packed) if key[0] < oldest):
            self._days.pop(key, None)
            self._packed.pop(key, None)
            yield key, None

    def restore_totals(self, value: bytes) -> None:
        """Take one record of totals back."""
        state = avro.decode_as("ScoreTotals", value)
        self.totals = Totals(**{name: state[name] for name in TOTALS})
        self.computed_at_micros = state["computed_at_micros"]
        self.attested = {}
        for one in state["attestations"]:
            said = attestation.read(one["compact"])
            attested.put(self.attested, Held(said, one["sequence"], one["compact"], bool(one["revoked"])))

    def restore_day(self, key: DayKey, value: bytes | None) -> None:
        """Take one record of a day back."""
        self._days.pop(key, None)
        if value is None:
            self._packed.pop(key, None)
        else:
            self._packed[key] = value

    def pack(self) -> None:
        """Keep all days as Avro, a tenth of their size in memory. All must be drained."""
        for key, day in self._days.items():
            self._packed[key] = _encode_day(day)
        self._days.clear()

    def _unpack(self) -> None:
        for key, value in self._packed.items():
            self._days[key] = Day.from_avro(avro.decode_as("ScoreEvidence", value))
        self._packed.clear()

    def _day(self, key: DayKey) -> Day:
        if key in self._packed:
            self._unpack()
        day = self._days.get(key)
        if day is None:
            day = self._days[key] = Day()
        return day


def record(agent_id: str, totals: Totals, scored: Scored) -> dict[str, Any]:
    """The Avro record `Score`."""
    computed_at = {"agent_id": agent_id, "computed_at_micros": scored.evidence.as_of_micros}
    return totals.fields() | computed_at | scored.fields()


def _encode_day(day: Day) -> bytes:
    return avro.encode("ScoreEvidence", day.to_avro())
