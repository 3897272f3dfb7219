"""`POST /v1/traces`: OTLP over HTTP, as every OpenTelemetry exporter speaks it."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import Request
from starlette.responses import Response

from ingest_gateway import metrics
from ingest_gateway.otlp import mapping, spans
from ingest_gateway.telemetry import Telemetry
from pactstream.events import results
from pactstream.events.parse import MAX_EVENTS
from pactstream.web import Refused

PATH: Final = "/v1/traces"
_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_MAX_SAID = 5


class Traces:
    """The endpoint: authenticate, read, map, and take the events as if they had been sent as such."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    async def post(self, request: Request) -> Response:
        """Take a trace request; returns once every event made of it is acknowledged.

        Spans that are no agent's doing, and events that are refused, are counted in `partialSuccess`, which
        exporters log: sending them again would change nothing.

        Raises:
            Refused, InvalidInput: the request as a whole is refused.
            Backpressure: Kafka did not acknowledge; the same request sent again names the same events.
        """
        principal = self._telemetry.begin(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (_PROTOBUF, _JSON):
            raise Refused(415, f"Content-Type must be {_PROTOBUF} or {_JSON}")
        body = await request.body()
        read = spans.from_protobuf if kind == _PROTOBUF else spans.from_json
        mapped = mapping.events_of(read(body), principal.tenant.tenant_id)
        for reason, count in mapped.unmapped.items():
            metrics.OTLP_UNMAPPED.labels(reason).inc(count)
        refused: Counter[str] = Counter()
        for start in range(0, len(mapped.events), MAX_EVENTS):
            events = msgspec.json.encode({"events": mapped.events[start : start + MAX_EVENTS]})
            taken = await self._telemetry.submit(events, principal, request.state.request_id)
            refused.update(_words(one) for one in taken if isinstance(one, results.Rejected))
        return _answer(kind, mapped, refused)


def _words(rejected: results.Rejected) -> str:
    detail = rejected.error.details[0] if rejected.error.details else None
    member = "" if detail is None else f" ({detail['path'].partition('.')[2]}: {detail['message']})"
    return f"{rejected.error.error}{member}"


def _answer(kind: str, mapped: mapping.Mapped, refused: Counter[str]) -> Response:
    said = Counter({mapping.SAYS[reason]: count for reason, count in mapped.unmapped.items()}) + refused
    message = "; ".join(f"{count}: {text}" for text, count in said.most_common(_MAX_SAID))
    rejected = sum(said.values())
    if kind == _PROTOBUF:
        answer = ExportTraceServiceResponse()
        if rejected:
            answer.partial_success.rejected_spans = rejected
            answer.partial_success.error_message = message
        return Response(answer.SerializeToString(), media_type=_PROTOBUF)
    # proto3's JSON writes 64-bit integers as strings.
    partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}} if rejected else {}
    return Response(msgspec.json.encode(partial), media_type=_JSON)
