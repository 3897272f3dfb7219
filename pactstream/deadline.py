"""HTTP answers that must be there, whole, in time.

A socket's own time-out begins anew with each byte that arrives: whoever answers a byte at a time could hold a
caller for ever.
"""

from __future__ import annotations

from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from socket import socket
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pactstream import clock


class _Hurried(RawIOBase):
    """A socket's bytes, until the moment after which there are no more."""

    def __init__(self, raw: RawIOBase, sock: socket, seconds: float) -> None:
        self._raw = raw
        self._sock = sock
        self._ends = clock.monotonic_seconds() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there. Raises `TimeoutError`."""
        left = self._ends - clock.monotonic_seconds()
        if left <= 0:
            raise TimeoutError("the answer did not end in time")
        self._sock.settimeout(left)
        found: int | None = self._raw.readinto(buffer)
        return found

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    """Head and body together take no longer than the socket's time-out was when the answer was awaited."""

    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        seconds = sock.gettimeout()
        if seconds is not None:
            self.fp = BufferedReader(_Hurried(self.fp.detach(), sock, seconds))


class _Connection(HTTPConnection):
    response_class = _Answer


class _SecureConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS: Final = {"http": _Pool, "https": _SecurePool}


def pool_manager(seconds: float, **options: Any) -> urllib3.PoolManager:
    """Connections whose every answer has `seconds` from the end of its request; connecting has as much.

    An answer that is late raises urllib3's `ReadTimeoutError`, as one that does not begin does.
    """
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=seconds, read=seconds), **options)
    pool.pool_classes_by_scheme = _POOLS
    return pool
