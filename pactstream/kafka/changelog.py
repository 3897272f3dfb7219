"""Restoring tasks from their compacted changelog."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from pactstream import clock
from pactstream.errors import Retryable
from pactstream.kafka import config, topics
from pactstream.kafka.offsets import high_watermarks
from pactstream.kafka.records import Task
from pactstream.settings import KafkaSettings

_BATCH = 1_000
# Longer than a dead process's open transaction can hold back the reader.
_STALL_SECONDS = 3 * config.TRANSACTION_TIMEOUT_MS / 1_000


def restore(settings: KafkaSettings, changelog: str, tasks: Mapping[int, Task]) -> int:
    """Feed each task the changelog of its partition, from the beginning to the end; returns the record count.

    The end is the *high watermark* when we begin, not the last stable offset: a dead process's open
    transaction may stand before records that later holders committed, and reading only up to it would lose
    those.

    Raises:
        Retryable: the changelog did not come to its end in time.
        KafkaException: the broker refused.
    """
    topic = topics.name(settings, changelog)
    ends = high_watermarks(AdminClient(config.client(settings)), topic, tasks, _STALL_SECONDS)
    reader = Consumer(config.reader(settings))
    try:
        return _read(reader, topic, tasks, ends)
    finally:
        reader.close()


def _read(reader: Consumer, topic: str, tasks: Mapping[int, Task], ends: dict[int, int]) -> int:
    pending = {partition for partition, end in ends.items() if end > 0}
    reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in pending])
    count = 0
    deadline = clock.monotonic_seconds() + _STALL_SECONDS
    while pending:
        messages = reader.consume(_BATCH, 0.1)
        if messages:
            deadline = clock.monotonic_seconds() + _STALL_SECONDS
        elif clock.monotonic_seconds() > deadline:
            raise Retryable(f"the changelog {topic} did not come to its end")
        for message in messages:
            error = message.error()
            partition = message.partition()
            if partition is None:
                continue
            if error is None:
                tasks[partition].restore(message.key() or b"", message.value())
                count += 1
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            # Transaction markers take offsets but are never delivered: only the end-of-partition event,
            # whose offset is the next one to read, shows that they have been passed.
            offset = message.offset()
            if offset is not None and offset + (error is None) >= ends[partition]:
                pending.discard(partition)
    return count
