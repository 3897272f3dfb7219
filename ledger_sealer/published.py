"""What a log has published: the last segment in its partition of `ledger.checkpoints`."""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pactstream import avro, clock
from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.kafka import config, topics
from pactstream.ledger import segment
from pactstream.ledger.segment import ChainEnd, SegmentHeader
from pactstream.settings import KafkaSettings

_TIMEOUT_SECONDS = 15.0
_FIRST_SPAN = 64
_WIDER = 16


class PublishedSegment(NamedTuple):
    """A segment as published: its header, the header's bytes, the signed note, when it was sealed."""

    header: SegmentHeader
    header_bytes: bytes
    note: bytes
    sealed_at_micros: int


def last_published(settings: KafkaSettings, log: int) -> ChainEnd:
    """The end of the log's chain after its last committed segment; the chain's start if it has none.

    Raises:
        Fatal: the last record is no segment.
        Retryable: the topic did not come to its end in time.
        KafkaException: the broker refused.
    """
    reader = Consumer(config.reader(settings))
    try:
        value = _last_value(reader, topics.name(settings, topics.CHECKPOINTS), log)
    finally:
        reader.close()
    if value is None:
        return segment.CHAIN_START
    last = read_segment(value)
    return segment.chain_end(last.header, segment.header_hash(last.header_bytes))


def read_segment(value: bytes | None) -> PublishedSegment:
    """The segment in a record of `ledger.checkpoints`.

    Raises:
        Fatal: it is none. Nobody but a sealer may write there.
    """
    try:
        record = avro.decode_as("SealedSegment", value)
        header = segment.parse_header(record["header"])
    except InvalidInput as error:
        raise Fatal(f"a record of {topics.CHECKPOINTS} cannot be read: {error}") from error
    return PublishedSegment(header, record["header"], record["checkpoint"], record["sealed_at_micros"])


def _last_value(reader: Consumer, topic: str, log: int) -> bytes | None:
    """The value of the partition's last committed record, sought from the end in growing steps.

    The last offsets may belong to transaction markers and aborted transactions, of which there can be many.
    """
    low, high = reader.get_watermark_offsets(TopicPartition(topic, log), _TIMEOUT_SECONDS, cached=False)
    span = _FIRST_SPAN
    while True:
        start = max(low, high - span)
        value = _read_to_end(reader, TopicPartition(topic, log, start))
        if value is not None or start == low:
            return value
        span *= _WIDER


def _read_to_end(reader: Consumer, start: TopicPartition) -> bytes | None:
    reader.assign([start])
    deadline = clock.monotonic_seconds() + _TIMEOUT_SECONDS
    value = None
    while clock.monotonic_seconds() < deadline:
        message = reader.poll(0.1)
        if message is None:
            continue
        error = message.error()
        if error is None:
            value = message.value()
        elif error.code() == KafkaError._PARTITION_EOF:
            return value
        elif not error.retriable():
            raise KafkaException(error)
    raise Retryable(f"{start.topic}[{start.partition}] did not come to its end")
