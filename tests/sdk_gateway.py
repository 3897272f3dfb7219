"""A gateway of the tests' own: real HTTP on loopback, with answers that a test chooses, good and bad."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pactstream.sdk import Telemetry

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
PACT = "0b0b0b0b-0000-4000-8000-000000000001"
KEY = "pk_live_not_a_real_key"
VIOLATED = {
    "valid": False,
    "bound": True,
    "pactId": PACT,
    "pactVersion": 3,
    "pactHash": "ab" * 32,
    "severity": "critical",
    "violations": [
        {
            "paramPath": "destination",
            "rule": "allowList",
            "severity": "critical",
            "value": "0xBAD",
            "expected": ["0xA11A"],
            "message": "destination is not on the list",
        }
    ],
}
VALID = {"valid": True, "bound": True, "pactId": PACT, "pactVersion": 3, "severity": None, "violations": []}


@dataclass
class Seen:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int

    @property
    def body(self) -> Any:
        """Its JSON, unpacked."""
        gzipped = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.raw) if gzipped else self.raw)


Judge = Callable[[dict[str, Any]], object]
Reply = Callable[["Handler", Seen], None]


@dataclass
class Gateway:
    """What the server saw, and what it shall answer next; when `replies` is used up it accepts everything."""

    requests: list[Seen] = field(default_factory=list)
    replies: deque[Reply] = field(default_factory=deque)
    judge: Judge = lambda event: VALID if event["type"] == "tool_call" and "pactId" in event else None
    preflight: object = None
    looks_back: bool = False
    holds: bool = True
    accepting: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def batches(self) -> list[list[dict[str, Any]]]:
        """The events of each telemetry request, refused ones included."""
        return [seen.body["events"] for seen in list(self.requests) if seen.path.endswith("/events")]

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events of all requests, in order."""
        return [event for batch in self.batches for event in batch]

    def telemetry(self, **options: Any) -> Telemetry:
        """A `Telemetry` for this gateway with pauses short enough for tests."""
        quick: dict[str, Any] = {
            "api_key": KEY,
            "base_url": self.url,
            "agent_id": AGENT,
            "flush_interval_seconds": 60,
            "retry_first_seconds": 0.01,
            "retry_max_seconds": 0.02,
            "request_timeout_seconds": 5,
            "close_timeout_seconds": 5,
        }
        return Telemetry(**(quick | options))


class Handler(BaseHTTPRequestHandler):
    """Reads a request, records it, answers as the gateway was told to."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    gateway: Gateway

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.path, headers, raw, self.client_address[1])
        gateway = self.gateway
        gateway.requests.append(seen)
        gateway.accepting.wait(30)
        reply = gateway.replies.popleft() if gateway.replies else accept
        reply(self, seen)

    def do_DELETE(self) -> None:
        self.do_POST()

    def send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args: object) -> None:
        return


def accept(handler: Handler, seen: Seen) -> None:
    """As the real gateway answers when all is well."""
    gateway = handler.gateway
    if seen.path.endswith("/validate-call"):
        verdict = gateway.preflight or VALID
        valid = isinstance(verdict, dict) and verdict["valid"]
        found: dict[str, object] = {"valid": valid, "validation": verdict}
        if gateway.looks_back or seen.body.get("reserve"):
            kept = {"reservationId": seen.body.get("reservationId"), "expiresAt": "2026-05-13T10:00:00Z"}
            held = seen.body.get("reserve") and gateway.holds and valid
            found |= {"asOf": "2026-05-13T10:00:00Z", "reservation": kept if held else None}
        handler.send(200, json.dumps(found).encode())
        return
    if "/reservations/" in seen.path:
        handler.send(204, b"")
        return
    results = [
        {"eventId": event["eventId"], "status": "accepted", "validation": gateway.judge(event)}
        for event in seen.body["events"]
    ]
    handler.send(200, json.dumps({"accepted": len(results), "results": results}).encode())


def answer(status: int, content: object = b"", **headers: str) -> Reply:
    """A fixed answer; anything but bytes goes out as JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda handler, seen: handler.send(status, body, **headers)


def hang_up(handler: Handler, seen: Seen) -> None:
    """Close the connection instead of answering."""
    handler.hang_up()


def hang_up_midway(handler: Handler, seen: Seen) -> None:
    """Announce an answer and close the connection in the middle of it."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"accepted":1,"resu')
    handler.wfile.flush()
    handler.hang_up()


@contextmanager
def serving(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Gateway]:
    """A gateway that runs while the block does."""
    gateway = Gateway(scheme="https" if tls else "http")
    gateway.accepting.set()
    handler = type("BoundHandler", (Handler,), {"gateway": gateway})
    with _Server(("127.0.0.1", port), handler) as server:
        gateway.port = server.server_port
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield gateway
        finally:
            gateway.accepting.set()
            server.shutdown()
            thread.join()
            server.hang_up_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up_all(self) -> None:
        """End kept-alive connections, as a process that dies would."""
        for request in list(self._open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as `condition` holds; fail if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)
