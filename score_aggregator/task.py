"""The aggregator's work on one partition: count each leaf once, write one score for each agent that moved."""

from __future__ import annotations

from pactstream import avro, clock
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Emit, Record, Task
from score_aggregator.tally import Tally, parse_leaves


class ScoreTask(Task):
    """Scores of the agents of one partition of `telemetry.evaluated`.

    A score holds all counts it rests on, so `trust.scores` is the output and the changelog at once.
    """

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._tallies: dict[str, Tally] = {}
        self._changed: set[str] = set()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one score back; None forgets the agent."""
        agent_id = key.decode()
        if value is None:
            self._tallies.pop(agent_id, None)
        else:
            self._tallies[agent_id] = Tally.decode(value)

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
        tally = self._tallies.get(agent_id) or Tally(agent_id)
        if tally.add(leaves, batch["received_at_micros"]):
            self._tallies[agent_id] = tally
            self._changed.add(agent_id)
        return len(leaves)

    def flush(self, emit: Emit) -> None:
        """Write the scores that changed: once a transaction, however many batches changed them."""
        now = clock.now_micros()
        for agent_id in sorted(self._changed):
            value = self._tallies[agent_id].encode(now)
            # The source's partition: whoever holds it finds its scores there when it restores.
            emit(topics.SCORES, agent_id.encode(), value, partition=self._partition)
        self._changed.clear()
