"""From `telemetry.evaluated` to one collector: at least once, in bounded memory.

Each destination is a consumer group of its own, so one that is away holds up no other. Offsets are committed
after the collector has answered; a crash in between sends the same spans again, under the same ids. With each
offset goes the one from which a successor must read to know when the sessions began that have not ended yet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Event
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from evaluator_worker.otlp import metrics
from evaluator_worker.otlp.collector import Answer, Collector
from evaluator_worker.otlp.sessions import Sessions
from evaluator_worker.otlp.spans import spans_of
from pactstream import avro, clock, tracing
from pactstream.errors import InvalidInput
from pactstream.kafka import config, lag, topics
from pactstream.kafka.messages import as_record
from pactstream.kafka.sessions import run_sessions
from pactstream.sdk.transport import NotNow
from pactstream.settings import KafkaSettings

MAX_REQUEST_BYTES: Final = 4 << 20
"""A collector takes 20 MiB by default."""
_POLL_SECONDS: Final = 0.1
_KAFKA_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)


class Plan(NamedTuple):
    """What goes to a destination, and how much at a time; see `OtlpSettings` and `Destination`."""

    name: str
    tenants: frozenset[str]
    private: bool
    history: bool
    max_spans: int
    linger_seconds: float
    sessions: int
    session_hours: float
    most_seconds: float = 30.0

    @property
    def group(self) -> str:
        """The consumer group."""
        return f"otlp-{self.name}"


class Relay:
    """A member of its destination's group; everything happens in the thread that calls `run`."""

    def __init__(self, settings: KafkaSettings, plan: Plan, collector: Collector) -> None:
        self._settings = settings
        self._plan = plan
        self._collector = collector
        self._ready = Event()

    @property
    def ready(self) -> bool:
        """Whether this is a member of its group, and the collector took what it was last given."""
        return self._ready.is_set()

    def run(self, stop: Event) -> None:
        """Export until `stop` is set. A failure starts over from the last committed offset. Raises `Fatal`."""
        try:
            run_sessions(self._plan.group, self._run_session, stop)
        finally:
            self._collector.close()

    def _run_session(self, stop: Event) -> None:
        session = _Session(self._settings, self._plan, self._collector, self._ready, stop)
        try:
            while not stop.is_set():
                session.turn()
        finally:
            self._ready.clear()
            session.close()


class _Held:
    """A partition: what began in it, where exporting begins, what is committed, and what is next."""

    def __init__(self, plan: Plan, export_from: int) -> None:
        self.sessions = Sessions(plan.sessions, plan.session_hours)
        self.export_from = self.committed = export_from
        self.next_offset: int | None = None
        self.arrived_micros = 0


class _Session:
    """From joining the group to leaving it, or to a failure."""

    def __init__(
        self, settings: KafkaSettings, plan: Plan, collector: Collector, ready: Event, stop: Event
    ) -> None:
        self._plan = plan
        self._collector = collector
        self._ready = ready
        self._stop = stop
        self._prefix = settings.kafka_topic_prefix
        self._topic = topics.name(settings, topics.EVALUATED)
        self._held: dict[int, _Held] = {}
        self._spans: list[Span] = []
        self._bytes = 0
        self._waiting = False
        self._failed: KafkaException | None = None
        self._traced: tracing.Transaction | None = None
        self._lag = lag.ConsumerLag(plan.group, self._prefix)
        self._consumer = Consumer(config.consumer(settings, plan.group) | {"stats_cb": self._on_statistics})
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def turn(self) -> None:
        """Collect what fits into a request or two, send it, commit."""
        self._collect()
        sent = 0
        while self._spans:  # what came during a pause is there before its offset is committed
            spans, self._spans, self._bytes = self._spans, [], 0
            for request in _requests(spans, self._plan.max_spans):
                answer = self._export(request)
                if answer is None:
                    return  # told to stop: nothing is committed, the same comes again
                self._count(answer, len(request))
                sent += len(request)
        # A crash here: the collector has the spans, the offsets are as they were. It gets the same again.
        self._commit()
        self._end_trace(sent)

    def close(self) -> None:
        self._end_trace(None)
        self._consumer.close()

    def _end_trace(self, spans: int | None) -> None:
        """As of a transaction: what it took is committed, with so many spans; None: it comes again."""
        if self._traced is not None:
            self._traced.end(spans)
            self._traced = None

    def _collect(self) -> None:
        until: float | None = None
        while not self._stop.is_set():
            left = _POLL_SECONDS if until is None else until - clock.monotonic_seconds()
            message = self._poll(max(0.0, min(left, _POLL_SECONDS)))
            if message is not None:
                self._take(message)
                until = until or clock.monotonic_seconds() + self._plan.linger_seconds
            full = len(self._spans) >= self._plan.max_spans or self._bytes >= MAX_REQUEST_BYTES
            if full or until is None or clock.monotonic_seconds() >= until:
                return

    def _poll(self, seconds: float) -> Message | None:
        message = self._consumer.poll(seconds)
        if self._failed is not None:
            raise self._failed
        return message

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if not error.retriable():
                raise KafkaException(error)
            return
        record = as_record(message)
        held = self._held.get(record.partition)
        if held is None:
            return  # revoked between the fetch and here
        self._traced = self._traced or tracing.transaction(self._plan.group)
        if self._traced is not None:
            self._traced.took(record.headers)
        try:
            self._read(held, avro.decode_as("EvaluatedBatch", record.value), record.offset)
        except InvalidInput as refused:
            metrics.SKIPPED_RECORDS.inc()
            where = f"{record.partition}[{record.offset}]"
            _log.error("%s: the record at %s is skipped: %s", self._plan.group, where, refused)
        held.next_offset = max(record.offset + 1, held.export_from)

    def _read(self, held: _Held, batch: dict[str, Any], offset: int) -> None:
        plan = self._plan
        held.arrived_micros = max(held.arrived_micros, batch["received_at_micros"])
        if plan.tenants and batch["tenant_id"] not in plan.tenants:
            return
        export = offset >= held.export_from
        found = spans_of(batch, held.sessions, offset=offset, private=plan.private, export=export)
        self._spans += found
        self._bytes += sum(one.ByteSize() for one in found)

    # Sending.

    def _export(self, spans: list[Span]) -> Answer | None:
        """Send until there is an answer; None: told to stop."""
        backoff = wait_random_exponential(multiplier=0.2, max=self._plan.most_seconds)

        def wait(state: RetryCallState) -> float:
            failure = _failure(state)
            if failure.suspicious:
                return 2 * self._plan.most_seconds
            return backoff(state) + (failure.retry_after_seconds or 0.0)

        attempts = Retrying(
            retry=retry_if_exception_type(NotNow),
            wait=wait,
            stop=lambda _: self._stop.is_set(),
            before_sleep=self._say_why,
            sleep=self._pause,
            reraise=True,
        )
        try:
            answer: Answer = attempts(self._collector.export, spans)
        except NotNow:
            return None
        self._ready.set()
        return answer

    def _pause(self, seconds: float) -> None:
        """Wait, and stay in the group meanwhile: a member that does not poll is taken for dead."""
        until = clock.monotonic_seconds() + seconds
        self._waiting = True
        self._consumer.pause(self._consumer.assignment())
        self._show_lag()
        while not self._stop.is_set() and (left := until - clock.monotonic_seconds()) > 0:
            message = self._poll(min(left, _POLL_SECONDS))
            if message is not None:
                self._take(message)  # fetched before the pause: it goes with the next request
        self._waiting = False
        self._consumer.resume(self._consumer.assignment())

    def _on_statistics(self, statistics: str) -> None:
        if not self._waiting:
            self._lag(statistics)

    def _show_lag(self) -> None:
        """The client learns of a partition's end by reading: of those that are paused it knows no news."""
        behind = []
        for partition, held in self._held.items():
            _, end = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), _KAFKA_SECONDS
            )
            behind.append((self._topic, partition, max(0, end - held.committed)))
        lag.show(self._plan.group, self._prefix, behind)

    def _say_why(self, state: RetryCallState) -> None:
        self._ready.clear()
        metrics.FAILED_REQUESTS.inc()
        if state.attempt_number & (state.attempt_number - 1) == 0:
            _log.warning("%s: attempt %d: %s", self._plan.group, state.attempt_number, _failure(state))

    def _count(self, answer: Answer, sent: int) -> None:
        lost = sent if answer.refused else min(answer.rejected, sent)
        metrics.SPANS.labels("refused" if answer.refused else "rejected").inc(lost)
        metrics.SPANS.labels("exported").inc(sent - lost)
        if lost:
            _log.error("%s: %d of %d spans are not taken: %s", self._plan.group, lost, sent, answer.reason)

    # Partitions and offsets.

    def _commit(self) -> None:
        offsets = []
        for partition, held in self._held.items():
            if held.next_offset is not None:
                first = held.sessions.first_offset(held.arrived_micros)
                note = "" if first is None else str(first)
                offsets.append(TopicPartition(self._topic, partition, held.next_offset, note))
                held.committed, held.next_offset = held.next_offset, None
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=False)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._begin(consumer, partitions)
        except KafkaException as error:
            self._failed = error  # the client would make another error of what a callback raises

    def _begin(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        known = {one.partition: one for one in consumer.committed(partitions, _KAFKA_SECONDS)}
        for one in partitions:
            found = known[one.partition]
            held = self._held[one.partition] = _Held(self._plan, found.offset)
            if found.offset >= 0:
                one.offset = _start(found)
            else:
                low, high = consumer.get_watermark_offsets(one, _KAFKA_SECONDS)
                one.offset = held.export_from = held.committed = low if self._plan.history else high
                held.next_offset = one.offset  # from here on nothing is missed, whatever happens
        consumer.incremental_assign(partitions)
        if self._waiting and partitions:
            consumer.pause(partitions)
        self._ready.set()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Their next holder begins at the last commit. What is in hand is sent all the same: the same spans.
        for one in partitions:
            self._held.pop(one.partition, None)
        consumer.incremental_unassign(partitions)


def _start(committed: TopicPartition) -> int:
    """Where to read from: the oldest start of a session that had no end, or the offset itself."""
    note = committed.metadata or ""
    first = int(note) if note.isascii() and note.isdigit() else committed.offset
    return min(first, committed.offset)


def _requests(spans: list[Span], max_spans: int) -> Iterator[list[Span]]:
    """The spans, in order, in requests of bounded size."""
    request: list[Span] = []
    size = 0
    for span in spans:
        more = span.ByteSize()
        if request and (len(request) >= max_spans or size + more > MAX_REQUEST_BYTES):
            yield request
            request, size = [], 0
        request.append(span)
        size += more
    if request:
        yield request


def _failure(state: RetryCallState) -> NotNow:
    failure = state.outcome.exception() if state.outcome is not None else None
    return failure if isinstance(failure, NotNow) else NotNow("unknown")
