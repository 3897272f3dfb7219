"""The transactional loop that evaluator, sealer and aggregator share.

A member of a consumer group reads a topic; for each partition it holds, a `Task` keeps state that is written
to a compacted changelog. Outputs, changelog and source offsets are committed in one Kafka transaction
(KIP-98, KIP-447), so each source record is processed exactly once as far as anything written to Kafka goes.

What a crash leaves, wherever it happens: an open transaction. Readers see nothing of it, the next holder of
the partition begins at the last committed offset with the state of that offset, and the open transaction is
aborted by the restarted process (same transactional id) or by the broker after `TRANSACTION_TIMEOUT_MS`. A
process that lost its partition without noticing (paused, cut off) is refused when it sends its offsets,
because the group has moved on to a later generation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from pactstream import clock
from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.kafka import changelog, config, letters, metrics, topics
from pactstream.kafka.records import Headers, Record, Task
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import ServiceSettings

_log = logging.getLogger(__name__)

_BY_KEY = -1  # librdkafka's RD_KAFKA_PARTITION_UA
_POLL_SECONDS = 0.25
_MAX_RECORDS_A_POLL = 100
_COMMIT_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one kind of worker reads and writes.

    A transaction closes after `max_events` events or `linger_seconds` after its first record, whichever comes
    first: larger transactions cost less an event, shorter ones let readers see results sooner.
    """

    group: str
    source: str
    changelog: str
    make_task: Callable[[int], Task]
    max_events: int
    linger_seconds: float


class Processor:
    """Runs a `Plan` until told to stop; everything happens in the thread that calls `run`."""

    def __init__(self, settings: ServiceSettings, plan: Plan) -> None:
        self._settings = settings
        self._plan = plan
        self._ready = Event()

    @property
    def ready(self) -> bool:
        """Whether the worker is a member of its group and has restored what it was given."""
        return self._ready.is_set()

    def run(self, stop: Event) -> None:
        """Process until `stop` is set; then finish the open transaction and leave the group.

        Raises:
            Fatal: going on makes no sense (no such topic, not authorised); the message says what to do.
        """
        run_sessions(self._plan.group, self._run_session, stop)

    def _run_session(self, stop: Event) -> None:
        session = _Session(self._settings, self._plan, self._ready)
        try:
            session.run(stop)
        finally:
            self._ready.clear()
            session.close()


class _Session:
    """One consumer and one producer, from joining the group to leaving it or to an abandoned transaction."""

    def __init__(self, settings: ServiceSettings, plan: Plan, ready: Event) -> None:
        self._settings = settings
        self._plan = plan
        self._ready = ready
        self._source = topics.name(settings, plan.source)
        self._tasks: dict[int, Task] = {}
        self._to_restore: list[int] = []
        self._open = False  # a transaction is
        self._opened_at = 0.0
        self._events = 0
        self._next_offsets: dict[int, int] = {}
        self._lost: KafkaException | None = None
        self._producer = Producer(config.transactional_producer(settings, f"{plan.group}-{settings.instance}"))
        self._consumer = Consumer(config.consumer(settings, plan.group))

    def run(self, stop: Event) -> None:
        # Aborts what a former self of this process left open.
        self._producer.init_transactions(_COMMIT_TIMEOUT_SECONDS)
        self._consumer.subscribe(
            [self._source], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        while not stop.is_set():
            self._turn()
        self._commit()

    def close(self) -> None:
        """Leave the group. A transaction still open here is abandoned: nobody ever sees its records."""
        if self._open:
            self._open = False
            metrics.ABORTS.labels(self._plan.group).inc()
            try:
                self._producer.abort_transaction(_COMMIT_TIMEOUT_SECONDS)
            except KafkaException as error:
                # The broker aborts it at the time-out, or our next self does.
                _log.info("%s: the open transaction was not aborted by us: %s", self._plan.group, error)
        self._consumer.close()

    # One turn: what is there, and the commit when it is due.

    def _turn(self) -> None:
        message = self._consumer.poll(self._wait_seconds())
        if self._lost is not None:
            raise Retryable(f"partitions were lost: {self._lost}")
        if self._to_restore:
            self._restore()
        messages = [] if message is None else [message]
        while messages:
            for one in messages:
                self._take(one)
            room = self._plan.max_events - self._events
            messages = self._consumer.consume(min(room, _MAX_RECORDS_A_POLL), 0) if room > 0 else []
        if self._open and (self._events >= self._plan.max_events or self._wait_seconds() <= 0):
            self._commit()

    def _wait_seconds(self) -> float:
        if not self._open:
            return _POLL_SECONDS
        left = self._opened_at + self._plan.linger_seconds - clock.monotonic_seconds()
        return min(max(left, 0.0), _POLL_SECONDS)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._check(error)
            return
        record = as_record(message)
        if record.partition not in self._tasks:
            return  # revoked between the fetch and here; its next holder reads it again
        if not self._open:
            self._producer.begin_transaction()
            self._open = True
            self._opened_at = clock.monotonic_seconds()
        self._events += self._process(record)
        self._next_offsets[record.partition] = record.offset + 1
        metrics.RECORDS.labels(self._plan.group).inc()

    def _process(self, record: Record) -> int:
        outbox: list[tuple[str, bytes, bytes | None, int | None, Headers]] = []

        def emit(
            topic: str,
            key: bytes,
            value: bytes | None,
            *,
            partition: int | None = None,
            headers: Headers = (),
        ) -> None:
            outbox.append((topic, key, value, partition, headers))

        try:
            events = self._tasks[record.partition].process(record, emit)
        except InvalidInput as error:
            # A record that can never be processed must not hold up those behind it.
            _log.warning("dead letter: %s[%d]@%d: %s", record.topic, record.partition, record.offset, error)
            metrics.DEAD_LETTERS.labels(self._plan.group).inc()
            outbox.clear()
            letters.write(emit, self._plan.source, record, error, group=self._plan.group)
            events = 1
        for topic, key, value, partition, headers in outbox:
            self._emit(topic, key, value, partition=partition, headers=headers)
        return events

    def _emit(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        full_name = topics.name(self._settings, topic)
        where = _BY_KEY if partition is None else partition
        while True:
            try:
                self._producer.produce(full_name, value, key, where, headers=list(headers))
                return
            except BufferError:
                # The client's queue is full: let it send before going on.
                self._producer.poll(0.05)

    def _commit(self) -> None:
        if not self._open:
            return
        for partition in self._next_offsets:
            self._tasks[partition].flush(self._emit)
        offsets = [TopicPartition(self._source, p, offset) for p, offset in self._next_offsets.items()]
        # A crash before the next line leaves nothing visible; one after the commit has reached the broker
        # leaves everything. Between the two the coordinator decides, and completes what it decided.
        self._producer.send_offsets_to_transaction(
            offsets, self._consumer.consumer_group_metadata(), _COMMIT_TIMEOUT_SECONDS
        )
        self._producer.commit_transaction(_COMMIT_TIMEOUT_SECONDS)
        metrics.EVENTS.labels(self._plan.group).inc(self._events)
        metrics.COMMITS.labels(self._plan.group).inc()
        metrics.COMMIT_SECONDS.labels(self._plan.group).observe(clock.monotonic_seconds() - self._opened_at)
        self._open = False
        self._events = 0
        self._next_offsets = {}

    # Partitions come and go. The callbacks run inside `poll`, so never in the middle of a record.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        if partitions:
            # Nothing is read until the state is back.
            consumer.pause(partitions)
        self._to_restore += [one.partition for one in partitions]
        if not partitions:
            self._ready.set()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The next holder begins where this commit ends.
        self._commit()
        self._forget(partitions)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody else may hold them already: what is open must not be committed.
        names = ", ".join(str(one.partition) for one in partitions)
        self._lost = KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS, f"partitions {names}"))
        self._forget(partitions)
        consumer.incremental_unassign(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            self._tasks.pop(one.partition, None)
            if one.partition in self._to_restore:
                self._to_restore.remove(one.partition)

    def _restore(self) -> None:
        wanted, self._to_restore = self._to_restore, []
        started = clock.monotonic_seconds()
        restored = {partition: self._plan.make_task(partition) for partition in wanted}
        count = changelog.restore(self._settings, self._plan.changelog, restored)
        self._tasks.update(restored)
        self._consumer.resume([TopicPartition(self._source, partition) for partition in wanted])
        self._ready.set()
        seconds = clock.monotonic_seconds() - started
        _log.info(
            "%s: holds partitions %s; %d changelog records restored in %.1f s",
            self._plan.group,
            sorted(self._tasks),
            count,
            seconds,
        )

    def _check(self, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF or (error.retriable() and not error.fatal()):
            return
        raise KafkaException(error)


def as_record(message: Message) -> Record:
    """A consumed message, free of the client. Raises `Fatal` for one without a position."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise Fatal("the Kafka client returned a record without a position")
    headers = cast(Headers, message.headers() or ())
    return Record(topic, partition, offset, message.key(), message.value(), headers)
