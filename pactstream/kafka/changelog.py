"""Restoring tasks from their compacted changelog, a bit at a time: partitions that stay go on meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from pactstream import clock
from pactstream.errors import Retryable
from pactstream.kafka import config, metrics, reach, topics
from pactstream.kafka.offsets import high_watermarks
from pactstream.kafka.records import Restored
from pactstream.settings import KafkaSettings

_BATCH = 2_000
_WAIT_SECONDS = 0.05
_TELL_SECONDS = 5.0
# Longer than a dead process's open transaction can hold back the reader.
_STALL_SECONDS = 3 * config.TRANSACTION_TIMEOUT_MS / 1_000

_log = logging.getLogger(__name__)


def begin(
    settings: KafkaSettings, group: str, changelog: str | None, tasks: Mapping[int, Restored]
) -> AnyRestore:
    """The restoring of these tasks; without a changelog there is nothing to. Raises as `Restore`."""
    return NothingToRestore(tasks) if changelog is None else Restore(settings, group, changelog, tasks)


class NothingToRestore:
    """In the place of a `Restore`, for tasks that keep no state."""

    count = 0
    seconds = 0.0

    def __init__(self, partitions: Iterable[int]) -> None:
        self._left = set(partitions)

    @property
    def finished(self) -> bool:
        """Whether every partition was named."""
        return not self._left

    @property
    def left(self) -> frozenset[int]:
        """The partitions that were not."""
        return frozenset(self._left)

    def step(self) -> list[int]:
        """All of them, at once."""
        done, self._left = sorted(self._left), set()
        return done

    def drop(self, partitions: Iterable[int]) -> None:
        """Leave out partitions that have moved away."""
        self._left.difference_update(partitions)

    def close(self) -> None:
        """Nothing is held."""


class Restore:
    """Feeds each task the changelog of its partition, from the task's position to the end.

    The end is the *high watermark* when we begin, not the last stable offset: a dead process's open
    transaction may stand before records that later holders committed, and reading only up to it would lose
    those.
    """

    def __init__(
        self, settings: KafkaSettings, group: str, changelog: str, tasks: Mapping[int, Restored]
    ) -> None:
        """Begin. Raises Retryable: the brokers do not say where the changelog ends."""
        self.count = 0
        self._group = group
        self._topic = topics.name(settings, changelog)
        self._tasks = dict(tasks)
        admin = AdminClient(config.client(settings))
        self._ends = high_watermarks(admin, self._topic, tasks, _STALL_SECONDS)
        self._at = {partition: task.position for partition, task in tasks.items()}
        self._left = set(tasks)
        self._offsets = self._missing()
        self._began = self._moved = self._told = clock.monotonic_seconds()
        self._reader = Consumer(config.reader(settings))
        starts = [TopicPartition(self._topic, partition, offset) for partition, offset in self._at.items()]
        reach.connect(self._reader, self._topic)
        self._reader.assign([one for one in starts if one.offset < self._ends[one.partition]])

    @property
    def finished(self) -> bool:
        """Whether nothing is left to restore."""
        return not self._left

    @property
    def left(self) -> frozenset[int]:
        """The partitions of which something is left."""
        return frozenset(self._left)

    @property
    def seconds(self) -> float:
        """For how long this has been going on."""
        return clock.monotonic_seconds() - self._began

    def step(self) -> list[int]:
        """Read some more, for some hundredths of a second; returns the partitions that have come to their end.

        Raises:
            Retryable: the changelog does not go on.
            KafkaException: the broker refused.
        """
        behind = self._behind()
        messages = self._reader.consume(_BATCH, _WAIT_SECONDS) if behind else []
        now = clock.monotonic_seconds()
        if messages:
            self._moved = now
        elif behind and now - self._moved > _STALL_SECONDS:
            raise Retryable(f"the changelog {self._topic} did not come to its end")
        self._take(messages)
        if now - self._told > _TELL_SECONDS:
            self._told = now
            self._tell()
        metrics.RESTORE_LEFT.labels(self._group).set(self._missing())
        done = sorted(self._left - self._behind())
        self._left.difference_update(done)
        return done

    def drop(self, partitions: Iterable[int]) -> None:
        """Leave out partitions that have moved away."""
        self._left.difference_update(partitions)

    def close(self) -> None:
        """Stop reading."""
        metrics.RESTORE_LEFT.labels(self._group).set(0)
        self._reader.close()

    def _take(self, messages: list[Message]) -> None:
        """Hand out records, and tell each task how far it has come."""
        came: dict[int, int] = {}
        for message in messages:
            partition, offset, error = message.partition(), message.offset(), message.error()
            if partition is None or partition not in self._left or offset is None:
                continue
            if error is None:
                self._tasks[partition].restore(message.key() or b"", message.value())
                self.count += 1
                came[partition] = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                # Transaction markers take offsets but are never delivered: only the end-of-partition event,
                # whose offset is the next one to read, shows that they have been passed.
                came[partition] = offset
            else:
                raise KafkaException(error)
        metrics.RESTORED.labels(self._group).inc(len(messages))
        for partition, position in came.items():
            self._tasks[partition].checkpoint(position)
            self._at[partition] = position

    def _behind(self) -> set[int]:
        return {partition for partition in self._left if self._at[partition] < self._ends[partition]}

    def _missing(self) -> int:
        """How many offsets are left: more than records, for markers and what was compacted away count too."""
        return sum(self._ends[partition] - self._at[partition] for partition in self._behind())

    def _tell(self) -> None:
        left = self._missing()
        rate = (self._offsets - left) / self.seconds
        _log.info(
            "%s: %d %% of partitions %s restored, %d records/s, %s left",
            self._group,
            100 * (self._offsets - left) // max(self._offsets, 1),
            sorted(self._left),
            self.count / self.seconds,
            f"{left / rate:.0f} s" if rate else f"{left} offsets",
        )


AnyRestore: TypeAlias = Restore | NothingToRestore
