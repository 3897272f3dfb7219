"""The HTTP server: a thread per connection, kept alive."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition
from urllib.parse import urlsplit

from pactstream.devstack.clickhouse.engine import Answer, Engine
from pactstream.devstack.clickhouse.errors import Refused
from pactstream.devstack.clickhouse.request import Request, parse
from pactstream.devstack.ports import LOOPBACK

MAX_BODY_BYTES = 1 << 30
_IDLE_SECONDS = 600
_MAX_LINE_BYTES = 1 << 16
_LOCAL_NAMES = frozenset({LOOPBACK, "localhost", "[::1]"})
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "JSON": "application/json; charset=UTF-8",
}
# As ClickHouse maps its error codes (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp), where it matters.
_NOT_FOUND = frozenset({46, 47, 50, 56, 60, 81, 115})
_BAD_REQUEST = frozenset({6, 26, 27, 33, 36, 38, 41, 42, 43, 53, 62, 69, 70, 72, 89, 271, 386, 456, 457, 1000})
_FORBIDDEN = frozenset({164, 497, 516})
_NOT_IMPLEMENTED = 48


class Server(ThreadingHTTPServer):
    """Serves one engine until `shutdown`; `drain` waits for the requests that run then."""

    daemon_threads = True  # idle connections must not hold up the end; running requests are awaited by `drain`
    request_queue_size = 128

    def __init__(self, port: int, engine: Engine) -> None:
        self.engine = engine
        self._running = 0
        self._changed = Condition()
        super().__init__((LOOPBACK, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a client that went away go; anything else is a fault of ours and belongs in the log."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Note that a request runs."""
        with self._changed:
            self._running += 1

    def end(self) -> None:
        """Note that a request has been answered."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def drain(self, timeout_seconds: float) -> None:
        """Wait until no request runs, or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0, timeout_seconds)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True  # or a reply of two segments waits 40 ms for the client's delayed ACK
    wbufsize = 1 << 16  # head and body leave in one send

    def do_GET(self) -> None:
        self._serve(read_only=True)

    def do_POST(self) -> None:
        self._serve(read_only=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Stay silent: statements carry data."""

    def _serve(self, *, read_only: bool) -> None:
        self.server.begin()
        try:
            self._answer(read_only)
        except Refused as error:
            self._refuse(error)
        except UnicodeDecodeError as error:
            self._refuse(Refused.by_interface(36, "BAD_ARGUMENTS", f"Not UTF-8: {error.reason}"))
        finally:
            self.server.end()

    def _answer(self, read_only: bool) -> None:
        body = self._body()
        if not self._is_local():
            self._reply(HTTPStatus.FORBIDDEN, b"Only programs on this machine may ask.\n", {})
            return
        is_ping = urlsplit(self.path).path == "/ping"
        request = None if is_ping else parse(self.path, self.headers, body, read_only=read_only)
        if request is None:
            self._reply(HTTPStatus.OK, b"Ok.\n", {})
            return
        answer = self.server.engine.run(
            request.statement,
            database=request.database,
            settings=request.settings,
            default_format=request.default_format,
        )
        self._reply(HTTPStatus.OK, answer.body, self._headers_of(request, answer))

    def _is_local(self) -> bool:
        """Whether a program asks, not a web page: browsers send Origin, or the name that was rebound to us."""
        host = self.headers.get("Host", LOOPBACK).rpartition(":")
        return "Origin" not in self.headers and (host[0] or host[2]) in _LOCAL_NAMES

    def _body(self) -> bytes:
        try:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                return b"".join(self._chunks())
            return self._exactly(int(self.headers.get("Content-Length", 0)))
        except ValueError as error:
            self.close_connection = True  # where the next request begins is anybody's guess
            raise Refused.by_interface(1000, "POCO_EXCEPTION", f"The body cannot be read: {error}") from error

    def _chunks(self) -> Iterator[bytes]:
        """A body in chunks (RFC 9112, section 7.1): clickhouse-connect sends rows while it encodes them."""
        total = 0
        while size := int(self.rfile.readline(_MAX_LINE_BYTES).partition(b";")[0], 16):
            total += size
            yield self._exactly(size, limit=MAX_BODY_BYTES - total + size)
            self.rfile.readline(_MAX_LINE_BYTES)
        while self.rfile.readline(_MAX_LINE_BYTES).strip():  # trailers
            pass

    def _exactly(self, size: int, limit: int = MAX_BODY_BYTES) -> bytes:
        if not 0 <= size <= limit:
            raise ValueError(f"{size} bytes are not within {limit}")
        data = self.rfile.read(size)
        if len(data) < size:
            raise ValueError("the connection ended within it")
        return data

    def _headers_of(self, request: Request, answer: Answer) -> dict[str, str]:
        summary = json.dumps({name: str(value) for name, value in answer.counters.items()})
        headers = {
            "X-ClickHouse-Summary": summary,
            "X-ClickHouse-Query-Id": request.query_id or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": self.server.engine.timezone,
        }
        if answer.output_format is not None:
            headers["X-ClickHouse-Format"] = answer.output_format
            headers["Content-Type"] = _CONTENT_TYPES.get(answer.output_format, "application/octet-stream")
        return headers

    def _refuse(self, refusal: Refused) -> None:
        code = {"X-ClickHouse-Exception-Code": str(refusal.code)}
        self._reply(_status(refusal.code), f"{refusal}\n".encode(), code)

    def _reply(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain; charset=UTF-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()  # before the request counts as answered


def _status(code: int) -> HTTPStatus:
    if code in _NOT_FOUND:
        return HTTPStatus.NOT_FOUND
    if code in _BAD_REQUEST:
        return HTTPStatus.BAD_REQUEST
    if code in _FORBIDDEN:
        return HTTPStatus.FORBIDDEN
    if code == _NOT_IMPLEMENTED:
        return HTTPStatus.NOT_IMPLEMENTED
    return HTTPStatus.INTERNAL_SERVER_ERROR
