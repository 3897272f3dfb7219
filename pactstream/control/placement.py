"""Where an agent's events go: the partition is chosen when it is registered, and kept for good.

By its key alone an agent would move when the number of partitions changes: its chain would go on in another
log, and its state be left behind. So the choice stands in the agent's record in `tenants`, the same in all its
tenants (`pactstream topics grow`, docs/adr/0025).

Agents that an earlier release registered have no choice on record. Theirs is what librdkafka makes of the key,
and `topics grow` writes it down before it adds the first partition. A process that has not heard of that yet
must not compute it from the new number: so the number is counted when the process begins, before it reads
`tenants`.
"""

from __future__ import annotations

from collections.abc import Callable

from pactstream.control.tenants import TenantDirectory
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import scan, topics
from pactstream.kafka.owners import partition_of
from pactstream.settings import KafkaSettings


def count_partitions(settings: KafkaSettings) -> int:
    """How many partitions `telemetry.batches` has now.

    Raises:
        Retryable: Kafka does not answer, or the topic is not there yet.
    """
    try:
        return len(scan.partitions(settings, topics.BATCHES))
    except Fatal as error:
        raise Retryable(str(error)) from error


class Placement:
    """The partitions of agents.

    `partitions` is their number before the directory was read; `count_now` asks for it again, and is needed by
    whoever registers agents.
    """

    def __init__(
        self, directory: TenantDirectory, partitions: int, count_now: Callable[[], int] | None = None
    ) -> None:
        self._directory = directory
        self._partitions = partitions
        self._count_now = count_now

    def of(self, agent_id: str) -> int:
        """Where an agent's events go."""
        chosen = self._directory.partition_of(agent_id)
        return partition_of(agent_id.encode(), self._partitions) if chosen is None else chosen

    def choose(self, agent_id: str) -> int:
        """Where those of an agent that is being registered shall go; the directory must be current.

        Where they go already, if another tenant has registered it; else to the partition with the fewest
        agents. So partitions that were added fill up first.

        Raises:
            Retryable: Kafka does not answer.
        """
        if self._directory.tenants_of(agent_id):
            return self.of(agent_id)
        if self._count_now is None:
            raise Fatal("this process registers no agents")
        count = self._count_now()
        first = partition_of(agent_id.encode(), count)
        # Of those that are equal, by the key: so gateways that register at once do not all begin with the same.
        return min(
            ((first + step) % count for step in range(count)),
            key=self._directory.agents_in,
        )
