"""Spans as the OpenTelemetry SDK makes them, and the bodies that its exporters send."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, Tracer

from tests.gateway_tools import ATLAS, TREASURY

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
RESOURCE = {"service.name": "atlas", "pactstream.agent.id": ATLAS, "pactstream.pact.id": TREASURY}


class Recorder:
    """A tracer, and the spans that it has ended."""

    def __init__(self, resource: dict[str, Any] | None = None) -> None:
        self._memory = InMemorySpanExporter()
        attributes = RESOURCE if resource is None else resource
        self._provider = TracerProvider(resource=Resource(attributes), shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer: Tracer = self._provider.get_tracer("tests")

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._memory.get_finished_spans()

    def protobuf(self) -> bytes:
        return bytes(encode_spans(self.spans).SerializeToString())

    def json(self) -> bytes:
        """OTLP's JSON: proto3's, with ids in hexadecimal and enums as integers."""
        document = MessageToDict(encode_spans(self.spans), use_integers_for_enums=True)
        for one in document["resourceSpans"]:
            for scope in one["scopeSpans"]:
                for span in scope["spans"]:
                    for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
                        span[name] = b64decode(span[name]).hex()
        return msgspec.json.encode(document)


def agent_run(tracer: Tracer, **params: Any) -> None:
    """An agent that calls a tool and then a model, named as OpenTelemetry's GenAI conventions want it."""
    with tracer.start_as_current_span(
        "invoke_agent Atlas",
        attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "conv-7"},
    ):
        arguments = msgspec.json.encode(params or {"destination": "0xA11A", "amount": 250, "currency": "USDC"})
        tool = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "transfer_funds",
            "gen_ai.tool.call.id": "call_9",
            "gen_ai.tool.call.arguments": arguments.decode(),
            "gen_ai.conversation.id": "conv-7",
        }
        with tracer.start_as_current_span("execute_tool transfer_funds", attributes=tool):
            pass
        model: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.conversation.id": "conv-7",
            "gen_ai.response.model": "m-2",
            "gen_ai.input.messages": '[{"role":"user"}]',
            "gen_ai.output.messages": '[{"role":"assistant"}]',
            "gen_ai.usage.input_tokens": 200,
            "gen_ai.usage.output_tokens": 40,
            "gen_ai.response.finish_reasons": ("stop",),
        }
        with tracer.start_as_current_span("chat m-2", attributes=model):
            pass


def failing_tool(tracer: Tracer) -> None:
    """A tool call that failed, named as OpenInference wants it."""
    attributes = {
        "openinference.span.kind": "TOOL",
        "tool.name": "transfer_funds",
        "input.value": '{"destination": "0xBAD", "amount": 5000, "currency": "USDC"}',
        "session.id": "oi-1",
    }
    with tracer.start_as_current_span("transfer", attributes=attributes) as span:
        span.set_status(Status(StatusCode.ERROR, "the bank said no"))
