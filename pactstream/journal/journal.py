"""The journal: a file to which each acknowledged event adds a line.

What a crash leaves: before the line is written, an event that nobody will ask about; in the middle of it, a
line that is cut off, after which the next writer begins a new one. A process that is killed loses nothing that
it has written; a machine that loses power, what its system had not put on disk yet, which nothing here waits
for. So what stands in a journal was acknowledged, and what was acknowledged stands there but for these.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from pactstream.journal.entry import entry_of
from pactstream.ledger.files import StorageFailed

_OWNER_ONLY: Final = 0o600


class Journal:
    """One journal. Threads, processes and forked children may share it: each write is under a lock.

    It takes at most `max_bytes`, and a batch: beyond half of it, the file becomes the earlier one, in place of
    the one that was.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Raises `StorageFailed` when the file cannot be made or written."""
        self._path = path
        self._most = max_bytes // 2
        self._append(b"")

    def note(self, acknowledged: Iterable[tuple[bytes, str]], at_micros: int) -> None:
        """Add events, each as it went over the wire and with its id.

        Raises:
            StorageFailed: they were not written, or not whole.
            InvalidInput: one of them is no event. None were written.
        """
        lines = [entry_of(event, event_id, at_micros).line() + b"\n" for event, event_id in acknowledged]
        if lines:
            self._append(b"".join(lines))

    def _append(self, lines: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._path.with_name(f"{self._path.name}.lock")):
                if self._path.exists() and self._path.stat().st_size + len(lines) > self._most:
                    self._path.replace(earlier(self._path))
                    # A crash here leaves the earlier file only, and the next write makes the other.
                self._path.touch(mode=_OWNER_ONLY)
                with self._path.open("ab+", buffering=0) as file:
                    data = _begun(file) + lines
                    if file.write(data) < len(data):
                        raise StorageFailed(f"{self._path.name} cannot be written: the disk is full")
        except OSError as error:
            raise StorageFailed(f"{self._path.name} cannot be written: {error.strerror}") from None


def earlier(path: Path) -> Path:
    """Where the older half of a journal is, if there is one."""
    return path.with_name(f"{path.name}.1")


def _begun(file: IO[bytes]) -> bytes:
    """What to write first: the end of a line that a crash cut off."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.touch(mode=_OWNER_ONLY)
    with path.open("ab") as file:
        if sys.platform != "win32":  # there, a journal belongs to one process
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
