"""Copies sealed segments and pacts from Kafka into ClickHouse, each exactly once.

For each segment of `ledger.checkpoints`: read the records it covers, insert its rows table by table under
tokens that name the segment, delete the values it erases, then commit the offset. Whatever fails, it begins
again at the last committed offset with the same rows under the same tokens. Tokens are remembered for 10,000
segments; segments further back are known by their row in `ledger_segments`, which is written last.
"""

from __future__ import annotations

import logging
from threading import Event

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from ledger_sealer import metrics, pacts_table, rows
from ledger_sealer.published import PublishedSegment, last_published, read_segment
from ledger_sealer.segment_source import SegmentSource
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal
from pactstream.kafka import config, topics
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import KafkaSettings

GROUP = "ledger-projector"

_POLL_SECONDS = 0.1
_DUE = "SELECT if(count() = 0, 0, max(segment_index) + 1) FROM ledger_segments WHERE log = {log:UInt16}"

_log = logging.getLogger(__name__)


def segments_in(database: ClickHouse, log: int) -> int:
    """How many of the log's segments ClickHouse has: the index of the first that it lacks.

    Raises:
        Retryable: ClickHouse does not answer.
        Fatal: there is no such table.
    """
    ((due,),) = database.rows(_DUE, {"log": log})
    return int(due)


class Projector:
    """A member of the group `ledger-projector`; everything happens in the thread that calls `run`."""

    def __init__(self, settings: KafkaSettings, database: ClickHouse) -> None:
        self._settings = settings
        self._database = database
        self._lag = metrics.Lag()
        self._ready = Event()

    @property
    def ready(self) -> bool:
        """Whether this is a member of its group."""
        return self._ready.is_set()

    def run(self, stop: Event) -> None:
        """Project until `stop` is set. While ClickHouse does not answer, try again and again.

        Raises:
            Fatal: going on makes no sense (no tables, not authorised, records past their retention).
        """
        run_sessions(GROUP, self._run_session, stop)

    def _run_session(self, stop: Event) -> None:
        session = _Session(self._settings, self._database, self._lag, self._ready)
        try:
            session.run(stop)
        finally:
            self._ready.clear()
            session.close()


class _Session:
    """From joining the group to leaving it, or to a failure."""

    def __init__(self, settings: KafkaSettings, database: ClickHouse, lag: metrics.Lag, ready: Event) -> None:
        self._settings = settings
        self._database = database
        self._lag = lag
        self._ready = ready
        self._segments_topic = topics.name(settings, topics.CHECKPOINTS)
        self._pacts_topic = topics.name(settings, topics.PACTS)
        self._held: set[int] = set()
        self._closing = False
        self._due: dict[int, int] = {}  # log: the segment that ClickHouse lacks first
        self._rewound: set[int] = set()
        self._sources: dict[int, SegmentSource] = {}
        self._consumer = Consumer(config.consumer(settings, GROUP) | {"enable.partition.eof": True})

    def run(self, stop: Event) -> None:
        self._consumer.subscribe(
            [self._segments_topic, self._pacts_topic],
            on_assign=self._on_assign,
            on_revoke=self._forget,
            on_lost=self._forget,
        )
        while not stop.is_set():
            message = self._consumer.poll(_POLL_SECONDS)
            if message is not None:
                self._take(message)

    def close(self) -> None:
        self._closing = True
        self._consumer.close()
        for source in self._sources.values():
            source.close()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._check_end(message)
            elif not error.retriable():
                raise KafkaException(error)
            return
        if message.topic() == self._pacts_topic:
            pacts_table.project(self._database, message.value())
        elif not self._project_segment(message):
            return
        # A crash here leaves the rows in the tables and the offset where it was: the next holder finds the
        # segment's row, or the pact's, and skips it.
        self._consumer.commit(message=message, asynchronous=False)

    def _project_segment(self, message: Message) -> bool:
        """Write the segment if ClickHouse lacks it; False if the log had to be wound back instead."""
        segment = read_segment(message.value())
        header = segment.header
        log = header.source.partition
        if log not in self._due:
            # It may be there already; while ClickHouse does not say so, it waits.
            self._lag.waiting(log, segment.sealed_at_micros)
            self._due[log] = segments_in(self._database, log)
        if header.index == self._due[log]:
            self._lag.waiting(log, segment.sealed_at_micros)
            self._write(segment)
            self._due[log] += 1
        self._lag.written(log)
        if header.index >= self._due[log]:
            self._wind_back(log, header.origin)
            return False
        return True

    def _write(self, segment: PublishedSegment) -> None:
        header = segment.header
        log = header.source.partition
        if log not in self._sources:
            self._sources[log] = SegmentSource(self._settings, log)
        events = rows.sealed_events(header, self._sources[log].read(header))
        rows.write(self._database, header, rows.rows_of(segment, events))
        metrics.SEGMENTS.labels(str(log)).inc()
        metrics.LEAVES.labels(str(log)).inc(len(events))

    def _check_end(self, message: Message) -> None:
        """Nothing is left to read; of a log not looked at yet, ClickHouse may lack what was read before."""
        log = message.partition()
        if message.topic() != self._segments_topic or log is None or log in self._due:
            return
        published = last_published(self._settings, log).next_index
        if not published:
            # Nothing can be lacking, and ClickHouse need not say so: while it is away, a log that has something
            # would be kept waiting unread, without a lag to see.
            return
        self._due[log] = segments_in(self._database, log)
        if self._due[log] < published:
            self._wind_back(log, f"log {log}")

    def _wind_back(self, log: int, name: str) -> None:
        """ClickHouse lacks earlier segments than the offset says: it lost them, or is a new one."""
        if log in self._rewound:
            raise Fatal(f"{name}: {topics.CHECKPOINTS} lacks segment {self._due[log]}")
        _log.warning("%s: ClickHouse lacks segment %d: reading from the start", name, self._due[log])
        self._rewound.add(log)
        self._consumer.seek(TopicPartition(self._segments_topic, log, OFFSET_BEGINNING))

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._held |= {one.partition for one in partitions if one.topic == self._segments_topic}
        self._lag.keep(self._held)
        self._ready.set()

    def _forget(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Their next holder goes on; if they come back to us, ClickHouse says how far it came.
        for log in {one.partition for one in partitions if one.topic == self._segments_topic}:
            self._held.discard(log)
            self._due.pop(log, None)
            self._rewound.discard(log)
            if (source := self._sources.pop(log, None)) is not None:
                source.close()
            # Leaving because of a failure, we come back: until then the segment in hand still waits.
            if not self._closing:
                self._lag.written(log)
