"""The agents of one partition: those in use as objects, all of them as records of the changelog in a store.

Keys: an agent's id for its chain, `<id>/<sequence>` for a block of seen ids, and `<id>/w/<measure>/<key>` for
what a condition of a pact remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from evaluator_worker import metrics
from evaluator_worker.agent import AgentState, SeenBlock
from pactstream import avro, clock
from pactstream.errors import Fatal, InvalidInput
from pactstream.kafka.state_store import MemoryStore, StateStore, joined, split
from pactstream.ledger.leaf import AgentHead
from pactstream.pacts.state import GRACE_MICROS, is_spent

# In a key, before the name of what a condition remembers; sequence numbers are digits.
_CONDITIONS: Final = "w/"
_HOUR_MICROS: Final = 3_600 * clock.MICROS_PER_SECOND
_SWEPT_AT_ONCE: Final = 50

Log: TypeAlias = Callable[[bytes, bytes | None], None]
"""Writes one record of the changelog in the current transaction."""


@dataclass(frozen=True, slots=True)
class Memory:
    """For how long, and for how many events of an agent, a repeated event id is recognised.

    `hot_bytes`: agents in use take about so much memory at most; others are read again when they are needed.
    """

    events: int
    hours: int
    hot_bytes: int = 64 << 20


class Agents:
    """What is remembered of the agents of one partition.

    What a transaction changes is kept beside the store until it has committed (`checkpoint`), so that the store
    never shows what Kafka does not have.
    """

    def __init__(self, memory: Memory, store: StateStore | None = None) -> None:
        self._memory = memory
        self._store = store or MemoryStore()
        self._hot: dict[str, AgentState] = {}  # the one used longest ago first
        self._weights: dict[str, int] = {}
        self._weight = 0
        self._changed: set[str] = set()
        self._unsettled: dict[bytes, dict[bytes, bytes | None]] = {}  # by agent and name, in order of writing

    @property
    def position(self) -> int:
        """How far in the changelog the store has come."""
        return self._store.position

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record. It is looked at when its agent is needed."""
        self._keep(*split(key), value)

    def checkpoint(self, position: int) -> None:
        """Put into the store what has committed, and stands in the changelog before `position`."""
        changes = (
            (joined(owner, name), value)
            for owner, records in self._unsettled.items()
            for name, value in records.items()
        )
        self._store.write(changes, position)
        self._unsettled = {}

    def close(self) -> None:
        """Let go of the store."""
        metrics.HOT_AGENTS.dec(len(self._hot))
        self._store.close()

    def get(self, agent_id: str) -> AgentState:
        """What is remembered of an agent. Whoever changes it says so with `changed`.

        Raises:
            Fatal: what the changelog has of it is not ours.
            Retryable: the store cannot be read.
        """
        agent = self._hot.pop(agent_id, None)
        if agent is None:
            self._shrink(None)
            agent = self._load(agent_id)
            metrics.HOT_AGENTS.inc()
            metrics.AGENT_LOADS.inc()
            self._weigh(agent_id, agent.weight)
        self._hot[agent_id] = agent
        return agent

    def changed(self, agent_id: str, agent: AgentState, received_at_micros: int, log: Log) -> None:
        """Have what changed written by the next `flush`; the time is the arrival of what changed it."""
        agent.received_at_micros = received_at_micros
        oldest = received_at_micros - self._memory.hours * _HOUR_MICROS
        agent.seen.expire(older_than_micros=oldest, keep=self._memory.events)
        self._changed.add(agent_id)
        self._weigh(agent_id, agent.weight)
        self._shrink(log)

    def flush(self, now_micros: int, log: Log) -> None:
        """Write what changed, once a transaction, and forget some of what idle agents need no more.

        `now_micros`: all that is still to come arrived after this, give or take an hour.
        """
        for agent_id in sorted(self._changed):
            self._write(agent_id, log)
        self._sweep(now_micros, log)

    def _load(self, agent_id: str) -> AgentState:
        owner = agent_id.encode()
        records = self._store.of(owner)
        for name, value in self._unsettled.get(owner, {}).items():
            records.pop(name, None)
            if value is not None:
                records[name] = value
        try:
            return _decoded(records)
        except (InvalidInput, ValueError) as error:
            raise Fatal(f"the state of agent {agent_id} cannot be read: {error}") from error

    def _write(self, agent_id: str, log: Log) -> None:
        agent, owner = self._hot[agent_id], agent_id.encode()
        chain = {"sequence": agent.head.sequence, "head": agent.head.leaf_hash}
        self._put(owner, b"", avro.encode("AgentChain", chain), log)
        for first_sequence, block in agent.seen.drain():
            self._put(owner, b"%d" % first_sequence, None if block is None else _encoded(block), log)
        for name, entry in agent.pacts.drain(agent.received_at_micros):
            value = None if entry is None else avro.encode("ConditionState", {"entry": entry})
            agent.resize(name, value)
            self._put(owner, (_CONDITIONS + name).encode(), value, log)
        self._changed.discard(agent_id)
        self._weigh(agent_id, agent.weight)

    def _put(self, owner: bytes, name: bytes, value: bytes | None, log: Log) -> None:
        log(joined(owner, name), value)
        self._keep(owner, name, value)

    def _keep(self, owner: bytes, name: bytes, value: bytes | None) -> None:
        records = self._unsettled.setdefault(owner, {})
        records.pop(name, None)
        records[name] = value

    def _weigh(self, agent_id: str, weight: int) -> None:
        self._weight += weight - self._weights.get(agent_id, 0)
        self._weights[agent_id] = weight

    def _shrink(self, log: Log | None) -> None:
        """Let go of agents used longest ago. One with changes is written first; it stays if that cannot be."""
        if self._weight <= self._memory.hot_bytes:
            return
        for agent_id in list(self._hot):
            if agent_id in self._changed:
                if log is None:
                    continue
                self._write(agent_id, log)
            del self._hot[agent_id]
            self._weight -= self._weights.pop(agent_id)
            metrics.HOT_AGENTS.dec()
            if self._weight <= self._memory.hot_bytes:
                return

    def _sweep(self, now_micros: int, log: Log) -> None:
        """Look at some records, all in turn, and delete what has expired.

        By then no call can tell whether it is there, so it makes no difference when this comes round. The head
        of a chain stays for ever.
        """
        oldest = now_micros - self._memory.hours * _HOUR_MICROS - GRACE_MICROS
        for key, value in self._store.next_records(_SWEPT_AT_ONCE):
            owner, name = split(key)
            # What this transaction changed is newer than the store.
            if name and owner not in self._unsettled and _is_over(name, value, now_micros, oldest):
                agent = self._hot.get(owner.decode())
                if agent is not None:
                    _take(agent, name.decode(), None)
                self._put(owner, name, None, log)


def _decoded(records: dict[bytes, bytes]) -> AgentState:
    """An agent from its records. Raises InvalidInput, ValueError: they are none."""
    agent = AgentState()
    blocks: dict[int, bytes] = {}
    for key, value in records.items():
        name = key.decode()
        if name.isdigit():
            blocks[int(name)] = value
        else:
            _take(agent, name, value)
    for first_sequence in sorted(blocks):
        _take(agent, str(first_sequence), blocks[first_sequence])
    return agent


def _take(agent: AgentState, name: str, value: bytes | None) -> None:
    if not name:
        chain = avro.decode_as("AgentChain", value)
        agent.head = AgentHead(chain["sequence"], chain["head"])
    elif name.startswith(_CONDITIONS):
        condition = name.removeprefix(_CONDITIONS)
        agent.pacts.restore(condition, None if value is None else _entry(value))
        agent.resize(condition, value)
    else:
        agent.seen.restore(int(name), None if value is None else _block(value))


def _is_over(name: bytes, value: bytes, now_micros: int, oldest_micros: int) -> bool:
    try:
        if name.startswith(_CONDITIONS.encode()):
            return is_spent(_entry(value), now_micros)
        return _block(value).received_at_micros < oldest_micros
    except InvalidInput:
        return False  # whoever needs its agent will say so


def _entry(value: bytes) -> bytes:
    entry: bytes = avro.decode_as("ConditionState", value)["entry"]
    return entry


def _block(value: bytes) -> SeenBlock:
    block = avro.decode_as("SeenEvents", value)
    return SeenBlock(block["received_at_micros"], block["event_ids"])


def _encoded(block: SeenBlock) -> bytes:
    record = {"received_at_micros": block.received_at_micros, "event_ids": block.ids}
    return avro.encode("SeenEvents", record)
