"""A collector of the tests' own: OTLP over HTTP, decoded with opentelemetry-proto, answered as a test says."""

from __future__ import annotations

import gzip
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from evaluator_worker.agents import Memory
from pactstream import avro
from pactstream.kafka import topics
from tests.evaluator_tools import Written, record, task
from tests.http_servers import serving


class Reply(NamedTuple):
    """An answer other than the usual one."""

    status: int
    content: bytes = b""
    headers: Mapping[str, str] = {}


@dataclass
class Peer:
    """What came, and what is answered: yes, if there are no `replies`; nothing while `answering` is clear."""

    spans: list[Span] = field(default_factory=list)
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    replies: deque[Reply] = field(default_factory=deque)
    answering: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: Peer

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(gzip.decompress(raw))
        peer = self.peer
        peer.requests.append(request)
        peer.headers.append({name.lower(): value for name, value in self.headers.items()})
        peer.answering.wait(30)
        reply = peer.replies.popleft() if peer.replies else Reply(200)
        if 200 <= reply.status < 300:
            peer.spans += [
                span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans
            ]
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, *_: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        return


@contextmanager
def collecting() -> Iterator[Peer]:
    """A peer that runs while the block does."""
    peer = Peer()
    peer.answering.set()
    server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"peer": peer}))
    peer.port = server.server_port
    with serving(server):
        try:
            yield peer
        finally:
            peer.answering.set()


def partial(rejected: int, message: str) -> Reply:
    """A yes that leaves some spans out."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return Reply(200, answer.SerializeToString())


def attributes(span: Span) -> dict[str, Any]:
    """A span's attributes as plain values."""
    return {one.key: _plain(one.value) for one in span.attributes}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value") or ""
    return [_plain(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


class Judge:
    """Events as the evaluator writes them to `telemetry.evaluated`: one agent's, its chain going on."""

    def __init__(self) -> None:
        self._task = task(Memory(events=10_000, hours=24))
        self._offset = 0

    def __call__(self, *events: dict[str, Any]) -> tuple[bytes, bytes]:
        """Key and value of one record."""
        written = Written()
        self._task.process(record(*events, offset=self._offset), written)
        self._offset += 1
        ((key, value),) = written.of(topics.EVALUATED)
        assert value is not None
        return key, value

    def batch(self, *events: dict[str, Any]) -> dict[str, Any]:
        """The same, decoded."""
        found: dict[str, Any] = avro.decode_as("EvaluatedBatch", self(*events)[1])
        return found


def session(name: str, *between: dict[str, Any], outcome: str = "success") -> list[dict[str, Any]]:
    """The events of a session, as they stand in a batch; one second from its start to its end."""
    began = 1_700_000_000_000_000
    end = moment("session_end", name, began + 1_000_000, outcome)
    return [moment("session_start", name, began), *between, end]


def moment(kind: str, name: str, at: int, outcome: str | None = None) -> dict[str, Any]:
    """A start or an end."""
    return {
        "type": kind,
        "event_id": str(uuid.uuid4()),
        "session_id": name,
        "occurred_at_micros": at,
        "outcome": outcome,
    }
