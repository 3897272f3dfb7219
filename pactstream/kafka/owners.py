"""Who holds a partition: the member of the consumer group to which it is assigned, and how to reach it.

As Kafka Streams does for interactive queries; but there members tell each other through the assignor, which
librdkafka does not let us. Here a member's address stands in its `client.id`, which the group shows to all.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

import anyio.to_thread
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConsumerGroupDescription

from pactstream import clock
from pactstream.errors import Retryable
from pactstream.kafka import config, topics
from pactstream.settings import KafkaSettings

_MARK: Final = "pactstream@"
_TIMEOUT_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.25


def client_id(address: str) -> str:
    """The `client.id` of a member that answers at `address`, `https://host:port`."""
    return _MARK + address


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a record with this key: librdkafka's default for keyed records, `consistent_random`."""
    return zlib.crc32(key) % partitions


class Owners:
    """Addresses by partition, for one event loop; looked up when they are needed and not known."""

    def __init__(self, settings: KafkaSettings, group: str, topic: str) -> None:
        self._admin = AdminClient(config.client(settings))
        self._group = settings.kafka_topic_prefix + group
        self._topic = topics.name(settings, topic)
        self._addresses: dict[int, str] = {}
        self._looked_at = -_AGAIN_SECONDS
        self._looking = asyncio.Lock()

    async def address(self, partition: int, *, stale: str | None = None) -> str | None:
        """Where the holder of a partition answers, `stale` having turned out not to; None: nobody does.

        Kafka is asked at most four times a second. Raises Retryable: it does not answer.
        """
        known = self._addresses.get(partition)
        if known is not None and known != stale:
            return known
        async with self._looking:
            if clock.monotonic_seconds() - self._looked_at >= _AGAIN_SECONDS:
                # Marked afterwards: a failure does not count.
                self._addresses = await anyio.to_thread.run_sync(self._look)
                self._looked_at = clock.monotonic_seconds()
        return self._addresses.get(partition)

    def _look(self) -> dict[int, str]:
        try:
            asked = self._admin.describe_consumer_groups([self._group], request_timeout=_TIMEOUT_SECONDS)
            found = asked[self._group].result(_TIMEOUT_SECONDS)
        except (KafkaException, TimeoutError) as error:
            raise Retryable(f"the group {self._group} cannot be described: {error}") from error
        return addresses(found, self._topic)


def addresses(group: ConsumerGroupDescription, topic: str) -> dict[int, str]:
    """The addresses of a group's members, by partition of the topic."""
    return {
        assigned.partition: member.client_id.removeprefix(_MARK)
        for member in group.members
        if member.assignment is not None and member.client_id.startswith(_MARK)
        for assigned in member.assignment.topic_partitions
        if assigned.topic == topic
    }
