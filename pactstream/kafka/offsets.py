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
    return _offsets(admin, topic, partitions, OffsetSpec.latest(), timeout_seconds)


def low_watermarks(
    admin: AdminClient, topic: str, partitions: Iterable[int], timeout_seconds: float
) -> dict[int, int]:
    """The first offset that each partition still has.

    Raises:
        Retryable: the brokers do not say.
    """
    return _offsets(admin, topic, partitions, OffsetSpec.earliest(), timeout_seconds)


def _offsets(
    admin: AdminClient, topic: str, partitions: Iterable[int], which: OffsetSpec, timeout_seconds: float
) -> dict[int, int]:
    wanted = {TopicPartition(topic, partition): which for partition in partitions}
    asked = admin.list_offsets(
        wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=timeout_seconds
    )
    try:
        return {where.partition: done.result(timeout_seconds).offset for where, done in asked.items()}
    except (KafkaException, TimeoutError) as error:
        fault = error.args[0].str() if isinstance(error, KafkaException) else "no answer in time"
        raise Retryable(f"the offsets of {topic} are not known: {fault}") from error
