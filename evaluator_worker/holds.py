"""Budget that is held for calls to come: made by a pre-flight, gone with its call, on cancelling, or in time.

Holds count in pre-flights only. The verdict on a call that was made stays a function of the events alone, so
that anybody who replays them finds the same: whether a hold is there, and when it lapses, is no event.

All of them are in memory, and in the topic `evaluator.holds`, keyed `<agent>/<name>/<made at>`. The name is a
hash of tenant and reservation id, so no tenant finds another's. The time of making is in the key because an id
may come back: the record of a hold that has gone must not take another's with it.

Records are written before anybody is told (`pactstream/kafka/side_writer.py`), also by a process that has lost
its partition without knowing. That does no harm: such a hold takes budget until it lapses, and is promised to
nobody. Deletions go into the loop's transaction, which such a process cannot commit; save that of a hold that
its owner cancels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from heapq import heappop, heappush
from typing import Final

from pactstream import avro
from pactstream.errors import InvalidInput
from pactstream.kafka.records import Restored
from pactstream.pacts import Claim
from pactstream.pacts.figures import Share

GRACE_MICROS: Final = 5_000_000
"""A hold goes this long after its end: so long may a call that came in time wait for Kafka to take it."""

_NAME_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Hold:
    """One reservation. `question` is a hash of what was asked, by which the same request is known again."""

    agent_id: str
    name: str
    made_at_micros: int
    expires_at_micros: int
    question: bytes
    pact_id: str
    pact_version: int
    pact_hash: str
    tool: str
    claims: tuple[Claim, ...]

    @property
    def key(self) -> str:
        """Its key in the topic."""
        return f"{self.agent_id}/{self.name}/{self.made_at_micros}"

    def encode(self) -> bytes:
        """Its Avro record."""
        claims = [
            {
                "measure": one.measure,
                "key": one.key,
                "figure": str(one.share.figure),
                "values": sorted(one.share.values),
            }
            for one in self.claims
        ]
        fields = {name: getattr(self, name) for name in _STORED}
        return avro.encode("Hold", fields | {"claims": claims})


_STORED: Final = ("expires_at_micros", "question", "pact_id", "pact_version", "pact_hash", "tool")


def decode(key: bytes, value: bytes | None) -> Hold:
    """A hold from its record. Raises InvalidInput: it is none."""
    agent_id, name, made_at = _split(key)
    record = avro.decode_as("Hold", value)
    try:
        claims = tuple(
            Claim(one["measure"], one["key"], Share(Decimal(one["figure"]), frozenset(one["values"])))
            for one in record.pop("claims")
        )
    except InvalidOperation:
        raise InvalidInput("a hold claims what is no number") from None
    return Hold(agent_id, name, made_at, claims=claims, **record)


def name_of(tenant_id: str, reservation_id: str) -> str:
    """The name of a tenant's reservation."""
    key = hashlib.blake2b(tenant_id.encode(), digest_size=32).digest()
    return hashlib.blake2b(reservation_id.encode(), key=key, digest_size=_NAME_BYTES).hexdigest()


class AgentHolds:
    """The holds of one agent, by what they claim."""

    def __init__(self) -> None:
        self._holds: dict[str, list[Hold]] = {}  # of one name, the one made first comes first
        self._claims: dict[str, dict[str, dict[str, Share]]] = {}  # by measure, key of it, key of the hold

    def __len__(self) -> int:
        """How many."""
        return sum(map(len, self._holds.values()))

    def shares(self, measure: str, key: str, *, but: Collection[str] = ()) -> Iterable[Share]:
        """What is held of one window, but for the holds with these keys."""
        found = self._claims.get(measure, {}).get(key, {})
        return (share for name, share in found.items() if name not in but) if but else found.values()

    def keys(self, measure: str) -> Collection[str]:
        """The keys of a measure of which anything is held."""
        return self._claims.get(measure, {}).keys()

    def named(self, name: str) -> list[Hold]:
        """Those of one name; there is more than one only if an id came back before its first hold was gone."""
        return self._holds.get(name, [])

    def add(self, hold: Hold) -> None:
        """One more."""
        group = self._holds.setdefault(hold.name, [])
        group.append(hold)
        group.sort(key=lambda one: one.made_at_micros)
        for claim in hold.claims:
            self._claims.setdefault(claim.measure, {}).setdefault(claim.key, {})[hold.key] = claim.share

    def remove(self, hold: Hold) -> None:
        """One less, of those that are here."""
        group = self._holds[hold.name]
        group.remove(hold)
        if not group:
            del self._holds[hold.name]
        for claim in hold.claims:
            keys = self._claims[claim.measure]
            del keys[claim.key][hold.key]
            if not keys[claim.key]:
                del keys[claim.key]
            if not keys:
                del self._claims[claim.measure]


class Holds(Restored):
    """The holds of one partition's agents."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}  # by key
        self._agents: dict[str, AgentHolds] = {}
        self._ends: list[tuple[int, str]] = []  # a heap; also of holds that have gone before their end
        self._gone: dict[str, None] = {}

    def __len__(self) -> int:
        """How many."""
        return len(self._holds)

    def of(self, agent_id: str) -> AgentHolds:
        """Those of one agent."""
        return self._agents.get(agent_id) or AgentHolds()

    def add(self, hold: Hold) -> None:
        """Hold; whoever calls this writes the record."""
        if hold.key not in self._holds:
            self._holds[hold.key] = hold
            self._agents.setdefault(hold.agent_id, AgentHolds()).add(hold)
            heappush(self._ends, (hold.expires_at_micros, hold.key))

    def remove(self, key: str) -> bool:
        """Give back what is held under a key; whether there was anything."""
        hold = self._holds.pop(key, None)
        if hold is None:
            return False
        agent = self._agents[hold.agent_id]
        agent.remove(hold)
        if not len(agent):
            del self._agents[hold.agent_id]
        self._gone[key] = None
        return True

    def release(self, agent_id: str, name: str, *, pact_id: str, tool: str) -> bool:
        """Give back what is held for a call of this tool under this pact; whether there was anything.

        Of two under one name it is the earlier: the later may stand for a call that is yet to come.
        """
        for hold in self.of(agent_id).named(name):
            if (hold.pact_id, hold.tool) == (pact_id, tool):
                return self.remove(hold.key)
        return False

    def forget(self, agent_id: str, whose: Callable[[Hold], bool]) -> int:
        """Give back all of an agent's holds of which `whose` is true; how many."""
        held = [hold for hold in self._holds.values() if hold.agent_id == agent_id and whose(hold)]
        return sum(self.remove(hold.key) for hold in held)

    def lapse(self, settled_micros: int) -> None:
        """Give back what has lapsed, where all that arrived before `settled_micros` has been judged.

        Not by the clock: a call that arrived in time may wait here to be judged, and until then its hold is all
        that speaks for it.
        """
        while self._ends and self._ends[0][0] + GRACE_MICROS < settled_micros:
            self.remove(heappop(self._ends)[1])

    def drain(self) -> list[str]:
        """The keys of what has gone since the last call: their records are to be deleted."""
        gone, self._gone = self._gone, {}
        return list(gone)

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the topic. Raises InvalidInput: it is none."""
        if value is not None:
            self.add(decode(key, value))
        elif self.remove(key.decode()):
            self._gone.pop(key.decode())

    def checkpoint(self, position: int) -> None:
        """All is in memory, and restored from the beginning."""


def _split(key: bytes) -> tuple[str, str, int]:
    try:
        agent_id, name, made_at = key.decode().split("/")
        return agent_id, name, int(made_at)
    except ValueError:
        raise InvalidInput("not the key of a hold") from None
