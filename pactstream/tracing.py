"""OpenTelemetry traces of the services themselves: off by default, and then nothing of it is imported.

Requests to gateway, oracle and console are spans, and so is each transaction of a loop. A record carries the
context of what wrote it in the header `traceparent` (W3C Trace Context); a transaction links to those of the
records it took, as OpenTelemetry wants it of batches. So a trace leads from a request to verdict and seal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from pactstream.errors import Fatal
from pactstream.kafka.records import Headers
from pactstream.settings import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from starlette.types import ASGIApp

HEADER: Final = "traceparent"
_MAX_LINKS: Final = 100
_provider: TracerProvider | None = None


def start(settings: ServiceSettings, process: str, processor: SpanProcessor | None = None) -> None:
    """Trace from here on, if the settings say so; `OTEL_*` variables say where to and how much.

    `processor` takes the spans in place of an OTLP exporter.

    Raises:
        Fatal: the extra `tracing` is not installed.
    """
    global _provider
    if not settings.tracing_enabled:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise Fatal("PACTSTREAM_TRACING_ENABLED needs: pip install 'pactstream[tracing]'") from error
    names = {"service.name": f"pactstream-{process}", "service.instance.id": settings.instance}
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before.
    _provider = TracerProvider(resource=Resource(names).merge(OTELResourceDetector().detect()))
    _provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))


def stop() -> None:
    """Send what is left, and trace no more."""
    global _provider
    if _provider is not None:
        _provider.shutdown()
        _provider = None


def asgi(app: ASGIApp) -> ASGIApp:
    """The app with a span around each request; the app itself while nothing is traced."""
    if _provider is None:
        return app
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    traced = OpenTelemetryMiddleware(app, tracer_provider=_provider, exclude_spans=["receive", "send"])
    return cast("ASGIApp", traced)


def headers() -> Headers:
    """What a record written now carries: the current span's context."""
    return () if _provider is None else _carried()


def transaction(group: str) -> Transaction | None:
    """A span for a transaction that begins now; None while nothing is traced."""
    return None if _provider is None else Transaction(_provider, group)


class Transaction:
    """The span of one transaction of a loop."""

    def __init__(self, provider: TracerProvider, group: str) -> None:
        from opentelemetry import trace

        self._span = provider.get_tracer("pactstream").start_span(
            f"process {group}",
            kind=trace.SpanKind.CONSUMER,
            attributes={"messaging.consumer.group.name": group},
        )
        self.headers = _carried(trace.set_span_in_context(self._span))
        self._left = _MAX_LINKS

    def took(self, given: Headers) -> None:
        """Link to what wrote a record, given the record's headers."""
        from opentelemetry import trace

        found = next((value for name, value in given if name == HEADER), None)
        if found is None or not self._left:
            return
        self._left -= 1
        told = _propagator().extract({HEADER: found.decode("ascii", "replace")})
        self._span.add_link(trace.get_current_span(told).get_span_context())

    def end(self, events: int | None) -> None:
        """It is committed, with so many events; None: it was abandoned."""
        from opentelemetry.trace import StatusCode

        if events is None:
            self._span.set_status(StatusCode.ERROR, "aborted")
        else:
            self._span.set_attribute("messaging.batch.message_count", events)
        self._span.end()


def _carried(context: Context | None = None) -> Headers:
    carrier: dict[str, str] = {}
    _propagator().inject(carrier, context)
    return [(name, value.encode()) for name, value in carrier.items() if name == HEADER]


def _propagator() -> TraceContextTextMapPropagator:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()
