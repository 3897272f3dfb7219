"""Copies `oracle.samples` to ClickHouse, at least once; a sample copied twice is one row of the table.

It is the only table that this process may write: `GRANT INSERT ON oracle_samples`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pactstream import avro
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import InvalidInput
from pactstream.kafka import config, topics
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import KafkaSettings

GROUP: Final = "oracle-samples"
_MAX_RECORDS = 1_000
_WAIT_SECONDS = 0.5
_FIELDS = (
    "instance",
    "at_micros",
    "seconds",
    "requests",
    "failures",
    "buckets",
    "checks",
    "failed_checks",
    "lag_seconds",
)
_log = logging.getLogger(__name__)
_Row = tuple[Any, ...]


def insert(database: ClickHouse, rows: Sequence[_Row]) -> None:
    """Write samples in one block. Raises as `ClickHouse.insert`."""
    columns = tuple("at" if name == "at_micros" else name for name in _FIELDS)
    database.insert("oracle_samples", columns, rows)


class SampleCopier:
    """A member of the group `oracle-samples`; everything happens in the thread that calls `run`."""

    def __init__(self, settings: KafkaSettings, write: Callable[[Sequence[_Row]], None]) -> None:
        self._settings = settings
        self._write = write
        self._topic = topics.name(settings, topics.SAMPLES)

    def run(self, stop: Event) -> None:
        """Copy until `stop` is set. A failure starts over from the last committed offset. Raises `Fatal`."""
        run_sessions(GROUP, self._run_session, stop)

    def _run_session(self, stop: Event) -> None:
        consumer = Consumer(config.consumer(self._settings, GROUP))
        try:
            consumer.subscribe([self._topic])
            while not stop.is_set():
                self._turn(consumer)
        finally:
            consumer.close()

    def _turn(self, consumer: Consumer) -> None:
        messages = consumer.consume(_MAX_RECORDS, _WAIT_SECONDS)
        rows: list[_Row] = []
        ends: dict[int, int] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                if not error.retriable():
                    raise KafkaException(error)
                continue
            ends[message.partition() or 0] = (message.offset() or 0) + 1
            try:
                sample = avro.decode_as("OracleSample", message.value() or b"")
                rows.append(tuple(sample[name] for name in _FIELDS))
            except InvalidInput as refused:
                _log.error("%s: a record is skipped: %s", GROUP, refused)
        if not ends:
            return
        self._write(rows)
        # A crash here: the same samples are written again, and the table keeps one of each.
        offsets = [TopicPartition(self._topic, partition, end) for partition, end in ends.items()]
        consumer.commit(offsets=offsets, asynchronous=False)
