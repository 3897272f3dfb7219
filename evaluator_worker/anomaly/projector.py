"""Copies `anomalies` to the ClickHouse table of that name, at least once; the table makes that exactly once.

The table keeps the row with the highest version of each tenant and anomaly: a row written twice, or an older
one after a newer, is the same as not written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from threading import Event
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pactstream import avro
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import InvalidInput
from pactstream.kafka import config, topics
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import KafkaSettings

GROUP: Final = "anomaly-projector"
COLUMNS: Final = (
    "tenant_id",
    "agent_id",
    "anomaly_id",
    "kind",
    "status",
    "since",
    "detected_at",
    "features",
    "attribution",
    "evidence",
    "version",
)
_MAX_RECORDS = 1_000
_log = logging.getLogger(__name__)

Anomaly = dict[str, Any]


def insert(database: ClickHouse, anomalies: Sequence[Anomaly]) -> None:
    """Write rows in one block. Raises as `ClickHouse.insert`."""
    database.insert("anomalies", COLUMNS, [_row(one) for one in anomalies])


def _row(one: Anomaly) -> tuple[object, ...]:
    return (
        *(one[name] for name in COLUMNS[:5]),
        one["since_micros"],
        one["detected_at_micros"],
        msgspec.json.encode(one["features"]).decode(),
        msgspec.json.encode(one["attribution"]).decode(),
        one["evidence"],
        one["version"],
    )


class Projector:
    """A member of the group `anomaly-projector`; everything happens in the thread that calls `run`."""

    def __init__(
        self, settings: KafkaSettings, write: Callable[[Sequence[Anomaly]], None], interval_seconds: float
    ) -> None:
        self._settings = settings
        self._write = write
        self._interval_seconds = interval_seconds
        self._ready = Event()

    @property
    def ready(self) -> bool:
        """Whether this is a member of its group, and ClickHouse took what it was last given."""
        return self._ready.is_set()

    def run(self, stop: Event) -> None:
        """Project until `stop` is set. A failure starts over from the last committed offset.

        Raises:
            Fatal: going on makes no sense (no such topic or table, not authorised).
        """
        run_sessions(GROUP, self._run_session, stop)

    def _run_session(self, stop: Event) -> None:
        consumer = Consumer(config.consumer(self._settings, GROUP))
        try:
            topic = topics.name(self._settings, topics.ANOMALIES)
            consumer.subscribe([topic], on_assign=lambda *_: self._ready.set())
            while not stop.is_set():
                self._turn(consumer)
        finally:
            self._ready.clear()
            consumer.close()

    def _turn(self, consumer: Consumer) -> None:
        messages = consumer.consume(_MAX_RECORDS, self._interval_seconds)
        for message in messages:
            if (error := message.error()) is not None and not error.retriable():
                raise KafkaException(error)
        records = [message for message in messages if message.error() is None]
        if not records:
            return
        self._write(list(_decoded(records)))
        # A crash here leaves the rows in the table and the offsets where they were: they are written again.
        ends = {(one.topic(), one.partition()): (one.offset() or 0) + 1 for one in records}
        offsets = [TopicPartition(topic or "", part or 0, end) for (topic, part), end in ends.items()]
        consumer.commit(offsets=offsets, asynchronous=False)


def _decoded(records: Iterable[Message]) -> Iterable[Anomaly]:
    for message in records:
        try:
            yield avro.decode_as("Anomaly", message.value())
        except InvalidInput as error:
            _log.error("%s: a record at offset %s is skipped: %s", GROUP, message.offset(), error)
