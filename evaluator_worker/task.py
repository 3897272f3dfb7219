"""The evaluator's work on one partition: what it remembers of its agents, and what it writes of each batch."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final

from evaluator_worker import metrics
from evaluator_worker.agents import Agents, Memory
from evaluator_worker.holds import Holds
from evaluator_worker.judging import Outcome, Pacts, judge_batch, parts
from pactstream import avro, clock
from pactstream.errors import InvalidInput
from pactstream.kafka import letters, topics
from pactstream.kafka.records import Emit, Record, Task
from pactstream.kafka.state_store import StateStore
from pactstream.ledger.openings import Salts
from pactstream.pacts import PactState

GROUP: Final = "evaluator"

_log = logging.getLogger(__name__)


class EvaluatorTask(Task):
    """State of the agents of one partition of `telemetry.batches`, and the judgement of their events."""

    def __init__(self, partition: int, pacts: Pacts, memory: Memory, store: StateStore | None = None) -> None:
        self._partition = partition
        self._pacts = pacts
        self._agents = Agents(memory, store)
        self._salts = Salts()
        self.holds = Holds()
        self.arrived_micros = 0

    @property
    def side(self) -> Holds:
        """The holds, which stand in a topic of their own: pre-flights write there beside the transactions."""
        return self.holds

    def remembered(self, agent_id: str) -> PactState:
        """What the conditions of pacts remember of an agent: to look at, not to change."""
        return self._agents.get(agent_id).pacts

    @property
    def position(self) -> int:
        """How far in the changelog the store has come."""
        return self._agents.position

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record."""
        self._agents.restore(key, value)

    def checkpoint(self, position: int) -> None:
        """Put into the store what was restored or has committed."""
        self._agents.checkpoint(position)

    def close(self) -> None:
        """Let go of the store."""
        self._agents.close()

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
        agent = self._agents.get(agent_id)
        outcome = judge_batch(batch, record, agent, self._pacts, self.holds, self._salts)
        # Set last: what comes before has been judged.
        self.arrived_micros = max(self.arrived_micros, batch["received_at_micros"])
        for index, error in outcome.refused:
            self._refuse(batch, record, error, index, emit)
        if outcome.events:
            self._write(batch, record, outcome, emit)
            agent.extend(outcome.head, outcome.marks, batch["received_at_micros"])
            self._agents.changed(agent_id, agent, batch["received_at_micros"], partial(self._log, emit))
        if outcome.diverged:
            where = (record.topic, record.partition, record.offset)
            _log.error("%d calls of %s[%d]@%d are judged otherwise than inline", outcome.diverged, *where)
        metrics.count(outcome, len(batch["events"]))
        return len(batch["events"])

    def flush(self, emit: Emit) -> None:
        """Write what changed in memory since the last call."""
        # A gateway whose clock is ahead must not have the others' agents forget.
        now = min(self.arrived_micros, clock.now_micros())
        self._agents.flush(now, partial(self._log, emit))
        self.holds.lapse(self.arrived_micros)
        for key in self.holds.drain():
            emit(topics.HOLDS, key.encode(), None, partition=self._partition)

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

    def _log(self, emit: Emit, key: bytes, value: bytes | None) -> None:
        emit(topics.EVALUATOR_STATE, key, value, partition=self._partition)
