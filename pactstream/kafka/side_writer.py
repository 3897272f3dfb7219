"""Changelog records that do not wait for the loop's transaction, each certain before its writer is told.

A hold must be durable before anybody is told of it, within milliseconds. A transaction of its own takes 12 ms
here and the loop's may take a hundred; a plain record and a question to the group take 2 (ADR 15). In order:

1. The record is written and acknowledged by all in-sync replicas. Whoever restores the partition after this
   moment reads it. A crash here leaves a record that nobody was told of.
2. The group confirms that this process is a member of its present generation. A partition moves only with a
   new generation, so whoever is given it after this restores it after 1.
3. The task is still the one that the record was made for: a member that stays, but has given the partition
   up, forgot its task before it joined the new generation.

A process that was taken for dead (paused, cut off) still passes 1: its record is in the changelog. It fails at
2, so nobody was told; what such records may hold must therefore be harmless (see `evaluator_worker/holds.py`).
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from typing import TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pactstream.errors import PactstreamError, Retryable
from pactstream.kafka import config, topics
from pactstream.kafka.processor import Processor
from pactstream.kafka.records import Task
from pactstream.settings import KafkaSettings

_POLL_SECONDS = 0.25
_WRITE_SECONDS = 5.0
_MOST_AT_ONCE = 500

_log = logging.getLogger(__name__)

Entry: TypeAlias = tuple[str, bytes | None]
"""Key and value of a changelog record."""


@dataclass(slots=True)
class _Job:
    partition: int
    task: Task
    entries: list[Entry]
    done: Future[None] = field(default_factory=Future)
    unwritten: int = 0
    fault: KafkaError | None = None

    def on_delivery(self, error: KafkaError | None, _: Message) -> None:
        self.unwritten -= 1
        self.fault = self.fault or error

    def settle(self, doubt: Exception | None, still: bool) -> None:
        if not self.done.set_running_or_notify_cancel():
            return  # nobody waits any more
        if self.fault is not None or self.unwritten:
            reason = self.fault.str() if self.fault is not None else "no acknowledgement in time"
            self.done.set_exception(Retryable(f"the changelog was not written: {reason}"))
        elif doubt is not None:
            self.done.set_exception(Retryable(f"the group does not confirm: {doubt}"))
        elif not still:
            self.done.set_exception(Retryable("the partition has moved"))
        else:
            self.done.set_result(None)


class SideWriter:
    """Writes changelog records for tasks that a `Processor` lends; those that wait together go together."""

    def __init__(self, settings: KafkaSettings, changelog: str, processor: Processor) -> None:
        self._settings = settings
        self._topic = topics.name(settings, changelog)
        self._processor = processor
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._producer = self._connect()

    def submit(self, partition: int, task: Task, entries: list[Entry]) -> Future[None]:
        """Write records for a task, to the partition of the changelog that it is restored from.

        The future is done when they are certain, or fails with `Retryable`: then they may have been written or
        not. Call it in the order of the decisions, before the loan of the task ends.
        """
        job = _Job(partition, task, entries)
        self._jobs.put(job)
        return job.done

    def run(self, stop: Event) -> None:
        """Write until `stop` is set; what is then still waiting fails."""
        while not stop.is_set():
            jobs = self._waiting(_POLL_SECONDS)
            if jobs:
                self._write(jobs)
        for job in self._waiting(0):
            job.settle(Retryable("the worker is stopping"), still=False)

    def _waiting(self, timeout_seconds: float) -> list[_Job]:
        jobs: list[_Job] = []
        try:
            jobs.append(self._jobs.get(timeout=timeout_seconds) if timeout_seconds else self._jobs.get_nowait())
            while len(jobs) < _MOST_AT_ONCE:
                jobs.append(self._jobs.get_nowait())
        except Empty:
            pass
        return jobs

    def _write(self, jobs: list[_Job]) -> None:
        for job in jobs:
            self._produce(job)
        self._producer.flush(_WRITE_SECONDS + 1)
        doubt: Exception | None = None
        try:
            self._processor.confirm()
        except (KafkaException, PactstreamError) as error:
            doubt = error
            _log.warning("%d writes fail, because the group does not confirm: %s", len(jobs), error)
        for job in jobs:
            job.settle(doubt, self._processor.holds(job.partition, job.task))
        if any(job.fault is not None and job.fault.fatal() for job in jobs):
            # Such a producer takes nothing any more.
            self._producer = self._connect()

    def _produce(self, job: _Job) -> None:
        for key, value in job.entries:
            try:
                self._producer.produce(
                    self._topic, value, key.encode(), job.partition, on_delivery=job.on_delivery
                )
                job.unwritten += 1
            except BufferError:
                job.fault = KafkaError(KafkaError._QUEUE_FULL)
            except KafkaException as error:
                job.fault = error.args[0]

    def _connect(self) -> Producer:
        timeout = {"delivery.timeout.ms": int(_WRITE_SECONDS * 1_000)}
        return Producer(config.producer(self._settings, linger_ms=0) | timeout)
