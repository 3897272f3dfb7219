"""Where tasks stand in their source, and whether anything is heard of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pactstream import clock
from pactstream.errors import Retryable
from pactstream.kafka.records import Task

# Longer than the client takes to find a leader, the committed offset and the first records of a busy broker.
SILENT_SECONDS = 20.0


class Awaited:
    """Partitions that have been resumed, until they are heard of: a record, or that there is none.

    A partition that is paused as it is assigned may, rarely, stay paused in the client for good and without a
    word: pausing may overtake assigning (librdkafka's issues 2190 and 5591). A new consumer is the cure.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def resumed(self, partitions: Iterable[int]) -> None:
        """From now on something must come."""
        self._since |= dict.fromkeys(partitions, clock.monotonic_seconds())

    def heard(self, partition: int | None) -> None:
        """Something came, or nothing need come any more."""
        if partition is not None:
            self._since.pop(partition, None)

    def check(self) -> None:
        """Raises Retryable: a partition has been silent for too long."""
        for partition, since in self._since.items():
            if clock.monotonic_seconds() - since > SILENT_SECONDS:
                raise Retryable(f"nothing is heard of partition {partition} since it was resumed")


class Place:
    """Where a task stands in its source; `end` is where that ended when the partition was given."""

    def __init__(self, end: int) -> None:
        self.next_offset = 0
        self.at_end = False
        self._end = end

    @property
    def caught_up(self) -> bool:
        """Whether it has processed what was there when the partition was given."""
        return self.next_offset >= self._end

    def passed(self, next_offset: int) -> None:
        """A record was processed."""
        self.next_offset = next_offset
        self.at_end = False

    def ended(self, offset: int) -> None:
        """The partition ends here, as far as is known."""
        # Beyond the last record there may be markers of transactions, which are never delivered.
        self.next_offset = max(self.next_offset, offset)
        self.at_end = True


class Loan(NamedTuple):
    """A task lent to another thread; `next_offset` is the first of its source that it has not processed.

    `caught_up`: it has processed what was there when it was given the partition. `at_end`: it has nothing more
    to process, as far as is known.
    """

    task: Task
    next_offset: int
    caught_up: bool
    at_end: bool
