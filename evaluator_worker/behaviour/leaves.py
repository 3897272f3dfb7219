"""What of a judged event goes into a window: from its leaf, and from the openings of its commitments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from evaluator_worker.evaluated import Opening, openings_of, value_of
from pactstream import clock
from pactstream.errors import InvalidInput

MAX_VERSION_CHARS: Final = 100
MAX_TOOL_CHARS: Final = 200
_PARAMS: Final = "params"
_METADATA: Final = "metadata."


class Seen(NamedTuple):
    """One event. `argument_bytes`: of a tool call's parameters, None for other events."""

    type: str
    occurred_micros: int
    tool: str
    failed: bool
    bound: bool
    invalid: bool
    latency_ms: float | None
    argument_bytes: int | None
    model_version: str
    prompt_version: str


class _Verdict(msgspec.Struct):
    bound: bool
    valid: bool


class _Leaf(msgspec.Struct, rename="camel"):
    occurred_at: datetime
    type: str
    latency_ms: float | None = None
    outcome: str = ""
    tool: str = ""
    verdict: _Verdict | None = None


_decode_leaf = msgspec.json.Decoder(_Leaf).decode


def seen(batch: Mapping[str, Any]) -> Iterator[Seen]:
    """The events of an `EvaluatedBatch`, in order. Raises `InvalidInput`: one is not a leaf."""
    try:
        for event in batch["events"]:
            leaf = _decode_leaf(event["leaf"])
            yield _seen(leaf, openings_of(event["private"]))
    except msgspec.DecodeError as error:
        raise InvalidInput(f"not a leaf with its openings: {error}") from error


def _seen(leaf: _Leaf, openings: Mapping[str, Opening]) -> Seen:
    is_call = leaf.type == "tool_call"
    verdict = leaf.verdict
    bound = is_call and verdict is not None and verdict.bound
    return Seen(
        type=leaf.type,
        occurred_micros=clock.to_micros(leaf.occurred_at),
        tool=leaf.tool[:MAX_TOOL_CHARS],
        failed=is_call and leaf.outcome == "error",
        bound=bound,
        invalid=bound and verdict is not None and not verdict.valid,
        latency_ms=leaf.latency_ms if is_call else None,
        argument_bytes=_argument_bytes(openings) if is_call else None,
        model_version=_stated(openings, "model_version"),
        prompt_version=_stated(openings, "prompt_version"),
    )


def _argument_bytes(openings: Mapping[str, Opening]) -> int:
    return sum(len(memoryview(opening.value)) for name, opening in openings.items() if name.startswith(_PARAMS))


def _stated(openings: Mapping[str, Opening], name: str) -> str:
    """A version that the metadata name; empty where they name none, or something that is no short text."""
    opening = openings.get(_METADATA + name)
    value = None if opening is None else value_of(opening)
    return value if isinstance(value, str) and len(value) <= MAX_VERSION_CHARS else ""
