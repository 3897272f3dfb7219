"""The agents of one partition: what is remembered of each, and its records in the changelog.

Keys: an agent's id for its chain, `<id>/<sequence>` for a block of seen ids, and `<id>/w/<measure>/<key>` for
what a condition of a pact remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from evaluator_worker.agent import AgentState, SeenBlock
from pactstream import avro, clock
from pactstream.ledger.leaf import AgentHead

# In a key, before the name of what a condition remembers; sequence numbers are digits.
_CONDITIONS: Final = "w/"

Log: TypeAlias = Callable[[str, bytes | None], None]
"""Writes one record of the changelog in the current transaction."""


@dataclass(frozen=True, slots=True)
class Memory:
    """For how long, and for how many events of an agent, a repeated event id is recognised."""

    events: int
    hours: int


class Agents:
    """What is remembered of the agents of one partition."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._agents: dict[str, AgentState] = {}
        self._changed: set[str] = set()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record."""
        agent_id, _, rest = key.decode().partition("/")
        agent = self._agents.setdefault(agent_id, AgentState())
        if not rest:
            chain = avro.decode_as("AgentChain", value)
            agent.head = AgentHead(chain["sequence"], chain["head"])
        elif rest.startswith(_CONDITIONS):
            entry = None if value is None else avro.decode_as("ConditionState", value)["entry"]
            agent.pacts.restore(rest.removeprefix(_CONDITIONS), entry)
        elif value is None:
            agent.seen.restore(int(rest), None)
        else:
            block = avro.decode_as("SeenEvents", value)
            agent.seen.restore(int(rest), SeenBlock(block["received_at_micros"], block["event_ids"]))

    def get(self, agent_id: str) -> AgentState:
        """What is remembered of an agent. Whoever changes it says so with `changed`."""
        return self._agents.get(agent_id) or AgentState()

    def changed(self, agent_id: str, agent: AgentState, received_at_micros: int) -> None:
        """Have what changed written by the next `flush`; the time is the arrival of what changed it."""
        agent.received_at_micros = received_at_micros
        oldest = received_at_micros - self._memory.hours * 3_600 * clock.MICROS_PER_SECOND
        agent.seen.expire(older_than_micros=oldest, keep=self._memory.events)
        self._agents[agent_id] = agent
        self._changed.add(agent_id)

    def flush(self, log: Log) -> None:
        """Write what changed: once a transaction, however many batches changed it."""
        for agent_id in sorted(self._changed):
            agent = self._agents[agent_id]
            chain = {"sequence": agent.head.sequence, "head": agent.head.leaf_hash}
            log(agent_id, avro.encode("AgentChain", chain))
            for first_sequence, block in agent.seen.drain():
                log(f"{agent_id}/{first_sequence}", None if block is None else _encoded(block))
            for name, entry in agent.pacts.drain(agent.received_at_micros):
                value = None if entry is None else avro.encode("ConditionState", {"entry": entry})
                log(f"{agent_id}/{_CONDITIONS}{name}", value)
        self._changed.clear()


def _encoded(block: SeenBlock) -> bytes:
    record = {"received_at_micros": block.received_at_micros, "event_ids": block.ids}
    return avro.encode("SeenEvents", record)
