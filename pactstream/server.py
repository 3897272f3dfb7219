"""Serving an ASGI application: one process, one port, a clean stop, and limits on a request's head.

The application limits bodies (`bodies.py`); what comes before a body is limited here, because
uvicorn waits for a head for ever.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import ssl
from asyncio import BaseTransport, TimerHandle, Transport
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import httptools
import uvicorn
from prometheus_client import start_http_server
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pactstream import tracing
from pactstream.errors import Fatal
from pactstream.settings import ServiceSettings
from pactstream.web import error_body
from pactstream.worker import EXIT_FATAL, EXIT_OK

HEAD_SECONDS = 10.0
"""A request's head (or the first byte of a connection) must have arrived after this time."""
MAX_HEAD_BYTES = 65_536
"""The most of an unfinished head that is kept; one that arrives at once may be as large as a read, 256 KiB."""

_GRACE_SECONDS = 10
_log = logging.getLogger(__name__)


class Tls(NamedTuple):
    """A server's certificate with its chain, and its key, both PEM; TLS 1.2 or later."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raises Fatal: they cannot be used, and why."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise Fatal(f"no TLS with {self.certificate} and {self.key}: {error.strerror or error}") from None


def tls_of(settings: ServiceSettings) -> Tls | None:
    """What the settings say; None: plain HTTP. Raises Fatal: half of it is missing."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise Fatal("PACTSTREAM_TLS_CERTIFICATE and PACTSTREAM_TLS_KEY go together: one of them is unset")
    return Tls(certificate, key)


def serve(
    app: ASGIApp,
    host: str,
    port: int,
    on_stop: Callable[[], None] = lambda: None,
    *,
    head_seconds: float = HEAD_SECONDS,
    tls: Tls | None = None,
    max_connections: int | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Requests under way get ten seconds to finish.

    `on_stop` is called in the event loop when the stop begins, to end what would not end by itself (streams).
    Beyond `max_connections` a request is answered 503.

    Raises:
        Fatal: the address cannot be had, or the certificate cannot be used.
    """
    if tls is not None:
        tls.check()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        raise _taken(host, port, error) from None
    # Accepted sockets inherit it. Without it, an answer's body waits 40 ms for the client to acknowledge its
    # head. asyncio sets it by itself only on sockets made with `proto=IPPROTO_TCP`.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        tracing.asgi(app),
        http=cast(Any, partial(_Connection, head_seconds=head_seconds)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        limit_concurrency=max_connections,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )
    early: list[int] = []
    server = _Server(config, on_stop, early)
    # uvicorn raises the signal again after its shutdown; that must not end us as if nothing had been finished.
    # And one that comes before uvicorn looks for signals must not be forgotten.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: early.append(number))
    _log.info("listening on http%s://%s:%d", "" if tls is None else "s", host, listener.getsockname()[1])
    server.run(sockets=[listener])
    return EXIT_OK if server.started else EXIT_FATAL


@contextmanager
def metrics(host: str, port: int) -> Iterator[None]:
    """Serve `/metrics` from a thread meanwhile, on a port that need not be public. Port 0: nothing is served.

    Raises:
        Fatal: the address cannot be had.
    """
    if not port:
        yield
        return
    try:
        listening, thread = start_http_server(port, host)
    except OSError as error:
        raise _taken(host, port, error) from None
    try:
        yield
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def _taken(host: str, port: int, error: OSError) -> Fatal:
    reason = str(error.strerror).partition(" (")[0]  # Python repeats the address in parentheses
    return Fatal(f"cannot listen on {host}:{port}: {reason}; set another port or stop its user")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None], early: list[int]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._early = early

    async def main_loop(self) -> None:
        self.should_exit = self.should_exit or bool(self._early)
        await super().main_loop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)


class _Connection(HttpToolsProtocol):
    """uvicorn's connection, with bounds on the time and size of a head."""

    def __init__(self, *args: Any, head_seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_seconds = head_seconds
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = False
        self._in_body = False

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Transport, transport))
        self._head_timer = self.loop.call_later(self._head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(400, "the request is not HTTP/1.1")
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._in_body or self.transport.is_closing() or (answering and not self._in_head):
            return
        # What came is a part of a head, or blank lines in front of one.
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"the request's head is larger than {MAX_HEAD_BYTES} bytes")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_seconds, self._head_is_late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._head_is_there()
        if not self.parser.should_upgrade():
            self._in_head, self._in_body = False, True
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._in_body = False
            super().on_message_complete()

    def _without_upgrade(self, rest: bytes) -> None:
        """Read a request again without its wish to change protocols: the parser would not read its body.

        Java's own HTTP client sends such a wish with its first request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(405, "this is no proxy")
            return
        kept = b"".join(b"%s: %s\r\n" % one for one in self.headers if one[0] != b"upgrade")
        head = b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, self.parser.get_http_version().encode(), kept)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _head_is_there(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self._head_bytes:
            self._refuse(408, f"the request's head did not arrive within {self._head_seconds:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer and hang up; only hang up where another answer may be half written."""
        if self.cycle is None or self.cycle.response_complete:
            content = json.dumps(error_body(status, message)).encode()
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head % len(content) + content)
        self.transport.close()
