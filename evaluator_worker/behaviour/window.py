"""One window while it is filled: counts, and two t-digests.

Of the sketches of DataSketches the t-digest is the one without random choices: the same events in the same
order give the same bytes, if they are settled at the same events: so `settle` is called after each batch, and
a replay writes the same window wherever its transactions end. With compression 50 one stays below 1 KiB.
"""

from __future__ import annotations

from typing import Any, Final

from datasketches import tdigest_double

from evaluator_worker.behaviour.leaves import Seen
from pactstream import avro

MAX_TOOLS: Final = 32
COMPRESSION: Final = 50


class Window:
    """What one agent did for one tenant in one minute."""

    def __init__(self, agent_id: str, tenant_id: str, minute_micros: int) -> None:
        self.revision = 0
        self._fields: dict[str, Any] = {
            "agent_id": agent_id,
            "tenant_id": tenant_id,
            "minute_micros": minute_micros,
            "tool_calls": 0,
            "errors": 0,
            "bound_calls": 0,
            "invalid_calls": 0,
            "latency_sum_ms": 0.0,
            "latency_count": 0,
            "calls_by_tool": {},
            "other_calls": 0,
            "responses": 0,
            "sessions": 0,
            "model_version": "",
            "prompt_version": "",
        }
        self._latency = tdigest_double(COMPRESSION)
        self._arguments = tdigest_double(COMPRESSION)

    @classmethod
    def decode(cls, value: bytes) -> Window:
        """A window as `encode` wrote it. Raises `InvalidInput`."""
        fields = avro.decode_as("BehaviourWindow", value)
        window = cls("", "", 0)
        window.revision = fields.pop("revision")
        window._latency = opened(fields.pop("latency_sketch"))
        window._arguments = opened(fields.pop("argument_sketch"))
        window._fields = fields
        return window

    @property
    def minute_micros(self) -> int:
        """Start of the minute."""
        return int(self._fields["minute_micros"])

    @property
    def agent_id(self) -> str:
        """The agent."""
        return str(self._fields["agent_id"])

    @property
    def key(self) -> str:
        """What names it: `<agent>/<tenant>/<minute>`."""
        fields = self._fields
        return f"{fields['agent_id']}/{fields['tenant_id']}/{fields['minute_micros']}"

    def add(self, event: Seen) -> None:
        """Count one event."""
        fields = self._fields
        fields["model_version"] = event.model_version or fields["model_version"]
        fields["prompt_version"] = event.prompt_version or fields["prompt_version"]
        if event.type == "tool_call":
            self._add_call(event)
        fields["responses"] += event.type == "response"
        fields["sessions"] += event.type == "session_start"

    def _add_call(self, event: Seen) -> None:
        fields, by_tool = self._fields, self._fields["calls_by_tool"]
        fields["tool_calls"] += 1
        fields["errors"] += event.failed
        fields["bound_calls"] += event.bound
        fields["invalid_calls"] += event.invalid
        if event.tool in by_tool or len(by_tool) < MAX_TOOLS:
            by_tool[event.tool] = by_tool.get(event.tool, 0) + 1
        else:
            fields["other_calls"] += 1
        if event.latency_ms is not None:
            fields["latency_sum_ms"] += event.latency_ms
            fields["latency_count"] += 1
            self._latency.update(event.latency_ms)
        if event.argument_bytes is not None:
            self._arguments.update(event.argument_bytes)

    def settle(self) -> None:
        """Bring the sketches into the form in which they are written: after each batch."""
        self._latency.compress()
        self._arguments.compress()

    def encode(self) -> bytes:
        """The `BehaviourWindow`."""
        sketches = {"latency_sketch": _closed(self._latency), "argument_sketch": _closed(self._arguments)}
        return avro.encode("BehaviourWindow", self._fields | sketches | {"revision": self.revision})


def opened(sketch: bytes) -> tdigest_double:
    """The t-digest in a window's field; an empty one where that is empty."""
    return tdigest_double.deserialize(sketch) if sketch else tdigest_double(COMPRESSION)


def _closed(sketch: tdigest_double) -> bytes:
    return b"" if sketch.is_empty() else bytes(sketch.serialize())
