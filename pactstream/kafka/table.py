"""A compacted topic as a table in memory, and serialised changes to such tables.

The control plane (tenants, pacts) is small and read on every request: each process keeps all of it. Changes are
read-modify-write across processes: `Changes` runs them one at a time, with no lock service, by Kafka's own
fencing of transactional producers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from threading import Condition, Lock, Thread
from typing import Any, Generic, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pactstream import clock
from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.kafka import config, reach, topics
from pactstream.kafka.offsets import high_watermarks
from pactstream.settings import KafkaSettings

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_TIMEOUT_SECONDS = 15.0
_ONLY_PARTITION = 0

V = TypeVar("V")


class Table(Generic[V]):
    """The newest value of each key of a one-partition compacted topic, kept current by a thread.

    `decode` makes a record's bytes a value; a record it refuses is skipped and logged, so that one bad record
    cannot take down every reader. One that a newer program wrote is no bad record: from there on what we know
    is out of date (a key may be revoked), so whoever asks gets `Fatal` and nothing old.
    `on_change(key, value or None)` is called in the table's thread, in order.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        decode: Callable[[bytes], V],
        on_change: Callable[[str, V | None], None] | None = None,
    ) -> None:
        self.topic = topics.name(settings, topic)
        self._decode = decode
        self._on_change = on_change
        self._values: dict[str, V] = {}
        self._position = 0
        self._failure: KafkaException | None = None
        self._outdated: Fatal | None = None
        self._moved = Condition()
        self._stopping = False
        self._admin = AdminClient(config.client(settings))
        self._consumer = Consumer(config.reader(settings))
        self._thread = Thread(target=self._follow, name=f"table {topic}", daemon=True)
        self._thread.start()

    def get(self, key: str) -> V | None:
        """The newest value of `key` that this process has seen, or None."""
        self._check()
        return self._values.get(key)

    def values(self) -> list[V]:
        """Every value, in no particular order."""
        self._check()
        with self._moved:
            return list(self._values.values())

    def catch_up(self, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        """Wait until everything committed before this call has been read.

        Raises:
            Retryable: it took longer than the time-out, or the topic cannot be read.
            Fatal: a newer program wrote to it.
        """
        deadline = clock.monotonic_seconds() + timeout_seconds
        end = high_watermarks(self._admin, self.topic, [_ONLY_PARTITION], timeout_seconds)[_ONLY_PARTITION]
        with self._moved:
            while self._position < end and self._outdated is None:
                left = deadline - clock.monotonic_seconds()
                if left <= 0 or self._failure is not None:
                    raise Retryable(f"{self.topic} is read up to {self._position} of {end}")
                self._moved.wait(left)
        self._check()

    def wait_for(self, key: str, timeout_seconds: float) -> V | None:
        """The value of `key`, waiting for it to appear; None if it does not in time."""
        deadline = clock.monotonic_seconds() + timeout_seconds
        with self._moved:
            while self.get(key) is None:
                left = deadline - clock.monotonic_seconds()
                if left <= 0 or not self._moved.wait(left):
                    break
            return self.get(key)

    def close(self) -> None:
        """Stop following the topic."""
        self._stopping = True
        self._thread.join()
        self._consumer.close()

    def _check(self) -> None:
        if self._outdated is not None:
            raise self._outdated

    def _follow(self) -> None:
        reach.connect(self._consumer, self.topic)
        self._consumer.assign([TopicPartition(self.topic, _ONLY_PARTITION, OFFSET_BEGINNING)])
        while not self._stopping and self._outdated is None:
            # Not `consume` with a time-out: that would wait it out for more, and every change would show late.
            message = self._consumer.poll(_POLL_SECONDS)
            if message is not None:
                self._take(message)

    def _take(self, message: Message) -> None:
        error = message.error()
        offset = message.offset() or 0
        if error is None:
            self._apply((message.key() or b"").decode("utf-8", "replace"), message.value())
            self._move(offset + 1)
        elif error.code() == KafkaError._PARTITION_EOF:
            # Its offset is the next one to be read: it passes the markers that end transactions.
            self._failure = None
            self._move(offset)
        elif not error.retriable():
            _log.error("table %s: %s", self.topic, error.str())
            self._failure = KafkaException(error)
            self._move(self._position)

    def _move(self, position: int) -> None:
        with self._moved:
            self._position = max(self._position, position)
            self._moved.notify_all()

    def _apply(self, key: str, value: bytes | None) -> None:
        try:
            decoded = None if value is None else self._decode(value)
        except InvalidInput as error:
            _log.error("table %s: record %r is skipped: %s", self.topic, key, error)
            return
        except Fatal as error:
            _log.critical("table %s: record %r: %s", self.topic, key, error)
            with self._moved:
                self._outdated = error
                self._moved.notify_all()
            return
        with self._moved:
            if decoded is None:
                self._values.pop(key, None)
            else:
                self._values[key] = decoded
        if self._on_change is not None:
            self._on_change(key, decoded)


Changed = tuple[str, str, bytes | None]  # topic without prefix, key, value


class Changes:
    """Read-modify-write on tables, one at a time over all processes that share `transactional_id`.

    Each change makes a new producer under the same transactional id. That fences whoever was changing something
    at that moment: its commit fails, and it reads again and decides anew. So a decision always rests on
    everything committed before it, as under a lock, and a crashed process holds nothing. Changes are rare
    (an operator registers an agent) and take tens of milliseconds.
    """

    def __init__(self, settings: KafkaSettings, transactional_id: str, tables: Iterable[Table[Any]]) -> None:
        self._settings = settings
        self._transactional_id = transactional_id
        self._tables = tuple(tables)
        self._one_here = Lock()  # two threads of one process need not fence each other

    @retry(
        retry=retry_if_exception_type(Retryable),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        stop=stop_after_attempt(8),
        reraise=True,
    )
    def apply(self, decide: Callable[[], list[Changed]]) -> None:
        """Write what `decide` returns, having read everything; returns once the tables show it.

        `decide` may be called several times and must only read. What it raises is passed on, nothing written.

        Raises:
            Retryable: Kafka did not take it, or others kept changing things at the same time.
        """
        with self._one_here:
            self._apply_once(decide)

    def _apply_once(self, decide: Callable[[], list[Changed]]) -> None:
        producer = Producer(config.transactional_producer(self._settings, self._transactional_id))
        try:
            reach.connect(producer, self._tables[0].topic)
            producer.init_transactions(_TIMEOUT_SECONDS)
            for table in self._tables:
                table.catch_up()
            changed = decide()
            producer.begin_transaction()
            for topic, key, value in changed:
                producer.produce(topics.name(self._settings, topic), value, key.encode(), _ONLY_PARTITION)
            # A crash before this line changes nothing; after it, everything is changed though nobody was told.
            producer.commit_transaction(_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise Retryable(f"the change was not made: {error.args[0].str()}") from error
        for table in self._tables:
            table.catch_up()
