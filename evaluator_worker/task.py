"""The evaluator's work on one partition: judge each call, number and link each event, never one twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from evaluator_worker import metrics
from evaluator_worker.agent import AgentState, SeenBlock
from pactstream import avro, clock
from pactstream.control.pacts import PactBook
from pactstream.errors import InvalidInput, Retryable
from pactstream.kafka import letters, topics
from pactstream.kafka.config import MAX_MESSAGE_BYTES
from pactstream.kafka.records import Emit, Record
from pactstream.ledger.leaf import AgentHead, Source, build_leaf
from pactstream.pacts import Verdict

GROUP: Final = "evaluator"

_log = logging.getLogger(__name__)

# Many small parameters, each with its commitment and opening, make far more of a batch than came in: what does
# not fit one record is written as several. The rest of a record is room for its other fields.
MAX_EVALUATED_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1_024
_EVENT_OVERHEAD_BYTES: Final = 128

# The gateway stamped a version that this process has not read yet: it is on its way.
_PACT_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Memory:
    """For how long, and for how many events of an agent, a repeated event id is recognised."""

    events: int
    hours: int


@dataclass(slots=True)
class _Outcome:
    """What one batch changes, worked out in full before any of it is applied."""

    head: AgentHead
    events: list[dict[str, Any]] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    refused: list[tuple[int, InvalidInput]] = field(default_factory=list)


class EvaluatorTask:
    """State of the agents of one partition of `telemetry.batches`, and the judgement of their events."""

    def __init__(self, partition: int, pacts: PactBook, memory: Memory) -> None:
        self._partition = partition
        self._pacts = pacts
        self._memory = memory
        self._agents: dict[str, AgentState] = {}
        self._changed: set[str] = set()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record: an agent's chain under its id, a block of seen ids under id/sequence."""
        agent_id, _, first_sequence = key.decode().partition("/")
        agent = self._agents.setdefault(agent_id, AgentState())
        if not first_sequence:
            chain = avro.decode_as("AgentChain", value)
            agent.head = AgentHead(chain["sequence"], chain["head"])
        elif value is None:
            agent.seen.remove(int(first_sequence))
        else:
            block = avro.decode_as("SeenEvents", value)
            agent.seen.add(int(first_sequence), SeenBlock(block["received_at_micros"], block["event_ids"]))

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
        outcome = self._judge_batch(batch, record, agent)
        for index, error in outcome.refused:
            self._refuse(batch, record, error, index, emit)
        if outcome.events:
            self._agents[agent_id] = agent
            self._write(batch, record, outcome, emit)
            self._remember(agent_id, agent, batch["received_at_micros"], outcome, emit)
        metrics.count(batch["events"], outcome.verdicts, len(outcome.refused), len(outcome.ids))
        return len(batch["events"])

    def flush(self, emit: Emit) -> None:
        """Write the chains that moved: once a transaction, however many batches moved them."""
        for agent_id in sorted(self._changed):
            head = self._agents[agent_id].head
            chain = {"sequence": head.sequence, "head": head.leaf_hash}
            self._log(emit, agent_id, avro.encode("AgentChain", chain))
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

    def _judge_batch(self, batch: dict[str, Any], record: Record, agent: AgentState) -> _Outcome:
        outcome = _Outcome(agent.head)
        received_at = clock.to_iso(batch["received_at_micros"])
        fresh: set[bytes] = set()
        for index, event in enumerate(batch["events"]):
            try:
                event_id = UUID(event["event_id"]).bytes
                if event_id in agent.seen or event_id in fresh:
                    continue
                verdict = self._judge(event)
                built = build_leaf(
                    event,
                    verdict,
                    agent_id=batch["agent_id"],
                    tenant=batch["tenant_pseudonym"],
                    received_at=received_at,
                    source=Source(index, record.offset, record.partition, topics.BATCHES),
                    head=outcome.head,
                )
                _check_size(len(built.leaf) + len(built.private or b""))
            except InvalidInput as error:
                outcome.refused.append((index, error))
                continue
            except ValueError:
                outcome.refused.append((index, InvalidInput("eventId is not a UUID")))
                continue
            fresh.add(event_id)
            outcome.head = built.head
            outcome.ids.append(event_id)
            if verdict is not None:
                outcome.verdicts.append(verdict)
            outcome.events.append(
                {
                    "event_id": event["event_id"],
                    "sequence": built.head.sequence,
                    "leaf": built.leaf,
                    "private": built.private,
                }
            )
        return outcome

    def _judge(self, event: dict[str, Any]) -> Verdict | None:
        """The verdict of the version in force when the event arrived; None where there is nothing to judge."""
        pact_id, version = event["pact_id"], event["pact_version"]
        if event["type"] != "tool_call" or pact_id is None or version is None:
            return None
        pact = self._pacts.compiled(pact_id, version, timeout_seconds=_PACT_WAIT_SECONDS)
        if pact is None:
            raise Retryable(f"version {version} of pact {pact_id} has not arrived yet")
        return pact.judge(event["tool"] or "", event["params"] or b"")

    def _write(self, batch: dict[str, Any], record: Record, outcome: _Outcome, emit: Emit) -> None:
        evaluated = {
            "tenant_id": batch["tenant_id"],
            "tenant_pseudonym": batch["tenant_pseudonym"],
            "agent_id": batch["agent_id"],
            "received_at_micros": batch["received_at_micros"],
            "source_topic": topics.BATCHES,
            "source_partition": record.partition,
            "source_offset": record.offset,
        }
        for events in _parts(outcome.events):
            value = avro.encode("EvaluatedBatch", {**evaluated, "events": events})
            # The same partition as the source: an agent's leaves stay in one log.
            emit(topics.EVALUATED, batch["agent_id"].encode(), value, partition=self._partition)

    def _remember(
        self, agent_id: str, agent: AgentState, received_at_micros: int, outcome: _Outcome, emit: Emit
    ) -> None:
        first_sequence = agent.head.sequence + 1
        block = SeenBlock(received_at_micros, b"".join(outcome.ids))
        agent.seen.add(first_sequence, block)
        agent.head = outcome.head
        self._changed.add(agent_id)
        value = avro.encode("SeenEvents", {"received_at_micros": received_at_micros, "event_ids": block.ids})
        self._log(emit, f"{agent_id}/{first_sequence}", value)
        oldest = received_at_micros - self._memory.hours * 3_600 * clock.MICROS_PER_SECOND
        for gone in agent.seen.expire(older_than_micros=oldest, keep=self._memory.events):
            self._log(emit, f"{agent_id}/{gone}", None)

    def _log(self, emit: Emit, key: str, value: bytes | None) -> None:
        emit(topics.EVALUATOR_STATE, key.encode(), value, partition=self._partition)


def _check_size(judged_bytes: int) -> None:
    if judged_bytes + _EVENT_OVERHEAD_BYTES > MAX_EVALUATED_BYTES:
        raise InvalidInput(f"judged, the event has {judged_bytes} bytes: more than one record holds")


def _parts(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events in order, in as few lists as fit one record each."""
    part: list[dict[str, Any]] = []
    size = 0
    for event in events:
        needed = len(event["leaf"]) + len(event["private"] or b"") + _EVENT_OVERHEAD_BYTES
        if part and size + needed > MAX_EVALUATED_BYTES:
            yield part
            part, size = [], 0
        part.append(event)
        size += needed
    yield part
