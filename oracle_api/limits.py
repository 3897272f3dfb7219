"""Limits that hold across the oracle's processes on one host: a table in a file that all of them map.

The generic cell rate algorithm (ITU-T I.371, annex A): of each caller one number is kept, the time at which its
bucket will be full again. A caller's place in the table follows from a keyed hash, so that nobody can aim at
another's. A bucket of the table holds eight callers; a ninth takes the place of the one whose time is earliest,
which is the one that loses least by it.

Each look locks its bucket, so two processes never count one token twice. A process that dies lets go by itself.
A damaged or missing file costs the counts of the last minutes and nothing else.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
from hashlib import blake2b
from math import ceil
from pathlib import Path

from pactstream import clock
from pactstream.errors import Fatal
from pactstream.web import Refused, retry_after

_MAGIC = b"pactstream limits 1\n"
_SECRET_BYTES = 32
_HEAD_BYTES = 64
_CALLERS = 8
_BUCKETS = 16_384
_SLOT = struct.Struct("=Qd")  # the caller's tag, and when its bucket is full again (seconds, monotonic)
_BUCKET = struct.Struct("=" + "Qd" * _CALLERS)
_BYTES = _HEAD_BYTES + _BUCKETS * _BUCKET.size


class Limiter:
    """`burst` at once, then `per_minute`, for each of some 131,000 callers; 2 MiB.

    With a `file`, all processes that name the same one share the counts; without, they are this process's own.

    Raises:
        Fatal: the file cannot be used.
    """

    def __init__(self, per_minute: int, burst: int, file: Path | None = None) -> None:
        self._interval = 60.0 / per_minute
        self._room = burst * self._interval
        self._descriptor = -1
        if file is None:
            self._table = mmap.mmap(-1, _BYTES)
            self._secret = secrets.token_bytes(_SECRET_BYTES)
        else:
            self._descriptor, self._table, self._secret = _open(file)

    def close(self) -> None:
        """Let go of the file."""
        self._table.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def check(self, key: str, cost: int = 1) -> None:
        """Take `cost` tokens of `key`.

        Raises:
            Refused: 429 with `Retry-After` and `X-RateLimit-Reset` (both seconds from now).
        """
        hashed = blake2b(key.encode(), digest_size=16, key=self._secret).digest()
        bucket, tag = int.from_bytes(hashed[:8], "big") % _BUCKETS, int.from_bytes(hashed[8:], "big") | 1
        at = _HEAD_BYTES + bucket * _BUCKET.size
        if self._descriptor < 0:
            self._take(at, tag, cost)
            return
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, _BUCKET.size, at)
        try:
            self._take(at, tag, cost)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, _BUCKET.size, at)

    def _take(self, at: int, tag: int, cost: int) -> None:
        now = clock.monotonic_seconds()
        slot, full_at = self._find(at, tag, now)
        after = full_at + cost * self._interval
        if after - now > self._room:
            reset = {"X-RateLimit-Reset": str(max(1, ceil(full_at - now)))}
            raise Refused(429, "too many requests", headers=retry_after(after - now - self._room) | reset)
        _SLOT.pack_into(self._table, at + slot * _SLOT.size, tag, after)

    def _find(self, at: int, tag: int, now: float) -> tuple[int, float]:
        """The caller's slot in the bucket, or the one to give it, and when it is full again, not before now."""
        values = _BUCKET.unpack_from(self._table, at)
        tags, times = values[0::2], values[1::2]
        if tag in tags:
            slot = tags.index(tag)
            # The clock starts anew with the host: a time out of reach is of an earlier life.
            return slot, times[slot] if now < times[slot] <= now + self._room else now
        return times.index(min(times)), now


def _open(file: Path) -> tuple[int, mmap.mmap, bytes]:
    """The file, made if it is not there or not ours; whoever comes meanwhile waits."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        head = os.pread(descriptor, _HEAD_BYTES, 0)
        if os.fstat(descriptor).st_size != _BYTES or not head.startswith(_MAGIC):
            head = _MAGIC + secrets.token_bytes(_SECRET_BYTES)
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, _BYTES)
            # A crash here leaves a file without its head: the next process makes it anew.
            os.pwrite(descriptor, head, 0)
        fcntl.lockf(descriptor, fcntl.LOCK_UN)
        table = mmap.mmap(descriptor, _BYTES)
    except OSError as error:
        raise Fatal(f"the limits' file {file.name} cannot be used: {error.strerror}") from None
    return descriptor, table, head[len(_MAGIC) : len(_MAGIC) + _SECRET_BYTES]
