"""What the OpenAPI page says of bodies that are read by msgspec and not by FastAPI: schemas and examples."""

from __future__ import annotations

from typing import Any

import msgspec

from pactstream.events import results
from pactstream.events.model import Event
from pactstream.events.parse import MAX_EVENTS
from pactstream.pacts import SEVERITIES, Verdict, Violation

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
PACT = "3f0c8a52-8f4e-4d3b-9c41-6a1d2b7e5f10"
_DESTINATION = "0xA11A000000000000000000000000000000000001"
_REF = "#/components/schemas/{name}"

_VIOLATED: dict[str, Any] = {
    "valid": False,
    "bound": True,
    "pactId": PACT,
    "pactVersion": 3,
    "pactHash": "9f2c1e7b5a0d4c38" * 4,
    "severity": "critical",
    "violations": [
        {
            "paramPath": "destination",
            "rule": "allowList",
            "severity": "critical",
            "value": "0xBAD0000000000000000000000000000000000000",
            "expected": [_DESTINATION],
            "message": "destination is not on the allow-list",
        }
    ],
}
_FAULT = {
    "error": "the event is not valid",
    "code": "INVALID_INPUT",
    "details": [{"path": "events[1].tool", "message": "Object missing required field `tool`"}],
}
_CALL = {
    "type": "tool_call",
    "eventId": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",
    "sessionId": "sess-2026-05-13-treasury-sweep-0042",
    "agentId": AGENT,
    "pactId": PACT,
    "tool": "transfer_funds",
    "params": {"destination": _DESTINATION, "amount": 250, "currency": "USDC"},
    "outcome": "success",
    "latencyMs": 142,
    "attemptedAt": "2026-05-13T10:00:00.000Z",
}
_START = {
    "type": "session_start",
    "sessionId": "sess-2026-05-13-treasury-sweep-0042",
    "agentId": AGENT,
    "pactId": PACT,
    "startedAt": "2026-05-13T09:59:58.000Z",
    "metadata": {"initiator": "cron:treasury-sweep"},
}
PACT_DOCUMENT: dict[str, Any] = {
    "name": "Treasury",
    "agentId": AGENT,
    "conditions": [
        {
            "type": "param_binding",
            "severity": "critical",
            "parameterBinding": {
                "tool": "transfer_funds",
                "rules": [
                    {"paramPath": "destination", "allowList": [_DESTINATION], "required": True},
                    {"paramPath": "amount", "maxAmount": {"amount": "1000", "currency": "USDC"}},
                ],
            },
        }
    ],
}


def json_body(schema: dict[str, Any], example: object) -> dict[str, Any]:
    """A request body, as a member of an OpenAPI operation."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def json_answer(description: str, schema: dict[str, Any], example: object) -> dict[str, Any]:
    """A response, as OpenAPI describes it."""
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "example": example}},
    }


ERROR = json_answer(
    "The request as a whole was refused.",
    {"$ref": "#/components/schemas/Error"},
    {"error": "a valid API key is required", "code": "UNAUTHENTICATED"},
)

PACT_BODY = json_body({"$ref": "#/components/schemas/PactDocument"}, PACT_DOCUMENT)

CALL_BODY = json_body(
    {
        "type": "object",
        "required": ["agentId", "tool", "params"],
        "additionalProperties": False,
        "properties": {
            "agentId": {"type": "string", "format": "uuid"},
            "tool": {"type": "string", "maxLength": 128},
            "params": {"type": "object"},
            "version": {"type": "integer", "minimum": 1, "description": "Default: the version in force."},
            "sessionId": {"type": "string", "maxLength": 128, "description": "For rules on sessions."},
            "reserve": {"type": "boolean", "description": "Hold what the call takes of budgets."},
            "reservationId": {"type": "string", "format": "uuid", "description": "Default: a new one."},
            "ttlSeconds": {"type": "number", "exclusiveMinimum": 0, "maximum": 3600},
            "blockOn": {
                "enum": list(SEVERITIES),
                "description": "Hold in spite of violations that are lighter than this.",
            },
        },
    },
    {"agentId": AGENT, "tool": "transfer_funds", "params": _CALL["params"]},
)

VERDICT_ANSWER: dict[int | str, dict[str, Any]] = {
    200: json_answer(
        "The verdict; `valid` repeats its `valid`.",
        {
            "type": "object",
            "properties": {
                "valid": {"type": "boolean"},
                "validation": {"$ref": _REF.format(name="Verdict")},
                "asOf": {"type": "string", "format": "date-time"},
                "reservation": {
                    "type": ["object", "null"],
                    "properties": {
                        "reservationId": {"type": "string", "format": "uuid"},
                        "expiresAt": {"type": "string", "format": "date-time"},
                    },
                },
            },
        },
        {"valid": False, "validation": _VIOLATED},
    ),
    503: ERROR | {"description": "Nobody who could say answers: ask again after `Retry-After`."},
}


def complete(document: dict[str, Any], pact_schema: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's OpenAPI document with the telemetry route, and the schemas that it and others refer to."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    types = (Event, results.Answer, Verdict, Violation)
    _, described = msgspec.json.schema_components(types, ref_template=_REF)
    # `params` is kept as the bytes it came as, of which msgspec knows no more.
    described["ToolCall"]["properties"]["params"] = {"type": "object"}
    schemas.update(described)
    schemas["Error"] = _ERROR_SCHEMA
    schemas["PactDocument"] = _embedded(pact_schema)
    plain = {"/api/v1/telemetry/events": {"post": _TELEMETRY}, "/v1/traces": {"post": _TRACES}}
    document["paths"] = plain | document["paths"]
    return document


def _embedded(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema made part of another document: it resolves its `$ref`s against its own `$id`."""
    return {name: value for name, value in schema.items() if name != "$schema"}


_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string"},
        "code": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_ACCEPTED = {"eventId": _CALL["eventId"], "status": "accepted", "validation": _VIOLATED}
_REJECTED = {"status": "rejected", "error": _FAULT}
_ANSWER_REF = {"$ref": _REF.format(name="Answer")}

_TELEMETRY: dict[str, Any] = {
    "tags": ["Telemetry"],
    "summary": "Send a batch of events",
    "description": (
        "Each event is judged by itself: a malformed one loses nothing else. The answer comes after Kafka has "
        "acknowledged every accepted event, one result for each event in the order of the request. An event "
        "without `eventId` gets one derived from the body, so that the same body sent again repeats nothing. "
        "Bodies may be compressed (`Content-Encoding: gzip` or `zstd`). Needs the scope `telemetry:write`."
    ),
    "operationId": "send_events",
    "security": [{"pactKey": []}, {"bearer": []}],
    **json_body(
        {
            "type": "object",
            "required": ["events"],
            "additionalProperties": False,
            "properties": {
                "events": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_EVENTS,
                    "items": {
                        "oneOf": [
                            {"$ref": _REF.format(name=name)}
                            for name in ("SessionStart", "ToolCall", "Response", "SessionEnd")
                        ],
                        "discriminator": {"propertyName": "type"},
                    },
                }
            },
        },
        {"events": [_START, _CALL]},
    ),
    "responses": {
        "200": json_answer("Every event was accepted.", _ANSWER_REF, {"accepted": 1, "results": [_ACCEPTED]}),
        "207": json_answer(
            "Some were; each rejected result says why.",
            _ANSWER_REF,
            {"accepted": 1, "results": [_ACCEPTED, _REJECTED]},
        ),
        "422": json_answer(
            "None was. 403, 404 and 409 have the same form, where that is the fault of every event.",
            _ANSWER_REF,
            {"accepted": 0, "results": [_REJECTED], **_FAULT},
        ),
        "400": {**ERROR, "description": "Not JSON, no events, more than 500, or two keys presented."},
        "401": {**ERROR, "description": "No valid key."},
        "403": {**ERROR, "description": "The key lacks the scope."},
        "408": {**ERROR, "description": "The body did not arrive in time."},
        "413": {**ERROR, "description": "The body is too large, as sent or decompressed."},
        "415": {**ERROR, "description": "Another Content-Type or Content-Encoding."},
        "429": {**ERROR, "description": "The key's rate is used up: `Retry-After`, `X-RateLimit-Reset`."},
        "503": {**ERROR, "description": "Kafka cannot take more: send the same body after `Retry-After`."},
    },
}

_TRACES: dict[str, Any] = {
    "tags": ["Telemetry"],
    "summary": "Send OpenTelemetry traces",
    "description": (
        "OTLP over HTTP, protobuf or JSON, for any OpenTelemetry exporter. Spans of agents, tools and model "
        "calls, named as in OpenTelemetry's GenAI conventions or OpenInference's, become events; what gives "
        "none is counted in `partialSuccess`. Event ids are derived from trace and span, so that the same "
        "request sent again repeats nothing. Needs the scope `telemetry:write`."
    ),
    "operationId": "send_traces",
    "security": [{"pactKey": []}, {"bearer": []}],
    "requestBody": {
        "required": True,
        "content": {
            "application/x-protobuf": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"type": "object"}},
        },
    },
    "responses": {
        "200": {
            "description": "What could be mapped is acknowledged. The answer has the request's form.",
            "content": {
                "application/x-protobuf": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": {"type": "object"}},
            },
        },
        **{code: _TELEMETRY["responses"][code] for code in ("401", "403", "408", "413", "415", "429", "503")},
        "400": {**ERROR, "description": "No OTLP trace request, or two keys presented."},
    },
}
