"""Where tasks stand in their source."""

from __future__ import annotations

from typing import NamedTuple

from pactstream.kafka.records import Task


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
