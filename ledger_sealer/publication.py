"""One log while this process publishes it: its lock, its files, and the segments that wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from ledger_sealer import metrics
from ledger_sealer.published import PublishedSegment
from pactstream.errors import Retryable
from pactstream.ledger import files
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.publisher import LogPublisher, Sealed
from pactstream.ledger.segment import SegmentHeader
from pactstream.ledger.tiles import CHECKPOINT
from pactstream.ledger.witness_client import QuorumMissed

MAX_WAITING = 256
"""Segments that wait, headers and notes only, before the reading of `ledger.checkpoints` is paused."""
MAX_WAITING_LEAVES = 250_000
"""Leaves in them: what is published at once must not take longer than the group waits for us."""


class Entries(Protocol):
    """Where the leaves of sealed segments come from."""

    def read(self, header: SegmentHeader) -> list[bytes]:
        """The segment's leaves in order."""

    def close(self) -> None:
        """Stop reading."""


class Publication:
    """Takes segments in order and publishes what waits; reads the files' state when it first publishes."""

    def __init__(
        self, log: int, directory: Path, publisher: Callable[[], LogPublisher], entries: Entries
    ) -> None:
        self._log = log
        self._directory = directory
        self._make_publisher = publisher
        self._entries = entries
        self._lag = metrics.Lag(metrics.PUBLICATION_LAG)
        self._resources = ExitStack()
        self._publisher: LogPublisher | None = None
        self._waiting: deque[PublishedSegment] = deque()
        self._oldest_micros: int | None = None

    @property
    def begun(self) -> bool:
        """Whether anything is published."""
        return (self._directory / CHECKPOINT).exists()

    @property
    def waits(self) -> bool:
        """Whether there is anything to publish, or a cosignature to be had."""
        return self._oldest_micros is not None or self.wants_cosignatures

    @property
    def wants_cosignatures(self) -> bool:
        """Whether what is published has fewer than it should."""
        return self._publisher is not None and self._publisher.wants_cosignatures

    @property
    def full(self) -> bool:
        """Whether no more should be read before some of it is published."""
        leaves = sum(one.header.leaves for one in self._waiting)
        return len(self._waiting) >= MAX_WAITING or leaves >= MAX_WAITING_LEAVES

    def take(self, segment: PublishedSegment) -> None:
        """Add the next segment of the log; what is published already does not wait."""
        if self._publisher is not None and segment.header.index < self._publisher.next_segment:
            return
        self._waiting.append(segment)
        if self._oldest_micros is None:
            self._oldest_micros = segment.sealed_at_micros
            self._lag.waiting(self._log, segment.sealed_at_micros)

    def publish(self) -> bool:
        """Publish all that waits under one checkpoint; False if segments before it are not published either.

        Raises:
            Retryable: not now: another process holds the log, the disk failed, too few witnesses cosigned.
            Fatal: publishing would fork the log.
        """
        try:
            complete = self._publish(self._opened())
        except QuorumMissed:
            raise  # the publisher has taken over all that waited
        except Retryable:
            # What it had taken over is not kept: everything is to be read again.
            self._waiting.clear()
            raise
        self._waiting.clear()
        self._oldest_micros = None
        self._lag.written(self._log)
        return complete

    def close(self) -> None:
        """Let the log go."""
        self._lag.written(self._log)
        self._entries.close()
        self._resources.close()

    def _opened(self) -> LogPublisher:
        if self._publisher is None:
            with ExitStack() as stack:
                try:
                    stack.enter_context(files.held(self._directory))
                except files.Held as error:
                    # A former holder that lost the log without noticing, or a second deployment: in both cases
                    # only one publishes.
                    raise Retryable(f"{error}: it publishes this log, and this process does not") from None
                publisher = self._make_publisher()
                _ = publisher.next_segment  # read only now, under the lock
                self._resources = stack.pop_all()
            self._publisher = publisher
        return self._publisher

    def _publish(self, publisher: LogPublisher) -> bool:
        while self._waiting and self._waiting[0].header.index < publisher.next_segment:
            self._waiting.popleft()
        if self._waiting and self._waiting[0].header.index > publisher.next_segment:
            return False
        publisher.publish(self._sealed())
        self._measure(publisher)
        return True

    def _measure(self, publisher: LogPublisher) -> None:
        if publisher.note is not None:
            opened = parse_note(publisher.note)
            log = str(self._log)
            metrics.PUBLISHED_LEAVES.labels(log).set(Checkpoint.parse(opened.text).size)
            metrics.PUBLISHED_COSIGNATURES.labels(log).set(len(opened.signatures) - 1)

    def _sealed(self) -> Iterator[Sealed]:
        """The segments that wait, one in memory at a time, each forgotten once the publisher has it."""
        while self._waiting:
            segment = self._waiting[0]
            yield Sealed(segment.header_bytes, segment.note, self._entries.read(segment.header))
            # Reached when the publisher asks for the next one: it has taken this one over.
            self._waiting.popleft()
