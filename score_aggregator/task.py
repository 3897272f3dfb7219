"""The aggregator's work on one partition: count each leaf once, write one score for each agent that moved."""

from __future__ import annotations

from typing import Final

from pactstream import avro, clock
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Emit, Record, Task
from pactstream.scores.leaves import parse_leaves
from score_aggregator.state import AgentState

OPEN_AGENTS: Final = 2_000
"""So many agents' days are held ready; those of others are packed until something of theirs arrives."""


class ScoreTask(Task):
    """Scores of the agents of one partition of `telemetry.evaluated`."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._agents: dict[str, AgentState] = {}
        self._open: dict[str, None] = {}  # the agents whose days are not packed, the longest unmoved first
        self._changed: set[str] = set()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record: `<agent>` for its totals, `<agent>/<day>/<tenant>` for a day."""
        agent_id, _, rest = key.decode().partition("/")
        agent = self._agents.setdefault(agent_id, AgentState(agent_id))
        if rest:
            day, _, tenant = rest.partition("/")
            agent.restore_day((int(day), tenant), value)
        elif value is None:
            del self._agents[agent_id]
        else:
            agent.restore_totals(value)

    def process(self, record: Record, emit: Emit) -> int:
        """Count one batch.

        Raises:
            InvalidInput: it is not a batch of leaves, or its key is not its agent.
        """
        batch = avro.decode_as("EvaluatedBatch", record.value)
        agent_id = batch["agent_id"]
        if record.key != agent_id.encode():
            raise InvalidInput("the record's key is not the batch's agent: its order would not hold")
        leaves = parse_leaves(batch)
        agent = self._agents.get(agent_id) or AgentState(agent_id)
        if agent.add(leaves, batch["tenant_pseudonym"], batch["received_at_micros"]):
            self._agents[agent_id] = agent
            self._changed.add(agent_id)
        return len(leaves)

    def flush(self, emit: Emit) -> None:
        """Write the scores that changed, and the state they rest on: once a transaction."""
        now = clock.now_micros()
        for agent_id in sorted(self._changed):
            agent = self._agents[agent_id]
            # In the source's partition: whoever holds it finds its agents there when it restores.
            emit(topics.SCORES, agent_id.encode(), agent.encode_score(now), partition=self._partition)
            self._log(emit, agent_id, agent.encode_totals())
            for (day, tenant), value in agent.drain(now):
                self._log(emit, f"{agent_id}/{day}/{tenant}", value)
            self._open.pop(agent_id, None)
            self._open[agent_id] = None
        self._changed.clear()
        while len(self._open) > OPEN_AGENTS:
            unmoved = next(iter(self._open))
            del self._open[unmoved]
            self._agents[unmoved].pack()

    def _log(self, emit: Emit, key: str, value: bytes | None) -> None:
        emit(topics.AGGREGATOR_STATE, key.encode(), value, partition=self._partition)
