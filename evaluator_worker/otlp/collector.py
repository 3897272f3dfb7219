"""One request to a collector, by the rules of OTLP over HTTP (OTLP specification 1.7, "OTLP/HTTP Response")."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple

import urllib3
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pactstream import __version__
from pactstream.deadline import pool_manager
from pactstream.genai import SCHEMA_URL
from pactstream.sdk.transport import NotNow, retry_after_seconds

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_MISCONFIGURED: Final = frozenset({401, 403, 404, 405, 407})
_MAX_ANSWER_BYTES: Final = 65_536


class Answer(NamedTuple):
    """What became of a request's spans: `rejected` one by one, or all `refused`, and why."""

    rejected: int = 0
    refused: bool = False
    reason: str = ""


class Collector:
    """Where traces go. `deployment` is the service that they are said to come from."""

    def __init__(
        self, endpoint: str, headers: Mapping[str, str], deployment: str, *, seconds: float, ca: Path | None
    ) -> None:
        self._endpoint = endpoint
        self._resource = {"service.name": "pactstream", "service.namespace": deployment}
        self._headers = {
            **headers,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            "User-Agent": f"pactstream-otlp/{__version__}",
        }
        options: dict[str, Any] = {} if ca is None else {"ca_certs": str(ca)}
        self._pool = pool_manager(seconds, retries=False, **options)

    def close(self) -> None:
        """Let go of connections."""
        self._pool.clear()

    def export(self, spans: Sequence[Span]) -> Answer:
        """Send spans once.

        Raises:
            NotNow: no answer, or one that asks to try again. A key or an address that is wrong is `suspicious`:
                OTLP says not to try again at once, and giving up would lose what nothing is wrong with.
        """
        body = gzip.compress(self._request(spans), compresslevel=6, mtime=0)
        try:
            response = self._pool.request(
                "POST",
                self._endpoint,
                body=body,
                headers=self._headers,
                redirect=False,
                preload_content=False,
            )
            content = response.read(_MAX_ANSWER_BYTES + 1)
            if len(content) > _MAX_ANSWER_BYTES:
                response.close()  # what is left would be taken for the next answer
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NotNow(f"no answer: {type(error).__name__}") from None
        status = response.status
        if 200 <= status < 300:
            return _partial(content)
        reason = f"it answered {status}{_phrase(status)}"
        if status in _RETRYABLE:
            raise NotNow(reason, retry_after_seconds=retry_after_seconds(response.headers.get("Retry-After")))
        if status in _MISCONFIGURED or 300 <= status < 400:
            raise NotNow(f"{reason}: check its address and headers", suspicious=True)
        return Answer(refused=True, reason=reason)

    def _request(self, spans: Sequence[Span]) -> bytes:
        request = ExportTraceServiceRequest()
        of_resource = request.resource_spans.add(schema_url=SCHEMA_URL)
        of_resource.resource.attributes.extend(
            KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in self._resource.items()
        )
        of_scope = of_resource.scope_spans.add(schema_url=SCHEMA_URL)
        of_scope.scope.name, of_scope.scope.version = "pactstream", __version__
        of_scope.spans.extend(spans)
        return request.SerializeToString()


def _partial(content: bytes) -> Answer:
    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        return Answer()  # it said yes; what else it said is its own business
    return Answer(rejected=max(0, partial.rejected_spans), reason=partial.error_message[:300])


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
