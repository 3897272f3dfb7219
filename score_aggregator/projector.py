"""Copies `trust.scores` to the ClickHouse table `scores`, at least once; the table makes that exactly once.

The table keeps one live row for each agent and day, the one computed last (ReplacingMergeTree). A score written
twice, or an older one after a newer, is the same as not written. So no state has to be kept here, and no token
has to outlive a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from threading import Event
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pactstream import avro, metrics
from pactstream.errors import InvalidInput
from pactstream.kafka import config, topics
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import KafkaSettings
from score_aggregator.table import day_of

GROUP = "score-projector"
_MAX_RECORDS = 5_000

_log = logging.getLogger(__name__)
_ROWS = metrics.counter("pactstream_score_rows_total")
_SKIPPED = metrics.counter("pactstream_score_rows_skipped_total")

Score = dict[str, Any]


def newest(scores: Iterable[Score]) -> list[Score]:
    """The last score of each agent and day (UTC) of computing: what the table would keep of them."""
    kept = {(one["agent_id"], day_of(one["computed_at_micros"])): one for one in scores}
    return list(kept.values())


class Projector:
    """A member of the group `score-projector`; everything happens in the thread that calls `run`."""

    def __init__(
        self, settings: KafkaSettings, insert: Callable[[Sequence[Score]], None], interval_seconds: float
    ) -> None:
        self._settings = settings
        self._topic = topics.name(settings, topics.SCORES)
        self._insert = insert
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
            consumer.subscribe([self._topic], on_assign=lambda *_: self._ready.set())
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
        scores = (decoded(message.value(), message.offset()) for message in records)
        rows = newest(filter(None, scores))
        self._insert(rows)
        _ROWS.inc(len(rows))
        # A crash here leaves the rows in the table and the offsets where they were: the same scores are
        # written again and change nothing.
        consumer.commit(offsets=_next_offsets(records), asynchronous=False)


def decoded(value: bytes | None, offset: int | None) -> Score | None:
    """The score in a record; None for a deletion, and for what is none, which is counted and logged."""
    if value is None:
        return None
    try:
        return avro.decode_as("Score", value)
    except InvalidInput as error:
        _SKIPPED.inc()
        _log.error("%s: a record at offset %s is skipped: %s", GROUP, offset, error)
        return None


def _next_offsets(records: Iterable[Message]) -> list[TopicPartition]:
    ends = {
        (message.topic() or "", message.partition() or 0): (message.offset() or 0) + 1 for message in records
    }
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
