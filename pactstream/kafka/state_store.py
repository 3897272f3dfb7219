"""Where the state of one partition lives: the records of its changelog, the last of each key.

A key is `<owner>` or `<owner>/<name>`. All records of an owner are read together, in the order in which they
were last written, as the compacted changelog has them: what is on disk must not read differently from what was
restored a moment ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeAlias

Change: TypeAlias = tuple[bytes, bytes | None]
"""A record of the changelog: key and value; None deletes the key."""

_SLASH = b"/"


class StateStore(Protocol):
    """What of a changelog is known here, up to a position."""

    @property
    def position(self) -> int:
        """All records of the changelog before this offset are in the store, and none after it."""

    @property
    def size_bytes(self) -> int:
        """What it holds, in memory or in files; another thread may ask, also once it is closed."""

    def of(self, owner: bytes) -> dict[bytes, bytes]:
        """The values of an owner by name (empty for its own record), the one written longest ago first."""

    def next_records(self, most: int) -> list[tuple[bytes, bytes]]:
        """Up to `most` keys and values further, over all owners; after the last it begins again."""

    def write(self, changes: Iterable[Change], position: int) -> None:
        """Take, in order, what stands in the changelog between our position and this one; all or nothing.

        Raises:
            Retryable: they were not written.
        """

    def close(self) -> None:
        """Let go of what the store holds open."""


class MemoryStore:
    """State in memory alone: a new process restores all of it."""

    def __init__(self) -> None:
        self.position = 0
        self.size_bytes = 0
        self._owners: dict[bytes, dict[bytes, bytes]] = {}
        self._round: Iterator[tuple[bytes, bytes]] = iter(())

    def of(self, owner: bytes) -> dict[bytes, bytes]:  # noqa: D102 - as in StateStore
        return dict(self._owners.get(owner, ()))

    def next_records(self, most: int) -> list[tuple[bytes, bytes]]:  # noqa: D102 - as in StateStore
        found = list(islice(self._round, most))
        if len(found) < most:
            self._round = self._all()
        return found

    def write(self, changes: Iterable[Change], position: int) -> None:  # noqa: D102 - as in StateStore
        for key, value in changes:
            owner, name = split(key)
            records = self._owners.setdefault(owner, {})
            before = records.pop(name, None)
            if before is not None:
                self.size_bytes -= len(key) + len(before)
            if value is not None:
                records[name] = value
                self.size_bytes += len(key) + len(value)
            elif not records:
                del self._owners[owner]
        self.position = position

    def close(self) -> None:
        """Nothing is open."""

    def _all(self) -> Iterator[tuple[bytes, bytes]]:
        for owner in list(self._owners):
            for name, value in self.of(owner).items():
                yield joined(owner, name), value


def split(key: bytes) -> tuple[bytes, bytes]:
    """A key's owner and name."""
    owner, _, name = key.partition(_SLASH)
    return owner, name


def joined(owner: bytes, name: bytes) -> bytes:
    """The key of an owner's record."""
    return owner + _SLASH + name if name else owner
