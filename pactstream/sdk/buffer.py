"""The bounded queue between the agent's threads and the one sending thread, and the accounts of every event.

At any moment `recorded == accepted + rejected + dropped + pending`: an event is never lost without being
counted.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from pactstream import clock
from pactstream.sdk.receipt import Receipt


class Entry(NamedTuple):
    """An event as it goes on the wire, when it was recorded (monotonic seconds), and its receipt."""

    event: bytes
    recorded_at: float
    receipt: Receipt


class Capacity(NamedTuple):
    """When a batch is due, and how much is kept at most."""

    batch_events: int
    batch_bytes: int
    max_events: int
    max_bytes: int
    flush_interval_seconds: float


@dataclass(slots=True)
class Counts:
    """Events by fate, since the process started (or forked)."""

    recorded: int = 0
    accepted: int = 0
    rejected: int = 0
    dropped: int = 0
    undeclared: int = 0
    """Of the dropped: those that no recorded event has told the server about yet."""

    @property
    def pending(self) -> int:
        """Events in the buffer or on their way."""
        return self.recorded - self.accepted - self.rejected - self.dropped


class Buffer:
    """A first-in, first-out queue that never blocks a producer: what does not fit is refused and counted."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self.reset()

    def reset(self) -> list[Entry]:
        """Begin anew with fresh locks, in a process just forked; the entries that were the parent's."""
        inherited = [*getattr(self, "_in_flight", ()), *getattr(self, "_entries", ())]
        # Reentrant, since a signal handler may record an event while its thread is in here. One lock, two
        # queues of waiters: the sender waits for work, flush() for fates.
        lock = threading.RLock()
        self._work = threading.Condition(lock)
        self._fates = threading.Condition(lock)
        self._entries: deque[Entry] = deque()
        self._in_flight: list[Entry] = []
        self._bytes = 0
        self._queued = self._done = 0
        self._flush_before = 0.0
        self._end_pause = False
        self._closed = False
        self.abandoned = False
        self.counts = Counts()
        return inherited

    def snapshot(self) -> Counts:
        """A consistent copy of the accounts."""
        with self._work:
            return replace(self.counts)

    def claim_undeclared(self) -> int:
        """The number of drops that no event has told the server about; the caller's event now does."""
        with self._work:
            claimed, self.counts.undeclared = self.counts.undeclared, 0
            return claimed

    def put(self, entry: Entry, *, declares: int = 0) -> str | None:
        """Queue an event; None, or why it was dropped.

        `declares` is what `claim_undeclared` gave for this event; it is claimable again if the event is
        dropped.
        """
        capacity, counts = self._capacity, self.counts
        with self._work:
            counts.recorded += 1
            reason = self._refusal(entry)
            if reason is not None:
                self._drop(1)
                counts.undeclared += declares
                return reason
            self._bytes += len(entry.event)
            self._entries.append(entry)
            self._queued += 1
            waiting = len(self._entries)
            # The first event starts the sender's clock, the one that fills a batch ends its wait.
            if waiting in (1, capacity.batch_events):
                self._work.notify()
        return None

    def _refusal(self, entry: Entry) -> str | None:
        if self._closed:
            return "telemetry is closed"
        if len(self._entries) >= self._capacity.max_events:
            return f"the buffer is full ({self._capacity.max_events} events)"
        if self._bytes + len(entry.event) > self._capacity.max_bytes:
            return f"the buffer is full ({self._capacity.max_bytes} bytes)"
        return None

    def take(self) -> list[Entry]:
        """Wait until a batch is due and take it; empty once the buffer is closed and drained."""
        with self._work:
            while not self._is_due():
                if self._closed:
                    return []
                self._work.wait(self._seconds_left())
            batch = self._next_batch()
            self._in_flight = batch
            self._end_pause = False
            return batch

    def _is_due(self) -> bool:
        entries = self._entries
        if not entries:
            return False
        if self._closed or len(entries) >= self._capacity.batch_events:
            return True
        oldest = entries[0].recorded_at
        due_at = oldest + self._capacity.flush_interval_seconds
        return oldest <= self._flush_before or due_at <= clock.monotonic_seconds()

    def _seconds_left(self) -> float | None:
        if not self._entries:
            return None
        due_at = self._entries[0].recorded_at + self._capacity.flush_interval_seconds
        return max(0.0, due_at - clock.monotonic_seconds())

    def _next_batch(self) -> list[Entry]:
        size = count = 0
        for entry in islice(self._entries, self._capacity.batch_events):
            size += len(entry.event)
            if count and size > self._capacity.batch_bytes:
                break
            count += 1
        batch = [self._entries.popleft() for _ in range(count)]
        self._bytes -= sum(len(entry.event) for entry in batch)
        return batch

    def settle(self, *, accepted: int = 0, rejected: int = 0, dropped: int = 0) -> None:
        """Enter the fates of the batch taken last."""
        with self._work:
            self.counts.accepted += accepted
            self.counts.rejected += rejected
            self._drop(dropped)
            self._done += len(self._in_flight)
            self._in_flight = []
            self._fates.notify_all()

    def _drop(self, events: int) -> None:
        self.counts.dropped += events
        self.counts.undeclared += events

    def hurry(self, *, end_pause: bool = False) -> None:
        """Make everything recorded until now due; with `end_pause`, end a pause between attempts too."""
        with self._work:
            self._flush_before = clock.monotonic_seconds()
            self._end_pause = self._end_pause or end_pause
            self._work.notify()

    def wait_settled(self, timeout: float | None) -> bool:
        """Wait until every event recorded before this call has its fate; whether that came in time."""
        with self._fates:
            target = self._queued
            return self._fates.wait_for(lambda: self._done >= target, timeout)

    def close(self) -> None:
        """Take no more events; those in the queue are due at once."""
        with self._work:
            self._closed = True
        self.hurry(end_pause=True)

    def abandon(self) -> list[Entry]:
        """Give up what is still queued, and end the sender's pause; the entries given up."""
        with self._work:
            given_up = list(self._entries)
            self._entries.clear()
            self._bytes = 0
            self._drop(len(given_up))
            self._done += len(given_up)
            self.abandoned = True
            self._work.notify()
            self._fates.notify_all()
            return given_up

    def pause(self, seconds: float, *, hurriable: bool) -> None:
        """The sender's wait between two attempts; `hurry` ends it if it is `hurriable`, `abandon` always.

        A `hurry` since the last attempt began counts, so that one that comes just before the pause is not lost.
        """
        deadline = clock.monotonic_seconds() + seconds
        with self._work:
            while not self.abandoned and not (hurriable and self._end_pause):
                left = deadline - clock.monotonic_seconds()
                if left <= 0:
                    break
                self._work.wait(left)
            self._end_pause = False
