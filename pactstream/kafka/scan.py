"""Reading what a topic holds right now, from chosen offsets to the end, outside any consumer group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from pactstream import clock
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import config, reach, topics
from pactstream.kafka.faults import classify
from pactstream.kafka.messages import as_record
from pactstream.kafka.offsets import high_watermarks
from pactstream.kafka.records import Record
from pactstream.settings import KafkaSettings

_TIMEOUT_SECONDS = 10.0
_BATCH = 500
# Longer than a dead process's open transaction can hold back the reader.
_STALL_SECONDS = 3 * config.TRANSACTION_TIMEOUT_MS / 1_000


class Scanned(NamedTuple):
    """A record and when it was written, in microseconds since 1970 (Kafka keeps milliseconds)."""

    record: Record
    written_at_micros: int


def partitions(settings: KafkaSettings, topic: str) -> list[int]:
    """The partitions of a topic (named without prefix).

    Raises:
        Fatal: there is no such topic.
        Retryable: Kafka does not answer.
    """
    full = topics.name(settings, topic)
    try:
        found = AdminClient(config.client(settings)).list_topics(timeout=_TIMEOUT_SECONDS).topics.get(full)
    except KafkaException as error:
        raise Retryable(f"Kafka does not answer at {settings.kafka_bootstrap}: {error.args[0].str()}") from None
    if found is None:
        raise Fatal(f"there is no topic {full}; create the topics with: pactstream topics apply")
    return sorted(found.partitions)


def offsets_since(settings: KafkaSettings, topic: str, since_micros: int) -> dict[int, int]:
    """For each partition the offset of its first record written at that time or later; its end if none was.

    Raises:
        Fatal, Retryable: as `partitions`.
    """
    full = topics.name(settings, topic)
    admin = AdminClient(config.client(settings))
    all_partitions = partitions(settings, topic)
    ends = _ends(admin, full, all_partitions)
    moment = OffsetSpec.for_timestamp(since_micros // 1_000)
    asked = admin.list_offsets({TopicPartition(full, one): moment for one in all_partitions})
    try:
        found = {where.partition: done.result(_TIMEOUT_SECONDS).offset for where, done in asked.items()}
    except KafkaException as error:
        raise classify(error) from error
    return {one: offset if offset >= 0 else ends[one] for one, offset in found.items()}


def scan(settings: KafkaSettings, topic: str, starts: Mapping[int, int]) -> Iterator[Scanned]:
    """Every committed record from `starts` to the present end, in order within a partition.

    Raises:
        Retryable: the end was not reached in time, or Kafka does not answer.
        Fatal: not authorised, no such topic.
    """
    full = topics.name(settings, topic)
    ends = _ends(AdminClient(config.client(settings)), full, starts)
    reader = Consumer(config.reader(settings))
    try:
        yield from _read(reader, full, starts, ends)
    except KafkaException as error:
        raise classify(error) from error
    finally:
        reader.close()


@retry(
    retry=retry_if_exception_type(Retryable),
    wait=wait_random_exponential(multiplier=0.1, max=1),
    stop=stop_after_delay(_TIMEOUT_SECONDS),
    reraise=True,
)
def _ends(admin: AdminClient, topic: str, of: Iterable[int]) -> dict[int, int]:
    """Asked again for a while: a partition has no leader for moments after it was made or has moved."""
    return high_watermarks(admin, topic, of, _TIMEOUT_SECONDS)


def _read(
    reader: Consumer, topic: str, starts: Mapping[int, int], ends: Mapping[int, int]
) -> Iterator[Scanned]:
    pending = {one for one, start in starts.items() if start < ends[one]}
    reach.connect(reader, topic)
    reader.assign([TopicPartition(topic, one, starts[one]) for one in pending])
    deadline = clock.monotonic_seconds() + _STALL_SECONDS
    while pending:
        messages = reader.consume(_BATCH, 0.1)
        if messages:
            deadline = clock.monotonic_seconds() + _STALL_SECONDS
        elif clock.monotonic_seconds() > deadline:
            raise Retryable(f"{topic} did not come to its end: an open transaction holds it back; try again")
        for message in messages:
            partition, passed = _passed(message)
            if message.error() is None and passed <= ends[partition]:
                yield Scanned(as_record(message), message.timestamp()[1] * 1_000)
            # Transaction markers are never delivered: only the end-of-partition event, whose offset is the next
            # one to read, shows that they have been passed.
            if passed >= ends[partition]:
                pending.discard(partition)


def _passed(message: Message) -> tuple[int, int]:
    """The partition, and the offset up to which it has been read."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise Fatal("the Kafka client returned a record without a position")
    return partition, offset + (error is None)
