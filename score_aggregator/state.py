"""What the aggregator remembers of an agent, and its Avro form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pactstream import avro
from pactstream.scores import attestation, attested
from pactstream.scores.attested import Held
from pactstream.scores.dimensions import WINDOW_DAYS
from pactstream.scores.evidence import Day
from pactstream.scores.leaves import CountedLeaf
from pactstream.scores.tally import DAY_MICROS, TOTALS, DayKey, Tally, Totals, day_key, record


class AgentState:
    """One agent. Days that nobody has looked at since they were packed stay as Avro."""

    __slots__ = ("_changed", "_packed", "agent_id", "computed_at_micros", "tally")

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.tally = Tally()
        self.computed_at_micros = 0
        self._packed: dict[DayKey, bytes] = {}
        self._changed: set[DayKey] = set()

    def add(self, leaves: Sequence[CountedLeaf], tenant: str, received_at_micros: int) -> bool:
        """Count the leaves beyond the last one counted; returns whether there were any."""
        key = day_key(tenant, received_at_micros)
        if key in self._packed:
            self._unpack()
        if not self.tally.add(leaves, tenant, received_at_micros):
            return False
        self._changed.add(key)
        return True

    def encode_score(self, now_micros: int) -> bytes:
        """The score as Avro, in wire format; never older than the one before it."""
        self._unpack()
        self.computed_at_micros = max(now_micros, self.computed_at_micros + 1)
        scored = self.tally.score(self.computed_at_micros)
        return avro.encode("Score", record(self.agent_id, self.tally.totals, scored))

    def encode_totals(self) -> bytes:
        """The totals as Avro, in wire format."""
        held = [
            {"sequence": one.sequence, "compact": one.compact, "revoked": int(one.revoked)}
            for one in self.tally.attested.values()
        ]
        state = {"computed_at_micros": self.computed_at_micros, "attestations": held}
        return avro.encode("ScoreTotals", self.tally.totals.fields() | state)

    def drain(self, now_micros: int) -> Iterator[tuple[DayKey, bytes | None]]:
        """The days that changed since the last call, as Avro; None: the day has left the window."""
        days = self.tally.days
        changed, self._changed = self._changed, set()
        for key in sorted(changed & days.keys()):
            yield key, _encode_day(days[key])
        oldest = now_micros // DAY_MICROS - WINDOW_DAYS
        for key in sorted(key for key in (*days, *self._packed) if key[0] < oldest):
            days.pop(key, None)
            self._packed.pop(key, None)
            yield key, None

    def restore_totals(self, value: bytes) -> None:
        """Take one record of totals back."""
        state = avro.decode_as("ScoreTotals", value)
        self.tally.totals = Totals(**{name: state[name] for name in TOTALS})
        self.computed_at_micros = state["computed_at_micros"]
        self.tally.attested = {}
        for one in state["attestations"]:
            said = attestation.read(one["compact"])
            held = Held(said, one["sequence"], one["compact"], bool(one["revoked"]))
            attested.put(self.tally.attested, held)

    def restore_day(self, key: DayKey, value: bytes | None) -> None:
        """Take one record of a day back."""
        self.tally.days.pop(key, None)
        if value is None:
            self._packed.pop(key, None)
        else:
            self._packed[key] = value

    def pack(self) -> None:
        """Keep all days as Avro, a tenth of their size in memory. All must be drained."""
        for key, day in self.tally.days.items():
            self._packed[key] = _encode_day(day)
        self.tally.days.clear()

    def _unpack(self) -> None:
        for key, value in self._packed.items():
            self.tally.days[key] = Day.from_avro(avro.decode_as("ScoreEvidence", value))
        self._packed.clear()


def _encode_day(day: Day) -> bytes:
    return avro.encode("ScoreEvidence", day.to_avro())
