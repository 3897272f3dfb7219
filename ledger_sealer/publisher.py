"""Publishes sealed segments as files that strangers can verify: the sealer's third loop.

Segments are facts by now: they stand in Kafka. For each log that the group `ledger-publisher` gives it, this
process takes the log's lock, begins after what is published there, and goes on. A log that cannot be published
for a while (witnesses, disk) waits by itself; neither the other logs nor the sealing wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from ledger_sealer import metrics
from ledger_sealer.publication import Publication
from ledger_sealer.published import read_segment
from pactstream import clock
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import config, topics
from pactstream.kafka.sessions import run_sessions
from pactstream.ledger.witness_client import QuorumMissed
from pactstream.settings import KafkaSettings

GROUP = "ledger-publisher"

_POLL_SECONDS = 0.1
_MAX_RECORDS_A_POLL = 100
_FIRST_RETRY_SECONDS = 0.25
_LAST_RETRY_SECONDS = 10.0
_COMMITTED_TIMEOUT_SECONDS = 10.0
_KEYS_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Publisher:
    """A member of the group `ledger-publisher`; everything happens in the thread that calls `run`.

    `open_log` makes the publication of a log; `interval_seconds` is the least time between two checkpoints of
    one log, unless more waits than memory is for. `publish_keys` brings the list of keys up to date.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        open_log: Callable[[int], Publication],
        interval_seconds: float,
        publish_keys: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._open_log = open_log
        self._interval = interval_seconds
        self._publish_keys = publish_keys
        self._ready = Event()

    @property
    def ready(self) -> bool:
        """Whether this is a member of its group."""
        return self._ready.is_set()

    def run(self, stop: Event) -> None:
        """Publish until `stop` is set. While witnesses or the disk fail, try again and again.

        Raises:
            Fatal: going on would fork a log, or makes no sense (records past their retention, wrong keys).
        """
        run_sessions(GROUP, self._run_session, stop)

    def _run_session(self, stop: Event) -> None:
        session = _Session(self._settings, self._open_log, self._interval, self._publish_keys, self._ready)
        try:
            session.run(stop)
        finally:
            self._ready.clear()
            session.close()


class _InHand:
    """One log, when to look at it again, and the offset up to which it was read."""

    def __init__(self, publication: Publication) -> None:
        self.publication = publication
        self.due = 0.0
        self.failures = 0
        self.next_offset = OFFSET_BEGINNING
        self.rewound = False
        self.paused = False

    def is_due(self, now: float) -> bool:
        return self.publication.waits and (now >= self.due or (self.publication.full and not self.failures))


class _Session:
    """From joining the group to leaving it, or to a failure."""

    def __init__(
        self,
        settings: KafkaSettings,
        open_log: Callable[[int], Publication],
        interval: float,
        publish_keys: Callable[[], None],
        ready: Event,
    ) -> None:
        self._open_log = open_log
        self._interval = interval
        self._publish_keys = publish_keys
        self._keys_due = 0.0
        self._ready = ready
        self._topic = topics.name(settings, topics.CHECKPOINTS)
        self._logs: dict[int, _InHand] = {}
        self._consumer = Consumer(config.consumer(settings, GROUP))

    def run(self, stop: Event) -> None:
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._release, on_lost=self._release
        )
        while not stop.is_set():
            for message in self._consumer.consume(_MAX_RECORDS_A_POLL, _POLL_SECONDS):
                self._take(message)
            now = clock.monotonic_seconds()
            if now >= self._keys_due:
                self._publish_keys()
                self._keys_due = now + _KEYS_SECONDS
            for log, held in self._logs.items():
                if held.is_due(now):
                    self._publish(log, held)

    def close(self) -> None:
        self._consumer.close()
        for held in self._logs.values():
            held.publication.close()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if not error.retriable():
                raise KafkaException(error)
            return
        log, offset = message.partition(), message.offset()
        held = self._logs.get(-1 if log is None else log)
        if log is None or held is None or offset is None:
            return  # revoked between the fetch and here
        held.publication.take(read_segment(message.value()))
        held.next_offset = offset + 1
        if held.publication.full and not held.paused:
            held.paused = True
            self._consumer.pause([TopicPartition(self._topic, log)])

    def _publish(self, log: int, held: _InHand) -> None:
        try:
            complete = held.publication.publish()
        except Retryable as error:
            held.failures += 1
            wait = min(_FIRST_RETRY_SECONDS * 2**held.failures, _LAST_RETRY_SECONDS)
            held.due = clock.monotonic_seconds() + wait
            metrics.PUBLICATION_FAILURES.labels(str(log)).inc()
            _log.warning("log %d is not published, again in %.1f s: %s", log, wait, error)
            if isinstance(error, QuorumMissed):
                metrics.QUORUM_FAILURES.labels(str(log)).inc()
            else:
                self._read_again(log, held, self._committed(log))
        else:
            held.failures = 0
            # A witness that is away is asked again, but not all the time.
            wait = _LAST_RETRY_SECONDS if held.publication.wants_cosignatures else self._interval
            held.due = clock.monotonic_seconds() + wait
            if not complete:
                self._wind_back(log, held)
                return
            held.rewound = False
            # A crash here leaves the checkpoint published and the offset where it was: what is published
            # already is skipped.
            if held.next_offset >= 0:
                position = TopicPartition(self._topic, log, held.next_offset)
                self._consumer.commit(offsets=[position], asynchronous=False)
        self._resume(log, held)

    def _wind_back(self, log: int, held: _InHand) -> None:
        """The files end before the offset says: they were lost, or the directory is a new one."""
        if held.rewound:
            raise Fatal(f"log {log}: {topics.CHECKPOINTS} lacks a segment that is not published yet")
        _log.warning("log %d: the published files end earlier than expected: reading from the start", log)
        held.rewound = True
        self._read_again(log, held, OFFSET_BEGINNING)
        self._resume(log, held)

    def _read_again(self, log: int, held: _InHand, offset: int) -> None:
        held.next_offset = offset
        self._consumer.seek(TopicPartition(self._topic, log, offset))

    def _resume(self, log: int, held: _InHand) -> None:
        if held.paused and not held.publication.full:
            held.paused = False
            self._consumer.resume([TopicPartition(self._topic, log)])

    def _committed(self, log: int) -> int:
        """Where the publishing of a log stands, as far as Kafka knows: never beyond what is published."""
        (found,) = self._consumer.committed([TopicPartition(self._topic, log)], _COMMITTED_TIMEOUT_SECONDS)
        return found.offset if found.offset >= 0 else OFFSET_BEGINNING

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            publication = self._open_log(one.partition)
            self._logs[one.partition] = _InHand(publication)
            # From 0 on, or the first failure would be no increase.
            metrics.QUORUM_FAILURES.labels(str(one.partition))
            if not publication.begun:
                # A new directory, whatever was published into another one.
                one.offset = OFFSET_BEGINNING
        consumer.incremental_assign(partitions)
        self._ready.set()

    def _release(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Their next holder reads what is published. It waits for the lock, so that even one of us who lost
        # the log without noticing has finished what it was writing.
        for one in partitions:
            held = self._logs.pop(one.partition, None)
            if held is not None:
                held.publication.close()
