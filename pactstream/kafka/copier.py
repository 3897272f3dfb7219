"""The loop of whatever copies a topic to a place that takes the same record twice: a table, mostly.

At least once: a batch is written, then its offsets are committed. A crash between the two leaves what was
written, and the offsets where they were: the next session writes the same records again, and whoever writes
them sees to it that this changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pactstream.kafka import config, topics
from pactstream.kafka.messages import as_record
from pactstream.kafka.records import Record
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import KafkaSettings


class Copier:
    """A member of a consumer group that hands on what it reads; everything happens in the thread of `run`.

    `write` takes up to `max_records` records, in the order of each partition, of which the first has waited
    `wait_seconds` at most. What it raises decides: `Retryable` starts over from the last committed offset.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        topic: str,
        write: Callable[[Sequence[Record]], None],
        *,
        max_records: int,
        wait_seconds: float,
    ) -> None:
        self._settings = settings
        self._group = group
        self._topic = topics.name(settings, topic)
        self._write = write
        self._max_records = max_records
        self._wait_seconds = wait_seconds
        self._ready = Event()

    @property
    def ready(self) -> bool:
        """Whether this is a member of its group."""
        return self._ready.is_set()

    def run(self, stop: Event) -> None:
        """Copy until `stop` is set.

        Raises:
            Fatal: going on makes no sense (no such topic or table, not authorised).
        """
        run_sessions(self._group, self._run_session, stop)

    def _run_session(self, stop: Event) -> None:
        consumer = Consumer(config.consumer(self._settings, self._group))
        try:
            consumer.subscribe([self._topic], on_assign=lambda *_: self._ready.set())
            while not stop.is_set():
                self._turn(consumer)
        finally:
            self._ready.clear()
            consumer.close()

    def _turn(self, consumer: Consumer) -> None:
        records: list[Record] = []
        for message in consumer.consume(self._max_records, self._wait_seconds):
            if (error := message.error()) is None:
                records.append(as_record(message))
            elif not error.retriable():
                raise KafkaException(error)
        if not records:
            return
        self._write(records)
        ends = {record.partition: record.offset + 1 for record in records}
        offsets = [TopicPartition(self._topic, partition, end) for partition, end in ends.items()]
        consumer.commit(offsets=offsets, asynchronous=False)
