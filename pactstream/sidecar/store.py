"""The sidecar's buffer: batches in the order in which they came, and what was refused, in one SQLite file.

SQLite in WAL mode with `synchronous=FULL`: a commit is on disk when it returns (its documentation, "PRAGMA
synchronous"). A process that is killed leaves the last commit, and nothing of an open transaction.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Condition
from typing import Final, NamedTuple

from pactstream import clock
from pactstream.errors import Backpressure, Fatal

FILE: Final = "buffer.sqlite3"
_VERSION: Final = 1
_LETTERS_SHARE: Final = 4
"""Letters take at most this part of the buffer: a quarter."""
_FULL_SECONDS: Final = 5.0
_SCHEMA: Final = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT, received_micros INTEGER NOT NULL, events INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, refused_micros INTEGER NOT NULL, events INTEGER NOT NULL,
    reason TEXT NOT NULL, body BLOB NOT NULL
);
"""


class Batch(NamedTuple):
    """A body as it is sent, and how many events it has."""

    id: int
    events: int
    body: bytes


class Refusal(NamedTuple):
    """Events that the gateway will never take, as a body of their own, and why."""

    events: int
    reason: str
    body: bytes


class Letter(NamedTuple):
    """A refusal that is kept."""

    id: int
    refused_micros: int
    events: int
    reason: str
    body: bytes


class Fill(NamedTuple):
    """How full the buffer is. `oldest_micros`: when the batch that waits longest came; None: none waits.

    `room_bytes`: what it may take yet, by its limit and by what is left on its disk.
    """

    batches: int
    oldest_micros: int | None
    letters: int
    used_bytes: int
    room_bytes: int


class Store:
    """The file. Every method may be called from any thread, and other processes may have the file open too."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Open it, and make it where there is none.

        Raises:
            Fatal: it cannot be opened, is damaged, or was written by a newer release.
        """
        self._directory = directory
        self._max_bytes = max_bytes
        self._changed = Condition()
        path = directory / FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # What agents send is private: nobody else on this machine reads it, nor SQLite's files beside it.
            path.touch(mode=0o600)
            self._database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            with ExitStack() as unless_all_is_well:
                unless_all_is_well.callback(self._database.close)
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=FULL")
                with self._transaction():
                    self._prepare(path)
                unless_all_is_well.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise Fatal(f"the buffer {path} cannot be used: {error}; mend it or move it away") from None

    def _prepare(self, path: Path) -> None:
        (version,) = self._one("PRAGMA user_version")
        if version == 0:
            for statement in _SCHEMA.split(";")[:-1]:
                self._database.execute(statement)
            self._database.execute(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise Fatal(f"the buffer {path} was written by another release (form {version}, not {_VERSION})")

    def close(self) -> None:
        """Close the file."""
        with self._changed:
            self._database.close()

    def put(self, body: bytes, events: int) -> None:
        """Keep a batch; it is on disk when this returns.

        Raises:
            Backpressure: the buffer is full, or the disk is, or fails. Nothing was kept.
        """
        with self._changed:
            try:
                with self._transaction():
                    if self._used() + len(body) > self._max_bytes:
                        raise Backpressure(f"the buffer is full ({self._max_bytes} bytes)", _FULL_SECONDS)
                    self._database.execute(
                        "INSERT INTO batches (received_micros, events, body) VALUES (?, ?, ?)",
                        (clock.now_micros(), events, body),
                    )
            except sqlite3.Error as error:
                raise Backpressure(f"the buffer cannot be written: {error}", _FULL_SECONDS) from None
            self._changed.notify_all()

    def first(self, timeout_seconds: float) -> Batch | None:
        """The batch that waits longest; waits for one. None: none came in time."""
        with self._changed:
            found = self._first()
            if found is None:
                self._changed.wait(timeout_seconds)
                found = self._first()
            return found

    def wake(self) -> None:
        """End the wait of `first`."""
        with self._changed:
            self._changed.notify_all()

    def settle(self, batch: Batch, refusals: Sequence[Refusal]) -> int:
        """The gateway has answered: forget the batch, keep what was refused of it.

        The oldest letters make room where there are too many; returns how many events were lost with them.

        Raises:
            Backpressure: the disk fails; the batch waits as before.
        """
        try:
            with self._changed, self._transaction():
                self._database.execute("DELETE FROM batches WHERE id = ?", (batch.id,))
                now = clock.now_micros()
                self._database.executemany(
                    "INSERT INTO letters (refused_micros, events, reason, body) VALUES (?, ?, ?, ?)",
                    [(now, one.events, one.reason, one.body) for one in refusals],
                )
                lost = self._make_room() if refusals else 0
        except sqlite3.Error as error:
            raise Backpressure(f"the buffer cannot be written: {error}") from None
        self.wake()
        return lost

    def wait_sent(self, timeout_seconds: float) -> bool:
        """Wait until whatever is here now has left; whether it did in time."""
        with self._changed:
            (last,) = self._one("SELECT coalesce(max(id), 0) FROM batches")
            waits = "SELECT count(*) FROM batches WHERE id <= ?"
            return self._changed.wait_for(lambda: not self._one(waits, last)[0], timeout_seconds)

    def fill(self) -> Fill:
        """How full it is."""
        with self._changed:
            batches, oldest = self._one("SELECT count(*), min(received_micros) FROM batches")
            (letters,) = self._one("SELECT count(*) FROM letters")
            used = self._used()
            # What is free in the file already is used again before it grows.
            on_disk = shutil.disk_usage(self._directory).free + self._size() - used
            return Fill(batches, oldest, letters, used, max(0, min(self._max_bytes - used, on_disk)))

    @property
    def full(self) -> bool:
        """Whether no more than a small batch would fit."""
        with self._changed:
            return self._used() + 65_536 > self._max_bytes

    def letters(self) -> list[Letter]:
        """What was refused, oldest first."""
        with self._changed:
            found = self._database.execute(
                "SELECT id, refused_micros, events, reason, body FROM letters ORDER BY id"
            )
            return [Letter(*one) for one in found]

    def send_again(self, letter_id: int) -> bool:
        """Put a letter behind the batches that wait; whether there is such a letter."""
        with self._changed, self._transaction():
            self._database.execute(
                "INSERT INTO batches (received_micros, events, body) "
                "SELECT ?, events, body FROM letters WHERE id = ?",
                (clock.now_micros(), letter_id),
            )
            # A crash here leaves neither: the two are one transaction.
            return self._database.execute("DELETE FROM letters WHERE id = ?", (letter_id,)).rowcount > 0

    def discard(self, letter_id: int) -> bool:
        """Forget a letter; whether there is such a letter."""
        with self._changed, self._transaction():
            return self._database.execute("DELETE FROM letters WHERE id = ?", (letter_id,)).rowcount > 0

    def _make_room(self) -> int:
        limit, lost = self._max_bytes // _LETTERS_SHARE, 0
        (held,) = self._one("SELECT sum(length(body) + length(reason)) FROM letters")
        while held > limit:
            oldest, events, size = self._one(
                "SELECT id, events, length(body) + length(reason) FROM letters ORDER BY id LIMIT 1"
            )
            self._database.execute("DELETE FROM letters WHERE id = ?", (oldest,))
            held, lost = held - size, lost + events
        return lost

    def _first(self) -> Batch | None:
        found = self._database.execute("SELECT id, events, body FROM batches ORDER BY id LIMIT 1").fetchone()
        return None if found is None else Batch(*found)

    def _used(self) -> int:
        """Bytes of the file that hold something: it never shrinks, and what is free in it is used again."""
        (free,), (page,) = map(self._one, ("PRAGMA freelist_count", "PRAGMA page_size"))
        return self._size() - free * page

    def _size(self) -> int:
        """Bytes of the file."""
        (pages,), (page,) = map(self._one, ("PRAGMA page_count", "PRAGMA page_size"))
        return pages * page

    def _one(self, sql: str, *values: object) -> tuple[int, ...]:
        found: tuple[int, ...] = self._database.execute(sql, values).fetchone()
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
