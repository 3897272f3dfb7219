"""Reads an OTLP trace request, protobuf or JSON, into spans with plain Python attributes.

The format is opentelemetry-proto's `ExportTraceServiceRequest`. Its JSON is proto3's with two differences: ids
are hexadecimal, and enums are integers (OTLP 1.7, "JSON Protobuf Encoding").
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec
from google.protobuf.message import DecodeError
from msgspec import Meta
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from pactstream.errors import Detail, InvalidInput

Attributes: TypeAlias = dict[str, Any]

_ERROR: Final = 2  # Status.StatusCode
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8


class Span(NamedTuple):
    """One span; ids in hexadecimal, times in nanoseconds since 1970, `parent_id` empty at a root."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start_nanos: int
    end_nanos: int
    failed: bool
    message: str
    attributes: Attributes
    resource: Attributes


def from_protobuf(body: bytes) -> list[Span]:
    """The spans of a request in protobuf.

    Raises:
        InvalidInput: it is none.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise InvalidInput("the body is no OTLP trace request", [Detail("", str(error))]) from None
    return [
        _of_message(span, resource)
        for one in request.resource_spans
        for resource in [_pairs(one.resource.attributes)]
        for scope in one.scope_spans
        for span in scope.spans
    ]


def from_json(body: bytes) -> list[Span]:
    """The spans of a request in JSON.

    Raises:
        InvalidInput: it is none.
    """
    try:
        request = _REQUEST.decode(body)
        return [
            _of_struct(span, resource)
            for one in request.resource_spans
            for resource in [_values(one.resource.attributes)]
            for scope in one.scope_spans
            for span in scope.spans
        ]
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidInput("the body is no OTLP trace request", [Detail("", str(error)[:300])]) from None


def _of_message(span: trace_pb2.Span, resource: Attributes) -> Span:
    return Span(
        _checked(span.trace_id, _TRACE_BYTES),
        _checked(span.span_id, _SPAN_BYTES),
        span.parent_span_id.hex(),
        span.name,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == _ERROR,
        span.status.message,
        _pairs(span.attributes),
        resource,
    )


def _checked(given: bytes, length: int) -> str:
    """A wrong id is kept as empty: its span is refused by itself, with the others taken."""
    return given.hex() if len(given) == length and any(given) else ""


def _pairs(pairs: Iterable[common_pb2.KeyValue]) -> Attributes:
    return {one.key: _value(one.value) for one in pairs}


def _value(value: common_pb2.AnyValue) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return [_value(one) for one in value.array_value.values]
        case "kvlist_value":
            return _pairs(value.kvlist_value.values)
        case "bytes_value":
            return b64encode(value.bytes_value).decode()
        case _:
            return getattr(value, kind)


# The same in JSON. Unknown members are ignored, as OTLP demands of receivers.

_Hex: TypeAlias = Annotated[str, Meta(max_length=64, pattern="^[0-9a-fA-F]*$")]
_Int: TypeAlias = int | Annotated[str, Meta(max_length=20, pattern=r"^-?[0-9]+\Z")]


class _AnyValue(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Int | None = None
    double_value: float | str | None = None
    array_value: _Array | None = None
    kvlist_value: _List | None = None
    bytes_value: str | None = None

    def plain(self) -> Any:
        if self.int_value is not None:
            return int(self.int_value)
        if self.array_value is not None:
            return [one.plain() for one in self.array_value.values]
        if self.kvlist_value is not None:
            return _values(self.kvlist_value.values)
        simple = (self.string_value, self.bool_value, self.double_value, self.bytes_value)
        return next((one for one in simple if one is not None), None)


class _KeyValue(msgspec.Struct):
    key: str
    value: _AnyValue = msgspec.field(default_factory=_AnyValue)


class _Array(msgspec.Struct):
    values: list[_AnyValue] = []


class _List(msgspec.Struct):
    values: list[_KeyValue] = []


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Span(msgspec.Struct, rename="camel"):
    trace_id: _Hex = ""
    span_id: _Hex = ""
    parent_span_id: _Hex = ""
    name: str = ""
    start_time_unix_nano: _Int = 0
    end_time_unix_nano: _Int = 0
    attributes: list[_KeyValue] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Resource(msgspec.Struct):
    attributes: list[_KeyValue] = []


class _ScopeSpans(msgspec.Struct):
    spans: list[_Span] = []


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_spans: list[_ScopeSpans] = []


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] = []


_REQUEST = msgspec.json.Decoder(_Request)


def _values(pairs: Iterable[_KeyValue]) -> Attributes:
    return {one.key: one.value.plain() for one in pairs}


def _of_struct(span: _Span, resource: Attributes) -> Span:
    return Span(
        _checked(_hex(span.trace_id), _TRACE_BYTES),
        _checked(_hex(span.span_id), _SPAN_BYTES),
        span.parent_span_id.lower(),
        span.name,
        int(span.start_time_unix_nano),
        int(span.end_time_unix_nano),
        span.status.code == _ERROR,
        span.status.message,
        _values(span.attributes),
        resource,
    )


def _hex(text: str) -> bytes:
    return bytes.fromhex(text) if len(text) % 2 == 0 else b""
