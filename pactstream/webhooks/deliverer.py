"""Posts deliveries until their receivers have them: at least once, each attempt under the same id.

What is still to be delivered is a compacted topic itself: a delivered notice is deleted there, a failed attempt
replaces its record. Whoever holds a partition reads it from the beginning first, so nothing is kept in this
process that its successor would miss. The oracle's subscriptions and the routes of pages are both served so.

A crash between a receiver's answer and the record that says so leaves the notice as it was: it is sent again,
and the receiver knows it by its id.
"""

from __future__ import annotations

import heapq
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Event
from typing import Final, Literal, Protocol, TypeAlias

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from pactstream import clock, metrics
from pactstream.errors import InvalidInput
from pactstream.kafka import config, letters, topics
from pactstream.kafka.records import Emit, Headers, Record
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import KafkaSettings
from pactstream.webhooks.records import Delivery, decode_delivery
from pactstream.webhooks.sender import AT_ONCE, Answer

RETRY_SECONDS: Final = (5.0, 30.0, 120.0, 600.0, 3_600.0, 21_600.0, 43_200.0)
"""Waits between attempts, 18 hours in all, each varied by a fifth; after the last, the dead letter."""

_BY_KEY = -1  # librdkafka's RD_KAFKA_PARTITION_UA
_POLL_SECONDS = 0.02
_IDLE_SECONDS = 0.25
_FLUSH_SECONDS = 10.0
_log = logging.getLogger(__name__)
_ATTEMPTS = metrics.counter("pactstream_webhook_attempts_total")
for _outcome in ("delivered", "failed", "given_up"):
    _ATTEMPTS.labels(_outcome)  # from 0 on, or the first would be no increase

Outcome: TypeAlias = Literal["delivered", "failed", "given_up"]
_Place = tuple[int, bytes]  # partition and key


class Told(Protocol):
    """Hears what became of each attempt, before the record that says so is written."""

    def __call__(self, delivery: Delivery, outcome: Outcome, answer: Answer, emit: Emit) -> None: ...  # noqa: D102


def _unheard(delivery: Delivery, outcome: Outcome, answer: Answer, emit: Emit) -> None:
    """Nobody listens."""


def _alone(delivery: Delivery) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Plan:
    """What notices are read from and how they go out.

    `post` begins to post one and returns None where nobody wants it any more. A newer notice of the same
    `series` takes the place of those that still wait: who was away needs to know how things stand, not how they
    stood. `retry_seconds`: waits between attempts.
    """

    group: str
    topic: str
    post: Callable[[Delivery], Future[Answer] | None]
    retry_seconds: Sequence[float] = RETRY_SECONDS
    series: Callable[[Delivery], str | None] = _alone
    told: Told = _unheard


class Deliverer:
    """A member of the plan's group; all but posting happens in the thread that calls `run`."""

    def __init__(self, settings: KafkaSettings, plan: Plan) -> None:
        self._settings = settings
        self._plan = plan
        self._ready = Event()

    @property
    def ready(self) -> bool:
        """Whether this is a member of its group."""
        return self._ready.is_set()

    def run(self, stop: Event) -> None:
        """Deliver until `stop` is set. Raises `Fatal` when going on makes no sense."""
        run_sessions(self._plan.group, self._run_session, stop)

    def _run_session(self, stop: Event) -> None:
        session = _Session(self._settings, self._plan, self._ready)
        try:
            while not stop.is_set():
                session.turn()
        finally:
            self._ready.clear()
            session.close()


class _Session:
    def __init__(self, settings: KafkaSettings, plan: Plan, ready: Event) -> None:
        self._plan = plan
        self._ready = ready
        self._settings = settings
        self._topic = topics.name(settings, plan.topic)
        self._read: set[int] = set()  # partitions that were read to their end
        self._waiting: dict[_Place, Delivery] = {}
        self._times: list[tuple[int, _Place]] = []
        self._due: dict[str, deque[_Place]] = {}  # by subscription: one post at a time to each
        self._posts: dict[str, tuple[_Place, Delivery, Future[Answer]]] = {}
        self._newest: dict[str, _Place] = {}  # by series
        self._producer = Producer(config.producer(settings))
        self._consumer = Consumer(config.consumer(settings, plan.group) | {"enable.partition.eof": True})
        self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke)

    def turn(self) -> None:
        """Read what is new, look after what was posted, post what is due."""
        busy = bool(self._posts or self._due)
        message = self._consumer.poll(_POLL_SECONDS if busy else _IDLE_SECONDS)
        while message is not None:
            self._take(message)
            message = self._consumer.poll(0)
        self._finish()
        self._start()
        self._producer.poll(0)

    def close(self) -> None:
        """Leave; what is under way is somebody else's again."""
        self._producer.flush(_FLUSH_SECONDS)
        self._consumer.close()

    # Partitions.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        starts = [TopicPartition(one.topic, one.partition, OFFSET_BEGINNING) for one in partitions]
        consumer.incremental_assign(starts)
        self._ready.set()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {one.partition for one in partitions}
        self._read -= gone
        self._waiting = {place: one for place, one in self._waiting.items() if place[0] not in gone}
        self._newest = {series: place for series, place in self._newest.items() if place[0] not in gone}
        consumer.incremental_unassign(partitions)

    def _take(self, message: Message) -> None:
        error, partition = message.error(), message.partition() or 0
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._read.add(partition)
            elif not error.retriable():
                raise KafkaException(error)
            return
        place = (partition, message.key() or b"")
        value = message.value()
        if value is None:
            self._waiting.pop(place, None)
            return
        try:
            delivery = decode_delivery(value)
        except InvalidInput as refused:
            _log.error("%s: a record is set aside: %s", self._topic, refused)
            self._bury(place, value, refused)
            return
        if delivery.attempts and partition in self._read:
            return  # our own note of a failed attempt, which we know
        self._wait(place, delivery)
        self._supersede(place, delivery)

    def _supersede(self, place: _Place, delivery: Delivery) -> None:
        """Of one series keep the newest. One that is being posted is left to finish, and is not tried again."""
        series = self._plan.series(delivery)
        if series is None:
            return
        known = self._newest.get(series, place)
        other = self._waiting.get(known, delivery)
        older = place if delivery.created_at_micros < other.created_at_micros else known
        self._newest[series] = known if older == place else place
        if known != place:
            self._forget(older)

    def _wait(self, place: _Place, delivery: Delivery) -> None:
        self._waiting[place] = delivery
        heapq.heappush(self._times, (delivery.not_before_micros, place))

    # Posting.

    def _start(self) -> None:
        now = clock.now_micros()
        while self._times and self._times[0][0] <= now:
            at, place = self._times[0]
            if place[0] not in self._read and place in self._waiting:
                return  # what comes later in the partition may say that it is delivered
            heapq.heappop(self._times)
            delivery = self._waiting.get(place)
            if delivery is not None and delivery.not_before_micros == at:
                self._due.setdefault(delivery.subscription_id, deque()).append(place)
        for subscription_id in [one for one in self._due if one not in self._posts]:
            if len(self._posts) < AT_ONCE:
                self._post_next(subscription_id)

    def _post_next(self, subscription_id: str) -> None:
        queue = self._due[subscription_id]
        place = queue.popleft()
        if not queue:
            del self._due[subscription_id]
        delivery = self._waiting.get(place)
        if delivery is None:
            return
        post = self._plan.post(delivery)
        if post is None:
            self._forget(place)  # nobody wants it any more
            return
        self._posts[subscription_id] = (place, delivery, post)

    def _finish(self) -> None:
        for subscription_id, (place, delivery, post) in list(self._posts.items()):
            if not post.done():
                continue
            del self._posts[subscription_id]
            answer = post.result()
            # A crash here, before what follows is written: the notice is sent again, under the same id.
            outcome = self._outcome(delivery, answer)
            _ATTEMPTS.labels(outcome).inc()
            self._plan.told(delivery, outcome, answer, self._emit)
            if outcome == "delivered":
                self._forget(place)
            elif outcome == "given_up":
                whole = replace(delivery, attempts=0, not_before_micros=0).encode()
                self._bury(place, whole, InvalidInput(f"not delivered: {answer.reason}"))
            else:
                self._again(place, delivery)

    def _outcome(self, delivery: Delivery, answer: Answer) -> Outcome:
        if answer.delivered:
            return "delivered"
        last = delivery.attempts >= len(self._plan.retry_seconds)
        return "given_up" if answer.gone or last else "failed"

    def _again(self, place: _Place, delivery: Delivery) -> None:
        wait = self._plan.retry_seconds[delivery.attempts] * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        at = clock.now_micros() + int(wait * clock.MICROS_PER_SECOND)
        later = replace(delivery, attempts=delivery.attempts + 1, not_before_micros=at)
        if place in self._waiting:
            self._wait(place, later)
            self._write(place, later.encode())

    def _forget(self, place: _Place) -> None:
        delivery = self._waiting.pop(place, None)
        series = None if delivery is None else self._plan.series(delivery)
        if series is not None and self._newest.get(series) == place:
            del self._newest[series]
        self._write(place, None)

    def _bury(self, place: _Place, value: bytes, error: InvalidInput) -> None:
        record = Record(self._topic, place[0], 0, place[1], value)
        # The letter first: a crash in between leaves both, and the notice is tried and buried once more.
        letters.write(self._emit, self._plan.topic, record, error, group=self._plan.group)
        self._forget(place)

    def _write(self, place: _Place, value: bytes | None) -> None:
        self._emit(self._plan.topic, place[1], value, partition=place[0])

    def _emit(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        full = topics.name(self._settings, topic)
        where = _BY_KEY if partition is None else partition
        while True:
            try:
                self._producer.produce(full, value, key, where, headers=list(headers))
                return
            except BufferError:
                self._producer.poll(0.05)
