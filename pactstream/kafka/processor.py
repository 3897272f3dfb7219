"""The transactional loop that evaluator, sealer and aggregator share.

A member of a consumer group reads a topic; for each partition it holds, a `Task` keeps state that is written
to a compacted changelog. Outputs, changelog and source offsets are committed in one Kafka transaction
(KIP-98, KIP-447), so each source record is processed exactly once as far as anything written to Kafka goes.

What a crash leaves, wherever it happens: an open transaction. Readers see nothing of it, the next holder of
the partition begins at the last committed offset with the state of that offset, and the open transaction is
aborted by the restarted process (same transactional id) or by the broker after `TRANSACTION_TIMEOUT_MS`. A
process that lost its partition without noticing (paused, cut off) is refused when it sends its offsets,
because the group has moved on to a later generation. So is, now and then, one that lost nothing: a group has a
new generation some milliseconds before its members hear of it. Such a member stays, and does its transaction's
work again (`_rewind`): to leave would move all its partitions, and be one more rebalance for commits to meet.

Tasks belong to the thread that runs the loop; other threads may borrow one (`Processor.lend`). One lock covers
all tasks and the table of them. The loop takes it for each record, for the flush before a commit, and for every
change of the table; so a borrower waits for a record at most, never for a commit, and sees each record's effect
whole or not at all: also what is not committed yet, which the log of the source will make come true again.
Rebalance callbacks run inside `poll`, in the loop's thread, which does not hold the lock there; borrowers do
not call the client while they hold it. So nobody who holds it waits for anybody else: there is no deadlock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from pactstream import clock, tracing
from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.kafka import changelog, config, letters, metrics, reach, topics
from pactstream.kafka.fair import FairLock
from pactstream.kafka.messages import as_record
from pactstream.kafka.offsets import high_watermarks
from pactstream.kafka.places import Awaited, Loan, Place
from pactstream.kafka.records import Headers, Record, Task
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import ServiceSettings

_log = logging.getLogger(__name__)

_BY_KEY = -1  # librdkafka's RD_KAFKA_PARTITION_UA
_POLL_SECONDS = 0.25
_MAX_RECORDS_A_POLL = 100
_COMMIT_TIMEOUT_SECONDS = 30.0
_CLOSE_TIMEOUT_SECONDS = 90.0
_OTHER_GENERATION = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS})


@dataclass(frozen=True, slots=True)
class Plan:
    """What one kind of worker reads and writes.

    A transaction closes after `max_events` events or `linger_seconds` after its first record, whichever comes
    first: larger transactions cost less an event, shorter ones let readers see results sooner. Tasks without a
    `changelog` keep no state. `side` is a second one, of what they keep beside it. The group shows `client_id`.
    """

    group: str
    source: str
    changelog: str | None
    make_task: Callable[[int], Task]
    max_events: int
    linger_seconds: float
    side: str | None = None
    client_id: str = "pactstream"


class NotHeld(Retryable):
    """The partition is not this process's, or its state is not back yet."""


class Processor:
    """Runs a `Plan` until told to stop, in the thread that calls `run`; `lend` is for other threads."""

    def __init__(self, settings: ServiceSettings, plan: Plan) -> None:
        self._settings = settings
        self._plan = plan
        metrics.DEAD_LETTERS.labels(plan.group)  # from 0 on, or the first letter would be no increase
        self._ready = Event()
        self._lock = FairLock()
        self._session: _Session | None = None  # replaced under the lock

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

    @contextmanager
    def lend(self, partition: int) -> Iterator[Loan]:
        """The task of a partition, for a short while, to any thread: the loop waits meanwhile.

        Whoever changes it sees to it that the change is written (`SideWriter`). Raises `NotHeld`.
        """
        with self._lock:
            if self._session is None:
                raise NotHeld("this worker is joining its group")
            yield self._session.loan(partition)

    def holds(self, partition: int, task: Task) -> bool:
        """Whether this is still the task of the partition."""
        with self._lock:
            return self._session is not None and self._session.holds(partition, task)

    def confirm(self) -> None:
        """Return if the group counts this process in, with its present generation; from any thread.

        Raises:
            Retryable, KafkaException: it does not, or cannot be asked.
        """
        session = self._session
        if session is None:
            raise NotHeld("this worker is joining its group")
        session.confirm()

    def _run_session(self, stop: Event) -> None:
        session = _Session(self._settings, self._plan, self._ready, self._lock)
        with self._lock:
            self._session = session
        try:
            session.run(stop)
        finally:
            self._ready.clear()
            with self._lock:
                self._session = None
            session.close()


class _Session:
    """One consumer and one producer, from joining the group to leaving it or to an abandoned transaction."""

    def __init__(self, settings: ServiceSettings, plan: Plan, ready: Event, lock: FairLock) -> None:
        self._settings = settings
        self._plan = plan
        self._ready = ready
        self._lock = lock
        self._source = topics.name(settings, plan.source)
        self._tasks: dict[int, Task] = {}
        self._places: dict[int, Place] = {}
        self._to_restore: list[int] = []
        self._restores: list[changelog.AnyRestore] = []
        self._restoring: set[int] = set()
        self._awaited = Awaited()
        self._open = False  # a transaction is
        self._span: tracing.Transaction | None = None
        self._opened_at = 0.0
        self._events = 0
        self._records = 0
        self._first_offsets: dict[int, int] = {}  # of the open transaction
        self._next_offsets: dict[int, int] = {}
        self._rewound: dict[int, int] = {}  # where to read again, once the state is back
        self._changelog_ends: dict[int, int] = {}
        self._lost: KafkaException | None = None
        self._producer = Producer(config.transactional_producer(settings, f"{plan.group}-{settings.instance}"))
        ours = {"client.id": plan.client_id, "enable.partition.eof": True}
        self._consumer = Consumer(config.consumer(settings, plan.group) | ours)
        self._turned_at = clock.monotonic_seconds()
        self._in_use = Lock()  # the consumer, by other threads
        self._closed = False

    def run(self, stop: Event) -> None:
        reach.connect(self._producer, self._source)
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
            if self._span is not None:
                self._span.end(None)
            metrics.ABORTS.labels(self._plan.group).inc()
            try:
                self._producer.abort_transaction(_COMMIT_TIMEOUT_SECONDS)
            except (KafkaException, SystemError) as error:
                # The broker aborts it at the time-out, or our next self does.
                _log.info("%s: the open transaction was not aborted by us: %s", self._plan.group, error)
        for restore in self._restores:
            restore.close()
        # A client must not be taken down while another thread waits in it.
        if not self._in_use.acquire(timeout=_CLOSE_TIMEOUT_SECONDS):
            raise Fatal(f"{self._plan.group}: the Kafka client does not come back; the process must start anew")
        self._closed = True
        self._in_use.release()
        self._consumer.close()
        # Those that leaving the group has not closed already.
        for task in self._tasks.values():
            task.close()

    # For other threads. `loan` and `holds` are called under the lock.

    def loan(self, partition: int) -> Loan:
        task = self._tasks.get(partition)
        if task is None or partition in self._restoring:
            raise NotHeld(f"partition {partition} is not held here, or its state is being restored")
        if clock.monotonic_seconds() - self._turned_at > self._settings.kafka_session_seconds:
            # Paused, perhaps, and just awake: the group may have moved on, and the loop will learn of it.
            raise NotHeld("this worker has not been running for a while")
        place = self._places[partition]
        return Loan(task, place.next_offset, place.caught_up, place.at_end)

    def holds(self, partition: int, task: Task) -> bool:
        return self._tasks.get(partition) is task

    def confirm(self) -> None:
        """Have the group check our generation.

        The only request that does so by itself is a commit of offsets. This one stands for nothing (nobody
        reads the changelog by the group's offsets), so it cannot collide with those of a transaction. Without a
        member id it would prove nothing: an empty group takes such commits from anybody.
        """
        token = TopicPartition(topics.name(self._settings, self._plan.changelog or self._plan.source), 0, 0)
        with self._in_use:
            if self._closed:
                raise NotHeld("this worker has left its group")
            member = self._consumer.memberid()
            answers = self._consumer.commit(offsets=[token], asynchronous=False)
            if not member or member != self._consumer.memberid():
                raise NotHeld("this worker is joining its group")
        for one in answers or ():
            if one.error is not None:
                raise KafkaException(one.error)

    # One turn: what is there, and the commit when it is due.

    def _turn(self) -> None:
        self._turned_at = clock.monotonic_seconds()
        message = self._consumer.poll(0 if self._restores else self._wait_seconds())
        if self._lost is not None:
            raise Retryable(f"partitions were lost: {self._lost}")
        if self._to_restore:
            self._begin_restoring()
        self._go_on_restoring()
        self._awaited.check()
        messages = [] if message is None else [message]
        while messages:
            for one in messages:
                self._take(one)
            room = self._plan.max_events - self._events
            messages = self._consumer.consume(min(room, _MAX_RECORDS_A_POLL), 0) if room > 0 else []
        if self._open and (self._events >= self._plan.max_events or self._wait_seconds() <= 0):
            try:
                self._commit()
            except KafkaException as error:
                if error.args[0].code() not in _OTHER_GENERATION or self._lost is not None:
                    raise
                self._rewind()

    def _rewind(self) -> None:
        """Have the open transaction never been: restore the tasks it touched, and read its records again.

        Should the partitions be another's by now, the group says so at the next `poll` (`_on_lost`), and until
        then refuses whatever is sent for them. A crash here leaves what any crash leaves.
        """
        metrics.ABORTS.labels(self._plan.group).inc()
        if self._span is not None:
            self._span.end(None)
        self._producer.abort_transaction(_COMMIT_TIMEOUT_SECONDS)
        again = self._first_offsets
        self._clear()
        self._consumer.pause([TopicPartition(self._source, partition) for partition in again])
        with self._lock:
            for partition in again:
                self._tasks.pop(partition).close()
        self._to_restore += again
        self._rewound |= again
        _log.info("%s: partitions %s go back to the last commit", self._plan.group, sorted(again))

    def _clear(self) -> None:
        self._open = False
        self._first_offsets = {}
        self._events = self._records = 0
        self._next_offsets = {}
        self._changelog_ends = {}

    def _wait_seconds(self) -> float:
        if not self._open:
            return _POLL_SECONDS
        left = self._opened_at + self._plan.linger_seconds - clock.monotonic_seconds()
        return min(max(left, 0.0), _POLL_SECONDS)

    def _take(self, message: Message) -> None:
        self._awaited.heard(message.partition())
        if (error := message.error()) is not None:
            self._check(error, message)
            return
        record = as_record(message)
        if record.partition in self._restoring:
            raise Retryable(f"partition {record.partition} was read before its state was back")
        if record.partition not in self._tasks:
            return  # revoked between the fetch and here; its next holder reads it again
        due = self._rewound.pop(record.partition, record.offset)
        if record.offset != due:
            raise Retryable(f"partition {record.partition} went on at {record.offset}, not again at {due}")
        if not self._open:
            self._producer.begin_transaction()
            self._open = True
            self._span = tracing.transaction(self._plan.group)
            self._opened_at = clock.monotonic_seconds()
        if self._span is not None:
            self._span.took(record.headers)
        with self._lock:
            self._events += self._process(record)
            self._places[record.partition].passed(record.offset + 1)
        self._first_offsets.setdefault(record.partition, record.offset)
        self._next_offsets[record.partition] = record.offset + 1
        self._records += 1

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
        if self._span is not None:
            headers = (*headers, *self._span.headers)
        options: dict[str, Any] = {"headers": list(headers)} if headers else {}
        if topic == self._plan.changelog:
            options["on_delivery"] = self._on_delivery
        while True:
            try:
                self._producer.produce(full_name, value, key, where, **options)
                return
            except BufferError:
                # The client's queue is full: let it send before going on.
                self._producer.poll(0.05)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        if error is None and partition is not None and offset is not None:
            self._changelog_ends[partition] = offset + 1

    def _commit(self) -> None:
        if not self._open:
            return
        if self._lost is not None:
            # Told in the middle of a turn: the tasks are gone, and the offsets are no longer ours.
            raise Retryable(f"partitions were lost: {self._lost}")
        with self._lock:
            for partition in self._next_offsets:
                self._tasks[partition].flush(self._emit)
        # The records first, then the offsets: once those are accepted, this transaction may still commit after
        # another member has been given our partitions, and that one must find our records before the end of
        # the changelog that it restores to.
        if self._producer.flush(_COMMIT_TIMEOUT_SECONDS):
            raise Retryable("the brokers did not take the transaction's records in time")
        offsets = [TopicPartition(self._source, p, offset) for p, offset in self._next_offsets.items()]
        # A crash before the next line leaves nothing visible; one after the commit has reached the broker
        # leaves everything. Between the two the coordinator decides, and completes what it decided.
        self._producer.send_offsets_to_transaction(
            offsets, self._consumer.consumer_group_metadata(), _COMMIT_TIMEOUT_SECONDS
        )
        self._producer.commit_transaction(_COMMIT_TIMEOUT_SECONDS)
        if self._span is not None:
            self._span.end(self._events)
        metrics.RECORDS.labels(self._plan.group).inc(self._records)
        metrics.EVENTS.labels(self._plan.group).inc(self._events)
        metrics.COMMITS.labels(self._plan.group).inc()
        metrics.COMMIT_SECONDS.labels(self._plan.group).observe(clock.monotonic_seconds() - self._opened_at)
        # A crash here leaves what tasks keep outside Kafka behind the changelog, never ahead of it: the next
        # holder restores the rest.
        ends = self._changelog_ends
        self._clear()
        with self._lock:
            for partition, end in ends.items():
                self._tasks[partition].checkpoint(end)

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
        gone = {one.partition for one in partitions}
        self._to_restore = [partition for partition in self._to_restore if partition not in gone]
        self._restoring -= gone
        for partition in gone:
            self._rewound.pop(partition, None)
            self._awaited.heard(partition)
        for restore in self._restores:
            restore.drop(gone)
        with self._lock:
            for partition in gone & self._tasks.keys():
                self._tasks.pop(partition).close()

    def _begin_restoring(self) -> None:
        wanted, self._to_restore = self._to_restore, []
        settings, plan = self._settings, self._plan
        admin = AdminClient(config.client(settings))
        ends = high_watermarks(admin, self._source, wanted, _COMMIT_TIMEOUT_SECONDS)
        for partition in wanted:
            task = plan.make_task(partition)
            with self._lock:
                self._restoring.add(partition)
                self._places[partition] = Place(ends[partition])
                self._tasks[partition] = task
        tasks = {partition: self._tasks[partition] for partition in wanted}
        self._restores.append(changelog.begin(settings, plan.group, plan.changelog, tasks))
        if plan.side is not None:
            sides = {partition: task.side for partition, task in tasks.items()}
            self._restores.append(changelog.Restore(settings, plan.group, plan.side, sides))

    def _go_on_restoring(self) -> None:
        for restore in list(self._restores):
            done = set(restore.step())
            done.difference_update(*(other.left for other in self._restores if other is not restore))
            if done:
                with self._lock:
                    self._restoring.difference_update(done)
                self._consumer.resume([TopicPartition(self._source, partition) for partition in done])
                self._awaited.resumed(done)
                for partition in done & self._rewound.keys():
                    self._consumer.seek(TopicPartition(self._source, partition, self._rewound[partition]))
            if restore.finished:
                self._restores.remove(restore)
                restore.close()
                held = sorted(self._tasks.keys() - self._restoring)
                told = (self._plan.group, held, restore.count, restore.seconds)
                _log.info("%s: holds partitions %s; %d changelog records restored in %.1f s", *told)
                if not self._restores:
                    self._ready.set()

    def _check(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            partition, offset = message.partition(), message.offset()
            if partition in self._tasks and offset is not None:
                with self._lock:
                    self._places[partition].ended(offset)
        elif error.fatal() or not error.retriable():
            raise KafkaException(error)
