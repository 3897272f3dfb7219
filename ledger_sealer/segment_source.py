"""Reads again the records that a segment covers."""

from __future__ import annotations

from collections import deque

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pactstream import clock
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import config, reach, topics
from pactstream.ledger.segment import SegmentHeader
from pactstream.settings import KafkaSettings


class PastRetention(Fatal):
    """Records that a segment covers are gone from Kafka."""

    def __init__(self, header: SegmentHeader, left: int) -> None:
        super().__init__(
            f"{header.origin}, segment {header.index}: its records are past the retention of "
            f"{topics.EVALUATED}: {left} leaves are left of {header.leaves}"
        )


_BATCH = 500
_STALL_SECONDS = 30.0


class SegmentSource:
    """One partition of `telemetry.evaluated`. Segments in order are read straight on; any other is sought."""

    def __init__(self, settings: KafkaSettings, log: int) -> None:
        self._topic = topics.name(settings, topics.EVALUATED)
        self._log = log
        self._position = -1
        self._fetched: deque[Message] = deque()
        self._consumer = Consumer(
            config.reader(settings) | {"fetch.wait.max.ms": 20, "queued.max.messages.kbytes": 16_384}
        )
        reach.connect(self._consumer, self._topic)

    def read(self, header: SegmentHeader) -> list[bytes | None]:
        """The values of the records that the segment covers, dead letters included.

        Where the topic begins later than the segment, by retention, what is left of it: the caller must count.

        Raises:
            PastRetention: nothing is left of it.
            Retryable: the records did not come in time.
            KafkaException: the broker refused.
        """
        first, end = header.source.first_offset, header.source.next_offset
        if first != self._position:
            self._fetched.clear()
            self._consumer.assign([TopicPartition(self._topic, self._log, first)])
        self._position = -1  # a failure on the way leaves us anywhere
        values: list[bytes | None] = []
        while True:
            message = self._next(header)
            offset = message.offset()
            if offset is None or offset >= end:
                raise PastRetention(header, 0)
            values.append(message.value())
            # The sealer ends a segment at a record: its last offset is never a transaction marker.
            if offset == end - 1:
                self._position = end
                return values

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()

    def _next(self, header: SegmentHeader) -> Message:
        deadline = clock.monotonic_seconds() + _STALL_SECONDS
        while not self._fetched:
            if clock.monotonic_seconds() > deadline:
                raise Retryable(f"the records of segment {header.index} of log {self._log} did not come")
            for message in self._consumer.consume(_BATCH, 0.02):
                error = message.error()
                if error is None:
                    self._fetched.append(message)
                elif error.code() != KafkaError._PARTITION_EOF and not error.retriable():
                    raise KafkaException(error)
        return self._fetched.popleft()
