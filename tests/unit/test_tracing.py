"""Traces of the services: nothing while off, spans of requests and transactions that lead to each other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.types import Receive, Scope, Send

from pactstream import tracing
from pactstream.kafka.records import Headers
from pactstream.settings import ServiceSettings

_ON = ServiceSettings(tracing_enabled=True, instance="one")


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.start(_ON, "gateway", SimpleSpanProcessor(exporter))
    yield exporter
    tracing.stop()


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    _written.append(tracing.headers())
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


_written: list[Headers] = []


@pytest.mark.anyio
async def test_a_request_leads_to_the_transactions_behind_it(spans: InMemorySpanExporter) -> None:
    transport = httpx.ASGITransport(tracing.asgi(_answer))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        await client.get("/x")
    judging = tracing.transaction("evaluator")
    assert judging is not None
    judging.took(_written[-1])
    judging.took([("other", b"")])
    judging.took([(tracing.HEADER, b"\xff no context")])
    judging.end(25)
    sealing = tracing.transaction("ledger-sealer")
    assert sealing is not None
    sealing.took(judging.headers)
    sealing.end(None)
    request, judged, sealed = spans.get_finished_spans()
    assert next(link.context.span_id for link in judged.links) == request.context.span_id
    assert [link.context.span_id for link in sealed.links] == [judged.context.span_id]
    assert judged.attributes is not None
    assert judged.attributes["messaging.batch.message_count"] == 25
    assert (judged.status.is_ok, sealed.status.is_ok) == (True, False)
    assert request.resource.attributes["service.name"] == "pactstream-gateway"


def test_links_are_limited(spans: InMemorySpanExporter) -> None:
    first = tracing.transaction("evaluator")
    second = tracing.transaction("ledger-sealer")
    assert first is not None
    assert second is not None
    for _ in range(300):
        second.took(first.headers)
    second.end(300)
    assert len(spans.get_finished_spans()[0].links) == 100


def test_spans_go_where_the_standard_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append(f"{self.path} {b'process evaluator' in body or self.headers['Content-Encoding']}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Sink) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        tracing.start(_ON, "evaluator")
        done = tracing.transaction("evaluator")
        assert done is not None
        done.end(1)
        tracing.stop()
        server.shutdown()
    assert taken == ["/v1/traces True"]


def test_off_nothing_is_written_and_nothing_imported() -> None:
    tracing.start(ServiceSettings(instance="one"), "gateway")
    assert (tracing.headers(), tracing.transaction("evaluator"), tracing.asgi(_answer)) == ((), None, _answer)
    code = (
        "import sys, ingest_gateway.__main__, ledger_sealer.__main__; print('opentelemetry.sdk' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == "False\n"
