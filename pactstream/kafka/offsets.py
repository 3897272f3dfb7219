"""Where partitions end."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from pactstream.errors import Retryable


def high_watermarks(
    admin: AdminClient, topic: str, partitions: Iterable[int], timeout_seconds: float
) -> dict[int, int]:
    """The offset after the last record of each partition, whether its transaction is committed or not.

    Raises:
        Retryable: the brokers do not say.
    """
    wanted = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in partitions}
    asked = admin.list_offsets(
        wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=timeout_seconds
    )
    try:
        return {where.partition: done.result(timeout_seconds).offset for where, done in asked.items()}
    except (KafkaException, TimeoutError) as error:
        fault = error.args[0].str() if isinstance(error, KafkaException) else "no answer in time"
        raise Retryable(f"the end of {topic} is not known: {fault}") from error
