"""What a client remembers of each log between reports: its keys, the largest checkpoint, agents' heads.

A directory of pins, or nothing but this process. A crash leaves an older pin: what it lets pass is no fork of
it either, and is compared again.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pactstream import clock
from pactstream.ledger import files
from pactstream.ledger.pins import Pin, PinBook

MAX_HEADS = 10_000
"""Agents' heads remembered of one log; the longest unused go."""

_WRITE_SECONDS = 1.0


class Memory:
    """Pins by origin; with a `directory`, which no other process may use meanwhile, they outlive the process.

    Raises (any method):
        Fatal: another process holds the directory, or a pin is damaged or cannot be written.
    """

    def __init__(self, directory: Path | None) -> None:
        self._held = ExitStack()
        self._book: PinBook | None = None
        self._pins: dict[str, Pin] = {}
        self._unwritten: set[str] = set()
        self._written_at = 0.0
        if directory is not None:
            self._held.enter_context(files.held(directory))
            self._book = PinBook(directory)
            self._pins = self._book.all()

    def get(self, origin: str) -> Pin | None:
        """What is remembered of a log."""
        return self._pins.get(origin)

    def put(self, pin: Pin) -> None:
        """Remember; a known log is written at most once a second, because each write waits for the disk."""
        first = pin.origin not in self._pins
        self._pins[pin.origin] = pin
        self._unwritten.add(pin.origin)
        if first or clock.monotonic_seconds() - self._written_at >= _WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what was not written yet."""
        if self._book is not None:
            for origin in sorted(self._unwritten):
                self._book.put(self._pins[origin])
        self._unwritten.clear()
        self._written_at = clock.monotonic_seconds()

    def close(self) -> None:
        """Write the rest, and let others use the directory."""
        with self._held:
            self.write()
