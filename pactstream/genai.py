"""OpenTelemetry's names for what agents do: one table, read by `ingest_gateway.otlp` and written by the relay.

OpenTelemetry's GenAI conventions (semantic-conventions 1.41.0, status "development") and OpenInference's name
the same things differently. Of several names, the first is ours or OpenTelemetry's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GENAI_VERSION: Final = "1.41.0"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{GENAI_VERSION}"

OPERATION: Final = "gen_ai.operation.name"
ERROR_TYPE: Final = "error.type"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
OUTCOMES: Final = {"content_filter": "refusal", "length": "partial", "max_tokens": "partial"}
"""What a model call's reason to finish says of its outcome."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "agentId": ("pactstream.agent.id", "gen_ai.agent.id", "agent.id"),
    "sessionId": ("pactstream.session.id", "gen_ai.conversation.id", "session.id"),
    "pactId": ("pactstream.pact.id",),
    "reservationId": ("pactstream.reservation.id",),
    "tool": ("gen_ai.tool.name", "tool.name"),
    "params": ("gen_ai.tool.call.arguments", "input.value"),
    "input": ("gen_ai.input.messages", "input.value"),
    "output": ("gen_ai.output.messages", "output.value"),
    "tokens": ("gen_ai.usage.total_tokens", "llm.token_count.total"),
    "inputTokens": ("gen_ai.usage.input_tokens", "llm.token_count.prompt"),
    "outputTokens": ("gen_ai.usage.output_tokens", "llm.token_count.completion"),
}
"""Where each member of an event stands, at a span or at its resource, in this order."""

METADATA: Final[Mapping[str, tuple[str, ...]]] = {
    "model_version": ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name"),
    "provider": ("gen_ai.provider.name", "llm.provider"),
    "prompt_template_id": ("llm.prompt_template.version",),
    "confidence": ("pactstream.confidence",),
    "tool_call_id": ("gen_ai.tool.call.id", "tool_call.id"),
    "service": ("service.name",),
}
"""What stands in an event's metadata, beside `trace_id` and `span_id`."""
