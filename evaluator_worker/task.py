"""The evaluator's work on one partition: what it remembers of its agents, and what it writes of each batch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from evaluator_worker import metrics
from evaluator_worker.agent import AgentState, SeenBlock
from evaluator_worker.judging import Outcome, Pacts, judge_batch, parts
from pactstream import avro, clock
from pactstream.errors import InvalidInput
from pactstream.kafka import letters, topics
from pactstream.kafka.records import Emit, Record
from pactstream.ledger.leaf import AgentHead

GROUP: Final = "evaluator"

# In a key, before the name of what a condition remembers; sequence numbers are digits.
_CONDITIONS: Final = "w/"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Memory:
    """For how long, and for how many events of an agent, a repeated event id is recognised."""

    events: int
    hours: int


class EvaluatorTask:
    """State of the agents of one partition of `telemetry.batches`, and the judgement of their events."""

    def __init__(self, partition: int, pacts: Pacts, memory: Memory) -> None:
        self._partition = partition
        self._pacts = pacts
        self._memory = memory
        self._agents: dict[str, AgentState] = {}
        self._changed: set[str] = set()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record.

        Keys: an agent's id for its chain, `<id>/<sequence>` for a block of seen ids, and
        `<id>/w/<measure>/<key>` for what a condition of a pact remembers.
        """
        agent_id, _, rest = key.decode().partition("/")
        agent = self._agents.setdefault(agent_id, AgentState())
        if not rest:
            chain = avro.decode_as("AgentChain", value)
            agent.head = AgentHead(chain["sequence"], chain["head"])
        elif rest.startswith(_CONDITIONS):
            entry = None if value is None else avro.decode_as("ConditionState", value)["entry"]
            agent.pacts.restore(rest.removeprefix(_CONDITIONS), entry)
        elif value is None:
            agent.seen.remove(int(rest))
        else:
            block = avro.decode_as("SeenEvents", value)
            agent.seen.add(int(rest), SeenBlock(block["received_at_micros"], block["event_ids"]))

    def process(self, record: Record, emit: Emit) -> int:
        """Judge one batch.

        Raises:
            InvalidInput: it is not a batch.
            Retryable: it names a pact version that has not arrived here.
        """
        batch = avro.decode_as("TelemetryBatch", record.value)
        agent_id = batch["agent_id"]
        if record.key != agent_id.encode():
            fault = InvalidInput("the record's key is not the batch's agent: its order would not hold")
            self._refuse(batch, record, fault, None, emit)
            return len(batch["events"])
        agent = self._agents.get(agent_id) or AgentState()
        outcome = judge_batch(batch, record, agent, self._pacts)
        for index, error in outcome.refused:
            self._refuse(batch, record, error, index, emit)
        if outcome.events:
            self._agents[agent_id] = agent
            self._write(batch, record, outcome, emit)
            self._remember(agent_id, agent, batch["received_at_micros"], outcome, emit)
        metrics.count(outcome, len(batch["events"]))
        return len(batch["events"])

    def flush(self, emit: Emit) -> None:
        """Write the chains and windows that moved: once a transaction, however many batches moved them."""
        for agent_id in sorted(self._changed):
            agent = self._agents[agent_id]
            chain = {"sequence": agent.head.sequence, "head": agent.head.leaf_hash}
            self._log(emit, agent_id, avro.encode("AgentChain", chain))
            for name, entry in agent.pacts.drain(agent.received_at_micros):
                value = None if entry is None else avro.encode("ConditionState", {"entry": entry})
                self._log(emit, f"{agent_id}/{_CONDITIONS}{name}", value)
        self._changed.clear()

    def _refuse(
        self, batch: dict[str, Any], record: Record, error: InvalidInput, index: int | None, emit: Emit
    ) -> None:
        """Write a dead letter: for one event a batch of it alone, so that a replay touches no neighbour."""
        _log.warning(
            "dead letter: tenant %s, %s[%d]@%d, event %s: %s",
            batch["tenant_id"],
            record.topic,
            record.partition,
            record.offset,
            "-" if index is None else index,
            error,
        )
        alone = None if index is None else {**batch, "events": [batch["events"][index]]}
        letters.write(
            emit,
            topics.BATCHES,
            record,
            error,
            group=GROUP,
            value=None if alone is None else avro.encode("TelemetryBatch", alone),
            event_index=index,
            tenant=batch["tenant_id"],
        )

    def _write(self, batch: dict[str, Any], record: Record, outcome: Outcome, emit: Emit) -> None:
        evaluated = {
            "tenant_id": batch["tenant_id"],
            "tenant_pseudonym": batch["tenant_pseudonym"],
            "agent_id": batch["agent_id"],
            "received_at_micros": batch["received_at_micros"],
            "source_topic": topics.BATCHES,
            "source_partition": record.partition,
            "source_offset": record.offset,
        }
        for events in parts(outcome.events):
            value = avro.encode("EvaluatedBatch", {**evaluated, "events": events})
            # The same partition as the source: an agent's leaves stay in one log.
            emit(topics.EVALUATED, batch["agent_id"].encode(), value, partition=self._partition)

    def _remember(
        self, agent_id: str, agent: AgentState, received_at_micros: int, outcome: Outcome, emit: Emit
    ) -> None:
        first_sequence = agent.head.sequence + 1
        block = SeenBlock(received_at_micros, b"".join(outcome.marks))
        agent.seen.add(first_sequence, block)
        agent.head = outcome.head
        agent.received_at_micros = received_at_micros
        self._changed.add(agent_id)
        value = avro.encode("SeenEvents", {"received_at_micros": received_at_micros, "event_ids": block.ids})
        self._log(emit, f"{agent_id}/{first_sequence}", value)
        oldest = received_at_micros - self._memory.hours * 3_600 * clock.MICROS_PER_SECOND
        for gone in agent.seen.expire(older_than_micros=oldest, keep=self._memory.events):
            self._log(emit, f"{agent_id}/{gone}", None)

    def _log(self, emit: Emit, key: str, value: bytes | None) -> None:
        emit(topics.EVALUATOR_STATE, key.encode(), value, partition=self._partition)
