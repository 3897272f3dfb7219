"""A TCP proxy in front of ClickHouse that spoils chosen inserts on the wire."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from threading import Event, Thread
from types import TracebackType
from typing import Literal, Self

Fault = Literal["refused", "cut", "answer lost", "full", "slow"]
"""What happens to an insert: never sent; half sent; done, but the answer lost; an error; a late answer."""

_FULL = b"Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)"
_FULL_ANSWER = (
    b"HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: 243\r\n"
    b"Content-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL), _FULL)
)
_CHUNK = 65_536
_SLOW_SECONDS = 0.5


class Proxy:
    """Passes everything on to `upstream`, but for one insert for each fault in `faults`, in turn.

    While `down` is set, it takes no connection and lets go of those it has. `before_answer` is called when an
    insert with "answer lost" has been answered.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self.faults: deque[Fault] = deque()
        self.down = False
        self.before_answer: Callable[[], None] = lambda: None
        self._stop = Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._threads: list[Thread] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self.down:
                client.close()
            else:
                self._start(lambda client=client: self._serve(client))  # type: ignore[misc]

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            server = socket.create_connection(self._upstream, 5)
            with closing(server):
                _Connection(self, client, server).run(self._stop)


class _Connection:
    """One client's connection; requests on it come one after another."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._fault: Fault | None = None

    def run(self, stop: Event) -> None:
        for one in (self._client, self._server):
            one.settimeout(0.02)
        while not stop.is_set() and not self._proxy.down:
            if not self._pass_request() or not self._pass_answer():
                return

    def _pass_request(self) -> bool:
        data = _received(self._client)
        if data is None:
            return True
        # The statement begins the body, which may come apart from the head.
        if b"INSERT INTO" in data and self._proxy.faults:
            self._fault = self._proxy.faults.popleft()
            if self._fault == "full":
                self._client.sendall(_FULL_ANSWER)
            if self._fault in ("full", "refused"):
                return False
            if self._fault == "cut":
                self._server.sendall(data[: -len(data) // 4])
                return False
        self._server.sendall(data)
        return data != b""

    def _pass_answer(self) -> bool:
        data = _received(self._server)
        if data is None:
            return True
        fault, self._fault = self._fault, None
        if fault == "answer lost":
            self._proxy.before_answer()
            return False
        if fault == "slow":
            Event().wait(_SLOW_SECONDS)
        self._client.sendall(data)
        return data != b""


def _received(of: socket.socket) -> bytes | None:
    """What has come; None if nothing has yet, empty at the end."""
    try:
        return of.recv(_CHUNK)
    except TimeoutError:
        return None
